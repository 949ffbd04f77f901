"""One training against the recorded one: to the last bit, and by votes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from harness import fingerprint
from harness.gate import trace
from harness.gate.reference import Early, Reference, Trace
from harness.gate.training import Training
from harness.lab.published import LAB_LOG
from harness.network.variant import BASELINE


def training(recorded: Trace, seed: int = BASELINE.seed) -> Training:
    """A training that gave what was recorded."""
    variant = BASELINE.model_copy(update={"seed": seed})
    losses, errors = np.array(recorded.losses), np.array(recorded.errors)
    return Training(variant, losses, errors, tuple(recorded.weights), {}, 1.0)


def early_of(recorded: Reference) -> Early:
    """The early losses of a reference of engines."""
    assert recorded.early is not None
    return recorded.early


def early(recorded: Reference, off: dict[int, float]) -> list[Training]:
    """The early seeds as they were recorded, but for some whose fifth loss is off, relatively."""
    found = []
    whole = early_of(recorded)
    for place, (seed, losses) in enumerate(zip(whole.seeds, whole.losses["tensorflow"], strict=True)):
        changed = np.array(losses)
        changed[4] *= 1 + off.get(place, 0)
        variant = BASELINE.model_copy(update={"seed": seed, "epochs": len(losses)})
        found.append(Training(variant, changed, np.zeros(len(losses), np.int64), (), {}, 1.0))
    return found


def test_the_same_weights_are_the_same(recorded: Reference) -> None:
    assert trace.exactly(training(recorded.traces["xla"]), recorded.traces["xla"]).epoch is None


def test_the_first_epoch_whose_weights_differ_is_named(recorded: Reference) -> None:
    mine = training(recorded.traces["xla"])
    changed = replace(mine, weights=(*mine.weights[:36], "other", *mine.weights[37:98], "another", mine.weights[99]))
    found = trace.exactly(changed, recorded.traces["xla"])
    assert found.epoch == 37
    assert "epoch 37 is the first that differs" in found.seen


@pytest.mark.parametrize("what", ["losses", "errors"])
def test_losses_and_errors_count_as_well_as_weights(what: str, recorded: Reference) -> None:
    mine = training(recorded.traces["xla"])
    changed = getattr(mine, what).copy()
    changed[11] += 1
    values: dict[str, Any] = {what: changed}
    assert trace.exactly(replace(mine, **values), recorded.traces["xla"]).epoch == 12


def test_where_more_leave_than_usual_more_may(recorded: Reference) -> None:
    assert trace.may_diverge(early_of(recorded)) == trace.MAY_DIVERGE
    restless = early_of(recorded).model_copy(update={"left": 40, "tried": 100})
    assert trace.may_diverge(restless) > 0.4
    losses = early_of(recorded).losses["tensorflow"]
    many = early(recorded, dict.fromkeys(range(9), 0.1))
    assert not trace.votes(many, losses, trace.may_diverge(restless)).is_wrong


def test_a_trace_is_compared_to_the_last_bit_only_where_it_was_recorded(recorded: Reference) -> None:
    here = recorded.traces["xla"].model_copy(update={"fingerprint": fingerprint.here()})
    assert trace.is_exact(here)
    there = here.model_copy(update={"fingerprint": {**here.fingerprint, "tensorflow": "2.16.1", "threads": "2"}})
    assert not trace.is_exact(there)
    assert trace.elsewhere(there) == ["tensorflow", "threads"]
    assert not trace.is_exact(None)


@pytest.mark.parametrize("off", [1e-3, -1e-3, np.nan, np.inf])
def test_a_seed_that_leaves_is_named_with_its_epoch(off: float, recorded: Reference) -> None:
    found = trace.votes(early(recorded, {2: off}), early_of(recorded).losses["tensorflow"])
    assert found.diverged == {early_of(recorded).seeds[2]: 5}
    assert not found.is_wrong


def test_rounding_is_no_leaving(recorded: Reference) -> None:
    found = trace.votes(early(recorded, dict.fromkeys(range(16), 5e-7)), early_of(recorded).losses["tensorflow"])
    assert not found.diverged
    assert found.worst == pytest.approx(5e-7, rel=1e-3)


def test_more_than_half_of_the_seeds_are_too_many(recorded: Reference) -> None:
    losses = early_of(recorded).losses["tensorflow"]
    assert not trace.votes(early(recorded, dict.fromkeys(range(6), 0.1)), losses).is_wrong
    assert trace.votes(early(recorded, dict.fromkeys(range(9), 0.1)), losses).is_wrong


def test_of_four_seeds_all_have_to_leave(recorded: Reference) -> None:
    losses = early_of(recorded).losses["tensorflow"][:4]
    assert not trace.votes(early(recorded, dict.fromkeys(range(3), 0.1))[:4], losses).is_wrong
    assert trace.votes(early(recorded, dict.fromkeys(range(4), 0.1))[:4], losses).is_wrong


@pytest.mark.parametrize("n", [4, 16])
def test_votes_are_wrong_no_more_often_than_they_may_be(n: int) -> None:
    left = np.random.Generator(np.random.PCG64(1)).binomial(n, trace.MAY_DIVERGE, 100_000)
    chance = binom.sf(left - 1, n, trace.MAY_DIVERGE)
    assert np.count_nonzero(chance <= trace.ALPHA) <= binom.isf(1e-4, 100_000, trace.ALPHA)


def test_the_labs_log_is_looked_for_to_every_digit(recorded: Reference) -> None:
    losses = np.full(100, 0.5)
    for epoch, loss in LAB_LOG.items():
        losses[epoch - 1] = float(loss) + 4e-5
    mine = replace(training(recorded.traces["xla"]), losses=losses)
    assert trace.of_the_lab(mine) == []
    losses[38] += 2e-5
    assert trace.of_the_lab(mine) == [39]
    assert trace.of_the_lab(mine.prefix(38)) == []
