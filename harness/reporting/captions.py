"""The sentences of reports, computed from the data that they describe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.data.held_out import N_HELD_OUT, why_none
from harness.reporting.findings import Difference, HardImages, HeldOutErrors, Reach, Recommended
from harness.statistics import Estimate
from harness.text import plural
from harness.tracking.run_record import StoredImages

_ZOOM = "With a mouse: Shift and wheel zooms, dragging moves, a double-click resets."
# Fewer trials than this give rough importances.
_FEW_TRIALS = 50


def epoch(estimate: Estimate) -> str:
    """An estimated epoch, with its interval if it has one."""
    if not math.isfinite(estimate.value):
        return "none: fewer than half reached zero"
    if math.isnan(estimate.low) or (estimate.low <= 1 and math.isinf(estimate.high)):
        return f"{estimate.value:.0f}"  # too few seeds for an interval
    high = f"to {estimate.high:.0f}" if math.isfinite(estimate.high) else "and up"
    return f"{estimate.value:.0f} ({estimate.low:.0f} {high})"


def mean(estimate: Estimate) -> str:
    """An estimated mean, with its interval if it has one."""
    if not _has_interval(estimate):
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} ({estimate.low:.1f} to {estimate.high:.1f})"


def within(estimate: Estimate, budget: int) -> str:
    """An estimated mean that is limited by a budget, with its interval if it has one."""
    return mean(replace(estimate, high=min(estimate.high, budget)))


def _has_interval(estimate: Estimate) -> bool:
    """Whether an estimate has an interval. One number, or several equal numbers, have none."""
    return bool(estimate.low < estimate.high)


def difference(estimate: Estimate) -> str:
    """An estimated difference with its sign, and with its interval if it has one."""
    if not _has_interval(estimate):
        return f"{estimate.value:+.1f}"
    return f"{estimate.value:+.1f} ({estimate.low:+.1f} to {estimate.high:+.1f})"


def share(estimate: Estimate) -> str:
    """The interval of an estimated share."""
    return f"{estimate.low:.0%} to {estimate.high:.0%}"


def article(digit: int) -> str:
    """A digit with its indefinite article."""
    return f"an {digit}" if digit == 8 else f"a {digit}"


def supports(count: int, estimate: Estimate) -> str:
    """The share of seeds that a count supports, with its interval."""
    if count == estimate.n:
        return f"With {plural(count, 'seed')} the true share may be as low as {estimate.low:.0%} (95% confidence)"
    return f"The 95% interval of the share is {share(estimate)}"


def held_out(found: HeldOutErrors | None, dataset: str, *, is_objective: bool = False) -> str:
    """The sentences about held-out errors, or the reason why there are none."""
    if found is None:
        return f"No held-out errors: {why_none(dataset)}."
    said = ["These images are no longer unseen: the search chose variants by them."] if is_objective else []
    if len(found.at_zero):
        low, high = found.at_zero.min(), found.at_zero.max()
        said.append(
            f"Runs with zero training errors ({len(found.at_zero)}) get {found.at_zero.mean():.0f} of the "
            f"{N_HELD_OUT:,} held-out images wrong on average ({found.at_zero.mean() / N_HELD_OUT:.1%}; range "
            f"{low:.0f} to {high:.0f})."
        )
    if len(found.with_errors):
        said.append(
            f"Runs with training errors ({len(found.with_errors)}) get {found.with_errors.mean():.0f} of the "
            f"{N_HELD_OUT:,} wrong on average."
        )
    if found.more_epochs is not None:
        said.append(_more_epochs(found.epochs, found.more_epochs))
    return " ".join(said)


def _more_epochs(epochs: tuple[int, int], change: Estimate) -> str:
    few, many = epochs
    fewer = "fewer" if change.value < 0 else "more"
    said = f"With {many} instead of {few} epochs, the baseline gets {abs(change.value):.0f} {fewer} of them wrong"
    if math.isnan(change.low):
        return f"{said}; one seed does not show whether that is chance."
    interval = f"95% interval {change.low:+.0f} to {change.high:+.0f}, {plural(change.n, 'seed')}"
    unclear = "" if change.low > 0 or change.high < 0 else "; the interval includes no difference"
    return f"{said} ({interval}){unclear}."


def own_training(errors: Sequence[int]) -> str:
    """The sentence about the baseline's own training: when it reaches zero errors, and whether errors return."""
    counts = np.asarray(errors)
    zeros = np.flatnonzero(counts == 0) + 1
    if not len(zeros):
        return f"It did not reach zero errors in {plural(len(counts), 'epoch')}. The lowest count was {counts.min()}."
    first, back = int(zeros[0]), int((counts[zeros[0] :] > 0).sum())
    said = f"It first reached zero errors at epoch {first} of {len(counts)}"
    if first == len(counts):
        return f"{said}, the last epoch."
    if not back:
        return f"{said} and stayed at zero."
    after = len(counts) - first
    last_wrong = int(np.flatnonzero(counts > 0)[-1]) + 1
    stays = (
        f"From epoch {last_wrong + 1} on there were none"
        if last_wrong < len(counts)
        else f"The last epoch had {plural(int(counts[-1]), 'error')}"
    )
    return f"{said}. Errors returned in {back} of the next {plural(after, 'epoch')}. {stays}."


