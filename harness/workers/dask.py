"""Batches of variants onto a Dask cluster: the only module that imports distributed."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from harness import provenance
from harness.data.digits import Digits
from harness.engines import registry, training
from harness.engines.contract import Engine
from harness.engines.training import Outcome
from harness.errors import StoppedError, UsageError, first_line
from harness.network.variant import TRACE_VERSION, Shape, Variant
from harness.workers.local import (
    RETRIES,
    Batch,
    WorkerError,
    WorkerLostError,
    give_way,
    train,
    warm,
    without_interrupts,
)

try:
    import dask
    import distributed
    from distributed import Client, KilledWorker, LocalCluster, Security
    from distributed.client import ClosedClientError
except ImportError as error:
    _CAUSE = f"a cluster needs packages that are not installed here ({error})"
    raise UsageError(_CAUSE, "Install them: python -m pip install 'zero-errors[cluster]'.") from error

# Dask counts by itself how often a worker died of a batch, where its scheduler is told how often is too often.
ALLOWED_FAILURES = "distributed.scheduler.allowed-failures"

# How long it may take until something is heard of a scheduler.
_ANSWER_S = 10.0
# How long a scheduler may be away, at the beginning and at any time later, before the study is stopped.
_SCHEDULER_S = 30.0
# How long a cluster may be without a single worker when it is needed.
_WORKERS_S = 30.0
_POLL_S = 0.1
# How long a cluster of this machine may take to close by itself.
_CLOSING_S = 10.0

# What must be equal for a worker's results to be taken for this machine's.
_COMPARED = ("zero-errors", "tensorflow", "keras", "numpy")
_ADDRESS_REMEDY = "An address is tcp://HOST:PORT, as the scheduler prints it; with TLS, tls://HOST:PORT."
_AGAIN = "What was recorded is kept; start what is missing (docs/cluster.md), then run again."


@dataclass(frozen=True)
class Tls:
    """The files that encrypted connections need: the authority's certificate, and one's own with its key."""

    ca: Path
    cert: Path
    key: Path


# What runs on the workers


def _facts() -> dict[str, str]:
    """What this process would train with."""
    versions = provenance.versions()
    python = ".".join(versions["python"].split(".")[:2])
    return {"python": python, **{name: versions[name] for name in _COMPARED}, "trace": str(TRACE_VERSION)}


def _differences(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """In which versions a process differs from this one; empty where it does not."""
    pairs = [(name, theirs.get(name, "unknown"), own) for name, own in ours.items()]
    return ", ".join(f"{name} {their} (here {own})" for name, their, own in pairs if their != own)


# The engine and the images that it was made for are kept: making it takes seconds, and a study has one.
_made: dict[tuple[str, str, str], Engine] = {}
# An engine trains one batch at a time, however many threads a worker was given.
_training = threading.Lock()


# Threads that gave way to others already.
_yielding = threading.local()


def _give_way() -> None:
    """Let this thread, and those that TensorFlow starts from it, yield to who hands out work and records what is done.

    The thread that talks to the scheduler does not yield.
    """
    if not hasattr(_yielding, "begun"):
        give_way()
        _yielding.begun = True


def _warm(engine: str, shape: Shape | None) -> None:
    """Begin to load what takes seconds.

    Not as a task: Dask learns from each how long they take, and would take away the next ones from the worker that is
    the second to be ready.
    """

    def load() -> None:
        _give_way()
        with _training:
            warm(engine, shape)

    threading.Thread(target=load, daemon=True).start()


def _engine(name: str, digits: Digits) -> Engine:
    key = (name, digits.sha256_x, digits.sha256_y)
    if key not in _made:
        _made.clear()
        try:
            _made[key] = registry.make(name, digits)
        except Exception as error:
            cause = f"engine {name} cannot be made on {socket.gethostname()}: {type(error).__name__}: {error}"
            raise WorkerError(cause) from error
    return _made[key]


def _train(engine: str, digits: Digits, variants: Sequence[Variant], wanted: dict[str, str]) -> Batch[Outcome]:
    # Here and not only when the study connects: workers come and go.
    if differences := _differences(wanted, _facts()):
        cause = f"a worker of {socket.gethostname()} is not made as the study's machine is: {differences}"
        raise StoppedError(cause, "Stop it, or install the same versions there (docs/cluster.md); then run again.")
    _give_way()
    with _training:
        return train(_engine(engine, digits), digits, variants, training.run)


# What runs here


@dataclass(eq=False)
class _Sent:
    """A batch that the cluster was given."""

    variants: list[Variant]
    future: Future[Batch[Outcome]] = field(default_factory=Future)
    worker: str = ""
    task: distributed.Future[Batch[Outcome]] | None = None
    losses: int = 0


def _hush() -> None:
    """Keep Dask's log off the user's terminal: what matters of it is said in the harness' own words."""
    for name in ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _checked_address(address: str, tls: Tls | None) -> str:
    """The address as Dask wants it: ``tls://`` exactly where there are certificates."""
    try:
        parts = urlsplit(address)
        well_formed = parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port and not parts.path.strip("/")
    except ValueError:
        well_formed = False
    if not well_formed:
        raise UsageError(f"{address!r} is not the address of a scheduler", _ADDRESS_REMEDY)
    if parts.scheme == "tls" and tls is None:
        raise UsageError(f"{address} is encrypted", "Give --tls-ca, --tls-cert and --tls-key too.")
    return f"{'tls' if tls else 'tcp'}://{parts.netloc}"


