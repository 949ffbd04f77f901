"""`harness compare` as it is typed, on studies that an engine recorded which trains nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import click
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
        assert "are the same for all 5 shared seeds" in told
        assert told.endswith("verdict: equal\n")
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
    assert (written["schema"], written["verdict"]) == (1, "equal")
    assert len(written["variants"]) == 4
    assert told.err.endswith("verdict: equal\n")
    assert (tmp_path / "comparison.md").read_text().startswith("# B equals A: ")
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


def edited(source: Path, target: Path, **values: str) -> Path:
    """A copy of a file of runs with other values in some columns."""
    with source.open() as stream:
        rows = list(csv.DictReader(stream))
    with target.open("w") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows({**row, **values} for row in rows)
    return target


def test_too_few_seeds_end_with_3_and_equal_ones_with_0(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder / "out" / NAME / "runs.csv"
    other = edited(source, tmp_path / "other.csv", final_errors="7")
    assert typed(str(source), str(other)) == 3
    told = capsys.readouterr().out
    assert told.startswith("# Too few seeds to tell whether B is worse than A: 5 shared seeds.\n")
    assert told.endswith("verdict: cannot tell\n")
    assert typed(str(other), str(other)) == 0


def test_studies_are_compared_across_a_setting_and_the_settings_are_checked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder / "out" / NAME / "runs.csv"
    other = edited(source, tmp_path / "other.csv", beta_1="0.95")
    with pytest.raises(UsageError, match=r"beta_1 is 0\.9 in A and 0\.95 in B"):
        typed(str(source), str(other))
    assert typed(str(source), str(other), "--across", "beta_1", "--across", "beta_1") == 0
    assert "compared across: beta_1 is 0.9 in A and 0.95 in B" in capsys.readouterr().out
    with pytest.raises(UsageError, match="beta_1 does not differ"):
        typed(str(source), str(source), "--across", "beta_1")
    for setting in ("epochs", "seed", "nothing"):
        with pytest.raises(click.BadParameter, match="is not one of 'learning_rate', 'layers'"):
            typed(str(source), str(other), "--across", setting)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--margin", "0.1"), r"--margin 0.1: this is not a percentage above 0%"),
        (("--margin", "0%"), r"--margin 0%: this is not a percentage above 0%"),
        (("--margin", "nan%"), r"--margin nan%: this is not a percentage"),
        (("--margin", "10% of A"), r"this is not a percentage"),
        (("--margin", "ten%"), r"this is not a percentage"),
        (("--margin-errors", "0"), r"--margin-errors 0: this is not a number above 0"),
        (("--margin-errors", "nan"), r"--margin-errors nan: this is not a number above 0"),
        (("--margin-errors", "inf"), r"--margin-errors inf: this is not a number above 0"),
    ],
)
def test_a_margin_that_is_none_is_refused(option: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        typed("a", "b", *option)


def test_margins_are_given_in_percent_and_in_errors(folder: Path, tmp_path: Path) -> None:
    source = edited(folder / "out" / NAME / "runs.csv", tmp_path / "reached.csv", first_zero_epoch="2")
    path = tmp_path / "comparison.json"
    options = ("--margin", "20%", "--margin-errors", "2.5", "--json", str(path))
    assert typed(str(source), str(source), *options) == 0
    errors, zeros = json.loads(path.read_text())["measures"]
    assert errors["margin"] == 2.5
    assert zeros["margin"] == pytest.approx(0.2 * 2)


@pytest.mark.usefixtures("folder")
def test_a_file_that_ends_in_html_is_a_page(tmp_path: Path) -> None:
    assert typed(NAME, NAME, "--out", str(tmp_path / "comparison.html")) == 0
    page = (tmp_path / "comparison.html").read_text()
    assert page.startswith("<!doctype html>")
    assert '<h1><b class="good">B equals A</b>: errors at the last epoch' in page
    assert page.count("<svg ") == 2
