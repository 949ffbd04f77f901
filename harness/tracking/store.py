"""Opens MLflow's tracking store without damaging it or disturbing other processes that use it."""

from __future__ import annotations

import atexit
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import sqlalchemy
from alembic.util.exc import CommandError
from filelock import FileLock
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import ConnectionError as NoConnectionError
from requests.exceptions import InvalidURL, RequestException, Timeout
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from harness.errors import StoppedError, UsageError, first_line
from harness.files import masked
from harness.retry import RetryingProxy, database_may_come_back, with_retries
from harness.tracking.location import ARTIFACTS, EXPERIMENT, database_path, tracking_uri

RUN_ONE = "Run a study first (harness study run). Use the same folder or MLFLOW_TRACKING_URI for both commands."

# This tag tells MLflow's UI to show runs and models. Without it, the UI asks or guesses whether the experiment is about
# language models.
_TRAINS = {"mlflow.experimentKind": "custom_model_development"}
_PAGE = 1000
_BUSY_MS = 60_000  # the time to wait for another process that writes to the same SQLite database
_AWAY = (429, 500, 502, 503, 504)

# The SQLAlchemy engines of MLflow and Optuna, which keep their database connections open.
_engines: WeakSet[sqlalchemy.Engine] = WeakSet()


class StoreError(StoppedError):
    """The tracking store cannot be reached, read or written.

    Attributes:
        is_away: Whether the store stayed unavailable during all retries, so that another call would fail too.
    """

    def __init__(self, cause: str, remedy: str, *, is_away: bool = False) -> None:
        super().__init__(cause, remedy)
        self.is_away = is_away


@contextmanager
def failures() -> Iterator[None]:
    """Convert storage and network errors to :class:`StoreError`."""
    try:
        yield
    except (
        *(MlflowException, SQLAlchemyError, CommandError, RequestException),
        *(OSError, sqlite3.Error, ImportError),
    ) as error:
        cause = masked(f"the tracking store {tracking_uri()} failed: {first_line(error)}")
        remedy = (
            "Recorded results are kept. Repair the store or set MLFLOW_TRACKING_URI to another one, then run again."
        )
        raise StoreError(cause, remedy, is_away=_may_pass(error)) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _may_pass(error: BaseException) -> bool:
    """Whether an error may be temporary: the server is unavailable or busy, or another process locks the database."""
    if not isinstance(error, Exception):
        return False  # Ctrl-C while an error is handled
    for cause in _causes(error):
        if isinstance(cause, OperationalError):
            return database_may_come_back(cause)
        if isinstance(cause, NoConnectionError | Timeout) and not isinstance(cause, InvalidURL):
            return True
        response = getattr(cause, "response", None)
        if response is not None and getattr(response, "status_code", None) in _AWAY:
            return True
    is_remote = database_path(tracking_uri()) is None
    return is_remote and isinstance(error, MlflowException) and error.get_http_status_code() in _AWAY


class Store:
    """MLflow's open tracking store: its client, and the experiment that holds all runs.

    Args:
        create: Whether to create the database and the experiment if they do not exist. Readers pass false.

    Attributes:
        client: MLflow's client. Each of its methods retries while the store is unavailable.
        experiment_id: Id of the project's experiment.
        uri: Tracking URI of the store.
        path: File of an SQLite store; None for other stores.

    Raises:
        StoppedError: The store cannot be reached, read or written.
        UsageError: The database or the experiment does not exist, and `create` is false.
    """

    def __init__(self, *, create: bool) -> None:
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # MLflow also raises what it logs
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        sqlalchemy.event.listen(sqlalchemy.Engine, "engine_connect", _note)
        self.uri = tracking_uri()
        self.path = database_path(self.uri)
        if not create and self.path is not None and not _is_made(self.path):
            raise UsageError(f"nothing was recorded yet: {self.path} does not exist", RUN_ONE)
        if create:
            sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _tune_sqlite)
            with failures(), self.alone(), _whole(self.path):
                self._open()
                self.experiment_id = self._experiment()
        else:
            with failures():
                self._open()
                self.experiment_id = self._found_experiment()

    def _open(self) -> None:
        if self.path is not None and self.path.is_file():
            _check_database(self.path)
        self.client: Any = RetryingProxy(self.with_retries(MlflowClient)(self.uri), self._named(), _may_pass)

    def _named(self) -> str:
        return masked(f"the tracking store {self.uri}")

    def with_retries(self, function: Any) -> Any:  # noqa: ANN401 - takes any function and returns one of the same type
        """The function, with retries while the store is unavailable."""
        return with_retries(function, self._named(), _may_pass)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock an SQLite store, so that one process at a time enters this context. Other stores have no lock."""
        if self.path is None:
            yield
            return
        with FileLock(f"{self.path}.lock"):
            yield

    def search(self, condition: str, order_by: list[str] | None = None, page: int = _PAGE) -> Iterator[MlflowRun]:
        """The runs of the experiment that match a condition, fetched page by page."""
        token: str | None = None
        while True:
            found = self.client.search_runs(
                [self.experiment_id], condition, max_results=page, order_by=order_by, page_token=token
            )
            yield from found
            token = found.token
            if not token:
                return

    def _found_experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise UsageError(f"nothing was recorded yet in {masked(self.uri)}", RUN_ONE)
        return str(found.experiment_id)

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            location = None if self.path is None else Path(ARTIFACTS).absolute().as_uri()
            try:
                return str(self.client.create_experiment(EXPERIMENT, artifact_location=location, tags=_TRAINS))
            except MlflowException:  # another process created it at the same time, or it cannot be created
                found = self.client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            cause = f"the MLflow experiment {EXPERIMENT!r} was deleted"
            raise StoppedError(cause, "Restore it (mlflow experiments restore), or use another database.")
        return str(found.experiment_id)


def _is_made(path: Path) -> bool:
    """Whether the database exists and is complete."""
    return path.is_file() and path.stat().st_size > 0 and not _making(path).exists()


def _making(path: Path) -> Path:
    return path.with_name(f"{path.name}.making")


@contextmanager
def _whole(path: Path | None) -> Iterator[None]:
    """Create a new database completely or not at all.

    MLflow creates the schema of a new database in about a hundred steps. It refuses to open a database in which only
    some of these steps were done. If a process was stopped during the steps, the next process deletes the incomplete
    database and creates it again. No data is lost, because nothing is recorded before the steps are done.
    """
    if path is None:
        yield
        return
    making = _making(path)
    if making.exists():
        for part in ("", "-wal", "-shm"):
            path.with_name(path.name + part).unlink(missing_ok=True)
    is_new = not path.is_file()
    if is_new:
        making.touch()
    yield
    if is_new:
        making.unlink()


def _check_database(path: Path) -> None:
    """Fail at once if the file is not a database: MLflow would retry for 90 seconds."""
    with closing(sqlite3.connect(path, timeout=_BUSY_MS / 1000)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def _tune_sqlite(connection: object, _record: object) -> None:
    """Configure SQLite so that readers do not block, writers wait for each other, and commits do not wait for the disk.

    With the write-ahead log, a commit survives the death of the process without a sync. Only a power failure can lose
    the last commits, and it never corrupts the database.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def _note(connection: sqlalchemy.Connection) -> None:
    _engines.add(connection.engine)


@atexit.register
def _close() -> None:
    """Close all connections, so that SQLite merges its write-ahead log into the database file."""
    for engine in tuple(_engines):
        engine.dispose()
