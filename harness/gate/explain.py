"""Explains every threshold of the gate and what the reference says about the baseline."""

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
    """All of it, as lines."""
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
    """What is compared with."""
    repeats, dataset = reference.repeats, reference.dataset
    first, last = repeats.seeds[0], repeats.seeds[-1]
    lines = [f"The reference: {dataset['name']} (sha256 {dataset['sha256_x'][:12]}), trace {reference.trace}"]
    lines.append(f"  {len(repeats.seeds)} seeds, {first} to {last}, by {repeats.engine}, {repeats.budget} epochs each")
    lines.append(f"  traces of {', '.join(reference.traces)}")
    lines.append(f"  the gate's own seeds: {reference.gate_seeds[0]} to {reference.gate_seeds[-1]}")
    for record in reference.records:
        where = f"{record.processor}, TensorFlow {record.versions['tensorflow']}, commit {record.commit[:12]}"
        recorded = f"  recorded {record.date}: {record.reason} ({where})"
        lines.append(textwrap.fill(recorded, _WIDTH, subsequent_indent="    "))
    return lines


def thresholds(reference: Reference) -> dict[str, str]:
    """Each check's limits, by its name."""
    early, repeats = reference.early, reference.repeats
    stages = rule.stages_of(len(reference.gate_seeds))
    left = statistics.wilson(early.left, early.tried)
    noticed = reference.detectable_in(stages)
    alphas = ", ".join(f"{rule.share_of(rule.ALPHA_MEAN, stage, stages):.3%}" for stage in range(len(stages)))
    alike = ", ".join(f"{name} {epochs}" for name, epochs in reference.alike.items())
    return {
        "data": "the SHA-256 of images and of labels is the reference's.",
        "softmax": f"""at most {checks.SOFTMAX_ULPS} ULPs from TensorFlow's. Of two right softmaxes of float32 the one
            that takes the largest logit off first rounds differences of up to 87.3, each by half a unit in its last
            place: 87 ULPs of a result; exponentials, sum and division add 16. Rows sum to 1 within
            {checks.ROW_SUM_ERROR:g}: ten roundings of float32. No argmax differs, and the form that takes the largest
            logit off does not overflow, nor do the others where float32 has the exponentials.""",
        "trace": f"""where the fingerprint is the recorded one (versions, processor, its instructions and caches,
            threads, settings) training repeats bit for bit: the SHA-256 of all weights after each epoch is the recorded
            one, and the lab's log is printed to every digit. Elsewhere the losses of {trace.EARLY_EPOCHS} epochs are
            within {trace.TOLERANCE:g}, relatively: another order of sums moves them by some 1e-7, until a unit takes
            another side; from then on nothing can be said of that seed. When the reference was made {early.left} of
            {early.tried} right trainings (noise in the last bit, other engines) had left by then, {left.low:.0%} to
            {left.high:.0%} of all. So several seeds vote: it is FAIL where so many leave as has a chance of at most
            {trace.ALPHA:.1%}, if {trace.leaves(early):.0%} of right ones do.""",
        "zero": f"""seed 1234 reaches zero errors within {repeats.budget} epochs where it repeats to the last bit.
            Elsewhere it is one of many: FAIL where so many misses of it and the first seeds have a chance of at most
            {checks.ALPHA_ZERO:.1%}.""",
        "convergence": f"""looked at after {", ".join(map(str, stages))} seeds. Of the gate's false alarms, 1% in all,
            the mean first zero epoch may use {rule.ALPHA_MEAN:.1%}, errors at epoch {repeats.errors_at}
            {rule.ALPHA_ERRORS:.1%}, the share that reaches zero {rule.ALPHA_SHARE:.1%}. Each is spread over the looks
            by the square of the share of seeds that are in, for the mean {alphas} (Kim and DeMets, Biometrika 74, 1987,
            rho = 2); every look keeps to its own part, so that the sum holds whatever their dependence. --strict makes
            FAIL of CHANGED, which happens by chance in as many gates again as mean and errors may use.""",
        "convergence, mean": f"""the reference convergence points of MLPerf in their two-sample form: FAIL above
            m + t(1 - alpha, n1 + n2 - 2) s sqrt(1/n1 + 1/n2), and at least {rule.GAP_EPOCHS:g} epoch above; a seed that
            never reaches zero counts as {repeats.budget}. Ranks, misses last (Gehan's test for censored data), have to
            agree at {rule.CROSS_CHECK:.0%}: a few misses move the mean of few seeds more often than a t-test takes for
            possible, and have a test of their own. The mirror is CHANGED.""",
        "convergence, errors": f"""Mann and Whitney's test, one-sided, and {rule.GAP_ERRORS:g} more on average at least.
            Fewer are CHANGED.""",
        "convergence, share": """Fisher's exact test, one-sided.""",
        "convergence, PASS": f"""needs more than no alarm: by Welch's bound less than {rule.MARGIN_MEAN:+.0%} epochs,
            and by Clopper and Pearson's less than {rule.MARGIN_SHARE * 100:.0f} points fewer that reach zero; each
            bound is made to be wrong in {rule.BETA:.0%} of gates, over all looks; simulated, Welch's is so 1.3 times
            as often, 2.4 times where one seed in a hundred never reaches zero. Else it is INCONCLUSIVE at the last one.
            A gate of these seeds notices
            {"no slowdown up to +50%" if noticed is None else f"{noticed:+.0%} epochs"} 9 times in 10.""",
        "agreement": f"""the same seeds by two engines: votes as for the trace. On the recorded fingerprint both print
            the same, losses to four decimals and error counts, for as many epochs as recorded ({alike}). The mean of
            the errors at epoch {repeats.errors_at} is FAIL where its chance is at most {checks.ALPHA_AGREE:.2%}, by
            drawing as many from the reference.""",
    }


