"""Trainings of the gate: what an engine is asked to keep."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from harness.data.digits import Digits
from harness.engines.contract import OnEpoch
from harness.engines.history import TrainingHistory
from harness.gate import training
from harness.network.variant import BASELINE, Variant


@pytest.mark.usefixtures("standin", "tensorflow")
@pytest.mark.parametrize("seeds", [(1, 1234, 2), (1, 2), (1234,)])
def test_only_the_baselines_own_seed_keeps_the_weights_of_every_epoch(
    seeds: tuple[int, ...], optdigits: Digits
) -> None:
    from standin import Standin  # type: ignore[import-not-found] # found on the path by a fixture

    asked: list[tuple[set[int], int]] = []

    class Spy(Standin):  # type: ignore[misc] # as above
        def train(
            self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
        ) -> list[TrainingHistory]:
            asked.append(({variant.seed for variant in variants}, len(snapshots)))
            found: list[TrainingHistory] = super().train(variants, snapshots=snapshots, on_epoch=on_epoch)
            return found

    variants = [Variant(seed=seed, epochs=5) for seed in seeds]
    trained = training.train(Spy(optdigits), optdigits, variants)
    assert [one.variant for one in trained] == variants
    assert [len(one.weights) for one in trained] == [5 if seed == BASELINE.seed else 0 for seed in seeds]
    others = set(seeds) - {BASELINE.seed}
    expected = [({BASELINE.seed}, 5)] * (BASELINE.seed in seeds) + [(others, 0)] * bool(others)
    assert asked == expected
