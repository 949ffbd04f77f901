"""Studies as their commands show, grow, rename and put them aside; with an engine that trains nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from harness.tracking.lock import holder
from tests.support import Harness
from tests.torture import NAME, Doomed

pytestmark = pytest.mark.usefixtures("standin")

FILE = f"{NAME}.toml"
DATA = ("--data", "optdigits")


@pytest.fixture
def grid(whole_grid: Doomed, tmp_path: Path) -> Path:
    """A folder in which a grid was run to its end, to be worked with."""
    shutil.copytree(whole_grid.folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def sampled(whole_search: Doomed, tmp_path: Path) -> Doomed:
    """A search that was run to its end, to be worked with."""
    shutil.copytree(whole_search.folder, tmp_path, dirs_exist_ok=True)
    return Doomed(tmp_path, "sampled", "standin")


@pytest.fixture
def gridded(grid: Path) -> Doomed:
    """A grid that was run to its end, to be worked with."""
    return Doomed(grid, "grid", "standin")


def content(folder: Path) -> dict[str, bytes]:
    """Every file but what SQLite keeps for readers, and the log of the tests."""
    left_out = ("-wal", "-shm", "log")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(left_out)
    }


def test_looking_touches_nothing(grid: Path, harness: Harness) -> None:
    before = content(grid)
    for arguments in (("list",), ("show", NAME), ("check", FILE, *DATA)):
        done = harness("study", *arguments, cwd=grid)
        assert done.returncode == 0, done.stderr
    assert content(grid) == before


def test_looking_makes_nothing(harness: Harness, tmp_path: Path) -> None:
    for arguments in (("list",), ("show", NAME)):
        done = harness("study", *arguments)
        assert done.returncode == 2
        assert "nothing was recorded yet" in done.stderr
    done = harness("study", "check", "variants", *DATA)
    assert done.returncode == 0
    assert "variants: 0 of 160 trials are done" in done.stdout
    assert "to train: 32 trainings, 3200 epochs in total" in done.stdout
    assert "estimated from the README's machine" in done.stdout
    assert list(tmp_path.iterdir()) == []


def records(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


def test_a_check_beside_records_of_others_says_that_nothing_is_done(harness: Harness, tmp_path: Path) -> None:
    MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").create_experiment("mine")
    before = records(tmp_path / "mlflow.db")
    done = harness("study", "check", "variants", *DATA)
    assert done.returncode == 0, done.stderr
    assert "variants: 0 of 160 trials are done" in done.stdout
    listed = harness("study", "list")
    assert (listed.returncode, "nothing was recorded yet" in listed.stderr) == (2, True)
    assert records(tmp_path / "mlflow.db") == before


def test_a_list_has_every_study_and_how_it_stands(grid: Path, harness: Harness, tmp_path: Path) -> None:
    done = harness("study", "list", "--json", str(tmp_path / "list.json"), cwd=grid)
    assert done.stdout.splitlines()[1].split()[:6] == [NAME, "complete", "20", "of", "20", "0"]
    [listed] = json.loads((tmp_path / "list.json").read_text())["studies"]
    assert (listed["name"], listed["state"], listed["finished"], listed["total"]) == (NAME, "complete", 20, 20)


def test_a_study_is_shown_with_what_failed_and_where_its_report_is(sampled: Doomed, harness: Harness) -> None:
    with closing(sqlite3.connect(sampled.folder / "mlflow.db")) as connection, connection:
        [[run]] = connection.execute(
            "select run_uuid from tags where key = 'harness.role' and value = 'training' limit 1"
        ).fetchall()
        connection.execute("update runs set status = 'FAILED' where run_uuid = ?", (run,))
        connection.execute("insert into tags (key, value, run_uuid) values ('harness.failure', 'no memory', ?)", (run,))
    shown = harness("study", "show", NAME, cwd=sampled.folder).stdout
    assert f"{NAME}: complete, last run 20" in shown
    assert "1 failed: no memory" in shown
    assert str(sampled.folder / "out" / NAME / "report.html") in shown
    missing = harness("study", "show", "another", cwd=sampled.folder)
    assert missing.returncode == 2
    assert "no study called 'another' was recorded" in missing.stderr


@pytest.mark.usefixtures("gridded")
def test_a_check_says_what_would_be_trained_and_run_trains_that(harness: Harness, tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text(file.read_text().replace("[1, 2, 3, 4, 5]", "[1, 2, 3, 4, 5, 6]"))
    checked = harness("study", "check", FILE, *DATA).stdout
    assert "20 of 24 trials are done" in checked
    assert "to train: 2 trainings, 12 epochs in total" in checked
    assert "estimated from 10 trainings of doomed" in checked
    ran = harness("study", "run", FILE, *DATA)
    assert "4 trials done, 0 failed" in ran.stderr
    assert "nothing to train" in harness("study", "check", FILE, *DATA).stdout


@pytest.mark.slow
def test_a_search_grows_to_a_number_of_trials_in_all(sampled: Doomed, harness: Harness) -> None:
    before = sampled.trainings()
    grown = harness("study", "run", FILE, *DATA, "--trials", "13", cwd=sampled.folder)
    assert "10 of 13 trials are done; training 3" in grown.stderr
    assert set(before) <= set(sampled.trainings())
    assert (
        "nothing to train: all 13 trials are done"
        in harness("study", "run", FILE, *DATA, "--trials", "13", cwd=sampled.folder).stderr
    )
    fewer = harness("study", "run", FILE, *DATA, "--trials", "5", cwd=sampled.folder)
    assert "nothing to train: all 13 trials are done, 5 were requested" in fewer.stderr


def test_a_grid_has_no_number_of_trials_to_ask_for(grid: Path, harness: Harness) -> None:
    refused = harness("study", "run", FILE, *DATA, "--trials", "500", cwd=grid)
    assert refused.returncode == 2
    assert "the number of trials of doomed is fixed by its grid: 20" in refused.stderr


@pytest.mark.parametrize("name", ["", "A B", "../up"])
def test_what_is_no_name_is_refused(grid: Path, harness: Harness, name: str) -> None:
    refused = harness("study", "run", FILE, *DATA, "--new-name", name, cwd=grid)
    assert refused.returncode == 2
    assert "is not a valid study name" in refused.stderr


@pytest.mark.slow
def test_a_changed_study_is_refused_and_goes_on_under_a_new_name_or_afresh(
    gridded: Doomed, harness: Harness, tmp_path: Path
) -> None:
    doomed = gridded
    before, report = doomed.numbers(), (tmp_path / "out" / NAME / "report.md").read_bytes()
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text() + "\n[fixed]\nbatch_size = 64\n")
    for command in ("run", "check"):
        refused = harness("study", command, FILE, *DATA)
        assert refused.returncode == 2
        assert "batch_size: 32 before, 64 now" in refused.stdout + refused.stderr
    assert doomed.numbers() == before
    assert (tmp_path / "out" / NAME / "report.md").read_bytes() == report
    renamed = harness("study", "run", FILE, *DATA, "--new-name", "wider")
    assert "20 trials done" in renamed.stderr, renamed.stderr
    assert "# wider on optdigits-5000" in (tmp_path / "out" / "wider" / "report.md").read_text()
    fresh = harness("study", "run", FILE, *DATA, "--fresh")
    assert "20 trials done" in fresh.stderr, fresh.stderr
    assert len(doomed.trainings()) == 60
    [kept] = (tmp_path / "out" / NAME / "archive").iterdir()
    assert (kept / "report.md").read_bytes() == report
    listed = harness("study", "list").stdout
    assert sorted(line.split()[1] for line in listed.splitlines()[1:]) == ["archived", "complete", "complete"]
    assert "nothing to train" in harness("study", "run", FILE, *DATA).stderr


def test_other_images_are_refused(grid: Path, harness: Harness, mnist: Path) -> None:
    refused = harness("study", "run", FILE, "--data", str(mnist), cwd=grid)
    assert refused.returncode == 2
    assert "images: optdigits-5000 (1df638f67c09) before, lab-5000 (" in refused.stderr


@pytest.mark.slow
def test_two_trials_at_one_point_are_trained_once(harness: Harness, tmp_path: Path) -> None:
    doomed = Doomed(tmp_path, "sampled", "standin")
    file = tmp_path / FILE
    text = file.read_text().replace("learning_rate = { low = 0.0005, high = 0.02, log = true }", "")
    file.write_text(text.replace("trials = 10", "trials = 12"))
    done = harness("study", "run", FILE, *DATA)
    assert done.returncode == 0, done.stderr
    trainings = [variant for variant, *_ in doomed.trainings()]
    assert len(trainings) == len(set(trainings)) <= 8
    assert "nothing to train: all 12 trials are done" in harness("study", "run", FILE, *DATA).stderr
    same = doomed._rows("select value from tags where key = 'harness.same_as'")
    assert len(same) == 12 - len(trainings) // 2


def test_nobody_holds_a_study_that_nobody_runs(grid: Path) -> None:
    assert holder(grid / "out" / NAME) is None
    assert not (grid / "out" / NAME / "run.json").exists()
