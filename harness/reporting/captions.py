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
# With fewer trials, the importances of parameters are rough.
_FEW_TRIALS = 50


def epoch(estimate: Estimate) -> str:
    """An estimated epoch as text, with its 95% interval if it has one."""
    if not math.isfinite(estimate.value):
        return "none: fewer than half reached zero"
    if math.isnan(estimate.low) or (estimate.low <= 1 and math.isinf(estimate.high)):
        return f"{estimate.value:.0f}"  # too few seeds for an interval
    high = f"to {estimate.high:.0f}" if math.isfinite(estimate.high) else "and up"
    return f"{estimate.value:.0f} ({estimate.low:.0f} {high})"


def mean(estimate: Estimate) -> str:
    """An estimated mean as text, with its 95% interval if it has one."""
    if not _has_interval(estimate):
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} ({estimate.low:.1f} to {estimate.high:.1f})"


def within(estimate: Estimate, budget: int) -> str:
    """An estimated mean epoch as text. Its interval, if it has one, ends at the budget, the number of epochs."""
    return mean(replace(estimate, high=min(estimate.high, budget)))


def _has_interval(estimate: Estimate) -> bool:
    """Whether an estimate has an interval. An estimate from one number, or from equal numbers, has none."""
    return bool(estimate.low < estimate.high)


def difference(estimate: Estimate) -> str:
    """An estimated difference as text: its sign, its value, and its 95% interval if it has one."""
    if not _has_interval(estimate):
        return f"{estimate.value:+.1f}"
    return f"{estimate.value:+.1f} ({estimate.low:+.1f} to {estimate.high:+.1f})"


def share(estimate: Estimate) -> str:
    """The interval of an estimated proportion, as percentages."""
    return f"{estimate.low:.0%} to {estimate.high:.0%}"


def article(digit: int) -> str:
    """A digit with its indefinite article, such as ``an 8``."""
    return f"an {digit}" if digit == 8 else f"a {digit}"


def supports(count: int, estimate: Estimate) -> str:
    """The statement of how precisely a count of seeds determines the true proportion."""
    if count == estimate.n:
        return f"With {plural(count, 'seed')}, the true proportion may be as low as {estimate.low:.0%} (95% confidence)"
    return f"The 95% interval of this proportion is {share(estimate)}"


def held_out(found: HeldOutErrors | None, dataset: str, *, is_objective: bool = False) -> str:
    """The sentences about held-out errors, or the reason why there are none."""
    if found is None:
        return f"No held-out errors: {why_none(dataset)}."
    said = ["These images are no longer unseen: the search chose variants by them."] if is_objective else []
    if len(found.at_zero):
        low, high = found.at_zero.min(), found.at_zero.max()
        said.append(
            f"In {plural(len(found.at_zero), 'run')} with zero training errors, {found.at_zero.mean():.0f} of the "
            f"{N_HELD_OUT:,} held-out images are wrong on average ({found.at_zero.mean() / N_HELD_OUT:.1%}; range "
            f"{low:.0f} to {high:.0f})."
        )
    if len(found.with_errors):
        said.append(
            f"In {plural(len(found.with_errors), 'run')} with training errors, {found.with_errors.mean():.0f} of the "
            f"{N_HELD_OUT:,} held-out images are wrong on average."
        )
    if found.more_epochs is not None:
        said.append(_more_epochs(found.epochs, found.more_epochs))
    return " ".join(said)


def _more_epochs(epochs: tuple[int, int], change: Estimate) -> str:
    few, many = epochs
    fewer = "fewer" if change.value < 0 else "more"
    number = f"{abs(change.value):.0f} {fewer}"
    said = f"With {many} instead of {few} epochs, the baseline gets {number} of these images wrong"
    if math.isnan(change.low):
        return f"{said}; one seed does not show whether that is chance."
    interval = f"95% interval {change.low:+.0f} to {change.high:+.0f}, {plural(change.n, 'seed')}"
    unclear = "" if change.low > 0 or change.high < 0 else "; the interval includes 0"
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
    """The sentences about all seeds of the baseline: how many reach zero errors, and in how many errors return."""
    shortest, longest = group.epochs
    budget = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
    inferred = f" {supports(group.reached, group.share)}." if group.share is not None else ""
    return (
        f"{group.reached} of {plural(group.n, 'seed')} reached zero errors within {budget} epochs.{inferred} Errors "
        f"returned in {group.came_back} of the seeds that reached zero. {group.at_zero} of {plural(group.n, 'seed')} "
        "had zero errors after the last epoch."
    )


