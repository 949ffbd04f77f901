"""The sentences of reports, computed from the data that they describe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.reporting.findings import Cheap, Difference, HardImages, Reach
from harness.statistics import Estimate
from harness.text import plural
from harness.tracking.reader import StoredImages


def epoch(estimate: Estimate) -> str:
    """An estimated epoch and its interval, where there is one."""
    if not math.isfinite(estimate.value):
        return "none: half never got there"
    if math.isnan(estimate.low) or (estimate.low <= 1 and math.isinf(estimate.high)):
        return f"{estimate.value:.0f}"  # too few seeds for an interval
    high = f"to {estimate.high:.0f}" if math.isfinite(estimate.high) else "and up"
    return f"{estimate.value:.0f} ({estimate.low:.0f} {high})"


def mean(estimate: Estimate) -> str:
    """An estimated mean and its interval, where there is one."""
    if not _has_interval(estimate):
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} ({estimate.low:.1f} to {estimate.high:.1f})"


def within(estimate: Estimate, budget: int) -> str:
    """An estimated mean of what cannot be more than a budget, and its interval, where there is one."""
    return mean(replace(estimate, high=min(estimate.high, budget)))


def _has_interval(estimate: Estimate) -> bool:
    """Whether there is an interval: not of one number, nor of several that are all the same."""
    return bool(estimate.low < estimate.high)


def difference(estimate: Estimate) -> str:
    """An estimated difference with its sign, and its interval, where there is one."""
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
    of = f"{count} of {plural(estimate.n, 'seed')} support{'s' if estimate.n == 1 else ''} a share of"
    return f"{of} at least {estimate.low:.0%}, not of 100%" if count == estimate.n else f"{of} {share(estimate)}"


def own_training(errors: Sequence[int]) -> str:
    """Whether the lab's own training reaches zero, when, and whether it stays there."""
    counts = np.asarray(errors)
    zeros = np.flatnonzero(counts == 0) + 1
    if not len(zeros):
        return f"It had no epoch without errors within {len(counts)}; {counts.min()} were the fewest."
    first, back = int(zeros[0]), int((counts[zeros[0] :] > 0).sum())
    said = f"It had no error for the first time after epoch {first} of {len(counts)}"
    if first == len(counts):
        return f"{said}, its last."
    if not back:
        return f"{said}, and none after any epoch that followed."
    after = len(counts) - first
    last_wrong = int(np.flatnonzero(counts > 0)[-1]) + 1
    stays = (
        f"from epoch {last_wrong + 1} on there were none"
        if last_wrong < len(counts)
        else f"the last epoch was one of them, with {plural(int(counts[-1]), 'error')}"
    )
    return f"{said}; errors came back after {back} of the {plural(after, 'epoch')} that followed, and {stays}."


def seeds_of_baseline(group: Reach) -> str:
    """How the baseline's seeds do."""
    shortest, longest = group.epochs
    budget = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
    inferred = f": {supports(group.reached, group.share)} (95% confidence)" if group.share is not None else ""
    return (
        f"Of its {plural(group.n, 'seed')} {group.reached} had an epoch without errors within {budget}{inferred}. In "
        f"{group.came_back} of them errors came back; {group.at_zero} had none after the last epoch."
    )


def baseline_strip(n: int, most: int) -> str:
    """What the strips of the baseline's seeds show."""
    which = "" if n <= most else f" The first {most} of its {n} seeds."
    return f"Blue is an epoch after which no image was wrong; a gap after the first blue is a spike.{which}"


def heat_map(cells: pd.DataFrame) -> str:
    """Which cells are at zero."""
    n_runs, at_zero = int(cells["n"].sum()), int(cells["at_zero"].sum())
    whole = cells[cells["at_zero"] == cells["n"]]
    said = f"{at_zero} of {plural(n_runs, 'run')} {'ends' if n_runs == 1 else 'end'} with no error. "
    if whole.empty:
        best = cells.sort_values(["mean_errors", "epochs"]).iloc[0]
        said += (
            f"No cell has all its runs at zero; the fewest errors, {best['mean_errors']:.1f} on average, are at "
            f"learning rate {best['rate']} after {best['epochs']} epochs. "
        )
    else:
        first = whole.sort_values(["epochs", "rate"]).iloc[0]
        said += (
            f"All runs of {plural(len(whole), 'cell')} of {len(cells)} do, the first after {first['epochs']} epochs at "
            f"learning rate {first['rate']}. "
        )
    return said + "Each cell: the mean error count after the last epoch, and how many of its runs are at zero."


