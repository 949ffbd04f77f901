"""The store that runs go to: databases that are none, held by another, half made, or of another age."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.errors import StoppedError, UsageError
from harness.tracking import database, location
from harness.tracking.reader import StudyReader
from harness.tracking.store import Store


def test_tracking_goes_where_mlflow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert location.tracking_uri() == f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    assert location.tracking_uri() == f"sqlite:///{Path.cwd() / 'elsewhere.db'}"


def test_a_reader_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="nothing was recorded yet"):
        Store(create=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_has_no_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = StudyReader(Store(create=True))
    assert reader.newest_study() is None
    with pytest.raises(UsageError, match="no study called 'variants' was recorded"):
        reader.study("variants")


def test_a_file_that_is_no_database_is_one_error_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / location.DATABASE
    path.write_text("notes, not a database\n" * 100)
    with pytest.raises(StoppedError, match="file is not a database"):
        Store(create=True)
    assert path.read_text() == "notes, not a database\n" * 100


def test_a_database_that_another_holds_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    holder = sqlite3.connect(tmp_path / location.DATABASE, isolation_level=None)
    monkeypatch.setattr(database, "BUSY_S", 0.3)
    try:
        holder.execute("create table held (x)")
        holder.execute("begin exclusive")
        with pytest.raises(StoppedError, match="database is locked"):
            Store(create=True)
    finally:
        holder.close()


def test_a_database_of_another_age_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store(create=True)
    # A store that this process has open already is not looked at again: a copy is another one.
    copy = tmp_path / "copy"
    copy.mkdir()
    with sqlite3.connect(tmp_path / location.DATABASE) as old, sqlite3.connect(copy / location.DATABASE) as new:
        old.backup(new)
        new.execute("update alembic_version set version_num = 'ffffffffffff'")
    old.close()
    new.close()
    monkeypatch.chdir(copy)
    with pytest.raises(StoppedError, match="made by a newer MLflow"):
        Store(create=True)
