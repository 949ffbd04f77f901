"""The fork server: a process that imports TensorFlow once, and from which workers are forked.

The module imports little, so that the command can start the server before it loads its own packages.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker

from harness import provenance, startup

# The module that the server imports before it forks the first worker.
_PRELOAD = "harness.workers.preload"
# The variable that NumPy's matrix products read when NumPy is imported.
_NUMPY_THREADS = "OPENBLAS_NUM_THREADS"
# multiprocessing cannot start processes from several threads at once.
_lock = threading.Lock()


def start() -> None:
    """Start the server, if this system can have one. It imports TensorFlow in the background."""
    if is_usable():
        from multiprocessing import forkserver

        with starting():
            forkserver.ensure_running()


def is_usable() -> bool:
    """Whether this system can have a server, and the server has the present environment's settings of TensorFlow.

    Forking after TensorFlow was imported is safe on Linux, where the import starts no threads of TensorFlow.
    """
    return sys.platform == "linux" and _settings() == provenance.computing_settings()


@cache
def _settings() -> dict[str, str]:
    """The settings of TensorFlow in the environment when the server starts. Its processes inherit them."""
    multiprocessing.set_forkserver_preload([_PRELOAD])
    return provenance.computing_settings()


@contextmanager
def starting() -> Iterator[None]:
    """Start one process at a time. It ignores Ctrl-C, and does not import modules of the current folder.

    NumPy uses one thread in the process, because one process trains per core. A value of the user is kept.
    """
    threads = os.environ.get(_NUMPY_THREADS, "1")
    with (
        _lock,
        startup.environment_variable("PYTHONSAFEPATH", "1"),
        startup.environment_variable(_NUMPY_THREADS, threads),
        without_interrupts(),
    ):
        yield


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Block SIGINT in processes that start within this ``with`` block.

    The coordinating process handles Ctrl-C.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # start it first: its start unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
