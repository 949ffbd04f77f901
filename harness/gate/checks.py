"""The checks of the gate. Each reports what it expected, what it measured, how certain that is, and where to look."""

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

# The largest difference between two correct float32 softmaxes, of which one subtracts the largest logit first. That one
# rounds differences of up to 87.3 by half a unit in the last place, which moves the result by up to 87.3 ULPs. (Larger
# differences give probabilities that are not normal numbers.) The exponentials (2.5 and 2 ULPs), the sums of ten (5
# each) and the divisions (0.5 each) raise the bound to 104 at most.
SOFTMAX_ULPS = 104
ROW_SUM_ERROR = 1e-6  # Ten roundings of float32, each of at most 2**-24.

# The largest difference where at least one side is not a normal number. Such numbers are below 2**-126.
SMALL_ABS_DIFF = 2.0**-125

# False-alarm rates. ALPHA_AGREE applies to each of the other engines.
ALPHA_ZERO = 0.001
ALPHA_AGREE = 0.0005
_DRAWS = 100_000


def data(digits: Digits, reference: Reference) -> Check:
    """Check by SHA-256 that the images are those of the reference."""
    expected = reference.dataset
    is_same = (digits.sha256_x, digits.sha256_y) == (expected["sha256_x"], expected["sha256_y"])
    return Check(
        "data",
        Verdict.PASS if is_same else Verdict.FAIL,
        f"{expected['name']}, sha256 {expected['sha256_x'][:12]}",
        f"{digits.name}, sha256 {digits.sha256_x[:12]}",
        "the hash covers all bytes",
        "select the images of the reference (--data), or a reference of these images (--reference)",
    )


def conformance(engine: str, broken: Mapping[str, str]) -> Check:
    """Check that the engine follows every rule of the engine contract.

    Args:
        engine: Name of the engine.
        broken: How the engine breaks each rule, by rule. Empty for a rule that it follows.
    """
    found = [f"{rule}: {how}" for rule, how in broken.items() if how]
    return Check(
        f"conformance {engine}",
        Verdict.FAIL if found else Verdict.PASS,
        f"the engine follows all {len(broken)} rules of the contract",
        f"broken rules: {len(found)}. {'. '.join(found)}" if found else "it follows all rules",
        "compared with the same training in NumPy's float64",
        "harness.engines.conformance, harness.engines.contract",
        details={"rules": dict(broken)},
    )


def softmax(training: Training) -> Check:
    """Check that ``my_softmax`` agrees with TensorFlow's softmax, on the trained logits and on the lab's vectors."""
    looks = training.softmax.values()
    # An implementation that overflows in every compared row has no figures. Its difference counts as infinite.
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
        f"at most {SOFTMAX_ULPS} ULPs from TensorFlow's softmax, the same argmax, rows that sum to 1",
        f"{ulps} ULPs, {differ} different argmaxes, row sums off by {off:.1e}, {overflow} rows with avoidable overflow",
        f"three implementations on {N_IMAGES} rows of trained logits and on the lab's vectors",
        "harness.network.softmax and tf.nn.softmax",
        details={name: asdict(look) for name, look in training.softmax.items()},
    )