def baseline(repeats: Repeats) -> list[str]:
    """What the reference says of the baseline; intervals are of 95%."""
    n, now = len(repeats.seeds), repeats.sample()
    reached = np.isfinite(now.first_zero)
    median = statistics.median_epoch(now.epochs, reached)
    mean = statistics.restricted_mean(now.epochs, reached, repeats.budget)
    low, high = np.quantile(now.epochs, [0.05, 0.95])
    returned = np.array(repeats.returned)
    lines = [f"What is true of the baseline, by {n} seeds (95% intervals):"]
    for epoch in _EPOCHS:
        if epoch <= repeats.budget:
            share = _share(int(np.count_nonzero(now.first_zero <= epoch)), n)
            lines.append(f"  {share} of seeds have reached zero errors by epoch {epoch}")
    lines.append(f"  the first epoch with zero errors: median {_estimate(median, 0)}, mean {_estimate(mean, 1)}")
    lines.append(
        f"  5% of seeds reach it by epoch {low:.0f}, 95% by epoch {high:.0f}; a miss counts as {repeats.budget}"
    )
    lines.append(
        f"  {repeats.errors_at} epochs leave {now.errors.mean():.1f} errors on average, {min(repeats.errors)} to "
        f"{max(repeats.errors)}"
    )
    again = _share(int(np.count_nonzero(returned)), n)
    lines.append(f"  {again} of seeds have errors again after their first epoch with none")
    left = repeats.budget - now.first_zero[reached]
    lines.append(f"  they have some in {returned[reached].sum() / left.sum():.1%} of the epochs that follow it")
    last = _share(int(np.count_nonzero(repeats.final_errors)), n)
    lines.append(f"  {last} of seeds have errors after epoch {repeats.budget}, the last")
    return lines


def _share(successes: int, n: int) -> str:
    share = statistics.wilson(successes, n)
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _estimate(found: statistics.Estimate, digits: int) -> str:
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
