"""Starts MLflow's pages for the tracking database, on this machine alone."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harness.errors import StoppedError, UsageError
from harness.tracking.location import EXPERIMENT, database_path

HOST = "127.0.0.1"
FIRST_PORT = 5000
_PORTS = 100
_POLL_S = 0.05
_RUN_ONE = "Run a study first: harness study run."


def free_port(first: int = FIRST_PORT) -> int:
    """The first port from ``first`` on that nobody listens to on the loopback address.

    Raises:
        StoppedError: a hundred ports in a row are taken.
    """
    for port in range(first, first + _PORTS):
        if _is_free(port):
            return port
    cause = f"no port from {first} to {first + _PORTS - 1} is free"
    raise StoppedError(cause, "Stop a server, or name a port by --port.")


def asked_port(port: int) -> int:
    """The port that was asked for.

    Raises:
        StoppedError: it is in use.
    """
    if not _is_free(port):
        raise StoppedError(f"port {port} of {HOST} is in use", "Name another by --port, or none for a free one.")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def landing(tracking_uri: str) -> str:
    """The page to open, from the address of the server on: the runs of the project's experiment.

    The address says that this is about models that are trained: by themselves MLflow's pages begin with those for
    language models.

    Raises:
        UsageError: there is nothing to show yet, or a tracking server shows it already.
    """
    if tracking_uri.startswith("http"):
        raise UsageError(f"the runs are on a tracking server, {tracking_uri}", "Open that address in a browser.")
    path = database_path(tracking_uri)
    if path is None:
        return "#/experiments"
    if not path.is_file():
        raise UsageError(f"there is nothing to show: {path} does not exist", _RUN_ONE)
    experiment = _experiment(path)
    if experiment is None:
        raise UsageError(f"there is nothing to show: {path} has no runs", _RUN_ONE)
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning"


def _experiment(path: Path) -> int | None:
    """The id of the project's experiment, if it has runs; looked up without MLflow, which takes seconds to load.

    Raises:
        StoppedError: the file is no database of MLflow's.
    """
    query = "select experiment_id from experiments join runs using (experiment_id) where experiments.name = ? limit 1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute(query, (EXPERIMENT,)).fetchone()
    except sqlite3.Error as error:
        remedy = "Repair the file, or name another with MLFLOW_TRACKING_URI."
        raise StoppedError(f"{path} cannot be read as MLflow's database: {error}", remedy) from error
    return None if found is None else int(found[0])


@contextmanager
def served(tracking_uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve MLflow's pages; they answer when the context begins, and are gone when it has ended.

    Raises:
        StoppedError: the server ended before it answered.
    """
    # Only the pages are wanted: no telemetry, and none of the processes that run MLflow's own jobs.
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "harness.tracking.pages", tracking_uri, str(port)]
    # In a session of its own, so that Ctrl-C reaches this process alone and the server is asked to stop only once.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while not _answers(port):
            if server.poll() is not None:
                cause = f"MLflow's server ended with status {server.returncode} before it answered"
                raise StoppedError(cause, "Its reason stands above.")
            time.sleep(_POLL_S)
        yield server
    finally:
        _stop(server)


def _answers(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection(HOST, port, timeout=5)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, and wait until it has."""
    if server.poll() is not None:
        return
    if os.name == "nt":
        server.terminate()
    else:
        os.killpg(server.pid, signal.SIGTERM)
    server.wait()
