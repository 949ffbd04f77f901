"""Explains the rule and every threshold of the gate, and describes the training by the recorded reference."""

from __future__ import annotations

import textwrap

import numpy as np

from harness import statistics
from harness.gate import checks, rule, trace
from harness.gate.reference import FIRST_GATE_SEED, Early, Reference, Repeats

_EPOCHS = (40, 50, 55, 60, 65, 70, 80, 90, 100)
_WIDTH = 100


def text(reference: Reference) -> str:
    """The whole explanation: the reference, the thresholds and the results of the baseline."""
    lines = [
        *about(reference),
        "",
        *map(_wrapped, the_rule(reference)),
        "",
        *(_wrapped(f"{name}: {said}") for name, said in thresholds(reference).items()),
        "",
        *baseline(reference.repeats),
    ]
    return "\n".join(lines)


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), _WIDTH, subsequent_indent="  ")


def about(reference: Reference) -> list[str]:
    """The lines that describe the reference."""
    repeats, dataset = reference.repeats, reference.dataset
    first, last = repeats.seeds[0], repeats.seeds[-1]
    n = reference.n_gate_seeds
    version = "" if reference.trace is None else f", trace version {reference.trace}"
    found = "no slowdown up to +50%" if reference.detectable is None else f"a slowdown of {reference.detectable:+.0%}"
    lines = [
        f"Reference: {dataset['name']} (sha256 {dataset['sha256_x'][:12]}){version}",
        f"  {len(repeats.seeds)} seeds, {first} to {last}, {repeats.engine}, {repeats.budget} epochs each",
        f"  a gate trains {n} seeds, {FIRST_GATE_SEED} to {FIRST_GATE_SEED + n - 1}, and finds {found} 9 times in 10",
    ]
    if reference.traces:
        lines.append(f"  recorded traces: {', '.join(reference.traces)}")
    for record in reference.records:
        where = f"{record.processor}, TensorFlow {record.versions['tensorflow']}, commit {record.commit[:12]}"
        recorded = f"  recorded {record.date}: {record.reason} ({where})"
        lines.append(textwrap.fill(recorded, _WIDTH, subsequent_indent="    "))
    return lines


def the_rule(reference: Reference) -> list[str]:
    """The rule of the gate in five sentences."""
    goal, n = reference.goal, reference.n_gate_seeds
    others = "" if reference.is_of_function else ", my_softmax and the first losses"
    later = f"{goal} come later (p at most {rule.ALPHA_EPOCHS:.1%}, and at least {rule.GAP_EPOCHS:g} epoch)"
    more = (
        f"there are more errors at epoch {reference.repeats.errors_at} (p at most {rule.ALPHA_ERRORS:.1%}, and at "
        f"least {rule.GAP_ERRORS:g} error)"
    )
    rarer = f"fewer seeds reach {goal} (p at most {rule.ALPHA_SHARE:.1%})"
    bound = f"the one-sided {1 - rule.BETA:.0%} bound of the slowdown is below {reference.margin:.0%}"
    return [
        f"The gate trains {n} seeds and compares them with the {len(reference.repeats.seeds)} seeds of the reference.",
        f"FAIL: {later}, {more}, or {rarer}.",
        f"PASS: nothing fails, and {bound}.",
        "INCONCLUSIVE: neither.",
        f"The images{others} must also be as recorded.",
    ]


def thresholds(reference: Reference) -> dict[str, str]:
    """The explanation of each check's limits, by the name of the check."""
    found = {
        "data": "the SHA-256 hashes of images and labels equal those of the reference.",
        f"epochs to {reference.goal}": f"""one-sided Mann-Whitney test of the first epochs with {reference.goal}.
            A seed that never reaches them comes last (Gehan's test for censored data). Below
            {rule.FEWEST_FOR_NORMAL} seeds on a side, p comes from a permutation test. The bound inverts the test: it is
            the largest slowdown f for which the test does not reject, at {rule.BETA:.0%}, that training is as slow as
            the reference slowed by f. If no slowdown is rejected, or if the seeds are too few for p to reach its level,
            the result is INCONCLUSIVE. Significantly sooner is CHANGED. --strict turns CHANGED into FAIL, which adds
            the false-alarm rates of the epochs and the errors a second time.""",
        f"errors at epoch {reference.repeats.errors_at}": "the same test of the error counts.",
        f"seeds that reach {reference.goal}": """Fisher's one-sided exact test. If one seed in ten stops reaching zero
            errors, the rank test finds it in 12% of gates with 63 seeds, and this test in 96% (lab-5000).""",
    }
    return found | ({} if reference.early is None else _of_engines(reference.early))


