"""Compares a training with the recorded training epoch by epoch, either bit for bit or within a tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from harness import fingerprint
from harness.gate.reference import Early, Trace
from harness.gate.training import Training
from harness.lab.published import LAB_LOG
from harness.statistics import wilson

# The number of epochs to compare if training does not repeat bit for bit.
EARLY_EPOCHS = 10
# A training has departed from the recorded losses if a loss differs from the recorded loss by more than this tolerance
# (relative). With other engines, or with noise in the last bit, the difference was at most 7e-7 before a training
# departed, and at least 2e-4 afterwards.
TOLERANCE = 1e-5
# The proportion of correct trainings that may depart from the recorded losses within the compared epochs. If more
# trainings departed when the reference was recorded, :func:`may_diverge` returns a larger proportion.
MAY_DIVERGE = 0.15
# The significance level of the comparison of several seeds. The comparison fails if correct trainings produce the
# observed number of departing seeds, or more, with at most this probability.
ALPHA = 0.001


@dataclass(frozen=True)
class Difference:
    """The first difference between a training and the recorded trace.

    Attributes:
        epoch: First epoch that differs, from 1. None if no epoch differs.
        seen: Description of the difference.
    """

    epoch: int | None
    seen: str


@dataclass(frozen=True)
class Votes:
    """How many of several seeds depart from their expected losses.

    Attributes:
        diverged: First epoch that differs, from 1, of each seed that departs. The key is the seed.
        n: Number of seeds.
        worst: Largest relative difference of a loss among the seeds that do not depart. 0 if all depart.
        chance: Upper bound of the probability that this number of seeds, or more, depart if all trainings are correct.
    """

    diverged: Mapping[int, int]
    n: int
    worst: float
    chance: float

    @property
    def is_wrong(self) -> bool:
        """Whether more seeds depart from their expected losses than rounding explains."""
        return self.chance <= ALPHA


def is_exact(trace: Trace | None) -> bool:
    """Return whether the trace was recorded in an equal environment, so that training must repeat it bit for bit."""
    return trace is not None and not elsewhere(trace)


def elsewhere(trace: Trace) -> list[str]:
    """Return the names of the fingerprint entries in which this environment differs from the environment of a trace."""
    return fingerprint.differences(trace.fingerprint, fingerprint.here())


def exactly(training: Training, trace: Trace) -> Difference:
    """Compare the weights, the loss and the error count after each epoch, bit for bit."""
    mine, theirs = (
        list(zip(side.weights, map(float, side.losses), map(int, side.errors), strict=True))
        for side in (training, trace)
    )
    same = [ours == recorded for ours, recorded in zip(mine, theirs, strict=True)]
    if all(same):
        return Difference(None, "weights, losses and errors are equal bit for bit after every epoch")
    place = same.index(False)
    return Difference(
        place + 1,
        f"epoch {place + 1} is the first that differs: loss {training.losses[place]:.6f}, recorded "
        f"{trace.losses[place]:.6f}; {training.errors[place]} errors, recorded {trace.errors[place]}",
    )


def may_diverge(early: Early) -> float:
    """Return the largest proportion of correct trainings that may depart from the recorded losses because of rounding.

    This is the larger of :data:`MAY_DIVERGE` and the upper 95% bound of the proportion that departed when the reference
    was recorded.
    """
    return max(MAY_DIVERGE, wilson(early.left, early.tried).high)


def votes(
    trainings: Sequence[Training],
    recorded: Sequence[Sequence[float] | NDArray[np.float64]],
    share: float = MAY_DIVERGE,
) -> Votes:
    """Compare the early losses of several seeds with expected losses; see :class:`harness.gate.reference.Early`.

    Args:
        trainings: Trainings, one for each seed.
        recorded: Expected losses of each training, ``(n, epochs)``.
        share: Largest proportion of correct trainings that may depart from the expected losses.
    """
    diverged, worst = {}, 0.0
    for training, losses in zip(trainings, recorded, strict=True):
        n = min(EARLY_EPOCHS, len(training.losses), len(losses))
        off = np.abs(training.losses[:n] / np.asarray(losses[:n]) - 1)
        wrong = ~(off <= TOLERANCE)  # also true for NaN
        if wrong.any():
            diverged[training.variant.seed] = int(np.argmax(wrong)) + 1
        else:
            worst = max(worst, float(off.max()))
    return Votes(diverged, len(trainings), worst, chance(len(diverged), len(trainings), share))


def chance(diverged: int, n: int, share: float) -> float:
    """Return the probability that ``diverged`` or more of ``n`` trainings depart, each with probability ``share``."""
    return float(binom.sf(diverged - 1, n, share))


def of_the_lab(training: Training) -> list[int]:
    """Return the epochs at which the loss of a training, with four decimals, differs from the lab's log."""
    shown = {epoch: loss for epoch, loss in LAB_LOG.items() if epoch <= len(training.losses)}
    return [epoch for epoch, loss in shown.items() if f"{training.losses[epoch - 1]:.4f}" != loss]
