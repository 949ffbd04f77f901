"""A line for each thing that the gate looks at: what was expected, what was seen, how sure, where to look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from scipy.stats import binom, mannwhitneyu

from harness.digits import Digits
from harness.gate import convergence as rule
from harness.gate import trace as traces
from harness.gate.convergence import Found, Sample
from harness.gate.reference import Reference, Repeats
from harness.gate.training import Training
from harness.gate.verdict import Check, Verdict
from harness.stats import wilson
from harness.variant import BASELINE, N_IMAGES

# Of two right softmaxes of float32 the one that first takes the largest logit off rounds differences of up to 87.3
# (smaller probabilities are no normal numbers), each by half a unit in its last place: up to 87.3 ULPs of the result.
# The exponentials (2.5 and 2), a sum of ten (5 each) and the division (0.5 each) make it 104 at most.
SOFTMAX_ULPS = 104
ROW_SUM_ERROR = 1e-6  # ten roundings of float32, each of at most 2**-24

ALPHA_ZERO = 0.001
ALPHA_AGREE = 0.001


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


def softmax(training: Training) -> Check:
    """``my_softmax`` gives what TensorFlow's does, on the trained logits and on the lab's vectors."""
    found = [check for ways in training.softmax.values() for check in ways.values()]
    ulps = max((check.max_ulp or 0 for check in found), default=0)
    differ = sum(check.argmax_differs for check in found)
    off = max((check.row_sum_error or 0.0 for check in found), default=math.inf)
    overflow = sum(ways["stable"].overflow_rows for ways in training.softmax.values())
    is_good = bool(found) and ulps <= SOFTMAX_ULPS and not differ and off <= ROW_SUM_ERROR and not overflow
    return Check(
        "softmax",
        Verdict.PASS if is_good else Verdict.FAIL,
        f"at most {SOFTMAX_ULPS} ULPs from TensorFlow's, the same argmax, rows that sum to 1",
        f"{ulps} ULPs, {differ} other argmaxes, sums off by {off:.1e}, {overflow} rows overflow the stable form",
        f"three forms, {N_IMAGES} rows of trained logits and the lab's vectors",
        "harness.softmax, and tf.nn.softmax",
        details={name: {way: asdict(check) for way, check in ways.items()} for name, ways in training.softmax.items()},
    )


def trace(engine: str, training: Training, reference: Reference) -> Check:
    """The baseline's own seed trains as it was recorded."""
    recorded = reference.traces[engine]
    found = traces.compare(training, recorded, reference.noise)
    if found.exact:
        expected = f"the recorded weights to the last bit after each of {found.compared} epochs"
        sure = "recorded on such a machine with such libraries"
    else:
        expected = f"the recorded losses, as far as rounding allows, for {found.compared} epochs"
        sure = f"recorded elsewhere: {', '.join(found.elsewhere)}; later epochs are not judged"
    seen = found.seen if found.epoch is None else f"epoch {found.epoch} is the first that differs: {found.seen}"
    return Check(
        f"trace, {engine}",
        Verdict.PASS if found.epoch is None else Verdict.FAIL,
        expected,
        seen,
        sure,
        f"what changed at epoch {found.epoch}: initial weights and first batch order if 1, else the step",
        details={
            "exact": found.exact,
            "elsewhere": found.elsewhere,
            "first_different_epoch": found.epoch,
            "epochs_compared": found.compared,
            "losses": training.losses.tolist(),
            "errors": training.errors.tolist(),
            "recorded_losses": recorded.losses,
            "recorded_errors": recorded.errors,
            "allowed": traces.tolerance(reference.noise, recorded).relative.tolist(),
        },
    )


