"""The store that runs go to: a real server, and databases that are none, locked, or of another age."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import tracking, ui
from harness.errors import StoppedError, UsageError
from harness.tracking import Tracker
from tests.support import SMALL_STUDY, Harness, page


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server with a database and artifacts of its own."""
    folder = tmp_path / "server"
    folder.mkdir()
    port = ui.free_port(5700)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--port", str(port), "--workers", "1"]
    with (folder / "log").open("w") as log:
        started = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            page(f"http://127.0.0.1:{port}/health", seconds=120)
            yield f"http://127.0.0.1:{port}"
        finally:
            started.terminate()
            started.wait(timeout=60)


@pytest.mark.slow
def test_runs_and_artifacts_go_to_a_server_that_is_named(
    server: str, harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(SMALL_STUDY)
    arguments = ("study", "run", "small.toml", "--workers", "1", "--data", "optdigits")
    done = harness(*arguments, MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlartifacts").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    tracker = Tracker(create=False)
    study = tracker.study("small")
    assert len(study.trainings) == 8
    for run in study.trainings:
        assert len(run.wrong_images) == run.metrics["final_errors"]
        # The longer of the two runs of each training has been read whole.
        assert len(run.losses) == (2 if run.params["epochs"] == "2" else 0)
        assert len(tracker.with_histories(run).losses) == int(run.params["epochs"])
    assert "nothing to train" in harness(*arguments, MLFLOW_TRACKING_URI=server).stderr


def test_a_reader_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="nothing was recorded yet"):
        Tracker(create=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_has_no_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracker = Tracker()
    assert tracker.newest_study() is None
    with pytest.raises(UsageError, match="no study called 'variants' was recorded"):
        tracker.study("variants")


def test_a_file_that_is_no_database_is_one_error_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / tracking.DATABASE
    path.write_text("notes, not a database\n" * 100)
    with pytest.raises(StoppedError, match="file is not a database"):
        Tracker()
    assert path.read_text() == "notes, not a database\n" * 100


def test_a_database_that_another_holds_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    holder = sqlite3.connect(tmp_path / tracking.DATABASE, isolation_level=None)
    try:
        holder.execute("create table held (x)")
        holder.execute("begin exclusive")
        with pytest.raises(StoppedError, match="database is locked"):
            Tracker()
    finally:
        holder.close()


def test_a_database_of_another_age_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Tracker()
    # A store that this process has open already is not looked at again: a copy is another one.
    copy = tmp_path / "copy"
    copy.mkdir()
    with sqlite3.connect(tmp_path / tracking.DATABASE) as old, sqlite3.connect(copy / tracking.DATABASE) as new:
        old.backup(new)
        new.execute("update alembic_version set version_num = 'ffffffffffff'")
    old.close()
    new.close()
    monkeypatch.chdir(copy)
    with pytest.raises(StoppedError, match="schema"):
        Tracker()


@pytest.mark.slow
@pytest.mark.parametrize("wait_s", [0.0, 0.3, 0.8])
def test_a_database_that_was_half_made_is_made_anew(
    wait_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from harness.tracking import Tracker; Tracker()"
    started = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    while not (tmp_path / "mlflow.db.making").exists():
        time.sleep(0.01)
    time.sleep(wait_s)
    started.kill()
    started.wait()
    monkeypatch.chdir(tmp_path)
    assert Tracker().newest_study() is None
    assert not (tmp_path / "mlflow.db.making").exists()
