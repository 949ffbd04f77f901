"""Trains batches of variants in worker processes on this machine. Each process runs TensorFlow."""

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

# The number of retries of a batch of variants whose worker died.
RETRIES = 2

_log = logging.getLogger(__name__)

T = TypeVar("T")

# The object that trains in a worker: an engine, or a training function of the user.
Trainer = Engine | FunctionEngine

# The function that a worker calls for each batch. Its arguments are the trainer, the images and the variants. It is a
# module-level function, so that the worker can import it.
Task = Callable[[Any, Digits, Sequence[Variant]], list[T]]


class WorkerError(Exception):
    """Training a batch of variants failed in a worker."""


class EngineStartError(WorkerError):
    """A worker could not start its engine."""


class WorkerLostError(Exception):
    """Several workers died, one after another, while they trained the same batch of variants."""


@dataclass(frozen=True)
class Batch(Generic[T]):
    """The results of a batch of variants.

    Attributes:
        results: One result for each variant, in the order of the variants.
        began_s: Start of the training, in seconds since 1970.
        ended_s: End of the training, in seconds since 1970.
    """

    results: list[T]
    began_s: float
    ended_s: float


class Pool(Protocol):
    """The interface of a pool of workers, on this machine or on a cluster."""

    @property
    def count(self) -> int:
        """The number of batches of variants that are trained at the same time."""

    def load(self, digits: Digits) -> None:
        """Give the images to every worker.

        Call this method before the first batch.
        """

    def submit(self, variants: Sequence[Variant]) -> Future[Batch[TrainingResult]]:
        """Train a batch of variants as soon as a worker is free.

        The results keep the order of the variants.
        """

    def withdraw(self, future: Future[Batch[TrainingResult]]) -> bool:
        """Withdraw a batch of variants that no worker has started to train.

        Return True if the batch was withdrawn. Return False if a worker has started it, or may have started it.
        """


def default_count() -> int:
    """Return the default number of workers, which is the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# The following functions run in a worker.


def train(engine: Trainer | Exception, digits: Digits, variants: Sequence[Variant], task: Task[T]) -> Batch[T]:
    """Train a batch of variants in this process.

    Raises:
        EngineStartError: The engine could not be created.
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
    """Return the engine or training function for these images, or the exception if it cannot be created."""
    try:
        return FunctionEngine(engine, digits) if function.is_function(engine) else registry.make(engine, digits)
    except SystemExit as error:
        return RuntimeError(f"it ended the process: SystemExit({error.code})")
    except Exception as error:  # noqa: BLE001 - the first batch of variants reports the error
        return error


def warm(engine: str, shape: Shape | None) -> None:
    """Load the slow parts of an engine in advance, such as TensorFlow.

    Errors are ignored here. They occur again when the first batch of variants is trained, and are then reported. A
    training function of the user is not loaded in advance.
    """
    if function.is_function(engine):
        return
    startup.reduce_garbage_collection()
    with suppress(Exception):
        registry.start(engine, shape)


def _work(connection: Connection, engine: str, shape: Shape | None, task: Task[Any]) -> None:
    """Run a worker: load the engine, receive the images, then train batches of variants until the pipe is closed."""
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
        return type(error)(str(error))  # without the error's cause, because pickling the cause may fail


# The following code runs in the main process.


@dataclass(frozen=True)
class _Request:
    variants: list[Variant]
    future: Future[Batch[Any]]


class _Worker:
    """A worker process, and the thread of the main process that controls it.

    The thread starts the process, sends it batches of variants, and restarts it if it dies. Each process has its own
    pipe. So a process that is killed while sending cannot corrupt the data of other processes.
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
        """Kill the process, and do not restart it."""
        self._ending = True
        if self._child is not None:
            self._child.process.kill()

    def join(self) -> None:
        """Wait until the process and the thread have ended. Do not wait if the process is still being started."""
        if self._child is not None:
            self._thread.join()
            self._child.end()

    def _serve(self) -> None:
        with suppress(OSError):  # the first batch starts the process again, and then reports the error
            self._restart()
        while (request := self._requests.get()) is not None:
            if not request.future.set_running_or_notify_cancel():
                continue
            try:
                answer = self._trained(request.variants)
            except OSError as error:
                answer = StoppedError(
                    f"no worker can be started: {error}",
                    "Try again, perhaps with fewer --workers. Recorded results are kept.",
                )
            except Exception as error:  # noqa: BLE001 - every error must complete the future
                answer = WorkerError(f"{type(error).__name__}: {error}")
            if isinstance(answer, BaseException):
                request.future.set_exception(answer)
            else:
                request.future.set_result(answer)

    def _trained(self, variants: list[Variant]) -> Batch[Any] | BaseException:
        """Train a batch of variants, and return its results or an error.

        If the process dies, restart it and train the batch again.
        """
        child = self._child
        if child is None or not child.process.is_alive():  # a process that died while idle has failed no attempt
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
        return WorkerLostError(f"{_death(code)}{times} while it trained these variants")

    def _restart(self) -> Child:
        """Start the process. End the previous process first, if there is one."""
        if self._child is not None:
            self._child.end()
        self._has_images = False
        self._child = self._launch()
        if self._ending:  # end() was called while the process started
            self._child.process.kill()
        return self._child


def _death(code: int | None) -> str:
    """Describe how a worker ended, according to its exit code."""
    if code is None:  # unknown: another thread collected the exit code first
        return "a worker died"
    if code >= 0:
        return f"a worker exited (exit code {code})"
    hint = ", perhaps because memory ran out" if -code == getattr(signal, "SIGKILL", None) else ""
    return f"a worker was killed (signal {-code}{hint})"


class Workers(Generic[T]):
    """A pool of worker processes on this machine that train batches of variants.

    If a worker dies, only its batch of variants is trained again.

    The constructor starts the processes. They load TensorFlow while this process does other work. :meth:`load` supplies
    the images later.

    Args:
        count: Number of processes. Each process trains with one thread.
        engine: Name of the engine that trains, or ``FILE:NAME`` or ``MODULE:NAME`` of a training function.
        task: Function that a worker calls for each batch, such as :func:`harness.engines.training.run`.
        shape: Layers, batch size and softmax of the first variants, if known. While the engine loads, it also prepares
            to train such variants.
        retries: Number of retries of a batch of variants whose worker died.
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

        Each worker receives the images together with its first batch of variants.
        """
        self._digits = digits

    def _loaded(self) -> Digits:
        if self._digits is None:
            raise ValueError("the workers have not received the images")
        return self._digits

    def submit(self, variants: Sequence[Variant]) -> Future[Batch[T]]:
        """Train a batch of variants as soon as a worker is free.

        The results keep the order of the variants.

        The future raises :class:`WorkerError` if training failed, :class:`WorkerLostError` if several workers died, one
        after another, while they trained the batch, and :class:`StoppedError` if no worker can be started.
        """
        future: Future[Batch[T]] = Future()
        self._requests.put(_Request(list(variants), future))
        return future

    def withdraw(self, future: Future[Batch[T]]) -> bool:
        """Withdraw a batch of variants that no worker has started to train.

        Return True if the batch was withdrawn, and False if a worker has started it.
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
        self._end()  # the caller has all results, or no longer needs the missing ones