def seeds_of_baseline(group: Reach) -> str:
    """The sentence about the baseline's seeds."""
    shortest, longest = group.epochs
    budget = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
    inferred = f" {supports(group.reached, group.share)}." if group.share is not None else ""
    return (
        f"{group.reached} of {plural(group.n, 'seed')} reached zero errors within {budget} epochs.{inferred} Errors "
        f"returned in {group.came_back} of them. {group.at_zero} had zero errors after the last epoch."
    )


def baseline_strip(n: int, most: int) -> str:
    """The caption of the epochs with zero errors, by seed."""
    which = "" if n <= most else f" The figure shows the first {most} of {n} seeds."
    return f"Blue marks an epoch with zero errors. A gap after the first blue epoch means that errors returned.{which}"


def heat_map(cells: pd.DataFrame) -> str:
    """The caption of the heat map: the cells in which all runs are at zero."""
    n_runs, at_zero = int(cells["n"].sum()), int(cells["at_zero"].sum())
    whole = cells[cells["at_zero"] == cells["n"]]
    said = f"{at_zero} of {plural(n_runs, 'run')} ended with zero errors. "
    if whole.empty:
        best = cells.sort_values(["mean_errors", "epochs"]).iloc[0]
        said += (
            f"No cell has all its runs at zero. The lowest mean, {best['mean_errors']:.1f} errors, is at learning rate "
            f"{best['rate']} and {best['epochs']} epochs. "
        )
    else:
        first = whole.sort_values(["epochs", "rate"]).iloc[0]
        said += (
            f"In {len(whole)} of {plural(len(cells), 'cell')} all runs are at zero. Of these cells, the one with the "
            f"fewest epochs has {first['epochs']} epochs and learning rate {first['rate']}. "
        )
    return said + "Each cell shows the mean error count after the last epoch, and how many of its runs are at zero."


def reached(groups: Sequence[Reach]) -> str:
    """The caption of the shares that reached zero: the group that reaches zero first."""
    n = sum(group.n for group in groups)
    said = f"{sum(group.reached for group in groups)} of {plural(n, 'training')} reached zero. "
    got = [(group, group.median) for group in groups if group.median is not None and math.isfinite(group.median.value)]
    if got:
        soonest, median = min(got, key=lambda one: one[1].value)
        which = "The lowest median" if len(got) > 1 else "The median"
        said += f"{which} first zero epoch is {epoch(median)}, at learning rate {soonest.rate}. "
    never = [group.rate for group in groups if not group.reached]
    if never:
        said += f"No training at {', '.join(never)} did. "
    budgets = {group.epochs for group in groups}
    if len(budgets) > 1 or any(few < many for few, many in budgets):
        said += (
            "The numbers of epochs differ, so the shares are Kaplan-Meier estimates: a training that ended before it "
            "reached zero counts until its last epoch, and the curve may rise above the counted share. "
        )
    bands = " Bands are pointwise 95% intervals." if any(group.share is not None for group in groups) else ""
    return said + f"A tick marks trainings that ended before they reached zero.{bands}"


