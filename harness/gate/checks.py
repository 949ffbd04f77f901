"""The checks of the gate: what each expected, what it measured, how certain it is, and where to look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import binom

from harness.data.digits import LAB_NAME, Digits
from harness.engines.registry import NAMES
from harness.gate import convergence as rule
from harness.gate import trace as traces
from harness.gate.convergence import Found, Sample
from harness.gate.reference import Reference, Repeats
from harness.gate.training import Training
from harness.gate.verdict import Check, Verdict
from harness.lab.published import LAB_LOG
from harness.network.variant import BASELINE, N_IMAGES

# Of two right softmaxes of float32 the one that first takes the largest logit off rounds differences of up to 87.3
# (smaller probabilities are no normal numbers), each by half a unit in its last place: up to 87.3 ULPs of the result.
# The exponentials (2.5 and 2), a sum of ten (5 each) and the division (0.5 each) make it 104 at most.
SOFTMAX_ULPS = 104
ROW_SUM_ERROR = 1e-6  # ten roundings of float32, each of at most 2**-24

SMALL_ABS_DIFF = 2.0**-125  # of entries that are no normal numbers on one side at least: those are below 2**-126

ALPHA_ZERO = 0.001
ALPHA_AGREE = 0.0005  # of each other engine
_DRAWS = 100_000


def data(digits: Digits, reference: Reference) -> Check:
    """The images are those of the reference."""
    expected = reference.dataset
    is_same = (digits.sha256_x, digits.sha256_y) == (expected["sha256_x"], expected["sha256_y"])
    return Check(
        "data",
        Verdict.PASS if is_same else Verdict.FAIL,
        f"{expected['name']}, sha256 {expected['sha256_x'][:12]}",
        f"{digits.name}, sha256 {digits.sha256_x[:12]}",
        "all bytes",
        "--data, or a reference of these images (--reference)",
    )


def conformance(engine: str, broken: Mapping[str, str]) -> Check:
    """The engine keeps to the contract.

    Args:
        engine: its name.
        broken: how each rule is broken; empty where it is not.
    """
    found = [f"{rule}: {how}" for rule, how in broken.items() if how]
    return Check(
        f"conformance {engine}",
        Verdict.FAIL if found else Verdict.PASS,
        f"all {len(broken)} rules of the contract",
        f"{len(found)} are broken. {'. '.join(found)}" if found else "all are kept",
        "against the same training in NumPy's float64",
        "harness.engines.conformance, harness.engines.contract",
        details={"rules": dict(broken)},
    )


def softmax(training: Training) -> Check:
    """``my_softmax`` gives what TensorFlow's does, on the trained logits and on the lab's vectors."""
    looks = training.softmax.values()
    # A way that overflows in every row that is compared has no figures: it is as far off as can be.
    found = [check for look in looks for check in look.checks.values() if look.may_overflow < look.rows]
    ulps = max((math.inf if check.max_ulp is None else check.max_ulp for check in found), default=math.inf)
    differ = sum(check.argmax_differs for check in found)
    off = max((math.inf if check.row_sum_error is None else check.row_sum_error for check in found), default=math.inf)
    small = max((look.small_abs_diff for look in looks), default=math.inf)
    overflow = sum(
        max(0, check.overflow_rows - (0 if way == "stable" else look.may_overflow))
        for look in looks
        for way, check in look.checks.items()
    )
    is_close = ulps <= SOFTMAX_ULPS and off <= ROW_SUM_ERROR and small <= SMALL_ABS_DIFF
    is_good = is_close and not differ and not overflow
    return Check(
        "softmax",
        Verdict.PASS if is_good else Verdict.FAIL,
        f"at most {SOFTMAX_ULPS} ULPs from TensorFlow's, the same argmax, rows that sum to 1",
        f"{ulps} ULPs, {differ} other argmaxes, sums off by {off:.1e}, {overflow} rows overflow that need not",
        f"three forms, {N_IMAGES} rows of trained logits and the lab's vectors",
        "harness.network.softmax, and tf.nn.softmax",
        details={name: asdict(look) for name, look in training.softmax.items()},
    )


def trace(engine: str, own: Training, early: Sequence[Training], reference: Reference) -> Check:
    """The baseline trains as it was recorded.

    Args:
        engine: what trained.
        own: the baseline's own seed, to its last epoch.
        early: the first epochs of the reference's early seeds, the first of them or all.
        reference: what was recorded.
    """
    recorded = reference.traces.get(engine)
    log = _log(own, reference)
    details = {
        "losses": own.losses.tolist(),
        "errors": own.errors.tolist(),
        "recorded_losses": (recorded or reference.traces[reference.repeats.engine]).losses,
        "tolerance": traces.TOLERANCE,
        "early_epochs": traces.EARLY_EPOCHS,
    }
    if recorded is not None and traces.is_exact(recorded):
        found = traces.exactly(own, recorded)
        is_wrong = found.epoch is not None or bool(log and traces.of_the_lab(own))
        return Check(
            f"trace {engine}",
            Verdict.FAIL if is_wrong else Verdict.PASS,
            f"the recorded weights to the last bit after each of {len(recorded.losses)} epochs",
            found.seen + log,
            "recorded on such a machine with such libraries",
            _WHAT_CHANGED,
            details={**details, "exact": True, "first_different_epoch": found.epoch},
        )
    losses = reference.early.losses[early[0].variant.adam]
    votes = traces.votes(early, losses[: len(early)], traces.leaves(reference.early))
    where = ", ".join(traces.elsewhere(recorded)) if recorded else "by no such engine"
    return Check(
        f"trace {engine}",
        Verdict.FAIL if votes.is_wrong else Verdict.PASS,
        f"the recorded losses of {len(early)} seeds, within {traces.TOLERANCE:g} for {traces.EARLY_EPOCHS} epochs",
        _votes(votes) + log,
        f"not recorded here ({where}), so later epochs are not judged; chance {votes.chance:.1g}",
        _WHAT_CHANGED,
        details={**details, "exact": False, "left": dict(votes.left), "seeds": votes.n, "chance": votes.chance},
    )


_WHAT_CHANGED = (
    "initial weights and batch order if epoch 1 differs, else the step: harness.network.random_streams, harness.engines"
)


def _votes(votes: traces.Votes) -> str:
    kept = f"{votes.n - len(votes.left)} of {votes.n} seeds keep to them, within {votes.worst:.1e}"
    first = f"; the first leaves at epoch {min(votes.left.values())}" if votes.left else ""
    return kept + first


def _log(own: Training, reference: Reference) -> str:
    """How much of the lab's log is printed, where it is of these images and this Adam; else nothing."""
    if reference.dataset["name"] != LAB_NAME or own.variant.adam != "tensorflow":
        return ""
    wrong = traces.of_the_lab(own)
    which = f", not at epoch {', '.join(map(str, wrong))}" if wrong else ""
    return f"; {len(LAB_LOG) - len(wrong)} of {len(LAB_LOG)} losses of the lab's log printed{which}"