def trace(engine: str, own: Training, early: Sequence[Training], reference: Reference) -> Check:
    """Check that the baseline trains as recorded.

    In the environment where the reference was recorded, the comparison is exact, epoch by epoch. In any other
    environment, it compares the first losses of several seeds within a tolerance.

    Args:
        engine: Name of the engine that trained.
        own: Training of the baseline's own seed, to its last epoch.
        early: Trainings of the reference's early seeds for a few epochs. All of these seeds, or the first of them.
        reference: Reference to compare with.
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
            f"the recorded weights, equal to the last bit, after each of {len(recorded.losses)} epochs",
            found.seen + log,
            "recorded with the same processor, libraries and settings",
            _WHAT_CHANGED,
            details={**details, "exact": True, "first_different_epoch": found.epoch},
        )
    losses = reference.early.losses[early[0].variant.adam]
    votes = traces.votes(early, losses[: len(early)], traces.leaves(reference.early))
    where = ", ".join(traces.elsewhere(recorded)) if recorded else "engine"
    return Check(
        f"trace {engine}",
        Verdict.FAIL if votes.is_wrong else Verdict.PASS,
        f"the recorded losses of {len(early)} seeds, within {traces.TOLERANCE:g} for {traces.EARLY_EPOCHS} epochs",
        _votes(votes) + log,
        f"later epochs are not compared, because the recording differs in: {where}; p = {votes.chance:.1g}",
        _WHAT_CHANGED,
        details={**details, "exact": False, "left": dict(votes.left), "seeds": votes.n, "chance": votes.chance},
    )


_WHAT_CHANGED = (
    "if epoch 1 differs, initial weights and batch order (harness.network.random_streams); otherwise the training step "
    "(harness.engines)"
)


def _votes(votes: traces.Votes) -> str:
    kept = f"{votes.n - len(votes.left)} of {votes.n} seeds match within {votes.worst:.1e}"
    first = f"; the earliest divergence is at epoch {min(votes.left.values())}" if votes.left else ""
    return kept + first


def _log(own: Training, reference: Reference) -> str:
    """How many losses of the lab's log match, as text. Empty unless images and Adam are those of the lab's log."""
    if reference.dataset["name"] != LAB_NAME or own.variant.adam != "tensorflow":
        return ""
    wrong = traces.of_the_lab(own)
    which = f", not at epoch {', '.join(map(str, wrong))}" if wrong else ""
    return f"; {len(LAB_LOG) - len(wrong)} of {len(LAB_LOG)} losses of the lab's log match{which}"


def zero(own: Training, others: Sequence[Training], repeats: Repeats, *, is_exact: bool) -> Check:
    """Check that the baseline reaches zero errors within its epochs.

    Where training repeats to the last bit, the baseline's own seed must reach zero. In any other environment this seed
    is like any other, and up to about one seed in a hundred never reaches zero. If the own seed never does, the check
    counts the seeds that never reach zero, and fails if that number is too improbable.

    Args:
        own: Training of the baseline's own seed.
        others: Trainings of other seeds. They count only if the own seed never reaches zero and `is_exact` is false.
        repeats: Recorded trainings, from which the probability that a seed never reaches zero is estimated.
        is_exact: Whether training repeats the recorded one to the last bit in this environment.
    """
    budget = BASELINE.epochs
    epoch = own.first_zero_epoch
    last = f"{own.errors[-1]} errors after the last epoch"
    seen = (
        f"seed {own.variant.seed} reaches zero at epoch {epoch}; errors return in {own.returned} later epochs; {last}"
    )
    if epoch is None:
        seen = f"seed {own.variant.seed} never reaches zero: {own.errors.min()} errors at best; {last}"
    look = "the trace and convergence checks"
    expected = f"zero errors on the {N_IMAGES} training images within {budget} epochs"
    if is_exact or epoch is not None:
        verdict = Verdict.FAIL if epoch is None else Verdict.PASS
        return Check("zero", verdict, expected, seen, "one seed; the convergence check covers others", look)
    trained = [own, *others]
    missed = sum(training.first_zero_epoch is None for training in trained)
    misses, n = repeats.first_zero.count(None), len(repeats.first_zero)
    chance = float(binom.sf(missed - 1, len(trained), (misses + 1) / (n + 2)))
    return Check(
        "zero",
        Verdict.FAIL if chance <= ALPHA_ZERO else Verdict.PASS,
        f"{expected} for nearly all seeds ({n - misses} of {n} in the reference)",
        f"{len(trained) - missed} of {len(trained)} seeds reach zero; {seen}",
        f"p = {chance:.2g} for this number of seeds that never reach zero, or more; FAIL at {ALPHA_ZERO:g} or less",
        look,
    )


def convergence(
    now: Sample, reference: Sample, stage: int, stages: tuple[int, ...], detectable: float | None
) -> tuple[Check, Found]:
    """Check over several seeds that training reaches zero errors as early as in the reference.

    Args:
        now: Trainings of this gate; at least as many as the stage has seeds.
        reference: Recorded trainings.
        stage: Index of the stage, from 0.
        stages: Number of seeds at each stage.
        detectable: Smallest slowdown, as a fraction, that a gate with these stages detects 9 times in 10. None if it
            detects none of those tried.

    Returns:
        The check, and the conclusion of this stage. :attr:`Found.UNCLEAR` means that the next stage is needed.
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
        f"mean first zero epoch {figures['fastest']:.1f} to {figures['slowest']:.1f} (reference "
        f"{figures['reference_mean_first_zero']:.1f}), {figures['reference_mean_errors']:.1f} errors at epoch 40, "
        f"{reference.n_reached} of {reference.n} seeds reach zero",
        f"mean {figures['mean_first_zero']:.1f}, {figures['mean_errors']:.1f} errors, "
        f"{seeds.n_reached} of {seeds.n} seeds reach zero",
        _how_sure(figures),
        "the survival figure; harness gate explain; another gate with the same seeds",
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
    noticed = "no slowdown up to +50% would be detected 9 times in 10"
    if by is not None:
        noticed = f"a slowdown of {by:+.0%} would be detected 9 times in 10"
    return (
        f"slowdown of at most {most:+.1%}; p = {figures['p_more_errors']:.2g} for more errors, "
        f"{figures['p_share']:.2g} for fewer seeds that reach zero, {figures['p_later']:.2g} for later first zero "
        f"epochs (rank test); {noticed}"
    )


