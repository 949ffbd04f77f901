"""MLflow's own pages over the tracking database, on this machine alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from harness.errors import StoppedError, UsageError
from harness.store import database_path

_FIRST_PORT = 5000
_PORTS = 100


def free_port(first: int = _FIRST_PORT) -> int:
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
        raise StoppedError(f"port {port} of 127.0.0.1 is in use", "Name another by --port, or none for a free one.")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def command(tracking_uri: str, port: int) -> list[str]:
    """The command that serves the tracking database.

    Raises:
        UsageError: there is nothing to show yet, or a tracking server shows it already.
    """
    if tracking_uri.startswith("http"):
        raise UsageError(f"the runs are on a tracking server, {tracking_uri}", "Open that address in a browser.")
    path = database_path(tracking_uri)
    if path is not None and not path.is_file():
        raise UsageError(f"there is nothing to show: {path} does not exist", "Run a study first: harness study run.")
    server = ["server", "--backend-store-uri", tracking_uri, "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "mlflow", *server, "--workers", "1", "--uvicorn-opts", "--log-level warning"]


def serve(tracking_uri: str, port: int) -> int:
    """Serve until Ctrl-C, which is how one ends it; return the server's exit status."""
    # Only the pages are wanted: no telemetry, and none of the processes that run MLflow's own jobs.
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    # In a session of its own, so that Ctrl-C reaches this process alone and the server is asked to stop only once.
    server = subprocess.Popen(command(tracking_uri, port), env=environment, start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the server and its workers to stop, and wait until they have."""
    if server.poll() is not None:
        return
    if os.name == "nt":
        server.terminate()
    else:
        os.killpg(server.pid, signal.SIGTERM)
    server.wait()