def zero(own: Training, others: Sequence[Training], repeats: Repeats, *, is_exact: bool) -> Check:
    """The baseline reaches zero errors within its epochs.

    Where training repeats to the last bit its own seed must. Elsewhere that seed is one of many, and one in some
    hundred does not: so it is looked at with others, by the chance of so many misses.
    """
    budget = BASELINE.epochs
    epoch = own.first_zero_epoch
    last = f"{own.errors[-1]} at the last"
    seen = f"seed {own.variant.seed} at epoch {epoch}, then errors again in {own.returned} epochs, {last}"
    if epoch is None:
        seen = f"seed {own.variant.seed} does not: {own.errors.min()} errors at best, {last}"
    look = "the trace, and the seeds below"
    expected = f"zero errors on the {N_IMAGES} images that it learns from within {budget} epochs"
    if is_exact or epoch is not None:
        verdict = Verdict.FAIL if epoch is None else Verdict.PASS
        return Check("zero", verdict, expected, seen, "one seed, see convergence for others", look)
    trained = [own, *others]
    missed = sum(training.first_zero_epoch is None for training in trained)
    misses, n = repeats.first_zero.count(None), len(repeats.first_zero)
    chance = float(binom.sf(missed - 1, len(trained), (misses + 1) / (n + 2)))
    return Check(
        "zero",
        Verdict.FAIL if chance <= ALPHA_ZERO else Verdict.PASS,
        f"{expected} for nearly all seeds ({n - misses} of {n} in the reference)",
        f"{len(trained) - missed} of {len(trained)} seeds reach zero; {seen}",
        f"so many misses have a chance of {chance:.2g}; below {ALPHA_ZERO:g} is FAIL",
        look,
    )


def convergence(
    now: Sample, reference: Sample, stage: int, stages: tuple[int, ...], detectable: float | None
) -> tuple[Check, Found]:
    """The network learns as soon as it did, over seeds; and what that comes to, if it is not yet clear too.

    Args:
        now: the seeds of this gate, at least those of the stage.
        reference: those that were recorded.
        stage: which look this is.
        stages: after how many seeds there is one.
        detectable: the slowdown that a gate with these stages would notice 9 times in 10.
    """
    looked = rule.look(Sample(now.first_zero[None], now.errors[None], now.budget), reference, stage, stages)
    found = Found(int(looked.found[0]))
    seeds = now.first(looked.n)
    figures: dict[str, Any] = {
        "n": looked.n,
        "n_reference": reference.n,
        "mean_first_zero": float(looked.mean[0]),
        "reference_mean_first_zero": float(reference.epochs.mean()),
        "fastest": float(looked.fastest[0]),
        "slowest": float(looked.slowest[0]),
        "mean_bound": float(looked.mean_bound[0]),
        "reached": seeds.n_reached,
        "reference_reached": reference.n_reached,
        "share_bound": float(looked.share_bound[0]),
        "mean_errors": float(seeds.errors.mean()),
        "reference_mean_errors": float(reference.errors.mean()),
        "p_more_errors": float(looked.p_errors[0]),
        "p_fewer_errors": float(looked.p_errors_fewer[0]),
        "p_share": float(looked.p_share[0]),
        "p_later": float(looked.p_later[0]),
        "p_sooner": float(looked.p_sooner[0]),
        "detectable": detectable,
        "stages": list(stages),
    }
    check = Check(
        "convergence",
        _VERDICTS[found],
        f"first zero epoch {figures['fastest']:.1f} to {figures['slowest']:.1f} on average (reference "
        f"{figures['reference_mean_first_zero']:.1f}), {figures['reference_mean_errors']:.1f} errors at epoch 40, "
        f"{reference.n_reached} of {reference.n} that reach zero",
        f"{figures['mean_first_zero']:.1f}, {figures['mean_errors']:.1f} errors, {seeds.n_reached} of {seeds.n} seeds",
        _how_sure(figures),
        "the figure of survival; harness gate explain; the same seeds again to repeat it",
        details=figures,
    )
    return check, found


