"""Creates, checks, migrates and copies the SQLite databases of MLflow.

A command that only reads never changes a database. If an older MLflow made the database, the command migrates a
temporary copy and reads the copy.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from enum import Enum
from itertools import count
from pathlib import Path

import sqlalchemy
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from mlflow.store.db import utils

from harness import provenance
from harness.data.digits import cache_folder
from harness.errors import StoppedError
from harness.files import write_bytes
from harness.tracking.location import sqlite_uri

# Seconds to wait while another process writes to the same database.
BUSY_S = 60.0
# The tables and columns of MLflow that contain absolute artifact URIs.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_log = logging.getLogger(__name__)


class Schema(Enum):
    """The state of a database schema, compared with the schema of the installed MLflow."""

    EMPTY = "empty"
    CURRENT = "current"
    OLDER = "older"


def schema(path: Path) -> Schema:
    """Compare the schema of an existing database with the schema of the installed MLflow.

    The database is not changed.

    Raises:
        StoppedError: A newer MLflow created the database, or the database belongs to another program.
        sqlite3.Error: The file is not an SQLite database, or another process has locked it.
    """
    with closing(_opened(path)) as connection:
        tables = {str(name) for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        has_revision = "alembic_version" in tables
        found = connection.execute("select version_num from alembic_version").fetchone() if has_revision else None
    if not tables:
        return Schema.EMPTY
    remedy = "Set MLFLOW_TRACKING_URI to another database, or use another folder."
    if "experiments" not in tables:
        owner = "Optuna" if {"studies", "trials"} <= tables else "another program"
        raise StoppedError(f"{path} is a database of {owner}, not of MLflow", remedy)
    head = utils._get_latest_schema_revision()  # noqa: SLF001 - MLflow has no public function for this
    if found is not None and found[0] == head:
        return Schema.CURRENT
    if found is not None and not _is_known(str(found[0])):
        cause = f"{path} was made by a newer MLflow with the schema {found[0]}"
        raise StoppedError(cause, f"Install that version of MLflow. {remedy}")
    return Schema.OLDER


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)


def _is_known(revision: str) -> bool:
    try:
        ScriptDirectory.from_config(utils._get_alembic_config("")).get_revision(revision)  # noqa: SLF001 - MLflow has no public function for this
    except CommandError:
        return False
    return True


def create(path: Path) -> None:
    """Create an empty database of MLflow, either completely or not at all.

    MLflow creates the schema in about a hundred steps. It cannot open a database in which some steps are missing. So
    this function creates the database under a temporary name and renames it at the end. The caller must hold the lock
    of the store.

    The steps take almost a second. To save this time, the function keeps an empty database in the cache and copies it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    for left in (new, *(new.with_name(new.name + part) for part in ("-wal", "-shm", "-journal"))):
        left.unlink(missing_ok=True)  # If a process was killed in this function, the file may still exist.
    kept = cache_folder() / "databases" / f"mlflow-{provenance.versions()['mlflow']}.db"
    if _is_intact(kept):
        copy(kept, new)
    else:
        _change(new, utils._initialize_tables)  # noqa: SLF001 - MLflow has no public function for this
        with suppress(OSError, sqlite3.Error, StoppedError):  # The cache is optional.
            write_bytes(kept, new.read_bytes())
    new.replace(path)


def _is_intact(kept: Path) -> bool:
    """Whether a file is an intact database of the installed MLflow and contains no experiments."""
    try:
        if schema(kept) is not Schema.CURRENT:
            return False
        with closing(_opened(kept)) as connection:
            (experiments,) = connection.execute("select count(*) from experiments").fetchone()
            (found,) = connection.execute("pragma integrity_check").fetchone()
            return bool(found == "ok" and experiments == 0)
    except (sqlite3.Error, StoppedError):
        return False


def migrate(path: Path) -> None:
    """Migrate an older database to the schema of the installed MLflow. Keep a copy of the original database."""
    kept = _unused(path, "before-migration")
    copy(path, kept)
    _log.warning(
        "%s was made by an older MLflow. It is now migrated to the installed version. The original is kept as %s",
        *(path, kept.name),
    )
    _change(path, utils._upgrade_db)  # noqa: SLF001 - `mlflow db upgrade` calls the same function


def migrated_copy(path: Path) -> Path:
    """Copy an older database to a temporary folder, migrate the copy, and return the path of the copy."""
    folder = Path(tempfile.mkdtemp(prefix="harness-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    temporary = folder / path.name
    copy(path, temporary)
    _log.warning("%s was made by an older MLflow. A migrated copy is read. The file is not changed", path)
    _change(temporary, utils._upgrade_db)  # noqa: SLF001 - `mlflow db upgrade` calls the same function
    return temporary


def relocate(path: Path, old: str, new: str) -> Path:
    """Replace the URI of the artifact folder everywhere in a database, in one transaction.

    Args:
        path: Database file.
        old: URI that the database contains.
        new: URI of the folder that now contains the artifacts.

    Returns:
        The path of a copy of the original database.
    """
    kept = _unused(path, "before-relocation")
    copy(path, kept)
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection, connection:
        for table, column in _ADDRESSES:
            connection.execute(
                f"update {table} set {column} = ? || substr({column}, ?) "  # noqa: S608 - the names are constants of this module
                f"where {column} = ? or substr({column}, 1, ?) = ?",
                (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )
    return kept


def _unused(path: Path, suffix: str) -> Path:
    """A path in the folder of the database at which no file exists: the database's name with a suffix."""
    kept = path.with_name(f"{path.name}.{suffix}")
    for number in count(2):
        if not kept.exists():
            break
        kept = path.with_name(f"{path.name}.{suffix}-{number}")
    return kept


def copy(path: Path, to: Path) -> None:
    """Copy a database. Other processes may write to it at the same time."""
    with closing(_opened(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def _change(path: Path, function: Callable[[sqlalchemy.Engine], None]) -> None:
    """Call a function of MLflow that creates or migrates a database."""
    engine = sqlalchemy.create_engine(sqlite_uri(path))
    try:
        function(engine)
    finally:
        engine.dispose()
