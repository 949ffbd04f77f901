"""Explains every threshold of the gate and describes the baseline by the recorded reference."""

from __future__ import annotations

import textwrap

import numpy as np

from harness import statistics
from harness.gate import checks, trace
from harness.gate import convergence as rule
from harness.gate.reference import Reference, Repeats

_EPOCHS = (40, 50, 55, 60, 65, 70, 80, 90, 100)
_WIDTH = 100


def text(reference: Reference) -> str:
    """The whole explanation: the reference, the thresholds and the results of the baseline."""
    lines = [
        *about(reference),
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
    lines = [f"Reference: {dataset['name']} (sha256 {dataset['sha256_x'][:12]}), trace version {reference.trace}"]
    lines.append(
        f"  {len(repeats.seeds)} seeds, {first} to {last}, engine {repeats.engine}, {repeats.budget} epochs each"
    )
    lines.append(f"  recorded traces: {', '.join(reference.traces)}")
    lines.append(f"  seeds of the gate: {reference.gate_seeds[0]} to {reference.gate_seeds[-1]}")
    for record in reference.records:
        where = f"{record.processor}, TensorFlow {record.versions['tensorflow']}, commit {record.commit[:12]}"
        recorded = f"  recorded {record.date}: {record.reason} ({where})"
        lines.append(textwrap.fill(recorded, _WIDTH, subsequent_indent="    "))
    return lines


def thresholds(reference: Reference) -> dict[str, str]:
    """The explanation of each check's limits, by the name of the check."""
    early, repeats = reference.early, reference.repeats
    stages = rule.stages_of(len(reference.gate_seeds))
    left = statistics.wilson(early.left, early.tried)
    noticed = reference.detectable_in(stages)
    alphas = ", ".join(f"{rule.share_of(rule.ALPHA_MEAN, stage, stages):.3%}" for stage in range(len(stages)))
    alike = ", ".join(f"{name} {epochs}" for name, epochs in reference.alike.items())
    return {
        "data": "the SHA-256 hashes of images and labels equal those of the reference.",
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
        "zero": f"""if training repeats bit for bit, seed 1234 must reach zero errors within {repeats.budget} epochs.
            In any other environment, seed 1234 is like any other seed. If it never reaches zero, the check counts the
            seeds that never do, among seed 1234 and the first seeds of the gate: FAIL if that number has a probability
            of at most {checks.ALPHA_ZERO:.1%}.""",
        "convergence": f"""tested in stages, after {", ".join(map(str, stages))} seeds. The false-alarm rate of the
            whole gate is 1%. Of this, the mean first zero epoch may use {rule.ALPHA_MEAN:.1%}, the errors at epoch
            {repeats.errors_at} {rule.ALPHA_ERRORS:.1%}, and the share of seeds that reach zero {rule.ALPHA_SHARE:.1%}.
            Each rate is divided among the stages: the part used up to a stage grows with the square of the fraction of
            seeds trained by then (Kim and DeMets, Biometrika 74, 1987, rho = 2). For the mean, the stages have
            {alphas}. Each stage keeps to its own part, so the sum holds however the stages depend on each other.
            --strict turns CHANGED into FAIL. This adds the false-alarm rates of the mean and the errors a second
            time.""",
        "convergence, mean": f"""MLPerf's reference convergence points, in their two-sample form: FAIL if the mean is
            above m + t(1 - alpha, n1 + n2 - 2) s sqrt(1/n1 + 1/n2), and at least {rule.GAP_EPOCHS:g} epoch above m.
            Here m is the mean of the reference and s the pooled standard deviation. A seed that never reaches zero
            counts as {repeats.budget}. A rank test with those seeds last (Gehan's test for censored data) must agree at
            {rule.CROSS_CHECK:.0%}: a few seeds that never reach zero move the mean of a small sample more often than a
            t-test assumes. These seeds have a test of their own, the share. The same difference downwards is
            CHANGED.""",
        "convergence, errors": f"""FAIL if the one-sided Mann-Whitney test is significant and the mean is at least
            {rule.GAP_ERRORS:g} above the reference's. The same difference downwards is CHANGED.""",
        "convergence, share": """FAIL if Fisher's one-sided exact test is significant.""",
        "convergence, PASS": f"""requires more than the absence of a FAIL. Welch's bound must exclude a slowdown of
            {rule.MARGIN_MEAN:+.0%} epochs, and Clopper and Pearson's bound a decrease of
            {rule.MARGIN_SHARE * 100:.0f} points in the share of seeds that reach zero. Each bound is designed to be
            wrong in {rule.BETA:.0%} of gates, over all stages. In simulations, Welch's bound is wrong 1.3 times as
            often, and 2.4 times as often where one seed in a hundred never reaches zero. If the bounds do not hold at
            the last stage, the result is INCONCLUSIVE. With these seeds, a gate detects
            {"no slowdown up to +50%" if noticed is None else f"{noticed:+.0%} epochs"} 9 times in 10.""",
        "agreement": f"""the same seeds trained by two engines. Their early losses vote as in the trace check. If the
            fingerprint equals the recorded one, both engines print the same losses (four decimals) and error counts for
            at least the recorded number of epochs ({alike}). FAIL also if the mean of the errors at epoch
            {repeats.errors_at} has a p-value of at most {checks.ALPHA_AGREE:.2%}, estimated from random samples of the
            same size from the reference.""",
    }


def baseline(repeats: Repeats) -> list[str]:
    """The lines that describe the baseline by the reference, with 95% intervals."""
    n, now = len(repeats.seeds), repeats.sample()
    reached = np.isfinite(now.first_zero)
    median = statistics.median_epoch(now.epochs, reached)
    mean = statistics.restricted_mean(now.epochs, reached, repeats.budget)
    low, high = np.quantile(now.epochs, [0.05, 0.95])
    returned = np.array(repeats.returned)
    lines = [f"Results of the baseline over {n} seeds (95% intervals):"]
    for epoch in _EPOCHS:
        if epoch <= repeats.budget:
            share = _share(int(np.count_nonzero(now.first_zero <= epoch)), n)
            lines.append(f"  {share} of the seeds have reached zero errors by epoch {epoch}")
    lines.append(f"  the first epoch with zero errors: median {_estimate(median, 0)}, mean {_estimate(mean, 1)}")
    lines.append(
        f"  5% of the seeds reach it by epoch {low:.0f}, 95% by epoch {high:.0f}; a seed that never reaches zero "
        f"counts as {repeats.budget}"
    )
    lines.append(
        f"  after {repeats.errors_at} epochs, {now.errors.mean():.1f} errors on average, {min(repeats.errors)} to "
        f"{max(repeats.errors)}"
    )
    again = _share(int(np.count_nonzero(returned)), n)
    lines.append(f"  {again} of the seeds have errors again after their first epoch with zero errors")
    left = repeats.budget - now.first_zero[reached]
    lines.append(f"  {returned[reached].sum() / left.sum():.1%} of the epochs after the first zero epoch have errors")
    last = _share(int(np.count_nonzero(repeats.final_errors)), n)
    lines.append(f"  {last} of the seeds have errors after the last epoch, {repeats.budget}")
    return lines


def _share(successes: int, n: int) -> str:
    share = statistics.wilson(successes, n)
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _estimate(found: statistics.Estimate, digits: int) -> str:
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