_VERDICTS = {
    Found.UNCLEAR: Verdict.INCONCLUSIVE,
    Found.SAME: Verdict.PASS,
    Found.FASTER: Verdict.CHANGED,
    Found.SLOWER: Verdict.FAIL,
}


def _how_sure(figures: dict[str, Any]) -> str:
    most = figures["mean_bound"] / figures["reference_mean_first_zero"] - 1
    by = figures["detectable"]
    noticed = "no slowdown up to +50% would be noticed 9 times in 10"
    if by is not None:
        noticed = f"would have noticed {by:+.0%} epochs 9 times in 10"
    return (
        f"at most {most:+.1%} epochs; p {figures['p_more_errors']:.2g} for more errors, {figures['p_share']:.2g} for "
        f"fewer that reach zero, {figures['p_later']:.2g} for later by ranks; {noticed}"
    )


def agreement(
    subject: str, other: str, pairs: Sequence[tuple[Training, Training]], reference: Reference, *, is_exact: bool
) -> Check:
    """Two engines train alike: the same seeds as far as rounding allows, and then as a distribution.

    Args:
        subject: the engine of the first of each pair.
        other: the engine of the second.
        pairs: trainings of the same variants; the first is the baseline's own seed.
        reference: whose repeats say what seeds do.
        is_exact: whether both repeat to the last bit what was recorded.
    """
    repeats = reference.repeats
    recorded = [mine.losses for mine, _ in pairs]
    votes = traces.votes([theirs for _, theirs in pairs], recorded, traces.leaves(reference.early))
    alike = traces.printed_alike(*pairs[0])
    least = reference.alike.get(other, 0) if is_exact and subject == repeats.engine else 0
    at = repeats.errors_at
    errors = [theirs.errors_at(at) for _, theirs in pairs if theirs.variant.epochs >= at]
    p = mean_by_chance(errors, repeats.errors)
    wrong = []
    if votes.is_wrong:
        wrong.append(f"{len(votes.left)} of {votes.n} seeds differ, from epoch {min(votes.left.values())} on")
    if alike < least:
        wrong.append(f"the baseline's log differs after {alike} epochs, as recorded after {least}")
    if p <= ALPHA_AGREE:
        wrong.append(f"{np.mean(errors):.1f} errors at epoch {repeats.errors_at} are not the reference's (p {p:.2g})")
    seen = f"{_votes(votes)}; printed alike for {alike} epochs; {np.mean(errors):.1f} errors at epoch "
    return Check(
        f"agreement {other}",
        Verdict.FAIL if wrong else Verdict.PASS,
        f"the losses of {subject} within {traces.TOLERANCE:g} for {traces.EARLY_EPOCHS} epochs, and printed alike for "
        f"{least or 'as many as rounding allows'}; about {np.mean(repeats.errors):.1f} errors at epoch "
        f"{repeats.errors_at}",
        "; ".join(wrong) or f"{seen}{repeats.errors_at}",
        f"{votes.n} seeds, {len(errors)} of them to epoch {repeats.errors_at}; p {p:.2g}",
        f"harness.engines.{other}" if other in NAMES else other,
        details={
            "seeds": [mine.variant.seed for mine, _ in pairs],
            "left": dict(votes.left),
            "printed_alike": alike,
            "p": p,
        },
    )


def mean_by_chance(values: Sequence[float], reference: Sequence[float]) -> float:
    """Two-sided p that so few values, whose mean it goes by, are drawn from the reference; by drawing from it."""
    random = np.random.Generator(np.random.PCG64(3))
    means = random.choice(np.asarray(reference, np.float64), (_DRAWS, len(values))).mean(axis=1)
    mean = float(np.mean(values))
    rarer = min(np.count_nonzero(means <= mean), np.count_nonzero(means >= mean))
    return min(1.0, 2 * (int(rarer) + 1) / (_DRAWS + 1))
