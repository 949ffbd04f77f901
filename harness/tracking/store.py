"""Opens MLflow's tracking store without damaging it or disturbing other processes that use it."""

from __future__ import annotations

import atexit
import logging
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import sqlalchemy
from alembic.util.exc import CommandError
from filelock import FileLock
from mlflow.entities import Experiment, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import ConnectionError as NoConnectionError
from requests.exceptions import InvalidURL, RequestException, Timeout
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from harness.errors import StoppedError, UsageError, first_line
from harness.files import masked
from harness.retry import RetryingProxy, database_may_come_back, with_retries
from harness.tracking import database
from harness.tracking.location import (
    EXPERIMENT,
    artifacts_beside,
    database_path,
    local_folder,
    sqlite_uri,
    tracking_uri,
)

RUN_ONE = "Run a study first (harness study run). Use the same folder or MLFLOW_TRACKING_URI for both commands."

# This tag makes MLflow's UI show the pages for model training. Without the tag, the UI asks or guesses whether the
# experiment is about language models.
_TRAINS = {"mlflow.experimentKind": "custom_model_development"}
_PAGE = 200  # runs per page; 1000 runs per page would take 10% less time but 65 MB of memory
_CONNECT_S = 3.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_AWAY = (429, 500, 502, 503, 504)
_log = logging.getLogger(__name__)

# The SQLAlchemy engines of MLflow and Optuna. They keep database connections open.
_engines: WeakSet[sqlalchemy.Engine] = WeakSet()


class StoreError(StoppedError):
    """The tracking store cannot be reached, read or written.

    Attributes:
        is_unavailable: Whether the store is still unavailable after all retries. If so, another call would fail too.
    """

    def __init__(self, cause: str, remedy: str, *, is_unavailable: bool = False) -> None:
        super().__init__(cause, remedy)
        self.is_unavailable = is_unavailable


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
            "Recorded results are kept. Repair the store or set MLFLOW_TRACKING_URI to another store, then run again."
        )
        raise StoreError(cause, remedy, is_unavailable=_may_pass(error)) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _may_pass(error: BaseException) -> bool:
    """Whether an error may be temporary: the server is unavailable or busy, or another process locks the database."""
    if not isinstance(error, Exception):
        return False  # Ctrl-C was pressed during the handling of an error.
    for cause in _causes(error):
        if isinstance(cause, OperationalError):
            return database_may_come_back(cause)
        if isinstance(cause, NoConnectionError | Timeout | ConnectionError | TimeoutError | socket.gaierror):
            return not isinstance(cause, InvalidURL)
        response = getattr(cause, "response", None)
        if response is not None and getattr(response, "status_code", None) in _AWAY:
            return True
    is_remote = database_path(tracking_uri()) is None
    return is_remote and isinstance(error, MlflowException) and error.get_http_status_code() in _AWAY