def by_seed(cells: pd.DataFrame) -> str:
    """The caption of errors by seed: the spread between seeds."""
    widest = cells.iloc[int((cells["max_errors"] - cells["min_errors"]).to_numpy().argmax())]
    if cells["n"].max() == 1 or widest["min_errors"] == widest["max_errors"]:
        return "Each point is a run."
    return (
        f"Each point is a run. The widest range, {widest['min_errors']} to "
        f"{plural(int(widest['max_errors']), 'error')}, is at learning rate {widest['rate']} and {widest['epochs']} "
        "epochs."
    )


def differences(found: Sequence[Difference]) -> str:
    """The caption of differences from the baseline: the variants that differ significantly."""
    sure = [one for one in found if _has_interval(one.errors)]
    fewer, more = [one for one in sure if one.errors.high < 0], [one for one in sure if one.errors.low > 0]
    said = (
        f"{len(fewer)} of {plural(len(found), 'comparison')} show fewer errors than the baseline after the same number "
        f"of epochs and {len(more)} show more, each at 95% confidence. "
    )
    if fewer:
        most = min(fewer, key=lambda one: one.errors.value)
        said += f"The largest decrease, {difference(most.errors)}, is at {most.rate} and {most.epochs} epochs. "
    numbers = {one.errors.n for one in found}
    pairs = f"{'at least ' if len(numbers) > 1 else ''}{min(numbers, default=0)} pairs"
    return said + (
        f"Each comparison has {pairs} of runs with the same seed. Lines are 95% intervals by Student's t, "
        "which are rough if most seeds have zero errors. They are not corrected for multiple comparisons."
    )


def recommendation(found: Sequence[Recommended]) -> str:
    """The sentence about the recommended variant."""
    if not found:
        return "No variant had a run with zero errors after its last epoch."
    first = found[0]
    return (
        f"Recommended: learning rate {first.rate}, {plural(first.epochs, 'epoch')}. {first.at_zero} of "
        f"{plural(first.n, 'seed')} ended with zero errors. {supports(first.at_zero, first.share)}."
    )


def losses(curves: pd.DataFrame) -> str:
    """The caption of losses: the learning rate with the lowest final loss, and losses that are not finite."""
    last = curves.sort_values("epoch").groupby("run_id").tail(1)
    finite = last[np.isfinite(last["loss"].astype(float))]
    said = f"Each line is a training. {_ZOOM} "
    if len(finite):
        medians = finite.groupby("rate", observed=True)["loss"].median()
        said += (
            f"The lowest median loss of the last epoch is {medians.min():.2g}, at learning rate {medians.idxmin()}. "
        )
    broken = len(last) - len(finite)
    return said + (f"{plural(broken, 'training')} ended with a loss that is not finite." if broken else "")


def errors_by_epoch(groups: Sequence[Reach], *, has_baseline: bool) -> str:
    """The caption of errors by epoch: how often errors return."""
    reached, back = sum(group.reached for group in groups), sum(group.came_back for group in groups)
    thick = "; the thick line is the baseline's own" if has_baseline else ""
    lines = f"Each line is a training{thick}. {_ZOOM}"
    if not reached:
        return f"No training reached zero errors. {lines}"
    spikes = " Such spikes are normal at a constant learning rate." if back else ""
    count = plural(reached, "training")
    return f"Errors returned in {back} of the {count} that reached zero errors.{spikes} {lines}"


def hardest(hard: HardImages, images: StoredImages, chosen: Sequence[int]) -> str:
    """The caption of the hardest images: the number of images that are ever wrong, and the hardest one."""
    never, first = int((hard.times == 0).sum()), chosen[0]
    answer = hard.usual_answer(first)
    taken = "no digit" if answer < 0 else article(answer)
    return (
        f"{never} of {len(hard.times)} images were never wrong at the end of a run. The hardest is image {first}, "
        f"{article(images.y[first])} that is usually classified as {taken}. It was wrong in {hard.times[first]} of "
        f"{plural(hard.n, 'training')}. Above each image: its label, its usual wrong prediction, and the number of "
        "trainings in which it was wrong."
    )


