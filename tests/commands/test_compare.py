"""`harness compare` as it is typed, on studies that an engine recorded which trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.commands.compare import compare
from harness.errors import StoppedError, UsageError
from harness.tracking.reader import StudyReader
from harness.tracking.store import Store
from tests.shared import Shared
from tests.support import Harness
from tests.torture import NAME, Doomed

FILE = f"{NAME}.toml"


@pytest.fixture(scope="session")
def recorded(shared: Shared) -> Path:
    """A folder in which a study was run, archived, and run again."""

    def make(folder: Path) -> None:
        Doomed(folder, "grid", "standin", pause_s=0).run()
        Doomed(folder, "grid", "standin", on=("--fresh",), pause_s=0).run()

    return shared.folder("compared", make)


@pytest.fixture
def folder(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the folder that this process is in."""
    monkeypatch.chdir(recorded)
    return recorded


def typed(*arguments: str) -> int:
    return int(compare.main([*arguments], standalone_mode=False))


def test_a_study_and_itself_do_not_differ_by_name_by_run_or_by_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (folder / "mlflow.db").is_file()
    run_id = StudyReader(Store(create=False)).study(NAME).parent.run_id
    for other in (NAME, run_id, f"out/{NAME}/runs.csv"):
        assert typed(NAME, other) == 0
        told = capsys.readouterr().out
        assert "every number is equal for all 5 seeds" in told
        assert told.endswith("verdict: no difference\n")
        assert ("wrong only in A" in told) == (not other.endswith(".csv"))


@pytest.mark.usefixtures("folder")
def test_a_study_that_was_put_aside_is_compared_by_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    before, now = (run.run_id for run in StudyReader(Store(create=False)).studies(NAME))
    assert typed(before, NAME) == 0
    told = capsys.readouterr().out
    assert f"A: study {NAME} (run {before[:8]})" in told
    assert f"B: study {NAME} (run {now[:8]})" in told


@pytest.mark.usefixtures("folder")
def test_a_comparison_is_written_for_people_and_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(NAME, NAME, "--json", "-", "--out", str(tmp_path / "comparison.md")) == 0
    told = capsys.readouterr()
    written = json.loads(told.out)
    assert (written["schema"], written["verdict"]) == (1, "no difference")
    assert len(written["variants"]) == 4
    assert told.err.endswith("verdict: no difference\n")
    assert (tmp_path / "comparison.md").read_text().startswith("# A and B compared: no difference\n")
    assert typed(NAME, NAME, "--json", str(tmp_path / "comparison.json")) == 0
    assert json.loads((tmp_path / "comparison.json").read_text()) == written


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("nothing", r"no study with the name or run id 'nothing' was recorded"),
        ("0" * 32, r"no study with the name or run id '0{32}' was recorded"),
        ("it's", r"no study with the name or run id"),
        ("nothing.csv", r"nothing.csv: cannot be read \(No such file or directory\)"),
        (FILE, rf"{FILE}: "),
    ],
)
def test_what_is_no_study_is_refused(other: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        typed(NAME, other)


def test_a_mistake_is_one_clear_error(recorded: Path, harness: Harness) -> None:
    done = harness("compare", NAME, "nothing", cwd=recorded)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no study with the name or run id 'nothing' was recorded in")
    assert done.stdout == ""


def test_where_nothing_was_recorded_there_is_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="nothing was recorded yet"):
        typed("a", "b")
    assert list(tmp_path.iterdir()) == []


def test_where_a_result_cannot_go_is_said_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoppedError, match="cannot be written"):
        typed("nothing", "nothing", "--json", str(tmp_path / "file" / "inside.json"))
