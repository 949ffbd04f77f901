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

# The time limit, in seconds, for waiting for at least one worker, and for retrying a failed call to the cluster.
_WORKERS_S = 30.0
# The time limit, in seconds, for sending the images to all workers (16 MB to each worker).
_SCATTER_S = 60.0
_POLL_S = 0.1
_AGAIN = "Recorded results are kept. Start the missing scheduler or workers (docs/cluster.md), then try again."


@dataclass(eq=False)
class _Sent:
    """A batch of variants that was sent to the cluster."""

    variants: list[Variant]
    future: Future[Batch[TrainingResult]] = field(default_factory=Future)
    worker: str = ""
    task: distributed.Future[Batch[TrainingResult]] | None = None
    losses: int = 0


class Cluster:
    """A pool of workers on a Dask cluster. It has the same interface as a pool of local workers.

    If a worker dies, another worker retries its batch of variants, at most twice. The pool sends the images and batches
    again after the scheduler was unreachable for a short time, or if all workers that hold the images die. The future
    of a batch is completed once, even if the batch is trained several times.

    Args:
        address: Address of the scheduler, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
        engine: Name of the engine that trains.
        shape: Layers, batch size and softmax of the first variants, if known. While the engine loads, it also prepares
            to train such variants.
        tls: Certificate files for an encrypted connection; None for an unencrypted connection.

    Raises:
        UsageError: The address is malformed, it requires TLS files that are missing, or the TLS files cannot be used.
        StoppedError: No scheduler answers, the scheduler has no workers, or the versions of a worker differ from the
            versions of this process.
    """

    def __init__(self, address: str, engine: str, shape: Shape | None = None, tls: Tls | None = None) -> None:
        silence()
        self._address, self._engine, self._shape = checked_address(address, tls), engine, shape
        self._digits: Digits | None = None
        self._images: distributed.Future[Digits] | None = None
        self._outstanding: set[_Sent] = set()
        self._leaving = False
        self._client = connect(self._address, security_of(tls))
        # A single thread sends the images and all batches, one at a time. So lost images are sent again only once.
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="harness-cluster")
        try:
            self._count = 1
            self._patiently(self._begin)
        except BaseException:
            self._close()
            raise

    def _begin(self) -> None:
        """Wait for workers, check their versions, and make them load the engine in the background."""
        self._wait_for_workers()
        self._check_versions()
        self._client.run(warm_up, self._engine, self._shape)

    @property
    def count(self) -> int:
        """The number of workers, at least 1.

        While the scheduler is unreachable, this is the last known number.
        """
        if self._client.status == "running":
            with suppress(OSError, RuntimeError, CancelledError):
                self._count = max(1, len(self._client.nthreads()))
        return self._count

    def load(self, digits: Digits) -> None:
        """Send the images to every worker.

        Workers that join later copy the images from other workers.

        Raises:
            StoppedError: The cluster cannot be reached, or its workers do not receive the images.
        """
        self._digits = digits
        self._sender.submit(self._patiently, self._be_ready).result()

    def submit(self, variants: Sequence[Variant]) -> Future[Batch[TrainingResult]]:
        """Train a batch of variants as soon as a worker is free.

        The results keep the order of the variants.

        The future raises StoppedError if the cluster can no longer be reached, WorkerError if training failed, and
        WorkerLostError if several workers died, one after another, while they trained this batch.
        """
        sent = _Sent(list(variants))
        sent.future.set_running_or_notify_cancel()  # from now on, cancel() has no effect
        self._outstanding.add(sent)
        self._sender.submit(self._send, sent)
        return sent.future

    def withdraw(self, future: Future[Batch[TrainingResult]]) -> bool:  # noqa: ARG002 - `Pool` requires it
        """Return False: this pool cannot withdraw a batch of variants.

        A Dask cluster does not report whether a worker has started to train a batch.
        """
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Cancel the unfinished batches of variants, and disconnect from the cluster. The workers keep running."""
        self._leaving = True
        self._sender.shutdown(wait=False, cancel_futures=True)
        tasks = [sent.task for sent in self._outstanding if sent.task is not None]
        with suppress(Exception):  # ignore errors: the scheduler may have ended
            if tasks and self._client.status == "running":
                self._client.cancel(tasks, force=True)
        with suppress(Exception):
            self._client.close()
        for sent in list(self._outstanding):
            self._fail(sent, CancelledError())

    # The following methods run in the sender thread.

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
        except Exception as error:  # noqa: BLE001 - every error must complete the future
            self._fail(sent, error)

    def _patiently(self, act: Callable[[], None]) -> None:
        """Call a function. Retry the call while workers or the scheduler are temporarily unreachable.

        Raises:
            StoppedError: The call still fails when the time limit is reached, or when this pool is being closed.
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
        """Return the worker with the fewest unfinished batches of variants. It gets the next batch.

        Without this choice, Dask would give all batches to the few workers on which it keeps the images. Dask may still
        move the batch to another worker.

        Raises:
            RuntimeError: The last worker has just left the cluster.
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
            time.sleep(_POLL_S)  # Dask's client retries until its time limit, and then closes itself
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
        raise self._stopped(f"did not send the images to all workers within {_SCATTER_S:.0f} s")

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError:
            raise self._stopped(f"had no worker for {_WORKERS_S:.0f} s") from None

    def _stopped(self, what: str) -> StoppedError:
        return StoppedError(f"the scheduler at {self._address} {what}", _AGAIN)

    def _check_versions(self) -> None:
        """Check, before anything is recorded, that every worker has the same versions as this process.

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

    # The following methods run in Dask's callback thread.

    def _ended(self, sent: _Sent, task: distributed.Future[Batch[TrainingResult]]) -> None:
        """Complete the future of a finished task. If Dask lost the task, send its batch of variants again."""
        if self._leaving:
            return
        try:
            if task.status == "error":
                self._fail(sent, _reason(task.exception()))
                return
            batch = task.result()
        except (CancelledError, OSError) as error:
            self._send_again(sent, error)
        except Exception as error:  # noqa: BLE001 - every error must complete the future
            self._fail(sent, error)
        else:
            self._outstanding.discard(sent)
            with suppress(InvalidStateError):  # closing the cluster has completed the future
                sent.future.set_result(batch)

    def _send_again(self, sent: _Sent, error: Exception) -> None:
        """Send a batch of variants again. Fail its future instead if too many workers died while they trained it."""
        # Count only lost workers. After a lost connection to the scheduler, the workers may still be alive.
        lost = getattr(error, "reason", None) != "scheduler-connection-lost"
        sent.losses += lost
        if sent.losses > RETRIES:
            self._fail(sent, _lost(f"all workers of {self._address}"))
            return
        with suppress(RuntimeError):  # the sender has ended, because the cluster is being closed
            self._sender.submit(self._send, sent)

    def _fail(self, sent: _Sent, error: BaseException) -> None:
        self._outstanding.discard(sent)
        with suppress(InvalidStateError):  # the future is already completed
            sent.future.set_exception(error)


def _reason(error: BaseException) -> BaseException:
    """Return the error of a failed task. Dask's error for lost workers becomes a WorkerLostError."""
    return _lost(f"{RETRIES + 1} workers") if isinstance(error, KilledWorker) else error


def _lost(who: str) -> WorkerLostError:
    cause = f"{who} died, one after another, while they trained these variants"
    return WorkerLostError(f"{cause}. They may need more memory")
