"""Trains batches of variants in worker processes on this machine, each with its own TensorFlow."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from harness import startup
from harness.data.digits import Digits
from harness.engines import function, registry
from harness.engines.contract import Engine
from harness.engines.function import FunctionEngine
from harness.engines.training import TrainingResult
from harness.errors import StoppedError
from harness.network.variant import Shape, Variant
from harness.workers import processes
from harness.workers.processes import Child

# The number of retries of a batch whose worker died.
RETRIES = 2

_log = logging.getLogger(__name__)

T = TypeVar("T")

# What a worker trains with: an engine, or a training function of the user.
Trainer = Engine | FunctionEngine

# The function that a worker calls for each batch, with the trainer, the images and the variants. It is a module-level
# function, so that the worker can import it.
Task = Callable[[Any, Digits, Sequence[Variant]], list[T]]


class WorkerError(Exception):
    """Training a batch failed in a worker."""


class EngineStartError(WorkerError):
    """A worker could not start its engine."""


class WorkerLostError(Exception):
    """Workers died repeatedly while they trained a batch."""


@dataclass(frozen=True)
class Batch(Generic[T]):
    """The results of a batch.

    Attributes:
        results: One result for each variant, in the order of the variants.
        began_s: Start of the training, in seconds since 1970.
        ended_s: End of the training, in seconds since 1970.
    """

    results: list[T]
    began_s: float
    ended_s: float


class Pool(Protocol):
    """The interface of worker pools, on this machine or on a cluster."""

    @property
    def count(self) -> int:
        """The number of batches that train at the same time."""

    def load(self, digits: Digits) -> None:
        """Give the images to every worker.

        Call this method before the first batch.
        """

    def submit(self, variants: Sequence[Variant]) -> Future[Batch[TrainingResult]]:
        """Train a batch as soon as a worker is free.

        The results keep the order of the variants.
        """

    def withdraw(self, future: Future[Batch[TrainingResult]]) -> bool:
        """Withdraw a batch that no worker has started.

        False if a worker has started it, or if that is unknown.
        """


def default_count() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# In a worker


def train(engine: Trainer | Exception, digits: Digits, variants: Sequence[Variant], task: Task[T]) -> Batch[T]:
    """Train a batch in this process.

    Raises:
        EngineStartError: The engine could not be made.
        WorkerError: Training fails.
    """
    began_s = time.time()
    if isinstance(engine, Exception):
        raise EngineStartError(f"the engine or training function cannot be loaded: {type(engine).__name__}: {engine}")
    try:
        results = task(engine, digits, variants)
    except (Exception, SystemExit) as error:
        # Convert the error: some exceptions of TensorFlow cannot be sent to another process.
        raise WorkerError(f"{type(error).__name__}: {error}") from error
    return Batch(results, began_s, time.time())


def make_engine(engine: str, digits: Digits) -> Trainer | Exception:
    """The engine or training function for these images, or the error if it cannot start."""
    try:
        return FunctionEngine(engine, digits) if function.is_function(engine) else registry.make(engine, digits)
    except SystemExit as error:
        return RuntimeError(f"it ended the process: SystemExit({error.code})")
    except Exception as error:  # noqa: BLE001 - any error is reported with the first batch
        return error


def warm(engine: str, shape: Shape | None) -> None:
    """Load what takes seconds, such as TensorFlow.

    A failure is ignored here. It occurs again with the first batch, which reports it. A training function of the user
    is loaded with its first batch.
    """
    if function.is_function(engine):
        return
    startup.reduce_garbage_collection()
    with suppress(Exception):
        registry.start(engine, shape)


def _work(connection: Connection, engine: str, shape: Shape | None, task: Task[Any]) -> None:
    """Run a worker: load the engine, receive the images, then train batches until the pipe is closed."""
    processes.begin()
    warm(engine, shape)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        digits: Digits = connection.recv()
        own = make_engine(engine, digits)
        while True:
            connection.send(_answer(own, digits, connection.recv(), task))


def _answer(
    engine: Trainer | Exception, digits: Digits, variants: Sequence[Variant], task: Task[T]
) -> Batch[T] | WorkerError:
    try:
        return train(engine, digits, variants, task)
    except WorkerError as error:
        return type(error)(str(error))  # drop the cause, which may not be sendable


# In the coordinating process


@dataclass(frozen=True)
class _Request:
    variants: list[Variant]
    future: Future[Batch[Any]]


class _Worker:
    """One worker process, and the thread that starts it, sends it batches, and restarts it when it dies.

    Each process has its own pipe. A process that is killed while it sends cannot corrupt the data of another one.
    """

    def __init__(
        self,
        requests: SimpleQueue[_Request | None],
        launch: Callable[[], Child],
        images: Callable[[], Digits],
        retries: int,
    ) -> None:
        self._requests, self._launch, self._images, self._retries = requests, launch, images, retries
        self._ending = self._has_images = False
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Kill the process, without a restart."""
        self._ending = True
        if self._child is not None:
            self._child.process.kill()

    def join(self) -> None:
        """Wait until the process and the thread have ended. A process that is still being started is not waited for."""
        if self._child is not None:
            self._thread.join()
            self._child.end()

    def _serve(self) -> None:
        with suppress(OSError):  # the first batch tries again, and reports the error
            self._restart()
        while (request := self._requests.get()) is not None:
            if not request.future.set_running_or_notify_cancel():
                continue
            try:
                answer = self._trained(request.variants)
            except OSError as error:
                answer = StoppedError(
                    f"no worker can be started: {error}",
                    "Run again, or with fewer --workers. Recorded results are kept.",
                )
            except Exception as error:  # noqa: BLE001 - on any error, the future must be completed
                answer = WorkerError(f"{type(error).__name__}: {error}")
            if isinstance(answer, BaseException):
                request.future.set_exception(answer)
            else:
                request.future.set_result(answer)

    def _trained(self, variants: list[Variant]) -> Batch[Any] | BaseException:
        """Train a batch, and return its result or error.

        If the process dies, restart it and train the batch again.
        """
        child = self._child
        if child is None or not child.process.is_alive():  # it died while idle, which is no failed attempt
            child = self._restart()
        code: int | None = None
        for attempt in range(1 + self._retries):
            if attempt:
                _log.warning("%s; its %d variants are trained again", _death(code), len(variants))
                child = self._restart()
            try:
                if not self._has_images:
                    child.connection.send(self._images())
                    self._has_images = True
                child.connection.send(variants)
                answer: Batch[Any] | BaseException = child.connection.recv()
            except (EOFError, OSError):
                child.process.join()
                code = child.process.exitcode
                if self._ending:
                    break
            else:
                return answer
        times = f", {1 + self._retries} times in a row" if self._retries else ""
        return WorkerLostError(f"{_death(code)}{times} while it trained these trials")

    def _restart(self) -> Child:
        """Start the process. If there was one before, end it first."""
        if self._child is not None:
            self._child.end()
        self._has_images = False
        self._child = self._launch()
        if self._ending:  # end() may have been called meanwhile
            self._child.process.kill()
        return self._child


