"""Engines to put to the gate: one that plays recorded trainings back, and others that something is wrong with.

With the folder of this file on ``PYTHONPATH`` they are found as any other package's engines are.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines.contract import OnEpoch
from harness.engines.history import Snapshot, TrainingHistory
from harness.gate import reference
from harness.network.variant import N_CLASSES, N_IMAGES, Variant


class Replay:
    """Gives the reference's own early losses, and first zero epochs and errors that are those of its repeats."""

    name = "replay"
    width = 8
    later = 0  # epochs by which the first without error is moved

    def __init__(self, digits: Digits) -> None:
        self._reference = reference.load(reference.path_of(digits.name))
        self._labels = digits.labels

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Make trajectories of what was recorded."""
        del snapshots, on_epoch
        return [self._trajectory(variant) for variant in variants]

    def _trajectory(self, variant: Variant) -> TrainingHistory:
        early, repeats = self._reference.early, self._reference.repeats
        assert early is not None
        losses = np.full(variant.epochs, 0.01)
        if variant.seed in early.seeds:
            recorded = early.losses[variant.adam][early.seeds.index(variant.seed)]
            losses[: len(recorded)] = recorded[: variant.epochs]
        # Every sixteenth of the repeats, so that any first seeds are like all of them.
        place = variant.seed * 16 % len(repeats.seeds) + variant.seed // 64 % 16
        first_zero = (repeats.first_zero[place] or repeats.budget + 1) + self.later
        errors = np.where(np.arange(1, variant.epochs + 1) < first_zero, repeats.errors[place] + max(0, self.later), 0)
        snapshot = Snapshot((np.zeros((400, 10), np.float32),), self._logits(int(errors[-1])))
        return TrainingHistory(variant, losses, errors, {variant.epochs: snapshot}, 0.001)

    def _logits(self, wrong: int) -> NDArray[np.float32]:
        logits = np.zeros((N_IMAGES, N_CLASSES), np.float32)
        logits[np.arange(N_IMAGES), self._labels] = 5
        logits[np.arange(wrong), (self._labels[:wrong] + 1) % N_CLASSES] = 9
        return logits


class Late(Replay):
    """Learns later than what was recorded."""

    later = 12


class Early(Replay):
    """Learns sooner."""

    later = -9


class Raises(Replay):
    """Cannot train."""

    def train(self, *_: object, **__: object) -> list[TrainingHistory]:
        """Fail."""
        raise RuntimeError("\x1b[31mthe coffee is cold\x00")  # as programs of a terminal write


class Leaves(Replay):
    """Leaves Python."""

    def train(self, *_: object, **__: object) -> list[TrainingHistory]:
        """End."""
        raise SystemExit(0)


class Rates(Replay):
    """Returns the share of wrong images for their number."""

    def _trajectory(self, variant: Variant) -> TrainingHistory:
        whole = super()._trajectory(variant)
        return replace(whole, errors=whole.errors / N_IMAGES)  # type: ignore[arg-type]  # what this is about


class NoWidth(Replay):
    """Is given nothing at a time."""

    width = 0


class Nothing(Replay):
    """Returns nothing."""

    def train(self, *_: object, **__: object) -> list[TrainingHistory]:
        """Return nothing."""
        return None  # type: ignore[return-value]  # what this is about


class TooFew(Replay):
    """Returns one trajectory less than it was asked for."""

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Forget the last."""
        return super().train(variants, snapshots=snapshots, on_epoch=on_epoch)[:-1]


class Nan(Replay):
    """Diverges: every loss is NaN, every image wrong."""

    def _trajectory(self, variant: Variant) -> TrainingHistory:
        whole = super()._trajectory(variant)
        last = whole.final
        diverged = {variant.epochs: Snapshot(last.weights, np.full_like(last.logits, np.nan))}
        losses, errors = np.full(variant.epochs, np.nan), np.full(variant.epochs, N_IMAGES)
        return replace(whole, losses=losses, errors=errors, snapshots=diverged)


class Lies(Replay):
    """Counts no errors, whatever its logits say."""

    def _trajectory(self, variant: Variant) -> TrainingHistory:
        whole = super()._trajectory(variant)
        snapshot = Snapshot(whole.final.weights, self._logits(3))
        return replace(whole, snapshots={variant.epochs: snapshot}, errors=np.zeros(variant.epochs, np.int64))


class Dies(Replay):
    """Is killed while it trains."""

    def train(self, *_: object, **__: object) -> list[TrainingHistory]:
        """End this process at once."""
        os.kill(os.getpid(), signal.SIGKILL)
        return []


class Unmade(Replay):
    """Cannot be made."""

    def __init__(self, digits: Digits) -> None:
        del digits
        raise ImportError("no module of the driver")


class Halved(Replay):
    """The fast engine, with half of the learning rate."""

    def __init__(self, digits: Digits) -> None:
        from harness.engines import registry

        self._engine = registry.make("xla", digits)

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Train, and say nothing of the rate."""
        changed = [one.model_copy(update={"learning_rate": one.learning_rate / 2}) for one in variants]
        trained = self._engine.train(changed, snapshots=snapshots, on_epoch=on_epoch)
        return [replace(one, variant=variant) for one, variant in zip(trained, variants, strict=True)]