def zero(own: Training, others: Sequence[Training], repeats: Repeats, *, is_exact: bool) -> Check:
    """The baseline reaches zero errors within its epochs.

    Where training repeats to the last bit its own seed must. Elsewhere that seed is one of many, and one in some
    hundred does not: so it is looked at with others, by the chance of so many misses.
    """
    budget = BASELINE.epochs
    epoch = own.first_zero_epoch
    back = 0 if epoch is None else int(np.count_nonzero(own.errors[epoch:]))
    seen = f"seed {own.variant.seed} at epoch {epoch}, then errors again in {back} epochs, {own.errors[-1]} at the last"
    if epoch is None:
        seen = f"seed {own.variant.seed} does not: {own.errors.min()} errors at best, {own.errors[-1]} at the last"
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
) -> tuple[Check, rule.Stage]:
    """The network learns as soon as it did, over seeds."""
    found = rule.look(Sample(now.first_zero[None], now.errors[None], now.budget), reference, stage, stages)
    said = Found(int(found.found[0]))
    verdict = {
        Found.UNCLEAR: Verdict.INCONCLUSIVE,
        Found.SAME: Verdict.PASS,
        Found.FASTER: Verdict.CHANGED,
        Found.SLOWER: Verdict.FAIL,
    }[said]
    n, theirs = found.n, reference.n
    mean, expected = float(found.mean[0]), float(reference.epochs.mean())
    reached = int(np.isfinite(now.first_zero[:n]).sum())
    errors, their_errors = float(now.errors[:n].mean()), float(reference.errors.mean())
    share = wilson(int(np.isfinite(reference.first_zero).sum()), theirs)
    noticed = "" if detectable is None else f"; +{detectable:.0%} epochs would have been noticed 9 times in 10"
    check = Check(
        "convergence",
        verdict,
        f"first zero epoch {found.fastest[0]:.1f} to {found.slowest[0]:.1f} (reference {expected:.1f}, {theirs} seeds), "
        f"about {their_errors:.1f} errors at epoch 40, {share.value:.1%} that reach zero",
        f"{mean:.1f}, {errors:.1f} errors, {reached} of {n} seeds",
        f"p {found.p_errors[0]:.2g} for more errors, {found.p_share[0]:.2g} for fewer that reach zero, "
        f"{rank_test(now.first(n), reference):.2g} by the log-rank test; at most {found.mean_bound[0] / expected - 1:+.1%} "
        f"epochs{noticed}",
        "the figure of survival, harness gate explain",
        details={
            "n": n,
            "n_reference": theirs,
            "mean_first_zero": mean,
            "reference_mean_first_zero": expected,
            "slowest": float(found.slowest[0]),
            "fastest": float(found.fastest[0]),
            "mean_bound": float(found.mean_bound[0]),
            "share_bound": float(found.share_bound[0]),
            "reached": reached,
            "mean_errors_40": errors,
            "reference_mean_errors_40": their_errors,
            "p_more_errors": float(found.p_errors[0]),
            "p_fewer_errors": float(found.p_errors_fewer[0]),
            "p_share": float(found.p_share[0]),
            "p_logrank": rank_test(now.first(n), reference),
            "detectable": detectable,
            "stages": list(stages),
        },
    )
    return check, found


def rank_test(now: Sample, reference: Sample) -> float:
    """The log-rank test's two-sided p: a cross-check that takes misses as censored, and the verdict does not hang on."""
    from scipy.stats import CensoredData, logrank

    def censored(side: Sample) -> CensoredData:
        reached = np.isfinite(side.first_zero)
        return CensoredData(side.first_zero[reached], right=np.full(int((~reached).sum()), float(side.budget)))

    if not np.isfinite(now.first_zero).any():
        return float(logrank(censored(reference), censored(now)).pvalue)
    return float(logrank(censored(now), censored(reference)).pvalue)


def agreement(subject: str, other: str, pairs: Sequence[tuple[Training, Training]], reference: Reference) -> Check:
    """Two engines train alike: the same seeds epoch by epoch as far as rounding allows, and then as a distribution.

    Args:
        subject: the engine of the first of each pair.
        other: the engine of the second.
        pairs: trainings of the same variants.
        reference: whose noise says what rounding does, and whose repeats what seeds do.
    """
    repeats = reference.repeats
    allowed = traces.early(reference.noise)
    worst, wrong = 0.0, ""
    for mine, theirs in pairs:
        n = min(len(allowed), len(mine.losses), len(theirs.losses))
        off = np.abs(mine.losses[:n] / theirs.losses[:n] - 1)
        bad = ~(off <= allowed[:n])  # NaN too
        worst = max(worst, float(off.max()))
        if bad.any() and not wrong:
            epoch = int(np.argmax(bad)) + 1
            place = epoch - 1
            wrong = (
                f"seed {mine.variant.seed} differs at epoch {epoch}: loss {mine.losses[place]:.6f} and "
                f"{theirs.losses[place]:.6f} (allowed {allowed[place]:.1e}, relatively)"
            )
    errors = [float(theirs.errors[repeats.errors_at - 1]) for _, theirs in pairs]
    p = float(mannwhitneyu(errors, repeats.errors, alternative="two-sided", method="asymptotic").pvalue)
    if p <= ALPHA_AGREE and not wrong:
        wrong = f"{other} has {np.mean(errors):.1f} errors at epoch {repeats.errors_at}, p {p:.2g}"
    return Check(
        f"agreement, {other}",
        Verdict.FAIL if wrong else Verdict.PASS,
        f"the losses of {subject} for {len(allowed)} epochs, as far as rounding allows; then its distribution",
        wrong
        or f"within {worst:.1e}, relatively; {np.mean(errors):.1f} errors at epoch {repeats.errors_at} (p {p:.2g})",
        f"{len(pairs)} seeds",
        f"harness.engines.{other}",
        details={"seeds": [mine.variant.seed for mine, _ in pairs], "worst": worst, "p": p},
    )