def never_wrong(hard: HardImages | None) -> str:
    """The sentence for a study in which no image was wrong. Empty for other studies, and if it is unknown."""
    if hard is None or hard.times.any():
        return ""
    return f"No image was wrong at the end of any run of {plural(hard.n, 'training')}."


def confusions(counts: NDArray[np.int64]) -> str:
    """The caption of the confusion matrix: the most frequent mistake."""
    label, answer = np.unravel_index(int(counts.argmax()), counts.shape)
    return (
        f"The most frequent mistake is {article(int(label))} classified as {article(int(answer))}: "
        f"{counts[label, answer]} of {counts.sum()}. Each image counts once per training, with its last wrong "
        f"prediction."
    )


def softmax(by_size: pd.DataFrame) -> str:
    """The caption of the softmax chart: differences from TensorFlow, and the sizes that overflow."""
    worst = by_size.groupby("way")["max_ulp"].max()
    said = ", ".join(f"{way} {worst[way]:.0f}" for way in ("loop", "vector", "stable") if worst.get(way, np.nan) >= 0)
    naive = by_size[(by_size["way"] == "vector") & (by_size["overflow_rows"] > 0)]
    bad = int(naive["overflow_rows"].sum())
    overflow = (
        f"The lab's implementation overflows on {bad} rows. The smallest of them have a largest absolute logit between "
        f"{naive['below'].min() / 2:g} and {naive['below'].min():g}: exp overflows float32 above 88.7."
        if bad
        else "No row overflows."
    )
    return f"The largest distances from TensorFlow's softmax, in ULPs: {said or 'none'}. {overflow}"


def overflow(by_size: pd.DataFrame) -> str:
    """The caption of the rows that overflow: their number by implementation."""
    rows = by_size.groupby("way")["overflow_rows"].sum()
    said = ", ".join(f"{way} {rows[way]:.0f}" for way in ("loop", "vector", "stable") if way in rows)
    return f"Rows of logits whose softmax overflows in float32, over all runs: {said}."


def history(trials: pd.DataFrame, goal: str) -> str:
    """The caption of the history: the first trial with the best value."""
    values = trials[goal]
    best = trials.iloc[int(values.to_numpy().argmin())]
    ties = int((values == values.min()).sum()) - 1
    also = f" {plural(ties, 'other trial')} reached the same value." if ties else ""
    return (
        f"The first of {plural(len(trials), 'trial')} with the best value is trial {best['trial']:.0f}, with "
        f"{best[goal]:.1f}: learning rate {best['learning_rate']:.3g}, {plural(int(best['epochs']), 'epoch')}.{also}"
    )


def front(trials: pd.DataFrame, is_best: pd.Series[bool]) -> str:
    """The caption of the Pareto front."""
    best = trials[is_best]
    zero = best[best["errors"] == 0]
    said = f"{int(is_best.sum())} of {plural(len(trials), 'trial')} are Pareto-optimal. "
    if len(zero):
        first = zero.sort_values("epochs").iloc[0]
        said += (
            f"The cheapest with zero errors in all {plural(int(first['n']), 'seed')} is trial {first['trial']:.0f}: "
            f"learning rate {first['learning_rate']:.3g}, {plural(int(first['epochs']), 'epoch')}."
        )
    else:
        said += "None has zero errors in all its seeds."
    return said


def importance(shares: Mapping[str, Mapping[str, float]], n_trials: int) -> str:
    """The caption of importances: the most important parameter for each objective, and a warning if trials are few."""
    said = []
    for goal, by_name in shares.items():
        name, value = max(by_name.items(), key=lambda item: item[1])
        said.append(f"{name.replace('_', ' ').capitalize()} explains most of the variance of {goal}: {value:.0%}.")
    if n_trials < _FEW_TRIALS:
        said.append(f"These numbers are rough: they come from only {plural(n_trials, 'trial')}.")
    return " ".join(said)


def best_quarter(trials: pd.DataFrame, name: str) -> str:
    """The caption of the errors by a parameter: its values in the trials with the fewest errors."""
    best = trials.nsmallest(max(1, len(trials) // 4), "errors")
    low, high = best[name].min(), best[name].max()
    return f"The quarter of the trials with the fewest errors has values from {low:.3g} to {high:.3g}."
