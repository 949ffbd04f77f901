"""Starts worker processes. They ignore Ctrl-C, and they end when the main process ends."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from harness.engines import registry
from harness.workers import server

# The niceness of workers. It gives priority to the main process, which submits batches and records results.
_NICE = 5
# Held while a process is spawned. A spawned process reads its arguments from a pipe, and prints a traceback if the main
# process exits before it has written them. So the main process takes the lock when it exits: it waits for the process
# that is being spawned, and no other starts.
_spawning = threading.Lock()
atexit.register(_spawning.acquire)


@dataclass(frozen=True)
class Child:
    """A child process that was started, and the parent's end of the pipe to it."""

    process: BaseProcess
    connection: Connection

    def end(self) -> None:
        """Kill the process, and wait until it has ended."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def start(engine: str, run: Callable[..., None], *arguments: Any) -> Child:  # noqa: ANN401 - the arguments of `run`
    """Start a process that calls ``run(connection, *arguments)``.

    For an engine of this project, the process is forked from a fork server that has imported TensorFlow, if the system
    supports this. The first call for such an engine starts the server, and waits until TensorFlow is imported.

    Raises:
        OSError: The process cannot be started.
    """
    with server.starting():
        if engine in registry.NAMES and server.is_usable():
            try:
                return _start(multiprocessing.get_context("forkserver"), run, arguments)
            except (EOFError, ConnectionError):
                pass  # TensorFlow ended the fork server. The spawned process reports the same error.
        with _spawning:
            return _start(multiprocessing.get_context("spawn"), run, arguments)


def begin() -> None:
    """Prepare this process: ignore signals, run with low priority, and end when the main process dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only the main process handles SIGTERM
    lower_priority()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def lower_priority() -> None:
    """Lower the priority of this process, so that the main process comes first."""
    if hasattr(os, "nice"):
        os.nice(_NICE)


def _start(context: Any, run: Callable[..., None], arguments: tuple[Any, ...]) -> Child:  # noqa: ANN401 - each context has its own type
    ours, its = context.Pipe()
    process = context.Process(target=run, args=(its, *arguments), daemon=True)
    process.start()
    its.close()  # close this process's copy, so that the pipe closes when the child ends
    return Child(process, ours)


def _end_with_the_parent() -> None:
    """End this process when the main process dies."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