def _security(tls: Tls | None) -> Security | None:
    if tls is None:
        return None
    security = Security(
        tls_ca_file=str(tls.ca),
        tls_client_cert=str(tls.cert),
        tls_client_key=str(tls.key),
        require_encryption=True,
    )
    try:
        security.get_connection_args("client")
    except (ssl.SSLError, OSError) as error:
        cause = f"the files of --tls-ca, --tls-cert and --tls-key cannot be used: {error}"
        raise UsageError(cause, "They are PEM files, and the key is the certificate's own.") from error
    return security


def _connected(address: str, security: Security | None) -> Client:
    """A client of the scheduler at this address.

    Raises:
        StoppedError: nobody listens there, or who does is no scheduler that talks to this client.
    """
    parts = urlsplit(address)
    try:
        connection = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=_ANSWER_S)
    except OSError as error:
        cause = f"no scheduler listens at {address} ({error.strerror or error})"
        raise StoppedError(cause, "Start it (docs/cluster.md, or harness cluster on this machine).") from error
    try:
        with connection:
            _hear(connection, security)
        return Client(address, timeout=_SCHEDULER_S, security=security, set_as_default=False)
    except (OSError, RuntimeError) as error:
        cause = f"what listens at {address} does not answer as a scheduler does ({_innermost(error)})"
        remedy = "Look at its log. Both sides must use TLS with certificates of one authority, or neither."
        raise StoppedError(cause, remedy) from error


def _hear(connection: socket.socket, security: Security | None) -> None:
    """Hear the first byte of a scheduler, which speaks first. For one that never speaks Dask's client waits for ever.

    Raises:
        OSError: nothing is heard, or the certificates are refused.
    """
    if security is None:
        heard = connection.recv(1)
    else:
        context: ssl.SSLContext = security.get_connection_args("client")["ssl_context"]
        with context.wrap_socket(connection) as encrypted:
            heard = encrypted.recv(1)
    if not heard:
        raise ConnectionError("it hung up")


