"""A Dask scheduler and its workers on this machine."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

import dask
from distributed import LocalCluster

from harness.errors import StoppedError
from harness.workers.dask_connection import innermost, silence
from harness.workers.local import (
    RETRIES,
    without_interrupts,
)

# The setting of the scheduler that limits how often a batch may lose its worker.
ALLOWED_FAILURES = "distributed.scheduler.allowed-failures"
# How long a cluster of this machine may take to close by itself.
_CLOSING_S = 10.0


@contextmanager
def local(workers: int, host: str, port: int) -> Iterator[str]:
    """Run a scheduler and its workers on this machine during the context. Yield the scheduler's address.

    Raises:
        StoppedError: the port is taken, or the processes cannot be started.
    """
    silence()
    with TemporaryDirectory(prefix="harness-cluster-", ignore_cleanup_errors=True) as folder:
        cluster = _started(workers, host, port, folder)
        try:
            yield str(cluster.scheduler_address)
        finally:
            _end(cluster)


def _end(cluster: LocalCluster) -> None:
    """Close a cluster, by force if necessary: Dask waits long for a worker that was killed during its start."""
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
        cause = f"a cluster cannot be started at {host}:{port} ({innermost(error)})"
        raise StoppedError(cause, "Where the address is in use, name another port by --port.") from error
