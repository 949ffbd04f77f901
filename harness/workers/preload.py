"""The module that the fork server imports before it forks workers. It loads TensorFlow once for all workers."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from threading import Event, Thread

from harness.engines import tensorflow_setup

_WATCH_S = 0.05


def _load() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only the main process handles SIGTERM
    done = Event()
    watch = Thread(target=_end_with_the_parent, args=(os.getppid(), done))
    watch.start()
    gc.disable()  # Garbage collection takes a tenth of the time to import TensorFlow.
    # Ignore errors here: the same error occurs in a worker, which reports it.
    with suppress(Exception):
        tensorflow_setup.load(with_keras=False)
    gc.enable()
    gc.freeze()  # otherwise, garbage collection in a worker would copy the memory that the workers share
    done.set()
    watch.join()  # no thread may run when workers are forked


def _end_with_the_parent(parent: int, done: Event) -> None:
    """End this process if the main process ends while TensorFlow is being imported here."""
    while not done.wait(_WATCH_S):
        if os.getppid() != parent:
            os._exit(1)


_load()
