"""Runs a Dask scheduler and its workers on this machine."""

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
)
from harness.workers.server import without_interrupts

# The Dask setting for the number of retries of a batch of variants whose worker died.
ALLOWED_FAILURES = "distributed.scheduler.allowed-failures"
# The time limit, in seconds, for closing a local cluster. After this time, its processes are killed.
_CLOSING_S = 10.0


@contextmanager
def local(workers: int, host: str, port: int) -> Iterator[str]:
    """Run a scheduler and its workers on this machine within a ``with`` block.

    Yield the address of the scheduler.

    Raises:
        StoppedError: The port is in use, or the processes cannot be started.
    """
    silence()
    with TemporaryDirectory(prefix="harness-cluster-", ignore_cleanup_errors=True) as folder:
        cluster = _started(workers, host, port, folder)
        try:
            yield str(cluster.scheduler_address)
        finally:
            _end(cluster)


def _end(cluster: LocalCluster) -> None:
    """Close a cluster, then kill the processes that are left.

    Closing has a time limit, because Dask waits long for a worker that was killed during its start.
    """
    with suppress(Exception):
        cluster.close(timeout=_CLOSING_S)
    for process in multiprocessing.active_children():
        process.kill()


def _started(workers: int, host: str, port: int, folder: str) -> LocalCluster:
    try:
        # Block SIGINT in the workers. Otherwise Ctrl-C in the terminal ends each worker. This process handles Ctrl-C.
        with without_interrupts(), dask.config.set({ALLOWED_FAILURES: RETRIES}):
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host=host,
                scheduler_port=port,
                dashboard_address=f"{host}:0",  # a free port: Dask warns if its default port is in use
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                local_directory=folder,
            )
    except (OSError, RuntimeError) as error:
        cause = f"a cluster cannot be started at {host}:{port} ({innermost(error)})"
        raise StoppedError(cause, "If the address is in use, give another --port.") from error
