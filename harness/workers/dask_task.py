"""The code that a Dask worker runs.

The worker keeps one engine and trains one batch at a time.
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

# The packages whose versions must be the same on a worker and on the machine of the study.
_COMPARED = ("zero-errors", "tensorflow", "keras", "numpy")


def facts() -> dict[str, str]:
    """The versions with which this process trains: Python, packages, and the trace version."""
    versions = provenance.versions()
    python = ".".join(versions["python"].split(".")[:2])
    return {"python": python, **{name: versions[name] for name in _COMPARED}, "trace": str(TRACE_VERSION)}


def differences(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """The versions in which another process differs from this one, as text.

    Empty if all versions are the same.
    """
    pairs = [(name, theirs.get(name, "unknown"), own) for name, own in ours.items()]
    return ", ".join(f"{name} {their} (here {own})" for name, their, own in pairs if their != own)


# The cached engine, by its name and the hashes of its images. Making it takes seconds, and a study uses only one.
_made: dict[tuple[str, str, str], Engine] = {}
# An engine trains one batch at a time, even if the worker has several threads.
_training = threading.Lock()


# Records for each thread whether it has lowered its priority.
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

    This function is not run as a Dask task. Dask would learn the duration of this slow task, and would then move the
    next batches away from the second worker that becomes ready.
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
    """Train a batch on this worker.

    Raises:
        StoppedError: The versions of this worker differ from those of the machine of the study.
        WorkerError: The engine cannot be made, or training fails.
    """
    # Check each batch, and not only when the study connects: workers may join later.
    if differing := differences(wanted, facts()):
        cause = f"a worker of {socket.gethostname()} differs from the study's machine: {differing}"
        raise StoppedError(cause, "Stop it, or install the same versions there (docs/cluster.md); then run again.")
    _lower_priority()
    with _training:
        return train(_engine(engine, digits), digits, variants, training.run)