def survival(groups: Sequence[Reach]) -> str:
    """Who gets to zero soonest."""
    n = sum(group.n for group in groups)
    said = f"{sum(group.reached for group in groups)} of {plural(n, 'training')} reached zero. "
    got = [(group, group.median) for group in groups if group.median is not None and math.isfinite(group.median.value)]
    if got:
        soonest, median = min(got, key=lambda one: one[1].value)
        more = ", sooner than or as soon as at any other" if len(groups) > 1 else ""
        said += f"Half of those at learning rate {soonest.rate} had by epoch {epoch(median)}{more}. "
    never = [group.rate for group in groups if not group.reached]
    if never:
        said += f"None did at {', '.join(never)}. "
    return (
        said
        + "A training that did not is counted to its end. Bands are 95% intervals, epoch by epoch, where there is one."
    )


def by_seed(cells: pd.DataFrame) -> str:
    """How far apart seeds are."""
    widest = cells.iloc[int((cells["max_errors"] - cells["min_errors"]).to_numpy().argmax())]
    if cells["n"].max() == 1 or widest["min_errors"] == widest["max_errors"]:
        return "One mark a run, a bar at the median."
    return (
        f"One mark a run, a bar at the median. Runs of one cell differ most at learning rate {widest['rate']} after "
        f"{widest['epochs']} epochs: from {widest['min_errors']} to {plural(int(widest['max_errors']), 'error')}."
    )


def differences(found: Sequence[Difference]) -> str:
    """Where variants differ from the baseline beyond chance."""
    sure = [one for one in found if _has_interval(one.errors)]
    fewer, more = [one for one in sure if one.errors.high < 0], [one for one in sure if one.errors.low > 0]
    said = (
        f"Of {plural(len(found), 'comparison')} {len(fewer)} show fewer errors than the baseline after as many epochs "
        f"and {len(more)} more, each at 95%. "
    )
    if fewer:
        most = min(fewer, key=lambda one: one.errors.value)
        said += f"The most, {difference(most.errors)}, is at {most.rate} after {most.epochs} epochs. "
    n = min((one.errors.n for one in found), default=0)
    return said + (
        f"Pairs share their seed, {n} or more a comparison; a line is Student's 95% interval, which is rough where "
        "most seeds have no error, and absent where all pairs differ alike. No allowance is made for there being "
        "several."
    )


def cheap(found: Sequence[Cheap]) -> str:
    """The cheapest variant at zero."""
    if not found:
        return "No variant had a run without errors after its last epoch."
    first = found[0]
    return (
        f"The cheapest of those that are most surely at zero: learning rate {first.rate}, {first.epochs} epochs. "
        f"{supports(first.at_zero, first.share).capitalize()} (95% confidence)."
    )


def losses(curves: pd.DataFrame) -> str:
    """Which learning rate ends with the lowest loss, and losses that are not finite."""
    last = curves.sort_values("epoch").groupby("run_id").tail(1)
    finite = last[np.isfinite(last["loss"].astype(float))]
    said = "Lines are medians over seeds, bands go from the lowest to the highest. "
    if len(finite):
        medians = finite.groupby("rate", observed=True)["loss"].median()
        said += f"The lowest median at the end is {medians.min():.2g}, at learning rate {medians.idxmin()}. "
    broken = len(last) - len(finite)
    return said + (f"{plural(broken, 'training')} ended with a loss that is not finite." if broken else "")


def errors_by_epoch(groups: Sequence[Reach]) -> str:
    """How often errors came back."""
    reached, back = sum(group.reached for group in groups), sum(group.came_back for group in groups)
    lines = "Lines are medians over seeds, bands go from the lowest to the highest."
    if not reached:
        return f"No training had an epoch without errors. {lines}"
    spikes = ": spikes are part of training at a constant learning rate" if back else ""
    count = plural(reached, "training")
    return f"Errors came back after an epoch with none in {back} of the {count} that had one{spikes}. {lines}"


