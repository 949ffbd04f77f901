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
from harness.trials import Outcome
from harness.variant import Variant

_engine: Engine | None = None
_digits: Digits | None = None


def default_count() -> int:
    """As many workers as cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(engine: str, digits: Digits) -> None:
    """Make this worker ready; Ctrl-C is the coordinator's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _engine, _digits
    _engine, _digits = engines.make(engine, digits), digits


def _train(variants: Sequence[Variant]) -> list[Outcome]:
    assert _engine is not None and _digits is not None, "the worker was not started"  # noqa: S101, PT018
    return trials.run(_engine, _digits, variants)


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
        """Train a batch as soon as a worker is free; its outcomes come in order."""
        future: Future[list[Outcome]] = self._pool.schedule(_train, args=(list(variants),))
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
