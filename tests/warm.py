"""The command ``harness`` in a process of its own, forked from one that has loaded its packages.

Loading them takes four seconds of a core, and few tests are about that. All else is as when a user types the command:
a process with a folder, an environment, an output and a status of its own, which can be sent signals and be killed,
and which ends as Python does.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path

from harness import startup
from tests.support import COMMAND, ROOT

# What a command would import, by its module.
_LOADED = (
    "harness.commands.main",
    "harness.commands.progress",
    "harness.gate.run",
    "harness.reporting.gate_page",
    "harness.reporting.report",
    "harness.search.run",
    "harness.search.status",
    "harness.study.files",
    "harness.tracking.lock",
    "harness.workers.local",
    "mlflow.store.tracking.sqlalchemy_store",
)


# Pytest gives a test 600 s. A gate with all engines takes most of it where four processes run tests on two cores.
_PATIENCE_S = 580


@dataclass(frozen=True)
class _Asked:
    """A command to be started: see :func:`start`."""

    arguments: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    outputs: tuple[Path, Path]
    change: Callable[[], None] | None


class Command:
    """A command that was started: what tests use of :class:`subprocess.Popen`."""

    def __init__(self, parent: _Parent, pid: int) -> None:
        self._parent, self.pid = parent, pid

    @property
    def returncode(self) -> int | None:
        """Its status; None while it runs."""
        return self._parent.status(self.pid)

    def poll(self) -> int | None:
        """Its status; None while it runs."""
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its status, once it has ended."""
        status = self._parent.status(self.pid, timeout)
        if status is None:
            raise subprocess.TimeoutExpired("harness", timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.send_signal(signal.SIGKILL)


class _Parent:
    """The process that commands are forked from, seen from the tests'."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        command = [sys.executable, "-m", "tests.warm", str(its.fileno())]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # not what a test has put there for its command
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[its.fileno()])
        its.close()
        self._connection = Connection(ours.detach())
        self._ended: dict[int, int] = {}

    def fork(self, asked: _Asked) -> Command:
        self._connection.send(asked)
        while (status := self._told())[1] is not None:
            pass
        return Command(self, status[0])

    def status(self, pid: int, timeout: float = 0) -> int | None:
        """The status of a command; None if it runs when so many seconds are over."""
        deadline_s = time.monotonic() + timeout
        while pid not in self._ended and self._connection.poll(max(0, deadline_s - time.monotonic())):
            self._told()
        return self._ended.get(pid)

    def _told(self) -> tuple[int, int | None]:
        """Of a command that was started: its process; of one that ended: its process and its status."""
        pid, status = self._connection.recv()
        if status is not None:
            self._ended[pid] = status
        return pid, status

    def end(self) -> None:
        self._connection.close()
        self._process.wait()


@cache
def _parent() -> _Parent:
    parent = _Parent()
    atexit.register(parent.end)
    return parent


def start(
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    outputs: tuple[Path, Path],
    change: Callable[[], None] | None = None,
) -> Command:
    """Start the command.

    Args:
        arguments: of the command.
        cwd: its working folder.
        environment: the whole of it.
        outputs: the files to which its standard output and its standard error are appended.
        change: what is called in its process before it begins.
    """
    return _parent().fork(_Asked(arguments, cwd, dict(environment), outputs, change))


def run(
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    logs: Path,
    change: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; what it prints goes through files in a folder, and comes back."""
    outputs = logs / "stdout", logs / "stderr"
    for path in outputs:
        path.write_text("")
    command = start(arguments, cwd, environment, outputs, change)
    try:
        status = command.wait(_PATIENCE_S)
    finally:
        command.kill()
    return subprocess.CompletedProcess(list(arguments), status, *(path.read_text() for path in outputs))


# In the process that commands are forked from


def _serve(connection: Connection) -> _Asked | None:
    """Fork a process for every command that is asked for; what it is to do in the fork, None when no more is asked."""
    children, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(woken)
    while True:
        ready = wait([connection, children])
        if children in ready:
            os.read(children, 4096)
            _tell_of_the_ended(connection)
        if connection in ready:
            try:
                asked: _Asked = connection.recv()
            except EOFError:
                return None
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                connection.close()
                os.close(children)
                os.close(woken)
                return asked
            connection.send((pid, None))


def _tell_of_the_ended(connection: Connection) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        connection.send((pid, os.waitstatus_to_exitcode(status)))


def _become(asked: _Asked) -> None:
    """Make of a forked process one that was started as a user starts the command."""
    os.chdir(asked.cwd)
    os.environ.clear()
    os.environ.update(asked.environment)
    sys.path[:0] = [path for path in asked.environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = [COMMAND, *asked.arguments]
    for number, path in enumerate(asked.outputs, start=1):
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, number)
        os.close(output)
    # What a process that this one starts, a worker, takes for the script that was started.
    main = sys.modules["__main__"]
    main.__file__, main.__spec__ = COMMAND, None
    if asked.change is not None:
        asked.change()


if __name__ == "__main__":
    startup.reduce_garbage_collection()
    for name in _LOADED:
        import_module(name)
    gc.freeze()  # what is loaded is not looked through in the forks, which would copy it
    command = _serve(Connection(int(sys.argv[1])))
    if command is not None:
        _become(command)
        import_module("harness.commands.main").main()
