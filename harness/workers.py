"""Batches of variants onto local processes, one a core, each with TensorFlow of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from pebble import ProcessPool

from harness import engines, trials
from harness.digits import Digits
from harness.engines.contract import Engine
from harness.errors import StoppedError
from harness.trials import Outcome
from harness.variant import Variant

# In a worker process: its engine and images, made once for all its batches, or why it has none.
_ready: tuple[Engine, Digits] | str = "the worker was not started"


class WorkerError(Exception):
    """A worker that could not make its engine, and why."""


def default_count() -> int:
    """As many workers as cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(engine: str, digits: Digits) -> None:
    """Make this worker ready; Ctrl-C is the coordinator's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _ready  # noqa: PLW0603 - what a worker is made with outlives the call that makes it
    try:
        _ready = engines.make(engine, digits), digits
    except Exception as error:  # noqa: BLE001 - told with the first batch: the pool would only say that it broke
        _ready = f"engine {engine} cannot be made: {type(error).__name__}: {error}"


def _train(variants: Sequence[Variant]) -> list[Outcome]:
    if isinstance(_ready, str):
        raise WorkerError(_ready)
    return trials.run(*_ready, variants)


class Workers:
    """Worker processes that train batches of variants; one that dies fails its own batch alone.

    Args:
        count: processes, each with one thread.
        engine: the name of the engine that trains.
        digits: the images, handed to each process once.
    """

    def __init__(self, count: int, engine: str, digits: Digits) -> None:
        self._pool = ProcessPool(
            max_workers=count,
            initializer=_start,
            initargs=(engine, digits),
            context=multiprocessing.get_context("spawn"),
        )

    def submit(self, variants: Sequence[Variant]) -> Future[list[Outcome]]:
        """Train a batch as soon as a worker is free; its outcomes come in order.

        Raises:
            StoppedError: the processes cannot be started, or cannot be reached any more.
        """
        try:
            future: Future[list[Outcome]] = self._pool.schedule(_train, args=(list(variants),))
        except RuntimeError as error:
            raise StoppedError(f"the workers broke down: {error}", "Run again; what was recorded is kept.") from error
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._pool.close()
        else:
            self._pool.stop()
        self._pool.join()