def _death(code: int | None) -> str:
    """How a worker ended, according to its exit code."""
    if code is None:  # another thread collected the exit code first
        return "a worker died"
    if code >= 0:
        return f"a worker exited (exit code {code})"
    hint = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
    return f"a worker was killed (signal {-code}{hint})"


class Workers(Generic[T]):
    """Worker processes that train batches of variants.

    If a worker dies, only its batch is trained again.

    The processes start at once and load TensorFlow while this process does other work. :meth:`load` supplies the
    images later.

    Args:
        count: Number of processes. Each trains with one thread.
        engine: Name of the engine that trains, or a training function of the user as it is given.
        task: Function that a worker calls for each batch, such as :func:`harness.engines.training.run`.
        shape: Shape of the first variants, if known. The engine prepares for this shape while it loads.
        retries: Number of retries of a batch whose worker died.
    """

    def __init__(
        self, count: int, engine: str, task: Task[T], shape: Shape | None = None, retries: int = RETRIES
    ) -> None:
        self.count = count
        self._digits: Digits | None = None
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        launch = partial(processes.start, engine, _work, engine, shape, task)
        self._workers = [_Worker(self._requests, launch, self._loaded, retries) for _ in range(count)]

    def load(self, digits: Digits) -> None:
        """Set the images.

        Each worker receives them with its first batch.
        """
        self._digits = digits

    def _loaded(self) -> Digits:
        if self._digits is None:
            raise ValueError("the workers have not received the images")
        return self._digits

    def submit(self, variants: Sequence[Variant]) -> Future[Batch[T]]:
        """Train a batch as soon as a worker is free.

        The results keep the order of the variants.

        The exception of the future is a :class:`WorkerError` if training failed, a :class:`WorkerLostError` if workers
        died repeatedly while they trained the batch, and a :class:`StoppedError` if no worker can be started.
        """
        future: Future[Batch[T]] = Future()
        self._requests.put(_Request(list(variants), future))
        return future

    def withdraw(self, future: Future[Batch[T]]) -> bool:
        """Withdraw a batch that no worker has started.

        False if a worker has started it.
        """
        return future.cancel()

    def _end(self) -> None:
        for worker in self._workers:
            self._requests.put(None)
            worker.end()
        for worker in self._workers:
            worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()  # the caller has all results, or needs no more