class Store:
    """An open tracking store of MLflow, with its client and the experiment of this project.

    Args:
        create: Whether to create the database and the experiment if they do not exist. Pass false to read only.

    Attributes:
        client: MLflow's client. Each of its methods retries while the store is unavailable.
        experiment_id: Id of the project's experiment.
        uri: Tracking URI of the store.
        path: Database file of an SQLite store; None for other stores.
        is_copy: Whether the client reads a temporary copy, because an older MLflow made the database.
        moved_from: Recorded artifact folder of an SQLite database, if it is outside the folder of the database. The
            database was then moved or copied. None in all other cases.

    Raises:
        StoppedError: The store cannot be reached, read or written.
        UsageError: The database or the experiment does not exist, and `create` is false.
    """

    def __init__(self, *, create: bool) -> None:
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # MLflow also raises the errors that it logs.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        sqlalchemy.event.listen(sqlalchemy.Engine, "engine_connect", _note)
        self.uri = tracking_uri()
        self.path = database_path(self.uri)
        self.is_copy = False
        if create:
            sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _tune_sqlite)
            with failures(), self.alone():
                if self.path is not None:
                    _prepare(self.path)
                self._open()
                self._use(self._experiment())
                if self.path is not None and self.moved_from is not None:
                    self._relocate(self.path)
        else:
            with failures():
                if self.path is not None:
                    self.uri = readable_uri(self.path, self.uri)
                    self.is_copy = database_path(self.uri) != self.path
                self._open()
                self._use(self._found_experiment())

    def _open(self) -> None:
        reach(self.uri, self._named())
        self.client: Any = RetryingProxy(self.with_retries(MlflowClient)(self.uri), self._named(), _may_pass)

    def _named(self) -> str:
        return masked(f"the tracking store {self.uri}")

    def with_retries(self, function: Any) -> Any:  # noqa: ANN401 - takes any function and returns one of the same type
        """Wrap a function so that it retries while the store is unavailable."""
        return with_retries(function, self._named(), _may_pass)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock an SQLite store during the context, so that other processes wait. Other stores have no lock."""
        if self.path is None:
            yield
            return
        with FileLock(f"{self.path}.lock"):
            yield

    def search(
        self, condition: str, order_by: list[str] | None = None, page: int = _PAGE, *, is_deleted: bool = False
    ) -> Iterator[MlflowRun]:
        """The runs of the experiment that match a condition, fetched page by page."""
        token: str | None = None
        view = ViewType.DELETED_ONLY if is_deleted else ViewType.ACTIVE_ONLY
        while True:
            found = self.client.search_runs(
                [self.experiment_id], condition, view, max_results=page, order_by=order_by, page_token=token
            )
            yield from found
            token = found.token
            if not token:
                return

    def _use(self, experiment: Experiment) -> None:
        self.experiment_id = str(experiment.experiment_id)
        self._location, self.moved_from = str(experiment.artifact_location), None
        folder = None if self.path is None else local_folder(self._location)
        if self.path is not None and folder is not None:
            folder = (self.path.parent / folder).resolve()
            if not folder.is_relative_to(self.path.parent.resolve()):
                self.moved_from = folder

    def _relocate(self, path: Path) -> None:
        """Make a moved or copied database use the artifact folder that is beside it.

        Raises:
            StoppedError: There is no artifact folder beside the database.
        """
        beside = artifacts_beside(path)
        if not beside.is_dir():
            raise StoppedError(
                f"{path} refers to artifacts in {self.moved_from}, which is outside the folder of the database",
                f"If the database was moved or copied, put its artifacts into {beside}, then run again.",
            )
        kept = database.relocate(path, self._location, beside.as_uri())
        _log.warning(
            "%s was moved or copied. Its artifact folder was %s and is now %s. The original database is kept as %s",
            *(path, self.moved_from, beside, kept.name),
        )
        self._use(self._experiment())

    def artifacts(self, uri: str) -> str:
        """The current artifact URI of a run. `uri` is the recorded artifact URI.

        If the database was moved, the result is in the artifact folder that is beside the database.
        """
        if self.moved_from is None or self.path is None or not uri.startswith(self._location):
            return uri
        return artifacts_beside(self.path).as_uri() + uri.removeprefix(self._location)

    def _found_experiment(self) -> Experiment:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise UsageError(f"nothing was recorded yet in {masked(self.uri)}", RUN_ONE)
        return _not_deleted(found)

    def _experiment(self) -> Experiment:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            location = None if self.path is None else artifacts_beside(self.path).as_uri()
            try:
                created = self.client.create_experiment(EXPERIMENT, artifact_location=location, tags=_TRAINS)
                return cast(Experiment, self.client.get_experiment(created))
            except MlflowException:  # Another process may have created the experiment at the same time.
                found = self.client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        return _not_deleted(found)


def reach(uri: str, name: str) -> None:
    """Wait until the server of a store accepts connections.

    MLflow retries for more than a minute before it reports anything. This function warns within seconds.

    Args:
        uri: URI of the store. For a local store, and for a server behind a proxy, the function returns at once.
        name: Name of the store in messages.

    Raises:
        OSError: The server accepts no connection within :data:`harness.retry.RETRY_LIMIT_S`.
    """
    parts = urlsplit(uri)
    port = _port(parts)
    if parts.hostname is None or port is None or (parts.scheme in getproxies() and not proxy_bypass(parts.hostname)):
        return
    host = parts.hostname

    def connect() -> None:
        socket.create_connection((host, port), _CONNECT_S).close()

    with_retries(connect, name, lambda error: isinstance(error, OSError))()


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    except ValueError:
        return None


def _not_deleted(experiment: Experiment) -> Experiment:
    """Return the experiment if it was not deleted.

    Raises:
        StoppedError: The experiment was deleted.
    """
    if experiment.lifecycle_stage == "deleted":
        cause = f"the MLflow experiment {EXPERIMENT!r} was deleted"
        restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        raise StoppedError(cause, f"Restore the experiment ({restore}), or use another database.")
    return experiment


def _prepare(path: Path) -> None:
    """Prepare a database for writing. Create the database if it does not exist, and migrate an older database."""
    state = database.schema(path) if _exists(path) else database.Schema.EMPTY
    if state is database.Schema.EMPTY:
        database.create(path)
    elif state is database.Schema.OLDER:
        database.migrate(path)


def readable_uri(path: Path, uri: str) -> str:
    """The URI to read a database from.

    The result is `uri`, or the URI of a migrated copy if an older MLflow made the database.

    Raises:
        StoppedError: A newer MLflow created the database, or the database belongs to another program.
        UsageError: The database does not exist or is empty.
    """
    if not _exists(path) or (state := database.schema(path)) is database.Schema.EMPTY:
        raise UsageError(f"nothing was recorded yet: {path} does not exist", RUN_ONE)
    return sqlite_uri(database.migrated_copy(path)) if state is database.Schema.OLDER else uri


def _exists(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _tune_sqlite(connection: object, _record: object) -> None:
    """Configure a connection to SQLite for several processes that read and write at the same time.

    Readers do not wait for writers. Writers wait for each other. Commits do not wait for the disk, and survive if the
    process is killed. A power failure can lose the last commits, but cannot corrupt the database.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout={database.BUSY_S * 1000:.0f}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def _note(connection: sqlalchemy.Connection) -> None:
    _engines.add(connection.engine)


@atexit.register
def _close() -> None:
    """Close all connections, so that SQLite merges its write-ahead log into the database file."""
    for engine in tuple(_engines):
        engine.dispose()