def _of_engines(early: Early) -> dict[str, str]:
    left = statistics.wilson(early.left, early.tried)
    return {
        "softmax": f"""at most {checks.SOFTMAX_ULPS} ULPs from TensorFlow's softmax. This bounds the difference between
            two correct float32 softmaxes of which one subtracts the largest logit first. That one rounds differences of
            up to 87.3 by half a unit in the last place, which moves a result by up to 87 ULPs. The exponentials, the
            sum and the division add 16. Rows sum to 1 within {checks.ROW_SUM_ERROR:g}, the bound for ten roundings of
            float32. No argmax differs. The implementation that subtracts the largest logit never overflows. The others
            overflow only where float32 cannot hold the exponentials.""",
        "trace": f"""if the environment's fingerprint equals the recorded one (versions, processor, its instructions and
            caches, threads, settings), training repeats bit for bit: the SHA-256 of all weights after each epoch equals
            the recorded one, and every digit of the lab's log is the same. In any other environment, the losses of the
            first {trace.EARLY_EPOCHS} epochs are within a relative {trace.TOLERANCE:g} of the recorded ones. Another
            order of summation moves a loss by about 1e-7, until a ReLU unit switches on or off. Then the seed diverges,
            and its later losses say nothing. When the reference was recorded, {early.left} of {early.tried} correct
            trainings (noise in the last bit, other engines) diverged within these epochs; the 95% interval is
            {left.low:.0%} to {left.high:.0%}. Several seeds therefore vote: FAIL if the number of diverged seeds has a
            probability of at most {trace.ALPHA:.1%} when {trace.leaves(early):.0%} of correct trainings diverge.""",
    }


def baseline(repeats: Repeats) -> list[str]:
    """The lines that describe the baseline by the reference, with 95% intervals."""
    n, now = len(repeats.seeds), repeats.sample()
    reached = np.isfinite(now.first_zero)
    median = statistics.median_epoch(now.epochs, reached)
    mean = statistics.restricted_mean(now.epochs, reached, repeats.budget)
    low, high = np.quantile(now.epochs, [0.05, 0.95])
    returned = np.array(repeats.returned)
    zero = f"at most {repeats.reached_at} errors" if repeats.reached_at else "zero errors"
    lines = [f"Results of the reference over {n} seeds (95% intervals):"]
    for epoch in _EPOCHS:
        if epoch <= repeats.budget:
            share = _share(int(np.count_nonzero(now.first_zero <= epoch)), n)
            lines.append(f"  {share} of the seeds have reached {zero} by epoch {epoch}")
    lines.append(f"  the first epoch with {zero}: median {_estimate(median, 0)}, mean {_estimate(mean, 1)}")
    lines.append(
        f"  5% of the seeds reach it by epoch {low:.0f}, 95% by epoch {high:.0f}; a seed that never reaches zero "
        f"counts as {repeats.budget}"
    )
    lines.append(
        f"  after {repeats.errors_at} epochs, {now.errors.mean():.1f} errors on average, {min(repeats.errors)} to "
        f"{max(repeats.errors)}"
    )
    again = _share(int(np.count_nonzero(returned)), n)
    lines.append(f"  {again} of the seeds have more errors again after their first epoch with {zero}")
    left = repeats.budget - now.first_zero[reached]
    if left.sum():
        lines.append(f"  {returned[reached].sum() / left.sum():.1%} of the epochs after it have more errors")
    last = _share(int(np.count_nonzero(repeats.final_errors)), n)
    lines.append(f"  {last} of the seeds have errors after the last epoch, {repeats.budget}")
    return lines


def _share(successes: int, n: int) -> str:
    share = statistics.wilson(successes, n)
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _estimate(found: statistics.Estimate, digits: int) -> str:
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