def agreement(
    subject: str, other: str, pairs: Sequence[tuple[Training, Training]], reference: Reference, *, is_exact: bool
) -> Check:
    """Check that two engines train alike.

    The early losses of the same seeds must be equal within rounding. Later epochs are compared as a distribution: the
    mean error count over seeds must be that of the reference.

    Args:
        subject: Name of the engine under test, which trained the first of each pair.
        other: Name of the engine that trained the second of each pair.
        pairs: Trainings of the same variants by both engines. The first pair is of the baseline's own seed.
        reference: Reference whose recorded trainings give the distribution of error counts.
        is_exact: Whether both engines repeat the recorded training to the last bit in this environment.
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
        wrong.append(f"{len(votes.left)} of {votes.n} seeds diverge, the earliest at epoch {min(votes.left.values())}")
    if alike < least:
        wrong.append(f"the printed logs of the baseline are equal for {alike} epochs, in the reference for {least}")
    if p <= ALPHA_AGREE:
        wrong.append(
            f"{np.mean(errors):.1f} errors at epoch {repeats.errors_at} differ from the reference's (p = {p:.2g})"
        )
    seen = f"{_votes(votes)}; equal printed logs for {alike} epochs; {np.mean(errors):.1f} errors at epoch "
    return Check(
        f"agreement {other}",
        Verdict.FAIL if wrong else Verdict.PASS,
        f"the losses of {subject} within {traces.TOLERANCE:g} for {traces.EARLY_EPOCHS} epochs; epochs with equal "
        f"printed logs: {least or 'as many as rounding allows'}; about {np.mean(repeats.errors):.1f} errors at epoch "
        f"{repeats.errors_at}",
        "; ".join(wrong) or f"{seen}{repeats.errors_at}",
        f"{votes.n} seeds, {len(errors)} of them trained to epoch {repeats.errors_at}; p = {p:.2g}",
        f"harness.engines.{other}" if other in NAMES else other,
        details={
            "seeds": [mine.variant.seed for mine, _ in pairs],
            "left": dict(votes.left),
            "printed_alike": alike,
            "p": p,
        },
    )


def mean_by_chance(values: Sequence[float], reference: Sequence[float]) -> float:
    """The two-sided p-value of the mean of some values, if they were drawn from the reference.

    It is estimated from the means of random samples of the same size, drawn from the reference with replacement.

    Args:
        values: Values, ``(n,)``.
        reference: Values of the reference, ``(m,)``.
    """
    random = np.random.Generator(np.random.PCG64(3))
    means = random.choice(np.asarray(reference, np.float64), (_DRAWS, len(values))).mean(axis=1)
    mean = float(np.mean(values))
    rarer = min(np.count_nonzero(means <= mean), np.count_nonzero(means >= mean))
    return min(1.0, 2 * (int(rarer) + 1) / (_DRAWS + 1))
