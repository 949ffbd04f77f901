"""Trains batches of variants on a Dask cluster."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import distributed
from distributed import KilledWorker
from distributed.client import ClosedClientError

from harness.data.digits import Digits
from harness.engines.training import TrainingResult
from harness.errors import StoppedError
from harness.network.variant import Shape, Variant
from harness.workers.dask_connection import SCHEDULER_S, Tls, checked_address, connect, innermost, security_of, silence
from harness.workers.dask_task import differences, facts, train_batch, warm_up
from harness.workers.local import (
    RETRIES,
    Batch,
    WorkerLostError,
)

# The time limit for waiting for at least one worker, and for retrying a failed call.
_WORKERS_S = 30.0
# The time limit for sending the images to all workers, 16 MB to each.
_SCATTER_S = 60.0
_POLL_S = 0.1
_AGAIN = "Recorded results are kept. Start the missing scheduler or workers (docs/cluster.md), then run again."


@dataclass(eq=False)
class _Sent:
    """A batch that was sent to the cluster."""

    variants: list[Variant]
    future: Future[Batch[TrainingResult]] = field(default_factory=Future)
    worker: str = ""
    task: distributed.Future[Batch[TrainingResult]] | None = None
    losses: int = 0


class Cluster:
    """Trains batches on the workers of a Dask cluster, with the interface of local workers.

    If a worker dies, another worker retries its batch, at most twice. If all workers that hold the images are lost, or
    if the scheduler is unreachable for a moment, the images and the batches are sent again. The future of a batch is
    completed once, even if the batch is trained several times.

    Args:
        address: Address of the scheduler, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
        engine: Name of the engine that trains.
        shape: Shape of the first variants, if known. The engine prepares for this shape while it loads.
        tls: Files of an encrypted connection. None for an unencrypted connection.

    Raises:
        UsageError: The address is malformed, it requires TLS files, or the TLS files cannot be used.
        StoppedError: There is no scheduler, it does not answer, it has no workers, or their versions differ from
            those of this process.
    """

    def __init__(self, address: str, engine: str, shape: Shape | None = None, tls: Tls | None = None) -> None:
        silence()
        self._address, self._engine, self._shape = checked_address(address, tls), engine, shape
        self._digits: Digits | None = None
        self._images: distributed.Future[Digits] | None = None
        self._outstanding: set[_Sent] = set()
        self._leaving = False
        self._client = connect(self._address, security_of(tls))
        # One thread sends everything, one item at a time. So only one caller sends lost images again.
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="harness-cluster")
        try:
            self._count = 1
            self._patiently(self._begin)
        except BaseException:
            self._close()
            raise

    def _begin(self) -> None:
        """Wait for workers, check their versions, and let them start to load the engine."""
        self._wait_for_workers()
        self._check_versions()
        self._client.run(warm_up, self._engine, self._shape)

    @property
    def count(self) -> int:
        """The number of workers, at least 1.

        The last known number while the scheduler is unreachable.
        """
        if self._client.status == "running":
            with suppress(OSError, RuntimeError, CancelledError):
                self._count = max(1, len(self._client.nthreads()))
        return self._count

    def load(self, digits: Digits) -> None:
        """Send the images to every worker.

        Workers that join later copy them from the other workers.

        Raises:
            StoppedError: The cluster cannot be reached, or its workers do not take the images.
        """
        self._digits = digits
        self._sender.submit(self._patiently, self._be_ready).result()

    def submit(self, variants: Sequence[Variant]) -> Future[Batch[TrainingResult]]:
        """Train a batch as soon as a worker is free.

        The results keep the order of the variants.

        The exception of the future is a StoppedError if the cluster can no longer be reached, a WorkerError if the
        worker cannot train, and a WorkerLostError if several workers died while they trained this batch.
        """
        sent = _Sent(list(variants))
        sent.future.set_running_or_notify_cancel()  # from now on, cancel() returns False
        self._outstanding.add(sent)
        self._sender.submit(self._send, sent)
        return sent.future

    def withdraw(self, future: Future[Batch[TrainingResult]]) -> bool:  # noqa: ARG002 - the protocol's signature
        """Withdraw a batch that no worker has started.

        Always False: a cluster does not report what has started.
        """
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Disconnect from the cluster: cancel the outstanding batches and leave the workers running."""
        self._leaving = True
        self._sender.shutdown(wait=False, cancel_futures=True)
        tasks = [sent.task for sent in self._outstanding if sent.task is not None]
        with suppress(Exception):  # a scheduler that has ended has nothing to cancel
            if tasks and self._client.status == "running":
                self._client.cancel(tasks, force=True)
        with suppress(Exception):
            self._client.close()
        for sent in list(self._outstanding):
            self._fail(sent, CancelledError())

    # In the thread of the sender

    def _send(self, sent: _Sent) -> None:
        def submit() -> None:
            self._be_ready()
            sent.worker = self._idlest()
            sent.task = self._client.submit(
                *(train_batch, self._engine, self._images, sent.variants, facts()),
                workers=[sent.worker],
                allow_other_workers=True,
                pure=False,
            )
            sent.task.add_done_callback(partial(self._ended, sent))

        try:
            self._patiently(submit)
        except Exception as error:  # noqa: BLE001 - on any error, the future must be completed
            self._fail(sent, error)

    def _patiently(self, act: Callable[[], None]) -> None:
        """Call a function, and retry it while workers or the scheduler are temporarily unreachable.

        Raises:
            StoppedError: The call still fails at the time limit, or after the cluster is closed.
        """
        deadline_s = time.monotonic() + _WORKERS_S
        while True:
            try:
                act()
            except (OSError, RuntimeError, CancelledError, ClosedClientError) as error:
                if self._leaving or time.monotonic() > deadline_s:
                    raise self._stopped(f"does not accept work ({innermost(error)})") from error
                time.sleep(_POLL_S)
            else:
                return

    def _idlest(self) -> str:
        """The worker with the fewest batches.

        It gets the next batch, but Dask may move that batch to another worker.

        By default, Dask gives all batches to the few workers on which it keeps the images.

        Raises:
            RuntimeError: The last worker left just after the wait for a worker.
        """
        self._wait_for_workers()
        given = Counter(sent.worker for sent in list(self._outstanding))
        present: list[str] = list(self._client.nthreads())
        if not present:
            raise RuntimeError("the last worker has just left")
        return min(present, key=lambda worker: given[worker])

    def _be_ready(self) -> None:
        """Wait for the scheduler, and send the images if the cluster does not have them."""
        while self._client.status == "connecting" and not self._leaving:
            time.sleep(_POLL_S)  # Dask's client tries to connect until its time limit, then it closes itself
        if self._client.status != "running":
            raise self._stopped(f"did not respond for {SCHEDULER_S:.0f} s")
        if self._images is None or self._images.status != "finished":
            self._images = self._scattered()

    def _scattered(self) -> distributed.Future[Digits]:
        """Send the images to every worker.

        Dask waits without a limit for a worker that dies or hangs while the images are sent. So this method sets a
        time limit and retries.

        Raises:
            StoppedError: There is no worker, or the workers did not receive the images within the time limit.
        """
        for _ in range(1 + RETRIES):
            self._wait_for_workers()
            with suppress(TimeoutError):
                images: distributed.Future[Digits]
                [images] = self._client.sync(
                    self._client.scatter, [self._digits], broadcast=True, hash=False, callback_timeout=_SCATTER_S
                )
                return images
        raise self._stopped(f"has workers that did not receive the images within {_SCATTER_S:.0f} s")

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError:
            raise self._stopped(f"had no worker for {_WORKERS_S:.0f} s") from None

    def _stopped(self, what: str) -> StoppedError:
        return StoppedError(f"the scheduler at {self._address} {what}", _AGAIN)

    def _check_versions(self) -> None:
        """Check that all workers have the versions of this process, before anything is recorded.

        Raises:
            StoppedError: The versions of a worker differ, or a worker cannot import this package.
        """
        ours = facts()
        problems = []
        for worker, theirs in self._client.run(facts, on_error="return").items():
            if isinstance(theirs, BaseException):
                problems.append(f"{worker} cannot load the harness: {theirs}")
            elif differing := differences(theirs, ours):
                problems.append(f"{worker} has {differing}")
        if problems:
            cause = f"workers of {self._address} differ from this machine: {'; '.join(sorted(problems))}"
            raise StoppedError(cause, "Install the same versions everywhere (docs/cluster.md), then start them again.")

    # In Dask's callback thread

    def _ended(self, sent: _Sent, task: distributed.Future[Batch[TrainingResult]]) -> None:
        """Complete the future of a finished task, or send its batch again if Dask lost the task."""
        if self._leaving:
            return
        try:
            if task.status == "error":
                self._fail(sent, _reason(task.exception()))
                return
            batch = task.result()
        except (CancelledError, OSError) as error:
            self._send_again(sent, error)
        except Exception as error:  # noqa: BLE001 - on any error, the future must be completed
            self._fail(sent, error)
        else:
            self._outstanding.discard(sent)
            with suppress(InvalidStateError):  # the cluster is being closed
                sent.future.set_result(batch)

    def _send_again(self, sent: _Sent, error: Exception) -> None:
        """Send a batch again, or let it fail if it lost too many workers."""
        # A broken connection does not count: the workers may be alive, and the batch is not the cause.
        lost = getattr(error, "reason", None) != "scheduler-connection-lost"
        sent.losses += lost
        if sent.losses > RETRIES:
            self._fail(sent, _lost(f"all workers of {self._address}"))
            return
        with suppress(RuntimeError):  # the cluster is being closed
            self._sender.submit(self._send, sent)

    def _fail(self, sent: _Sent, error: BaseException) -> None:
        self._outstanding.discard(sent)
        with suppress(InvalidStateError):  # the future is already completed
            sent.future.set_exception(error)


def _reason(error: BaseException) -> BaseException:
    """The error of a failed task, without Dask's own error types."""
    return _lost(f"{RETRIES + 1} workers") if isinstance(error, KilledWorker) else error


def _lost(who: str) -> WorkerLostError:
    return WorkerLostError(f"{who} died, one after another, while training this batch. They may need more memory")
