"""What every engine must do; a new engine joins by its name in ``harness.engines.NAMES``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.data.digits import Digits
from harness.engines import conformance, registry
from harness.engines.conformance import ContractError, Rule
from harness.engines.contract import Engine, OnEpoch
from harness.engines.history import TrainingHistory
from harness.network.variant import Variant


@pytest.mark.parametrize("rule", conformance.RULES, ids=lambda rule: rule.__name__)
# What has diverged is looked at by NumPy, which says so.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_every_engine_does_as_the_contract_says(rule: Rule, engine: Engine, digits: Digits) -> None:
    rule(engine, digits)


class Changed:
    """A right engine but for what is done to variants before, or to trajectories after."""

    name = "changed"

    def __init__(self, digits: Digits, before: dict[str, Any], after: dict[str, Any]) -> None:
        self._engine, self._before, self._after = registry.make("xla", digits), before, after

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        asked = [variant.model_copy(update=self._before) for variant in variants]
        trained = self._engine.train(asked, snapshots=snapshots, on_epoch=on_epoch)
        return [replace(one, variant=variant, **self._after) for one, variant in zip(trained, variants, strict=True)]


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        (conformance.first_steps, {"learning_rate": 0.00101}, {}),
        (conformance.first_steps, {"seed": 1}, {}),
        (conformance.optimizer, {"beta_1": 0.9}, {}),
        (conformance.optimizer, {"epsilon": 1e-7}, {}),
        (conformance.softmax_in_output, {"softmax": "logits"}, {}),
        (conformance.scores, {}, {"errors": np.array([0])}),
        (conformance.snapshots, {}, {"snapshots": {}}),
        (conformance.divergence, {"learning_rate": 0.001}, {}),
        (conformance.shapes, {"layers": (10,)}, {}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_engine_that_does_something_else_is_found_out(
    rule: Rule, before: dict[str, Any], after: dict[str, Any], digits: Digits
) -> None:
    with pytest.raises(ContractError):
        rule(Changed(digits, before, after), digits)


class Drifting(Changed):
    """A right engine whose losses are other ones in every call."""

    def __init__(self, digits: Digits) -> None:
        super().__init__(digits, {}, {})
        self._calls = 0

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        self._calls += 1
        trained = super().train(variants, snapshots=snapshots, on_epoch=on_epoch)
        return [replace(one, losses=one.losses + 1e-9 * self._calls) for one in trained]


@pytest.mark.parametrize("rule", [conformance.repeats, conformance.prefixes, conformance.reports])
def test_an_engine_that_does_not_repeat_is_found_out(rule: Rule, digits: Digits) -> None:
    with pytest.raises(ContractError):
        rule(Drifting(digits), digits)


def test_an_engine_that_raises_breaks_every_rule_and_says_what(digits: Digits) -> None:
    found = conformance.examine(Changed(digits, {"no": "such field"}, {"no": "such field"}), digits)
    assert len(found) == len(conformance.RULES)
    assert [rule for rule, broken in found.items() if not broken] == [
        "An empty list of variants gives an empty list of training histories"
    ]
    assert "unexpected keyword argument 'no'" in next(iter(found.values()))