def baseline_strip(n: int, most: int) -> str:
    """The caption of the chart that shows the epochs with zero errors of each seed of the baseline."""
    which = "" if n <= most else f" The figure shows the first {most} of {n} seeds."
    return f"Blue marks an epoch with zero errors. A gap after the first blue epoch means that errors returned.{which}"


def heat_map(cells: pd.DataFrame) -> str:
    """The caption of the heat map of errors: the cells in which all runs end with zero errors."""
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
    """The caption of the chart of trainings that reach zero errors: the group with the lowest median epoch."""
    n = sum(group.n for group in groups)
    said = f"{sum(group.reached for group in groups)} of {plural(n, 'training')} reached zero errors. "
    got = [(group, group.median) for group in groups if group.median is not None and math.isfinite(group.median.value)]
    if got:
        soonest, median = min(got, key=lambda one: one[1].value)
        which = "The lowest median" if len(got) > 1 else "The median"
        said += f"{which} first zero epoch is {epoch(median)}, at learning rate {soonest.rate}. "
    never = [group.rate for group in groups if not group.reached]
    if never:
        said += f"No training at learning rate {' or '.join(never)} reached zero errors. "
    budgets = {group.epochs for group in groups}
    if len(budgets) > 1 or any(few < many for few, many in budgets):
        said += (
            "The trainings differ in their numbers of epochs, so the curves are Kaplan-Meier estimates: a training "
            "that ended before it reached zero counts until its last epoch. A curve may rise above the counted "
            "proportion. "
        )
    bands = " Bands are pointwise 95% intervals." if any(group.share is not None for group in groups) else ""
    return said + f"A tick marks trainings that ended before they reached zero.{bands}"


def by_seed(cells: pd.DataFrame) -> str:
    """The caption of the chart of errors by seed: the widest range of errors between seeds."""
    widest = cells.iloc[int((cells["max_errors"] - cells["min_errors"]).to_numpy().argmax())]
    if cells["n"].max() == 1 or widest["min_errors"] == widest["max_errors"]:
        return "Each point is a run."
    return (
        f"Each point is a run. The widest range, {widest['min_errors']} to "
        f"{plural(int(widest['max_errors']), 'error')}, is at learning rate {widest['rate']} and {widest['epochs']} "
        "epochs."
    )


def differences(found: Sequence[Difference]) -> str:
    """The caption of the chart of differences from the baseline: how many are significant, and the largest decrease."""
    sure = [one for one in found if _has_interval(one.errors)]
    fewer, more = [one for one in sure if one.errors.high < 0], [one for one in sure if one.errors.low > 0]
    said = (
        f"{len(fewer)} of {plural(len(found), 'comparison')} show fewer errors than the baseline after the same number "
        f"of epochs and {len(more)} show more, each at 95% confidence. "
    )
    if fewer:
        most = min(fewer, key=lambda one: one.errors.value)
        said += (
            f"The largest decrease, {difference(most.errors)}, is at learning rate {most.rate} and {most.epochs} "
            "epochs. "
        )
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
    """The caption of the chart of losses: the lowest median final loss, and the trainings without a finite loss."""
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
    """The caption of the chart of errors by epoch: the number of trainings in which errors return."""
    reached, back = sum(group.reached for group in groups), sum(group.came_back for group in groups)
    thick = "; the thick line is the baseline's own" if has_baseline else ""
    lines = f"Each line is a training{thick}. {_ZOOM}"
    if not reached:
        return f"No training reached zero errors. {lines}"
    spikes = " Such spikes are normal at a constant learning rate." if back else ""
    count = plural(reached, "training")
    return f"Errors returned in {back} of the {count} that reached zero errors.{spikes} {lines}"