def _innermost(error: BaseException) -> str:
    """What lies under an error that wraps others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


class Cluster:
    """The workers of a Dask cluster, used as if they were this machine's own.

    A batch whose worker dies is given to another one, twice at most. Where all workers that hold the images are lost,
    or the scheduler is away for a moment, images and batches are sent again. A batch's future is completed once,
    however often it was trained.

    Args:
        address: the scheduler's, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
        engine: the name of the engine that trains.
        shape: of the variants that come first, if it is known: the engine makes itself ready for it.
        tls: the files of an encrypted connection; None for one that is not.

    Raises:
        UsageError: the address or the files are no such thing.
        StoppedError: there is no scheduler, it does not answer, it has no workers, or they are not made as this
            process is.
    """

    def __init__(self, address: str, engine: str, shape: Shape | None = None, tls: Tls | None = None) -> None:
        _hush()
        self._address, self._engine, self._shape = _checked_address(address, tls), engine, shape
        self._digits: Digits | None = None
        self._images: distributed.Future[Digits] | None = None
        self._outstanding: set[_Sent] = set()
        self._leaving = False
        self._client = _connected(self._address, _security(tls))
        # All that is sent goes through one thread, one after another: whoever finds the images lost sends them again.
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="harness-cluster")
        try:
            self._count = 1
            self._patiently(self._begin)
        except BaseException:
            self._close()
            raise

    def _begin(self) -> None:
        """See that there are workers, and that they are good ones; let them load what takes seconds."""
        self._wait_for_workers()
        self._check_versions()
        self._client.run(_warm, self._engine, self._shape)

    @property
    def count(self) -> int:
        """How many workers there are now, at least 1; while the scheduler is away, how many there were."""
        if self._client.status == "running":
            with suppress(OSError, RuntimeError, CancelledError):
                self._count = max(1, len(self._client.nthreads()))
        return self._count

    def load(self, digits: Digits) -> None:
        """Bring the images to every worker; those that come later get them from these.

        Raises:
            StoppedError: they cannot be reached.
        """
        self._digits = digits
        self._sender.submit(self._patiently, self._be_ready).result()

    def submit(self, variants: Sequence[Variant]) -> Future[Batch[Outcome]]:
        """Train a batch as soon as a worker is free; its outcomes come in order.

        The future ends with a StoppedError where the cluster cannot be reached any more, with a WorkerError where the
        worker cannot train, and with a WorkerLostError where worker after worker died of it.
        """
        sent = _Sent(list(variants))
        sent.future.set_running_or_notify_cancel()  # so that nobody believes to have taken it back
        self._outstanding.add(sent)
        self._sender.submit(self._send, sent)
        return sent.future

    def withdraw(self, future: Future[Batch[Outcome]]) -> bool:  # noqa: ARG002 - what local workers can do
        """Take back a batch that no worker has begun: False, because a cluster's begin them unseen."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Leave the cluster as it was found: what is outstanding is cancelled, and its workers stay."""
        self._leaving = True
        self._sender.shutdown(wait=False, cancel_futures=True)
        tasks = [sent.task for sent in self._outstanding if sent.task is not None]
        with suppress(Exception):  # a scheduler that is gone has nothing left to cancel
            if tasks and self._client.status == "running":
                self._client.cancel(tasks, force=True)
        with suppress(Exception):
            self._client.close()
        for sent in list(self._outstanding):
            self._fail(sent, CancelledError())

    # In the sender's thread

    def _send(self, sent: _Sent) -> None:
        def submit() -> None:
            self._be_ready()
            sent.worker = self._idlest()
            sent.task = self._client.submit(
                *(_train, self._engine, self._images, sent.variants, _facts()),
                workers=[sent.worker],
                allow_other_workers=True,
                pure=False,
            )
            sent.task.add_done_callback(partial(self._ended, sent))

        try:
            self._patiently(submit)
        except Exception as error:  # noqa: BLE001 - whatever Dask throws, a future must not stay open for ever
            self._fail(sent, error)

    def _patiently(self, act: Callable[[], None]) -> None:
        """Do what fails while workers or the scheduler come and go, again if need be.

        Raises:
            StoppedError: it fails for good.
        """
        deadline_s = time.monotonic() + _WORKERS_S
        while True:
            try:
                act()
            except (OSError, RuntimeError, CancelledError, ClosedClientError) as error:
                if self._leaving or time.monotonic() > deadline_s:
                    raise self._stopped(f"does not take work ({_innermost(error)})") from error
                time.sleep(_POLL_S)
            else:
                return

    def _idlest(self) -> str:
        """The worker with the fewest batches, which is asked to train the next one. Another may still take it over.

        Left alone, Dask would give all batches to the few workers that it leaves the images on.

        Raises:
            RuntimeError: the last worker left after this had waited for one.
        """
        self._wait_for_workers()
        given = Counter(sent.worker for sent in list(self._outstanding))
        present: list[str] = list(self._client.nthreads())
        if not present:
            raise RuntimeError("the last worker has just left")
        return min(present, key=lambda worker: given[worker])

    def _be_ready(self) -> None:
        """Wait until there is a scheduler and the images are on the cluster; send them where they are not."""
        while self._client.status == "connecting" and not self._leaving:
            time.sleep(_POLL_S)  # Dask's client tries for as long as it may take to connect, then it closes itself
        if self._client.status != "running":
            raise self._stopped(f"is gone, for {_SCHEDULER_S:.0f} s and more")
        if self._images is None or self._images.status != "finished":
            self._wait_for_workers()
            [self._images] = self._client.scatter([self._digits], broadcast=True, hash=False)

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError:
            raise self._stopped(f"has had no worker for {_WORKERS_S:.0f} s") from None

    def _stopped(self, what: str) -> StoppedError:
        return StoppedError(f"the scheduler at {self._address} {what}", _AGAIN)

    def _check_versions(self) -> None:
        """Refuse workers that would train something else, before anything is recorded."""
        ours = _facts()
        problems = []
        for worker, theirs in self._client.run(_facts, on_error="return").items():
            if isinstance(theirs, BaseException):
                problems.append(f"{worker} cannot load the harness: {theirs}")
            elif differences := _differences(theirs, ours):
                problems.append(f"{worker} has {differences}")
        if problems:
            cause = f"workers of {self._address} are not made as this machine is: {'; '.join(sorted(problems))}"
            raise StoppedError(cause, "Install the same versions everywhere (docs/cluster.md), then start them again.")

    # In Dask's thread for callbacks

    def _ended(self, sent: _Sent, task: distributed.Future[Batch[Outcome]]) -> None:
        """Hand over what a task gave, or have it sent again where Dask lost it."""
        if self._leaving:
            return
        try:
            if task.status == "error":
                self._fail(sent, _reason(task.exception()))
                return
            batch = task.result()
        except (CancelledError, OSError) as error:
            self._send_again(sent, error)
        except Exception as error:  # noqa: BLE001 - as above: a future must not stay open for ever
            self._fail(sent, error)
        else:
            self._outstanding.discard(sent)
            with suppress(InvalidStateError):  # the study is being left
                sent.future.set_result(batch)

    def _send_again(self, sent: _Sent, error: Exception) -> None:
        """Send a batch again, unless it took all its workers with it too often."""
        # Where the connection broke the workers may be well, and nothing is said about the batch.
        lost = getattr(error, "reason", None) != "scheduler-connection-lost"
        sent.losses += lost
        if sent.losses > RETRIES:
            self._fail(sent, _lost(f"all workers of {self._address}"))
            return
        with suppress(RuntimeError):  # the study is being left
            self._sender.submit(self._send, sent)

    def _fail(self, sent: _Sent, error: BaseException) -> None:
        self._outstanding.discard(sent)
        with suppress(InvalidStateError):  # it was told already
            sent.future.set_exception(error)


