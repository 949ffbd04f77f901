"""What runs beside the harness on many machines, started for a test on loopback and gone after it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import COMMAND

LOOPBACK = "127.0.0.1"
_DEBIAN = Path("/usr/lib/postgresql")
_PATIENCE_S = 180.0  # a server makes its tables first, on a machine that is busy with tests


def free_port() -> int:
    """A port that nobody listens to now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return when somebody listens to a port."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            assert process is None or process.poll() is None, f"ended with status {process.returncode}"
            assert time.monotonic() < deadline_s, f"nobody listens to port {port}"
            time.sleep(0.1)
        else:
            return


@contextmanager
def running(
    command: Sequence[str], log: Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own; at the end Ctrl-C is typed, and nothing of it is left."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        try:
            _signal(process.pid, signal.SIGINT)
            process.wait(_PATIENCE_S)
        finally:
            _signal(process.pid, signal.SIGKILL)
            process.wait()


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


@contextmanager
def own_cluster(folder: Path, workers: int, environment: Mapping[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Run a cluster as ``harness cluster`` starts it: its address and its process, when its workers are there."""
    port, log = free_port(), folder / "cluster.log"
    command = [COMMAND, "cluster", "--workers", str(workers), "--port", str(port)]
    with running(command, log, folder, environment) as process:
        wait_for_port(port, process)
        while f":{port}" not in log.read_text():  # printed when the workers are there; one killed before is missed
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"tcp://{LOOPBACK}:{port}", process.pid


@contextmanager
def mlflow_server(folder: Path, database: str | None = None) -> Iterator[str]:
    """Run an MLflow server with artifacts in a folder, and records in a database or that folder; yield its address."""
    port = free_port()
    uri = database or f"sqlite:///{folder}/server.db"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--port", str(port), "--workers", "1"]
    # It needs no engine, and none of the processes that run MLflow's own jobs.
    environment = {"PYTHONPATH": "", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, folder / "log", folder, environment) as process:
        wait_for_port(port, process)
        yield f"http://{LOOPBACK}:{port}"


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server of a test's own, and its superuser's password."""

    port: int
    password: str
    data: Path
    programs: Path
    user: str | None

    def uri(self) -> str:
        """The URI of its own database."""
        return f"postgresql+psycopg://postgres:{self.password}@{LOOPBACK}:{self.port}/postgres"

    def control(self, *arguments: str) -> None:
        """Start or stop the server."""
        command = [str(self.programs / "pg_ctl"), "--pgdata", str(self.data), "--wait", *arguments]
        subprocess.run(
            _as(self.user, command), check=True, cwd="/", stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Start the server, or start it again."""
        options = f"-p {self.port} -c listen_addresses={LOOPBACK} -c unix_socket_directories='' -c fsync=off"
        self.control("--options", options, "--log", str(self.data / "log"), "start")


def postgres_programs() -> Path:
    """The folder of PostgreSQL's newest server; a test that needs it is skipped where there is none."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    elsewhere = shutil.which("initdb")
    if not found and elsewhere is None:
        pytest.skip("needs PostgreSQL's server: initdb is neither on the path nor in /usr/lib/postgresql")
    return found[-1].parent if found else Path(str(elsewhere)).resolve().parent


def _as(user: str | None, command: list[str]) -> list[str]:
    """The command as another user runs it; by setpriv, which is on every path, while runuser is on root's alone."""
    if user is None:
        return command
    return ["setpriv", "--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--init-groups", "--", *command]


@contextmanager
def postgres(password: str) -> Iterator[Postgres]:
    """Run a new PostgreSQL server on a free port of the loopback address."""
    programs = postgres_programs()
    user = None
    if os.geteuid() == 0:  # whom it refuses to serve
        user = "postgres"
        try:
            pwd.getpwnam(user)
        except KeyError:
            pytest.skip("needs a user called postgres to run PostgreSQL's server as, because the tests run as root")
    # Not in pytest's own folder, which no other user may enter.
    folder = Path(tempfile.mkdtemp(prefix="zero-errors-postgres-"))
    try:
        secret = folder / "password"
        secret.write_text(password)
        if user is not None:
            shutil.chown(folder, user)
            shutil.chown(secret, user)
        data = folder / "data"
        initdb = [str(programs / "initdb"), "--pgdata", str(data), "--username", "postgres"]
        options = ["--auth", "scram-sha-256", "--pwfile", str(secret), "--encoding", "UTF8", "--no-sync"]
        subprocess.run(_as(user, [*initdb, *options]), check=True, cwd="/", capture_output=True)
        server = Postgres(free_port(), password, data, programs, user)
        server.start()
        try:
            yield server
        finally:
            server.control("--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
