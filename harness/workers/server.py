"""The fork server: a process that imports TensorFlow once, and then forks the workers.

This module imports little, so that the command can start the server before it loads its own packages.
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

from harness import provenance

# The module that the server imports before it forks the first worker.
_PRELOAD = "harness.workers.preload"
# The environment variable for the number of threads of NumPy's matrix products. It is read when NumPy is imported.
_NUMPY_THREADS = "OPENBLAS_NUM_THREADS"
# A lock for starting processes: multiprocessing cannot start processes from several threads at once.
_lock = threading.Lock()


def start() -> None:
    """Start the fork server, if this system supports it. The server imports TensorFlow in the background."""
    if is_usable():
        from multiprocessing import forkserver

        with starting():
            forkserver.ensure_running()


def is_usable() -> bool:
    """Return whether workers can be forked from the fork server.

    The system must be Linux, where importing TensorFlow starts no TensorFlow threads, so that forking is safe. The
    environment variables of TensorFlow must not have changed since the first call, because workers inherit the
    variables of the server.
    """
    return sys.platform == "linux" and _settings() == provenance.computing_settings()


@cache
def _settings() -> dict[str, str]:
    """Return TensorFlow's environment variables as they were at the first call.

    The fork server starts after this call, so these are also the variables of the server. The first call sets the
    module that the server imports.
    """
    multiprocessing.set_forkserver_preload([_PRELOAD])
    return provenance.computing_settings()


@contextmanager
def starting() -> Iterator[None]:
    """Prepare for starting a process in a ``with`` block. Only one block runs at a time.

    The process ignores Ctrl-C, and does not import modules from the current folder. NumPy uses one thread, because one
    process trains per core. If the user has set the number of threads, this setting is kept.
    """
    # The variables stay set: another thread that reads the environment would fail if a variable disappeared.
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ.setdefault(_NUMPY_THREADS, "1")
    with _lock, without_interrupts():
        yield


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Block SIGINT in processes that start within this ``with`` block.

    Only the main process handles Ctrl-C.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting the resource tracker unblocks SIGINT, so start it first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
