"""SQLite databases of other ages, of other programs, and of folders that were moved."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from alembic import command
from mlflow.store.db import utils
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

from harness.tracking import database
from harness.tracking.location import sqlite_uri
from tests.support import Harness
from tests.torture import NAME, Doomed

pytestmark = pytest.mark.usefixtures("standin")

DATA = ("--data", "optdigits")
RUN = ("study", "run", f"{NAME}.toml", *DATA, "--workers", "1")
# The revision before the last of MLflow 3.17.2.
OLDER = "75868b020152"


def make_older(database: Path) -> None:
    """Give a database the schema of an earlier MLflow, with the same records."""
    new = database.with_name("new.db")
    database.rename(new)
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    InitialBase.metadata.create_all(engine)
    config = utils._get_alembic_config(str(engine.url))
    with engine.begin() as migrated:
        config.attributes["connection"] = migrated
        command.upgrade(config, OLDER)
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("attach ? as new", (str(new),))
        for table in Base.metadata.tables:
            columns = [row[1] for row in connection.execute(f"pragma main.table_info({table})")]
            known = {row[1] for row in connection.execute(f"pragma new.table_info({table})")}
            names = ", ".join(f'"{name}"' for name in columns if name in known)
            if names and columns and table != "alembic_version":
                connection.execute(f"delete from main.{table}")  # noqa: S608 - MLflow's own names
                connection.execute(f"insert into main.{table} ({names}) select {names} from new.{table}")  # noqa: S608
    new.unlink()


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("select version_num from alembic_version").fetchone()[0])


def schema_of(path: Path) -> list[tuple[str, str, str]]:
    """The table, name and type of every column. MLflow does not create constraints in a fixed order."""
    columns = "select t.name, c.name, c.type from sqlite_master as t join pragma_table_info(t.name) as c order by 1, 2"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select count(*) from experiments").fetchone() == (0,)
        return connection.execute(columns).fetchall()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty database in the cache, after a first database was created."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    database.create(tmp_path / "first.db")
    [path] = (tmp_path / "cache" / "zero-errors" / "databases").iterdir()
    return path


def test_later_databases_are_copies_of_the_first(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "_initialize_tables", None)
    database.create(tmp_path / "second.db")
    assert schema_of(tmp_path / "second.db") == schema_of(tmp_path / "first.db") == schema_of(kept)


def test_a_kept_database_that_is_not_an_empty_one_is_replaced(kept: Path, tmp_path: Path) -> None:
    expected, content = schema_of(kept), kept.read_bytes()
    kept.write_bytes(content[:100_000])
    database.create(tmp_path / "second.db")
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute("insert into experiments (experiment_id, name) values (1, 'of another')")
    database.create(tmp_path / "third.db")
    assert schema_of(tmp_path / "second.db") == schema_of(tmp_path / "third.db") == schema_of(kept) == expected


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def finished(whole_grid: Doomed, tmp_path: Path) -> Doomed:
    """A study that was run to its end, moved to another folder."""
    shutil.copytree(whole_grid.folder, tmp_path, dirs_exist_ok=True)
    return Doomed(tmp_path, "grid", "standin")


@pytest.fixture
def older(finished: Doomed) -> Path:
    path = finished.folder / "mlflow.db"
    make_older(path)
    return path


def test_commands_that_read_leave_an_older_database_as_it_is(older: Path, harness: Harness, tmp_path: Path) -> None:
    before = digest(older)
    for arguments in (("study", "list"), ("study", "check", f"{NAME}.toml", *DATA), ("compare", NAME, NAME)):
        done = harness(*arguments)
        assert done.returncode == 0, done.stderr
        assert "was made by an older MLflow. A migrated copy is read. The file is not changed" in done.stderr
    assert (digest(older), revision(older)) == (before, OLDER)
    assert not list(tmp_path.glob("mlflow.db.before*"))


def test_a_command_that_writes_migrates_an_older_database_and_keeps_a_copy(older: Path, harness: Harness) -> None:
    before = digest(older)
    done = harness(*RUN)
    assert done.returncode == 0, done.stderr
    assert "nothing to train: all 20 trials are done" in done.stderr
    assert (
        "It is now migrated to the installed version. The original is kept as mlflow.db.before-migration" in done.stderr
    )
    assert revision(older) == utils._get_latest_schema_revision()
    kept = older.with_name("mlflow.db.before-migration")
    assert revision(kept) == OLDER
    assert before  # the copy has the same content, though not the same bytes
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (21,)


def test_a_newer_database_is_named_as_such(finished: Doomed, harness: Harness) -> None:
    path = finished.folder / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update alembic_version set version_num = 'ffffffffffff'")
    before = digest(path)
    for arguments in (("study", "list"), RUN, ("report",)):
        done = harness(*arguments)
        assert done.returncode == 5
        assert "was made by a newer MLflow with the schema ffffffffffff" in done.stderr
    assert digest(path) == before


@pytest.mark.parametrize("whose", ["Optuna", "another program"])
def test_a_database_of_another_program_is_left_alone(harness: Harness, tmp_path: Path, whose: str) -> None:
    path = tmp_path / "mlflow.db"
    if whose == "Optuna":
        optuna.storages.RDBStorage(f"sqlite:///{path}").engine.dispose()
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("create table customers (name text)")
    before = digest(path)
    Doomed(tmp_path, "grid", "standin")
    for arguments in (("study", "list"), RUN):
        done = harness(*arguments)
        assert done.returncode == 5
        assert f"is a database of {whose}, not of MLflow" in done.stderr
    assert digest(path) == before


@pytest.mark.parametrize("leftover", ["mlflow.db.making", ".mlflow.db.new"])
def test_what_an_interrupted_creation_left_never_costs_a_database(
    finished: Doomed, harness: Harness, leftover: str
) -> None:
    (finished.folder / leftover).write_bytes(b"anything")
    done = harness(*RUN)
    assert "nothing to train: all 20 trials are done" in done.stderr, done.stderr


@pytest.mark.slow
def test_a_database_is_created_whole_or_not_at_all(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    code = (
        "import os, signal; from pathlib import Path; from mlflow.store.db import utils\n"
        "from harness.tracking import database\n"
        "utils._upgrade_db = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # the tables exist, without migrations\n"
        "database.create(Path('x.db'))"
    )
    empty_cache = {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=empty_cache, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / ".x.db.new").stat().st_size > 0
    assert not (tmp_path / "x.db").exists()
    database.create(tmp_path / "x.db")
    assert database.schema(tmp_path / "x.db") is database.Schema.CURRENT
    assert {path.name for path in tmp_path.iterdir()} - {"x.db-wal", "x.db-shm"} == {"x.db"}  # readers make these two


# Moved folders


@pytest.fixture
def moved(finished: Doomed, harness: Harness) -> tuple[Doomed, Path]:
    """A study whose folder was moved after it ran, and its earlier folder."""
    old, new = finished.folder / "old", finished.folder / "new"
    old.mkdir()
    for path in (
        *finished.folder.glob("mlflow.db*"),
        *finished.folder.glob("mlartifacts"),
        finished.folder / f"{NAME}.toml",
    ):
        path.rename(old / path.name)
    assert harness(*RUN, cwd=old).returncode == 0
    old.rename(new)
    return Doomed(new, "grid", "standin"), old


def test_commands_that_read_use_the_artifacts_beside_a_moved_database(
    moved: tuple[Doomed, Path], harness: Harness
) -> None:
    doomed, old = moved
    before = digest(doomed.folder / "mlflow.db")
    assert harness("study", "list", cwd=doomed.folder).returncode == 0
    assert harness("compare", NAME, NAME, cwd=doomed.folder).returncode == 0
    assert digest(doomed.folder / "mlflow.db") == before
    done = harness("report", "--out", "again", cwd=doomed.folder)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    assert "20 finished" in (doomed.folder / "again" / "report.md").read_text()
    assert not old.exists()


def test_a_study_in_a_moved_folder_writes_its_artifacts_there(moved: tuple[Doomed, Path], harness: Harness) -> None:
    doomed, old = moved
    file = doomed.folder / f"{NAME}.toml"
    file.write_text(file.read_text().replace("[1, 2, 3, 4, 5]", "[1, 2, 3, 4, 5, 6]"))
    done = harness(*RUN, cwd=doomed.folder)
    assert done.returncode == 0, done.stderr
    assert f"Its artifact folder was {old / 'mlartifacts'} and is now " in done.stderr
    assert "4 trials done" in done.stderr
    assert not old.exists()
    here = (doomed.folder / "mlartifacts").as_uri()
    assert {uri.startswith(here) for (uri,) in doomed._rows("select artifact_uri from runs")} == {True}
    assert (doomed.folder / "mlflow.db.before-relocation-2").is_file()
    assert "was moved" not in harness(*RUN, cwd=doomed.folder).stderr


def test_a_database_that_was_moved_without_its_artifacts_is_one_error_that_names_both_folders(
    moved: tuple[Doomed, Path], harness: Harness
) -> None:
    doomed, old = moved
    shutil.rmtree(doomed.folder / "mlartifacts")
    done = harness(*RUN, cwd=doomed.folder)
    assert done.returncode == 5
    assert str(old / "mlartifacts") in done.stderr
    assert f"put its artifacts into {doomed.folder / 'mlartifacts'}" in done.stderr
    assert not old.exists()


def test_artifacts_lie_beside_a_database_that_is_elsewhere(harness: Harness, tmp_path: Path) -> None:
    work, stores = tmp_path / "work", tmp_path / "stores"
    stores.mkdir()
    doomed = Doomed(work, "grid", "standin")
    uri = f"sqlite+pysqlite:///{stores}/x.db?timeout=60"
    done = harness(*RUN, cwd=work, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    assert (stores / "mlartifacts").is_dir()
    assert not (doomed.folder / "mlartifacts").exists()
    for arguments in (("study", "list"), ("report",)):
        assert harness(*arguments, cwd=work, MLFLOW_TRACKING_URI=uri).returncode == 0
    assert sqlite_uri(stores / "x.db") == f"sqlite:///{stores}/x.db"


# Records of earlier versions of this project

RECORDS = Path(__file__).with_name("records-510fbe6.zip")


def test_records_of_an_early_version_are_read_resumed_and_grow(harness: Harness, tmp_path: Path) -> None:
    """The studies ``old`` and ``found`` were run by the code of commit 510fbe6 with ``study run FILE``."""
    with zipfile.ZipFile(RECORDS) as archive:
        archive.extractall(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.executescript((tmp_path / "mlflow.sql").read_text())
    listed = harness("study", "list")
    assert [line.split()[:5] for line in listed.stdout.splitlines()[1:]] == [
        ["found", "complete", "2", "of", "2"],
        ["old", "complete", "4", "of", "4"],
    ]
    assert harness("compare", "old", "old").returncode == 0
    assert harness("report", "old").returncode == 0
    assert "4 runs from 2 trainings, 4 finished" in (tmp_path / "out" / "old" / "report.md").read_text()
    for name, found in (("old", "all 4 trials are done"), ("found", "all 2 trials are done")):
        assert f"nothing to train: {found}" in harness("study", "run", f"{name}.toml", *DATA, "--workers", "1").stderr
    grown = harness("study", "run", "found.toml", *DATA, "--workers", "1", "--trials", "4")
    assert "2 trials done, 0 failed" in grown.stderr
