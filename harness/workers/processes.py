"""Starts worker processes. They ignore Ctrl-C, and they end when the coordinating process ends."""

from __future__ import annotations

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

# The niceness of workers. The coordinating process, which submits batches and records results, has priority.
_NICE = 5


@dataclass(frozen=True)
class Child:
    """A process that was started, and this end of the connection to it."""

    process: BaseProcess
    connection: Connection

    def end(self) -> None:
        """Kill the process, and wait until it has ended."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def start(engine: str, run: Callable[..., None], *arguments: Any) -> Child:  # noqa: ANN401 - the function's own
    """Start a process that calls ``run(connection, *arguments)``.

    The processes of the project's engines are forked from a server that has imported TensorFlow. The first call starts
    the server, and waits until TensorFlow is imported.

    Raises:
        OSError: The process cannot be started.
    """
    with server.starting():
        if engine in registry.NAMES and server.is_usable():
            try:
                return _start(multiprocessing.get_context("forkserver"), run, arguments)
            except (EOFError, ConnectionError):
                pass  # TensorFlow ended the server: a process without a server reports how it ends
        return _start(multiprocessing.get_context("spawn"), run, arguments)


def begin() -> None:
    """Prepare this process: ignore signals, run with low priority, and end when the coordinating process dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may reach the whole group, but the coordinator decides
    lower_priority()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def lower_priority() -> None:
    """Lower the priority of this process, so that the coordinating process comes first."""
    if hasattr(os, "nice"):
        os.nice(_NICE)


def _start(context: Any, run: Callable[..., None], arguments: tuple[Any, ...]) -> Child:  # noqa: ANN401 - the stubs of contexts differ
    ours, its = context.Pipe()
    process = context.Process(target=run, args=(its, *arguments), daemon=True)
    process.start()
    its.close()  # close this copy, so that the pipe closes when the process ends
    return Child(process, ours)


def _end_with_the_parent() -> None:
    """End this process when the coordinating process dies."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
