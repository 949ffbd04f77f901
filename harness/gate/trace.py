"""The baseline's training, epoch by epoch, against the recorded one: to the last bit, or as far as rounding allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.gate import fingerprint
from harness.gate.reference import Noise, Trace
from harness.gate.training import Training

# Noise in the last bit of the initial weights is what another order of sums does, about: so many times the most that
# it was seen to do in the reference's repeats is taken for rounding, whose kinds differ.
_FACTOR = 10.0
# Where noise moves the loss by more than this, relatively, the training has left its trace, and no verdict is given.
_GROWN = 1e-3
# Below this differences of a mean of 5000 float32 losses are nothing.
_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class Tolerance:
    """How far losses may be from the trace's where it cannot be met to the last bit.

    Attributes:
        relative: ``(epochs,)``, of the first epochs alone: those in which noise has not grown.
    """

    relative: NDArray[np.float64]

    @property
    def epochs(self) -> int:
        """How many epochs are compared."""
        return len(self.relative)


def tolerance(noise: Noise, trace: Trace) -> Tolerance:
    """By what noise did to the reference: its most so far, epoch by epoch, times a factor, as long as it is small."""
    losses = np.asarray(noise.losses)
    middle = np.asarray(trace.losses)[: losses.shape[1]]
    most = np.maximum.accumulate(np.abs(losses / middle - 1).max(axis=0))
    within = int(np.argmax(most > _GROWN)) if (most > _GROWN).any() else len(most)
    return Tolerance(np.maximum(_FLOOR, _FACTOR * most[:within]))


def early(noise: Noise) -> NDArray[np.float64]:
    """How far two right engines' losses may be from each other in the epochs of any seed in which noise stays small."""
    losses = np.asarray(noise.losses)
    most = np.maximum.accumulate((losses.max(axis=0) - losses.min(axis=0)) / losses.min(axis=0))
    within = int(np.argmax(most > _GROWN)) if (most > _GROWN).any() else len(most)
    return np.maximum(_FLOOR, _FACTOR * most[:within])


@dataclass(frozen=True)
class Difference:
    """Where a training leaves the trace.

    Attributes:
        exact: whether it was compared to the last bit.
        elsewhere: what of the fingerprint is not as it was recorded; empty where it is compared to the last bit.
        epoch: the first epoch that differs (from 1); None where none does.
        compared: how many epochs were compared.
        seen: what differs there, in words.
    """

    exact: bool
    elsewhere: list[str]
    epoch: int | None
    compared: int
    seen: str


def compare(training: Training, trace: Trace, noise: Noise) -> Difference:
    """Compare the baseline's own training with the recorded trace."""
    elsewhere = fingerprint.differences(trace.fingerprint, fingerprint.here())
    if not elsewhere and training.weights:
        return _exact(training, trace)
    allowed = tolerance(noise, trace)
    losses, expected = training.losses[: allowed.epochs], np.asarray(trace.losses)[: allowed.epochs]
    off = np.abs(losses / expected - 1)
    wrong = ~(off <= allowed.relative)  # NaN too
    epoch = int(np.argmax(wrong)) + 1 if wrong.any() else None
    if epoch is None:
        seen = f"losses within {off.max():.1e} of the recorded ones"
    else:
        place = epoch - 1
        seen = f"loss {losses[place]:.6f}, recorded {expected[place]:.6f} (allowed {allowed.relative[place]:.1e})"
    return Difference(exact=False, elsewhere=elsewhere, epoch=epoch, compared=allowed.epochs, seen=seen)


def _exact(training: Training, trace: Trace) -> Difference:
    same = [mine == theirs for mine, theirs in zip(training.weights, trace.weights, strict=True)]
    epoch = None if all(same) else same.index(False) + 1
    if epoch is None:
        seen = "the same weights to the last bit after every epoch"
    else:
        place = epoch - 1
        seen = (
            f"other weights; loss {training.losses[place]:.6f}, recorded {trace.losses[place]:.6f}; "
            f"{training.errors[place]} errors, recorded {trace.errors[place]}"
        )
    return Difference(exact=True, elsewhere=[], epoch=epoch, compared=len(same), seen=seen)