def _reason(error: BaseException) -> BaseException:
    """What made a task fail, in the harness' own words where Dask has its own."""
    return _lost(f"{RETRIES + 1} workers") if isinstance(error, KilledWorker) else error


def _lost(who: str) -> WorkerLostError:
    return WorkerLostError(f"{who} died, one after another, while training this batch; is their memory enough?")


@contextmanager
def local(workers: int, host: str, port: int) -> Iterator[str]:
    """Run a scheduler and its workers on this machine for as long as the context lasts; give its address.

    Raises:
        StoppedError: the port is taken, or the processes cannot be started.
    """
    _hush()
    with TemporaryDirectory(prefix="harness-cluster-", ignore_cleanup_errors=True) as folder:
        cluster = _started(workers, host, port, folder)
        try:
            yield str(cluster.scheduler_address)
        finally:
            _end(cluster)


def _end(cluster: LocalCluster) -> None:
    """Close a cluster, by force if need be: Dask waits long for a worker that was killed while it started."""
    with suppress(Exception):
        cluster.close(timeout=_CLOSING_S)
    for process in multiprocessing.active_children():
        process.kill()


def _started(workers: int, host: str, port: int, folder: str) -> LocalCluster:
    try:
        # Not to be ended one by one by the terminal's Ctrl-C, which is this process' to handle.
        with without_interrupts(), dask.config.set({ALLOWED_FAILURES: RETRIES}):
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host=host,
                scheduler_port=port,
                dashboard_address=f"{host}:0",  # of no use to anyone here, but Dask warns where its own port is taken
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                local_directory=folder,
            )
    except (OSError, RuntimeError) as error:
        cause = f"a cluster cannot be started at {host}:{port} ({_innermost(error)})"
        raise StoppedError(cause, "Where the address is in use, name another port by --port.") from error
