"""The module that the fork server of workers imports: it loads TensorFlow once for all workers."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from threading import Event, Thread

from harness.engines import tensorflow_setup

_WATCH_S = 0.05


def _load() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may reach the whole group, but the coordinator decides
    done = Event()
    watch = Thread(target=_end_with_the_parent, args=(os.getppid(), done))
    watch.start()
    gc.disable()  # collections take a tenth of the time to import TensorFlow
    # A worker meets the same error, and reports it.
    with suppress(Exception):
        tensorflow_setup.load(with_keras=False)
    gc.enable()
    gc.freeze()  # without this, collecting garbage in a worker would copy the memory that all workers share
    done.set()
    watch.join()  # no thread runs when workers are forked


def _end_with_the_parent(parent: int, done: Event) -> None:
    """End this process when the coordinating process ends while TensorFlow is being imported, as after an error."""
    while not done.wait(_WATCH_S):
        if os.getppid() != parent:
            os._exit(1)


_load()
