"""Explains the rule and the thresholds of the gate, and summarizes the trainings of its reference."""

from __future__ import annotations

import textwrap

import numpy as np

from harness import statistics
from harness.gate import checks, rule, trace
from harness.gate.reference import FIRST_GATE_SEED, Early, Reference, Repeats

_EPOCHS = (40, 50, 55, 60, 65, 70, 80, 90, 100)
_WIDTH = 100


def text(reference: Reference) -> str:
    """Return the whole explanation: the reference, the rule, the thresholds and the results of the baseline."""
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
    """Return the lines that describe the reference."""
    repeats, dataset = reference.repeats, reference.dataset
    first, last = repeats.seeds[0], repeats.seeds[-1]
    n = reference.n_gate_seeds
    version = "" if reference.trace is None else f", trace version {reference.trace}"
    found = (
        "only slowdowns above +50%" if reference.detectable is None else f"a slowdown of {reference.detectable:+.0%}"
    )
    lines = [
        f"Reference: {dataset['name']} (sha256 {dataset['sha256_x'][:12]}){version}",
        f"  {len(repeats.seeds)} seeds, {first} to {last}, {repeats.engine}, {repeats.budget} epochs each",
        f"  a gate trains {n} seeds, {FIRST_GATE_SEED} to {FIRST_GATE_SEED + n - 1}. 9 of 10 gates detect {found}",
    ]
    if reference.traces:
        lines.append(f"  recorded traces: {', '.join(reference.traces)}")
    for record in reference.records:
        where = f"{record.processor}, TensorFlow {record.versions['tensorflow']}, commit {record.commit[:12]}"
        recorded = f"  recorded {record.date}: {record.reason} ({where})"
        lines.append(textwrap.fill(recorded, _WIDTH, subsequent_indent="    "))
    return lines


def the_rule(reference: Reference) -> list[str]:
    """Return the rule of the gate as five sentences."""
    goal, n = reference.goal, reference.n_gate_seeds
    others = "" if reference.is_of_function else ", my_softmax and the losses of the first epochs"
    later = f"{goal} come at least {rule.GAP_EPOCHS:g} epoch later (p at most {rule.ALPHA_EPOCHS:.1%})"
    more = (
        f"the errors at epoch {reference.repeats.errors_at} increase by at least {rule.GAP_ERRORS:g} (p at most "
        f"{rule.ALPHA_ERRORS:.1%})"
    )
    rarer = f"fewer seeds reach {goal} (p at most {rule.ALPHA_SHARE:.1%})"
    bound = f"the one-sided {1 - rule.BETA:.0%} confidence bound of the slowdown is below {reference.margin:.0%}"
    return [
        f"The gate trains {n} seeds and compares them with the {len(reference.repeats.seeds)} seeds of the reference.",
        f"FAIL: {later}, {more}, or {rarer}.",
        f"PASS: nothing fails, and {bound}.",
        "INCONCLUSIVE: neither FAIL nor PASS.",
        f"The images{others} must also pass their checks.",
    ]


def thresholds(reference: Reference) -> dict[str, str]:
    """Return the explanation of each check's thresholds, by the name of the check."""
    found = {
        "data": "the SHA-256 hashes of images and labels equal the hashes in the reference.",
        f"epochs to {reference.goal}": f"""one-sided Mann-Whitney test of the first epoch with {reference.goal}.
            A seed that never reaches this goal ranks last (Gehan's test for censored data). If the gate or the
            reference has fewer than {rule.FEWEST_FOR_NORMAL} seeds, p comes from a permutation test. The bound of the
            slowdown inverts the test: the test compares the gate with a slowed reference, and the bound is the largest
            slowdown that the test does not reject at {rule.BETA:.0%}. Without a FAIL, the result is INCONCLUSIVE if
            this bound is above {reference.margin:.0%}, or if the seeds are too few for p to reach its threshold. A
            significant speedup is CHANGED. --strict turns CHANGED into FAIL. The checks of epochs and errors then also
            fail for an improvement, which doubles their false-alarm rates.""",
        f"errors at epoch {reference.repeats.errors_at}": "one-sided Mann-Whitney test of the error counts.",
        f"seeds that reach {reference.goal}": """Fisher's one-sided exact test. It finds rare failures: if one seed in
            ten stops reaching zero errors, Fisher's test detects it in 96% of gates with 63 seeds, and the Mann-Whitney
            test in 12% (measured with the images lab-5000).""",
    }
    return found | ({} if reference.early is None else _of_engines(reference.early))


def _of_engines(early: Early) -> dict[str, str]:
    diverged = statistics.wilson(early.left, early.tried)
    return {
        "softmax": f"""at most {checks.SOFTMAX_ULPS} ULPs (units in the last place) from TensorFlow's softmax. Correct
            float32 softmax functions differ by at most this number, even if only one of them subtracts the largest
            logit first. The subtraction rounds a difference of up to 87.3 by at most half a ULP, which changes a
            probability by up to 87.3 ULPs. The exponentials, sums and divisions of both functions add at most 16. Rows
            sum to 1 within {checks.ROW_SUM_ERROR:g}, the bound for ten float32 roundings. The argmax of each row is the
            same as TensorFlow's. The implementation that subtracts the largest logit never overflows. The others
            overflow only if float32 cannot hold the exponentials.""",
        "trace": f"""if the environment equals the recorded one (versions, processor with its instructions and caches,
            threads, settings), training repeats bit for bit. The SHA-256 of all weights after each epoch equals the
            recorded hash, and every digit of the lab's log is the same. In any other environment, the losses of the
            first {trace.EARLY_EPOCHS} epochs are within a relative {trace.TOLERANCE:g} of the recorded losses. Another
            order of summation changes a loss by about 1e-7, until a ReLU unit switches on or off. Then the training
            departs from the recorded losses, and its later losses cannot be compared. When the reference was recorded,
            {early.left} of {early.tried} correct trainings departed from the recorded losses within these epochs (95%
            interval {diverged.low:.0%} to {diverged.high:.0%}). These {early.tried} trainings used other engines, or
            images with noise in the last bit. Because one correct training may depart from the recorded losses, the
            check trains several seeds and counts those that depart. It assumes that {trace.may_diverge(early):.0%} of
            correct trainings depart. It fails if the observed number of departing seeds, or more, then has a
            probability of at most {trace.ALPHA:.1%}.""",
    }


def baseline(repeats: Repeats) -> list[str]:
    """Return the lines that summarize the trainings of the reference, with 95% intervals."""
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
        f"  5% of the seeds reach {zero} by epoch {low:.0f}, 95% by epoch {high:.0f}; a seed that never does counts "
        f"with epoch {repeats.budget}"
    )
    lines.append(
        f"  after {repeats.errors_at} epochs, {now.errors.mean():.1f} errors on average, {min(repeats.errors)} to "
        f"{max(repeats.errors)}"
    )
    again = _share(int(np.count_nonzero(returned)), n)
    lines.append(f"  {again} of the seeds reach {zero} and have more errors in a later epoch")
    later = repeats.budget - now.first_zero[reached]
    if later.sum():
        lines.append(
            f"  {returned[reached].sum() / later.sum():.1%} of the epochs after a seed's first epoch with {zero} have "
            "more errors"
        )
    last = _share(int(np.count_nonzero(repeats.final_errors)), n)
    lines.append(f"  {last} of the seeds have errors after the last epoch ({repeats.budget})")
    return lines


def _share(successes: int, n: int) -> str:
    share = statistics.wilson(successes, n)
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _estimate(found: statistics.Estimate, digits: int) -> str:
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
