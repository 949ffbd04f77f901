"""The bookkeeping of a study is one tag. Records that have a tag for each part are read as if they had this one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.tracking import bookkeeping
from tests.support import Harness
from tests.torture import NAME, Doomed

# What an earlier version recorded: a tag for each part.
SEPARATE = {
    "harness.study": "old",
    "harness.trials": "8",
    "harness.description": "Does it?",
    "harness.command": "harness study run old",
    "harness.times_run": "3",
    "harness.last_run_ms": "1700000000000",
    "harness.versions": "python 3",
    "harness.cpu": "a processor",
    "harness.meaning": '{"objectives": ["errors"], "seeds": null}',
}
PARTS = {"description", "command", "times_run", "last_run_ms", "versions", "cpu", "signature"}


def test_only_tags_that_a_search_may_need_stay_tags() -> None:
    packed = bookkeeping.packed(SEPARATE)
    assert packed.keys() == {"harness.study", "harness.trials", "harness.bookkeeping"}
    kept = json.loads(packed["harness.bookkeeping"])
    assert kept.keys() == PARTS
    assert (kept["times_run"], kept["signature"]["objectives"]) == (3, ["errors"])


def test_both_forms_are_read_alike() -> None:
    found = bookkeeping.unpacked(bookkeeping.packed(SEPARATE))
    assert {name: found[name] for name in SEPARATE} == SEPARATE
    assert bookkeeping.unpacked(SEPARATE) == SEPARATE


def test_the_combined_tag_is_newer_than_the_separate_ones() -> None:
    newer = bookkeeping.packed({**SEPARATE, "harness.times_run": "4"})
    assert bookkeeping.unpacked({**SEPARATE, **newer})["harness.times_run"] == "4"


@pytest.mark.parametrize("damaged", ["", "{", "[1]", "null", "[" * 100_000])
def test_a_damaged_tag_leaves_the_others_as_they_are(damaged: str) -> None:
    tags = {"harness.study": "old", "harness.bookkeeping": damaged}
    assert bookkeeping.unpacked(tags) == tags


def test_a_long_description_is_shortened_to_what_mlflow_stores() -> None:
    packed = bookkeeping.packed({**SEPARATE, "harness.description": "Is it long? " * 2000})["harness.bookkeeping"]
    assert len(packed) <= 8000
    kept = json.loads(packed)
    assert kept.keys() == PARTS
    assert len(kept["description"]) > 5000


def test_more_seeds_than_mlflow_stores_are_one_error() -> None:
    many = json.dumps({"objectives": ["errors"], "seeds": list(range(100_000, 102_000))})
    with pytest.raises(UsageError, match="MLflow stores at most 8000"):
        bookkeeping.packed({**SEPARATE, "harness.meaning": many})


def parent_tags(folder: Path) -> dict[str, str]:
    """The tags of the parent run, as the database has them."""
    query = "select run_uuid from tags where key = 'harness.role' and value = 'study'"
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        found = connection.execute(f"select key, value from tags where run_uuid in ({query})")  # noqa: S608 - see above
        return dict(found.fetchall())


def separate(folder: Path) -> None:
    """Rewrite the parent run's tags as an earlier version wrote them."""
    tags = parent_tags(folder)
    old = bookkeeping.parts(tags["harness.bookkeeping"])
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        [(run,)] = connection.execute("select run_uuid from tags where key = 'harness.bookkeeping'").fetchall()
        connection.execute("delete from tags where key = 'harness.bookkeeping'")
        connection.executemany("insert into tags values (?, ?, ?)", [(name, text, run) for name, text in old.items()])


@pytest.mark.usefixtures("standin")
def test_a_study_of_an_earlier_version_is_listed_reported_compared_and_resumed(
    harness: Harness, tmp_path: Path
) -> None:
    Doomed(tmp_path, "grid", "standin").run()
    assert parent_tags(tmp_path).keys() & SEPARATE.keys() == {"harness.study", "harness.trials"}
    separate(tmp_path)
    before = parent_tags(tmp_path)
    assert before.keys() >= SEPARATE.keys()
    assert "20 of 20" in harness("study", "list").stdout
    assert harness("compare", NAME, NAME).returncode == 0
    assert harness("report").returncode == 0
    report = (tmp_path / "out" / NAME / "report.md").read_text()
    assert before["harness.versions"] in report
    assert before["harness.command"] in report
    assert {**parent_tags(tmp_path), "mlflow.note.content": ""} == {**before, "mlflow.note.content": ""}
    done = harness("study", "run", f"{NAME}.toml", "--data", "optdigits", "--workers", "1")
    assert "nothing to train: all 20 trials are done" in done.stderr
    after = parent_tags(tmp_path)
    assert {name: after[name] for name in SEPARATE} == {name: before[name] for name in SEPARATE}
    kept = json.loads(after["harness.bookkeeping"])
    assert kept.keys() == PARTS
    assert (before["harness.times_run"], kept["times_run"]) == ("1", 2)
    assert kept["versions"] == before["harness.versions"]
    assert kept["command"].endswith(f"{NAME}.toml --data optdigits --workers 1")
