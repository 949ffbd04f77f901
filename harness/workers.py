"""Batches of variants onto local processes, one a core, each with TensorFlow of its own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pebble import ProcessPool

from harness import engines, trials
from harness.digits import Digits
from harness.engines.contract import Engine
from harness.errors import StoppedError
from harness.output import write_bytes
from harness.trials import Outcome
from harness.variant import Shape, Variant

# So much do workers yield to the process that hands them work and records what they did.
_NICE = 5


class WorkerError(Exception):
    """A worker that could not make its engine, and why."""


class WorkerLostError(Exception):
    """A worker that died, again and again, while it trained a batch."""


def default_count() -> int:
    """As many workers as cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def give_way() -> None:
    """Begin a worker's life. What takes long is a task: a pool gives up on a worker that dies here."""
    if hasattr(os, "nice"):
        os.nice(_NICE)


def warm(engine: str, shape: Shape | None) -> None:
    """Load what takes seconds; whatever fails here fails again, and is told, with the first batch."""
    with suppress(Exception):
        engines.start(engine, shape)


@cache
def _made(engine: str, images: Path) -> tuple[Engine, Digits]:
    """This worker's engine and images, made once for all its batches."""
    digits = pickle.loads(images.read_bytes())  # noqa: S301 - written by the process that started this one
    return engines.make(engine, digits), digits


@dataclass(frozen=True)
class Batch:
    """What a worker trained, and when it was at it, seconds since 1970."""

    outcomes: list[Outcome]
    began_s: float
    ended_s: float


def _train(engine: str, images: Path, variants: Sequence[Variant]) -> Batch:
    began_s = time.time()
    try:
        made = _made(engine, images)
    except Exception as error:
        raise WorkerError(f"engine {engine} cannot be made: {type(error).__name__}: {error}") from error
    return Batch(trials.run(*made, variants), began_s, time.time())


@contextmanager
def _broken() -> Iterator[None]:
    """Turn a pool that cannot start or go on into one clear error."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise StoppedError(f"the workers broke down: {error}", "Run again; what was recorded is kept.") from error


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C, which goes to a whole terminal, does not reach: it is this process' to handle."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Trainers(Protocol):
    """What trains batches of variants, on this machine or on others."""

    @property
    def count(self) -> int:
        """How many batches train at a time."""

    def submit(self, variants: Sequence[Variant]) -> Future[Batch]:
        """Train a batch as soon as a worker is free; its outcomes come in order.

        The future ends with a StoppedError where nothing that trains can be reached any more.
        """
        ...


class Workers:
    """Worker processes that train batches of variants; one that dies fails its own batch alone.

    They start at once and load TensorFlow while this process has other things to do; the images come after, by
    :meth:`load`.

    Args:
        count: processes, each with one thread.
        engine: the name of the engine that trains.
        folder: where the images are left for them.
        shape: of the variants that come first, if it is known: the engine makes itself ready for it.

    Raises:
        StoppedError: the processes cannot be started.
    """

    def __init__(self, count: int, engine: str, folder: Path, shape: Shape | None = None) -> None:
        self.count = count
        self._engine = engine
        self._images = folder / "images.pickle"
        self._pool = ProcessPool(max_workers=count, initializer=give_way, context=multiprocessing.get_context("spawn"))
        with _broken(), without_interrupts():
            for _ in range(count):
                self._pool.schedule(warm, args=(engine, shape))

    def load(self, digits: Digits) -> None:
        """Leave the images where every worker finds them.

        Raises:
            StoppedError: the folder cannot be written, or the disk is full.
        """
        write_bytes(self._images, pickle.dumps(digits))

    def submit(self, variants: Sequence[Variant]) -> Future[Batch]:
        """Train a batch as soon as a worker is free; its outcomes come in order.

        Raises:
            StoppedError: the processes cannot be reached any more.
        """
        with _broken():
            arguments = (self._engine, self._images, list(variants))
            future: Future[Batch] = self._pool.schedule(_train, args=arguments)
            return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.stop()  # whoever leaves has all results, or wants no more
        self._pool.join()
        self._images.unlink(missing_ok=True)
