"""Starts MLflow's UI for the tracking database. Only this machine can reach the UI."""

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
    """The first free port of the loopback address, starting at ``first``.

    Raises:
        StoppedError: A hundred ports in a row are in use.
    """
    for port in range(first, first + _PORTS):
        if _is_free(port):
            return port
    cause = f"no port from {first} to {first + _PORTS - 1} is free"
    raise StoppedError(cause, "Stop a program that uses one of these ports, or choose another port with --port.")


def check_port(port: int) -> int:
    """Return the port that the user requested, if it is free.

    Raises:
        StoppedError: The port is in use.
    """
    if not _is_free(port):
        remedy = "Choose another port with --port, or omit --port to use a free port."
        raise StoppedError(f"port {port} of {HOST} is in use", remedy)
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
    """The address of the page to open, relative to the address of the server.

    The page shows the runs of the project's experiment. The address selects the pages for model training, because
    MLflow's UI opens the pages for language models by default.

    Raises:
        UsageError: There are no runs to show, or the tracking URI is a server with its own UI.
    """
    if tracking_uri.startswith("http"):
        raise UsageError(f"the runs are on the tracking server {tracking_uri}", "Open that address in a browser.")
    path = database_path(tracking_uri)
    if path is None:
        return "#/experiments"
    if not path.is_file():
        raise UsageError(f"nothing to show: {path} does not exist", _RUN_ONE)
    experiment = _experiment(path)
    if experiment is None:
        raise UsageError(f"nothing to show: {path} has no runs", _RUN_ONE)
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning"


def run_page(experiment_id: str, run_id: str) -> str:
    """The address of a run's page, relative to the address of the server. The page shows the note and the artifacts."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def _experiment(path: Path) -> int | None:
    """The id of the project's experiment. None if the experiment has no runs.

    This function does not use MLflow, because MLflow takes seconds to load.

    Raises:
        StoppedError: The file is not an MLflow database.
    """
    query = "select experiment_id from experiments join runs using (experiment_id) where experiments.name = ? limit 1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute(query, (EXPERIMENT,)).fetchone()
    except sqlite3.Error as error:
        remedy = "Repair the file, or set MLFLOW_TRACKING_URI to another database."
        raise StoppedError(f"{path} cannot be read as MLflow's database: {error}", remedy) from error
    return None if found is None else int(found[0])


@contextmanager
def served(tracking_uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve MLflow's UI during the context.

    The context begins as soon as the server answers requests. The server stops when the context ends.

    Raises:
        StoppedError: The server ended before it answered a request.
    """
    # The UI does not need telemetry or MLflow's job processes, so disable them.
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-P", "-m", "harness.tracking.pages", tracking_uri, str(port)]
    # Start the server in its own session. Then Ctrl-C reaches only this process, and this process stops the server.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while not _answers(port):
            if server.poll() is not None:
                cause = f"MLflow's server ended with status {server.returncode} before it answered a request"
                raise StoppedError(cause, "The reason is printed above.")
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
    """Stop the server, and wait until it has ended."""
    if server.poll() is not None:
        return
    if os.name == "nt":
        server.terminate()
    else:
        os.killpg(server.pid, signal.SIGTERM)
    server.wait()
