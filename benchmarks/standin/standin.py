"""An engine that trains nothing.

The engine computes artificial results from the variant, the same on every machine. It replaces a real engine in tests
that do not depend on training. To install the engine, put the folder of this file on ``PYTHONPATH``. The
``tensorflow`` package beside this file then replaces the real TensorFlow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from harness.data.digits import Digits
from harness.engines.contract import EpochReport, OnEpoch, wanted_epochs
from harness.engines.history import Snapshot, TrainingHistory
from harness.network.variant import N_CLASSES, N_FEATURES, N_IMAGES, Variant

# Environment variables with the simulated duration of a training: seconds for each call, and seconds for each epoch of
# each variant. Tests interrupt a training within this time.
PAUSE, EPOCH = "STANDIN_PAUSE_S", "STANDIN_EPOCH_S"

# The environment variable with the path of a file. Each process appends its process ID when a training starts. Tests
# wait for this line.
STARTED = "STANDIN_STARTED"

# The environment variable with a setting and its value, such as ``seed=3``. Trainings with this setting fail.
FAILS = "STANDIN_FAILS"


class Standin:
    """An engine that trains nothing."""

    name = "standin"
    width = 4

    def __init__(self, digits: Digits) -> None:
        self._labels = digits.labels

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Compute an invented training history for every variant."""
        if path := os.environ.get(STARTED):
            with Path(path).open("a") as file:
                file.write(f"{os.getpid()}\n")
        name, _, value = os.environ.get(FAILS, "").partition("=")
        if name and any(str(getattr(variant, name)) == value for variant in variants):
            raise ValueError(f"a training with {name} {value} fails")
        n_epochs = sum(variant.epochs for variant in variants)
        time.sleep(float(os.environ.get(PAUSE, "0")) + n_epochs * float(os.environ.get(EPOCH, "0")))
        trained = [self._history(variant, snapshots) for variant in variants]
        if on_epoch is not None:
            for history in trained:
                for epoch, (loss, errors) in enumerate(zip(history.losses, history.errors, strict=True), start=1):
                    on_epoch(EpochReport(history.variant, epoch, float(loss), int(errors), 0.0))
        return trained

    def _history(self, variant: Variant, snapshots: Collection[int]) -> TrainingHistory:
        """Compute losses and errors that decrease with the epochs. Their rate and noise depend on the variant."""
        random = np.random.Generator(np.random.PCG64(int(variant.with_epochs(1).key, 16)))
        rate, noise = random.uniform(0.02, 0.2), random.random(variant.epochs)
        epochs = np.arange(1, variant.epochs + 1)
        losses = 2.0 * np.exp(-rate * epochs) * (1 + 0.1 * noise)
        errors = np.floor(400 * np.exp(-rate * epochs) * (0.5 + noise)).astype(np.int64)
        wanted = wanted_epochs(variant, snapshots)
        kept = {epoch: self._snapshot(variant, int(errors[epoch - 1])) for epoch in wanted}
        return TrainingHistory(variant, losses, errors, kept, 0.001)

    def _snapshot(self, variant: Variant, wrong: int) -> Snapshot:
        logits = np.zeros((N_IMAGES, N_CLASSES), np.float32)
        logits[np.arange(N_IMAGES), self._labels] = 5
        logits[np.arange(wrong), (self._labels[:wrong] + 1) % N_CLASSES] = 9
        units = (N_FEATURES, *variant.layers)
        shapes = [shape for fan_in, fan_out in pairwise(units) for shape in ((fan_in, fan_out), (fan_out,))]
        return Snapshot(tuple(np.zeros(shape, np.float32) for shape in shapes), logits)
