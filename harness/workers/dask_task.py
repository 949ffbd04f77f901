"""What a Dask worker runs: it keeps one engine and trains one batch at a time."""

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
    lower_priority,
    train,
    warm,
)

# What must be equal for a worker's results to be taken for this machine's.
_COMPARED = ("zero-errors", "tensorflow", "keras", "numpy")


def facts() -> dict[str, str]:
    """The versions that this process trains with."""
    versions = provenance.versions()
    python = ".".join(versions["python"].split(".")[:2])
    return {"python": python, **{name: versions[name] for name in _COMPARED}, "trace": str(TRACE_VERSION)}


def differences(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """The versions in which a process differs from this one; empty if there are none."""
    pairs = [(name, theirs.get(name, "unknown"), own) for name, own in ours.items()]
    return ", ".join(f"{name} {their} (here {own})" for name, their, own in pairs if their != own)


# The engine and the images that it was made for are kept: making it takes seconds, and a study has one.
_made: dict[tuple[str, str, str], Engine] = {}
# An engine trains one batch at a time, however many threads a worker was given.
_training = threading.Lock()


# Threads that gave way to others already.
_yielding = threading.local()


def _lower_priority() -> None:
    """Lower the priority of this thread and of the threads that TensorFlow starts from it.

    The thread that talks to the scheduler does not yield.
    """
    if not hasattr(_yielding, "begun"):
        lower_priority()
        _yielding.begun = True


def warm_up(engine: str, shape: Shape | None) -> None:
    """Start to load TensorFlow and the engine in the background.

    Not as a task: Dask learns from each how long they take, and would take away the next ones from the worker that is
    the second to be ready.
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
            cause = f"engine {name} cannot be made on {socket.gethostname()}: {type(error).__name__}: {error}"
            raise WorkerError(cause) from error
    return _made[key]


def train_batch(
    engine: str, digits: Digits, variants: Sequence[Variant], wanted: dict[str, str]
) -> Batch[TrainingResult]:
    """Train a batch on this worker.

    Raises:
        StoppedError: this worker's versions differ from those of the study's machine.
        WorkerError: the engine cannot be made, or training failed.
    """
    # Here and not only when the study connects: workers come and go.
    if differing := differences(wanted, facts()):
        cause = f"a worker of {socket.gethostname()} is not made as the study's machine is: {differing}"
        raise StoppedError(cause, "Stop it, or install the same versions there (docs/cluster.md); then run again.")
    _lower_priority()
    with _training:
        return train(_engine(engine, digits), digits, variants, training.run)