def hardest(hard: HardImages, images: StoredImages, chosen: Sequence[int]) -> str:
    """The caption of the hardest images: how many images were never wrong, and which one was wrong most often."""
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
    """The sentence for a study in which no image was wrong.

    Empty for other studies, and for studies that did not record which images were wrong.
    """
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
    """The caption of the softmax chart: the largest differences from TensorFlow's, and the rows that overflow."""
    worst = by_size.groupby("way")["max_ulp"].max()
    said = ", ".join(f"{way} {worst[way]:.0f}" for way in ("loop", "vector", "stable") if worst.get(way, np.nan) >= 0)
    naive = by_size[(by_size["way"] == "vector") & (by_size["overflow_rows"] > 0)]
    bad = int(naive["overflow_rows"].sum())
    overflow = (
        f"The lab's vectorized implementation overflows on {bad} rows of logits. It begins where the largest absolute "
        f"logit of a row is between {naive['below'].min() / 2:g} and {naive['below'].min():g}. In float32, exp "
        "overflows above 88.7."
        if bad
        else "No row overflows."
    )
    return f"The largest distances from TensorFlow's softmax, in ULPs: {said or 'none'}. {overflow}"


def overflow(by_size: pd.DataFrame) -> str:
    """The caption of the chart of overflows: the number of rows of logits that overflow, by implementation."""
    rows = by_size.groupby("way")["overflow_rows"].sum()
    said = ", ".join(f"{way} {rows[way]:.0f}" for way in ("loop", "vector", "stable") if way in rows)
    return f"Rows of logits whose softmax overflows in float32, over all runs: {said}."


def history(trials: pd.DataFrame, goal: str) -> str:
    """The caption of a search's history: the first trial with the best value of an objective."""
    values = trials[goal]
    best = trials.iloc[int(values.to_numpy().argmin())]
    ties = int((values == values.min()).sum()) - 1
    also = f" {plural(ties, 'other trial')} reached the same value." if ties else ""
    return (
        f"The first of {plural(len(trials), 'trial')} with the best value, {best[goal]:.1f}, is trial "
        f"{best['trial']:.0f}: learning rate {best['learning_rate']:.3g}, {plural(int(best['epochs']), 'epoch')}.{also}"
    )


def front(trials: pd.DataFrame, is_best: pd.Series[bool]) -> str:
    """The caption of the Pareto front: the number of its trials, and its shortest trial with zero errors."""
    best = trials[is_best]
    zero = best[best["errors"] == 0]
    said = f"{int(is_best.sum())} of {plural(len(trials), 'trial')} are Pareto-optimal. "
    if len(zero):
        first = zero.sort_values("epochs").iloc[0]
        said += (
            f"Of those with zero errors in all {plural(int(first['n']), 'seed')}, trial {first['trial']:.0f} has the "
            f"fewest epochs: learning rate {first['learning_rate']:.3g}, {plural(int(first['epochs']), 'epoch')}."
        )
    else:
        said += "None has zero errors in all its seeds."
    return said


def importance(shares: Mapping[str, Mapping[str, float]], n_trials: int) -> str:
    """The caption of importances: the most important parameter of each objective, and a warning if trials are few."""
    said = []
    for goal, by_name in shares.items():
        name, value = max(by_name.items(), key=lambda item: item[1])
        said.append(f"{name.replace('_', ' ').capitalize()} explains the most variance of {goal}: {value:.0%}.")
    if n_trials < _FEW_TRIALS:
        said.append(f"These numbers are rough: they come from only {plural(n_trials, 'trial')}.")
    return " ".join(said)


def best_quarter(trials: pd.DataFrame, name: str) -> str:
    """The caption of the chart of errors by a parameter: the parameter's range in the best quarter of the trials."""
    best = trials.nsmallest(max(1, len(trials) // 4), "errors")
    low, high = best[name].min(), best[name].max()
    return f"In the quarter of the trials with the fewest errors, the parameter ranges from {low:.3g} to {high:.3g}."
