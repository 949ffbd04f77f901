"""The code that a Dask worker runs.

The worker keeps one engine and trains one batch of variants at a time.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from harness import provenance
from harness.data.digits import Digits
from harness.engines import registry, training
from harness.engines.contract import Engine
from harness.engines.training import TrainingResult
from harness.errors import StoppedError
from harness.network.variant import TRACE_VERSION, Shape, Variant
from harness.workers.local import (
    Batch,
    WorkerError,
    train,
    warm,
)
from harness.workers.processes import lower_priority

# The packages whose versions must be the same on a worker and on the machine that runs the study.
_COMPARED = ("zero-errors", "tensorflow", "keras", "numpy")


def facts() -> dict[str, str]:
    """Return the versions that may change training results: Python, packages, and this project's training code."""
    versions = provenance.versions()
    python = ".".join(versions["python"].split(".")[:2])
    return {"python": python, **{name: versions[name] for name in _COMPARED}, "trace": str(TRACE_VERSION)}


def differences(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """Return the versions in which another process differs from this process, as text.

    The text is empty if all versions are equal.
    """
    pairs = [(name, theirs.get(name, "unknown"), own) for name, own in ours.items()]
    return ", ".join(f"{name} {their} (here {own})" for name, their, own in pairs if their != own)


# The engine of this worker, by its name and the hashes of its images. It is kept, because creating it takes seconds.
_made: dict[tuple[str, str, str], Engine] = {}
# A lock for training. An engine trains one batch of variants at a time, even if the worker has several threads.
_training = threading.Lock()


# Marks each thread that has lowered its priority.
_thread = threading.local()


def _lower_priority() -> None:
    """Lower the priority of this thread and of the threads that TensorFlow starts from it.

    The thread that talks to the scheduler keeps its priority.
    """
    if not hasattr(_thread, "begun"):
        lower_priority()
        _thread.begun = True


def warm_up(engine: str, shape: Shape | None) -> None:
    """Start to load TensorFlow and the engine in the background.

    Call this function with ``Client.run``, not as a Dask task. Dask distributes tasks according to the durations of
    earlier tasks. After a task that is so slow, Dask would move batches of variants away from workers that become ready
    later than the first worker.
    """

    def load() -> None:
        _lower_priority()
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
            cause = f"engine {name} cannot be created on {socket.gethostname()}: {type(error).__name__}: {error}"
            raise WorkerError(cause) from error
    return _made[key]


def train_batch(
    engine: str, digits: Digits, variants: Sequence[Variant], wanted: dict[str, str]
) -> Batch[TrainingResult]:
    """Train a batch of variants on this worker.

    Raises:
        StoppedError: The versions of this worker differ from the versions on the machine that runs the study.
        WorkerError: The engine cannot be created, or training fails.
    """
    # Check the versions for each batch of variants, because workers may join after the start of the study.
    if differing := differences(wanted, facts()):
        cause = f"a worker on {socket.gethostname()} differs from the machine that runs the study: {differing}"
        raise StoppedError(cause, "Stop this worker or install the same versions (docs/cluster.md), then try again.")
    _lower_priority()
    with _training:
        return train(_engine(engine, digits), digits, variants, training.run)
