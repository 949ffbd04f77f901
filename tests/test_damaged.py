"""Records that somebody edited or deleted in MLflow: one message that names the run and the tag or file."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from harness.tracking import database
from tests.support import Harness
from tests.torture import NAME, Doomed

pytestmark = pytest.mark.usefixtures("standin")

SLOWLY = partial(pytest.param, marks=pytest.mark.slow)
DATA = ("--data", "optdigits")
CHECK = ("study", "check", f"{NAME}.toml", *DATA)
RUN = ("study", "run", f"{NAME}.toml", *DATA, "--workers", "1")
READING = (("study", "list"), ("study", "show", NAME), CHECK, ("compare", NAME, NAME), ("report", "--out", "again"))


@pytest.fixture
def grid(whole_grid: Doomed, tmp_path: Path) -> Doomed:
    """A grid that was run to its end in this folder."""
    shutil.copytree(whole_grid.folder, tmp_path, dirs_exist_ok=True)
    old, new = (folder / "mlartifacts" for folder in (whole_grid.folder, tmp_path))
    database.relocate(tmp_path / "mlflow.db", old.as_uri(), new.as_uri()).unlink()
    return Doomed(tmp_path, "grid", "standin")


def edit(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def run_of(doomed: Doomed, role: str) -> str:
    [(run,), *_] = doomed._rows(
        f"select run_uuid from tags where key = 'harness.role' and value = '{role}' order by run_uuid"  # noqa: S608
    )
    return str(run)


def set_tag(doomed: Doomed, role: str, tag: str, value: str | None) -> str:
    """Change or delete a tag of one run of a role, and return the id of the run."""
    run = run_of(doomed, role)
    if value is None:
        edit(doomed.folder, "delete from tags where run_uuid = ? and key = ?", run, tag)
    else:
        edit(doomed.folder, "update tags set value = ? where run_uuid = ? and key = ?", value, run, tag)
    return run


def is_clear(done: subprocess.CompletedProcess[str], *named: str) -> None:
    """A command ended with an error that names something, and without a traceback."""
    assert done.returncode in {2, 5}, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    for name in named:
        assert name in done.stderr


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("harness.trials", "many"),
        SLOWLY("harness.trials", None),
        SLOWLY("harness.trials_done", "-1"),
        SLOWLY("harness.bookkeeping", "{"),
        SLOWLY("harness.bookkeeping", "[1]"),
        SLOWLY("harness.bookkeeping", '{"signature": [1]}'),
        SLOWLY("harness.heartbeat_s", "soon"),
        SLOWLY("harness.study_key", ""),
        SLOWLY("harness.dataset", None),
    ],
)
def test_a_damaged_study_is_named_and_others_are_listed(
    grid: Doomed, harness: Harness, tag: str, value: str | None
) -> None:
    (grid.folder / "other.toml").write_text((grid.folder / f"{NAME}.toml").read_text().replace("[3, 6]", "[3]"))
    assert harness("study", "run", "other.toml", *DATA, "--workers", "1").returncode == 0
    run = set_tag(grid, "study", tag, value)
    damaged = next(name for name in ("other", NAME) if run in harness("study", "show", name).stderr)
    sound = NAME if damaged == "other" else "other"
    listed = harness("study", "list")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == [sound]
    assert f"left out: run {run}: its tag {tag}" in listed.stderr
    for arguments in (("study", "show", damaged), ("report", damaged), ("compare", damaged, sound)):
        is_clear(harness(*arguments), run, tag)
    is_clear(harness("study", "run", f"{damaged}.toml", *DATA), run, tag)


@pytest.mark.parametrize(
    ("tag", "value"), [("harness.trial", "first"), SLOWLY("harness.trial", None), SLOWLY("harness.variant", "")]
)
def test_a_damaged_training_is_left_out_of_reports_and_stops_a_study(
    grid: Doomed, harness: Harness, tag: str, value: str | None
) -> None:
    run = set_tag(grid, "training", tag, value)
    is_clear(harness(*CHECK), run, tag)
    is_clear(harness(*RUN), run, tag)
    done = harness("report")
    assert done.returncode == 0, done.stderr
    assert f"left out: run {run}: its tag {tag}" in done.stderr
    text = (grid.folder / "out" / NAME / "report.md").read_text()
    assert "19 finished" in text
    assert f"run {run}: its tag {tag}" in text
    assert harness("compare", NAME, NAME).returncode == 0


@pytest.mark.parametrize("content", [b'{"losses": [0.1', *map(SLOWLY, (b"", b'{"losses": []}', b"\xff\xfe", None))])
def test_a_damaged_artifact_of_a_training_is_left_out(grid: Doomed, harness: Harness, content: bytes | None) -> None:
    [file, *_] = sorted((grid.folder / "mlartifacts").glob("*/artifacts/outcome.json"))
    file.unlink() if content is None else file.write_bytes(content)
    done = harness("report")
    assert done.returncode == 0, done.stderr
    run = file.parent.parent.name
    assert f"left out: run {run}: its file outcome.json is {'missing' if content is None else 'damaged'}" in done.stderr
    assert "19 finished" in (grid.folder / "out" / NAME / "report.md").read_text()


@pytest.mark.parametrize("content", [b"PK\x03\x04", *map(SLOWLY, (b"", b"no archive"))])
def test_damaged_images_cost_only_the_pictures_of_digits(grid: Doomed, harness: Harness, content: bytes) -> None:
    run = run_of(grid, "study")
    (grid.folder / "mlartifacts" / run / "artifacts" / "images.npz").write_bytes(content)
    done = harness("report")
    assert done.returncode == 0, done.stderr
    assert f"left out: run {run}: its file images.npz is damaged" in done.stderr
    assert "20 finished" in (grid.folder / "out" / NAME / "report.md").read_text()


@pytest.mark.parametrize("value", ["nan", *map(SLOWLY, ("-1", "0.5"))])
def test_an_impossible_error_count_is_left_out(grid: Doomed, harness: Harness, value: str) -> None:
    run = run_of(grid, "training")
    statement = "update latest_metrics set value = ?, is_nan = ? where run_uuid = ? and key = 'final_errors'"
    edit(grid.folder, statement, 0.0 if value == "nan" else float(value), value == "nan", run)
    done = harness("report")
    assert done.returncode == 0, done.stderr
    assert f"left out: run {run}: its metric final_errors is" in done.stderr
    is_clear(harness(*RUN), run, "final_errors")


def test_the_deleted_run_of_a_study_is_restored_and_all_commands_agree(grid: Doomed, harness: Harness) -> None:
    run, before = run_of(grid, "study"), grid.numbers()
    MlflowClient(f"sqlite:///{grid.folder}/mlflow.db").delete_run(run)
    assert "20 of 20" in harness("study", "list").stdout
    assert "20 of 20 trials are done" in harness(*CHECK).stdout
    assert harness("report").returncode == 0
    done = harness(*RUN)
    assert "nothing to train: all 20 trials are done" in done.stderr
    assert f"the parent run of the study {NAME} was deleted in MLflow and is now restored" in done.stderr
    assert grid.numbers() == before
    assert grid._rows("select value from tags where key = 'mlflow.parentRunId' group by value") == [(run,)]


def test_runs_whose_study_is_gone_for_ever_get_a_new_parent(grid: Doomed, harness: Harness) -> None:
    run = run_of(grid, "study")
    for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
        edit(grid.folder, f"delete from {table} where run_uuid = ? or ? = ''", run, run)  # noqa: S608 - the names above
    assert "20 of 20 trials are done" in harness(*CHECK).stdout
    done = harness(*RUN)
    assert "nothing to train: all 20 trials are done" in done.stderr
    [(parent,)] = grid._rows("select value from tags where key = 'mlflow.parentRunId' group by value")
    assert parent == run_of(grid, "study") != run


def test_a_deleted_experiment_is_the_same_error_of_all_commands(grid: Doomed, harness: Harness) -> None:
    edit(grid.folder, "update experiments set lifecycle_stage = 'deleted' where name = 'zero-errors'")
    for arguments in (*READING, RUN):
        done = harness(*arguments)
        assert done.returncode == 5
        assert "the MLflow experiment 'zero-errors' was deleted" in done.stderr


@pytest.mark.parametrize("mine", ["My own words.", *map(SLOWLY, ("Mine.\n\n<!-- zero-errors: begin -->", ""))])
def test_what_a_person_wrote_into_the_note_of_a_study_stays(grid: Doomed, harness: Harness, mine: str) -> None:
    client, run = MlflowClient(f"sqlite:///{grid.folder}/mlflow.db"), run_of(grid, "study")
    note = str(client.get_run(run).data.tags["mlflow.note.content"])
    for text in (mine, f"{mine}\n{note}\nAnd more."):
        client.set_tag(run, "mlflow.note.content", text)
        for _ in range(2):
            assert harness("report").returncode == 0
        found = str(client.get_run(run).data.tags["mlflow.note.content"])
        assert found.startswith(mine)
        assert found.count("**Recommended:**") == 1
        assert found.endswith("And more.") == text.endswith("And more.")


TAGS = (
    "trial",
    "study_key",
    "trials",
    "trials_done",
    "bookkeeping",
    "heartbeat_s",
    "role",
    "study",
    "variant",
    "dataset",
)
TEXTS = st.sampled_from(["", "x", "-3", "1e400", "nan", "{}", "null", "[]", "\x00", "7", "\u00fc" * 300])
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("tag"), st.sampled_from(TAGS), st.integers(0, 20), TEXTS),
        st.tuples(st.just("untag"), st.sampled_from(TAGS), st.integers(0, 20), st.just("")),
        st.tuples(st.just("metric"), st.sampled_from(["final_errors", "final_loss"]), st.integers(0, 20), TEXTS),
        st.tuples(st.just("file"), st.sampled_from(["outcome.json", "images.npz"]), st.integers(0, 20), TEXTS),
        st.tuples(st.just("parent"), st.just(""), st.integers(0, 20), TEXTS),
        st.tuples(st.just("delete"), st.just(""), st.integers(0, 20), st.just("")),
    ),
    min_size=1,
    max_size=3,
)


def apply(doomed: Doomed, kind: str, name: str, place: int, text: str) -> None:
    runs = [run for (run,) in doomed._rows("select run_uuid from runs order by start_time, run_uuid")]
    run = runs[place % len(runs)]
    with closing(sqlite3.connect(doomed.folder / "mlflow.db")) as connection, connection:
        if kind in {"tag", "parent"}:
            key = f"harness.{name}" if kind == "tag" else "mlflow.parentRunId"
            connection.execute("update tags set value = ? where run_uuid = ? and key = ?", (text, run, key))
        elif kind == "untag":
            connection.execute("delete from tags where run_uuid = ? and key = ?", (run, f"harness.{name}"))
        elif kind == "metric":
            value = {"nan": None, "1e400": 1.7976931348623157e308, "-3": -3.0, "7": 7.5}.get(text, 1e9)
            connection.execute(
                "update latest_metrics set value = ?, is_nan = ? where run_uuid = ? and key = ?",
                (value or 0.0, value is None, run, name),
            )
        elif kind == "delete":
            connection.execute("update runs set lifecycle_stage = 'deleted' where run_uuid = ?", (run,))
    file = doomed.folder / "mlartifacts" / run / "artifacts" / name
    if kind == "file" and file.is_file():
        file.write_text(text)


@pytest.mark.slow
@given(edits=EDITS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_edit_of_the_records_ends_in_a_traceback(
    edits: list[tuple[str, str, int, str]], grid: Doomed, harness: Harness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("edited")
    for pattern in ("mlflow.db", "mlartifacts", "*.toml"):
        for path in grid.folder.glob(pattern):
            shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy(path, folder)
    doomed = Doomed(folder, "grid", "standin")
    for one in edits:
        apply(doomed, *one)
    before = (folder / "mlflow.db").read_bytes()
    for arguments in READING[:4]:
        done = harness(*arguments, cwd=folder)
        assert done.returncode in {0, 1, 2, 5}, (arguments, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
    assert (folder / "mlflow.db").read_bytes() == before
    done = harness(*READING[4], cwd=folder)
    assert done.returncode in {0, 2, 5}, done.stderr
    assert "Traceback" not in done.stderr