def hardest(hard: HardImages, images: StoredImages, chosen: Sequence[int]) -> str:
    """How many images are ever wrong, and which is hardest."""
    never, first = int((hard.times == 0).sum()), chosen[0]
    answer = hard.usual_answer(first)
    taken = "no digit" if answer < 0 else article(answer)
    return (
        f"{never} of {len(hard.times)} images were never wrong at the end of a run. The hardest, image "
        f"{first}, {article(images.y[first])} that is mostly taken for {taken}, was wrong in {hard.times[first]} of "
        f"{plural(hard.n, 'training')}. Above each image: its label, its usual wrong answer, and in how many trainings."
    )


def never_wrong(hard: HardImages | None) -> str:
    """That no image was ever wrong, where that is known and so; else nothing."""
    if hard is None or hard.times.any():
        return ""
    return f"No image was wrong at the end of any run of {plural(hard.n, 'training')}."


def confusions(counts: NDArray[np.int64]) -> str:
    """What is taken for what most often."""
    label, answer = np.unravel_index(int(counts.argmax()), counts.shape)
    return (
        f"{article(int(label)).capitalize()} taken for {article(int(answer))} is the most frequent mistake: "
        f"{counts[label, answer]} of {counts.sum()}. "
        "Counted: every image that a training had wrong, once, with its last wrong answer."
    )


def softmax(by_size: pd.DataFrame) -> str:
    """How far each way is from TensorFlow's, and where the lab's form overflows."""
    worst = by_size.groupby("way")["max_ulp"].max()
    said = ", ".join(f"{way} {worst[way]:.0f}" for way in ("loop", "vector", "stable") if worst.get(way, np.nan) >= 0)
    naive = by_size[(by_size["way"] == "vector") & (by_size["overflow_rows"] > 0)]
    bad = int(naive["overflow_rows"].sum())
    overflow = (
        f"The lab's form overflows on {bad} rows, first where the largest absolute logit is from "
        f"{naive['below'].min() / 2:g} to {naive['below'].min():g}; exp overflows float32 above 88.7."
        if bad
        else "No row overflows."
    )
    return f"The largest distances in float32 representations: {said or 'none'}. {overflow}"


def history(trials: pd.DataFrame) -> str:
    """When the search found its best."""
    best = trials.iloc[int(trials["errors"].to_numpy().argmin())]
    return (
        f"The fewest mean errors of {plural(len(trials), 'trial')}, {best['errors']:.1f}, were found in trial "
        f"{best['trial']:.0f}: learning rate {best['learning_rate']:.3g}, {plural(int(best['epochs']), 'epoch')}."
    )


def front(trials: pd.DataFrame, is_best: pd.Series[bool]) -> str:
    """Who stands on the front."""
    best = trials[is_best]
    zero = best[best["errors"] == 0]
    said = f"{plural(int(is_best.sum()), 'trial')} of {len(trials)} are beaten by no other in both. "
    if len(zero):
        first = zero.sort_values("epochs").iloc[0]
        said += (
            f"The cheapest with no error over its {plural(int(first['n']), 'seed')}: trial {first['trial']:.0f}, "
            f"learning rate {first['learning_rate']:.3g}, {plural(int(first['epochs']), 'epoch')}."
        )
    else:
        said += "None has zero errors with all its seeds."
    return said


def importance(shares: Mapping[str, Mapping[str, float]]) -> str:
    """What matters most for each objective."""
    said = []
    for goal, by_name in shares.items():
        name, value = max(by_name.items(), key=lambda item: item[1])
        said.append(
            f"The largest share of the variance of {goal}, {value:.0%}, is explained by {name.replace('_', ' ')}."
        )
    return " ".join(said)


def slices(trials: pd.DataFrame) -> str:
    """Where the trials with the fewest errors lie."""
    best = trials.nsmallest(max(1, len(trials) // 4), "errors")
    low, high = best["learning_rate"].min(), best["learning_rate"].max()
    return (
        f"The best quarter of the trials has learning rates from {low:.3g} to {high:.3g} and "
        f"{best['epochs'].min()} to {best['epochs'].max()} epochs."
    )
