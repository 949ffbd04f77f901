"""Summarizes a study for the first screen of its report: its question, and three cards with the answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.data.held_out import N_HELD_OUT
from harness.engines import registry
from harness.network.variant import TRAINING_SETTINGS
from harness.reporting import captions, frames
from harness.reporting.findings import Reach, Recommended, Spike
from harness.selection import RULE
from harness.text import plural
from harness.tracking.run_record import StudyRecord
from harness.tracking.tags import Tag

_NAMES = {"learning_rate": "learning rate", "batch_size": "batch size"}
_MOST_VALUES = 8


@dataclass(frozen=True)
class Card:
    """An answer on the first screen.

    Attributes:
        title: What the card is about.
        answer: Answer, in a few words.
        lines: Sentences below the answer.
        note: Rule or reason, in small print.
    """

    title: str
    answer: str
    lines: Sequence[str]
    note: str = ""


@dataclass(frozen=True)
class Question:
    """What a study asked.

    Attributes:
        description: Description of the study; empty if it has none.
        varied: Settings that vary, with their values.
        fixed: Settings that have one value, which is not the baseline's, with both values.
    """

    description: str
    varied: Sequence[tuple[str, str]]
    fixed: Sequence[tuple[str, str]]


def question(record: StudyRecord, frame: pd.DataFrame) -> Question:
    """What a study asked, from its description and its runs."""
    description = record.parent.tags.get(Tag.DESCRIPTION, "")
    if frame.empty:
        return Question(description, [], [])
    baseline = registry.baseline(frame["engine"].iloc[0]).settings()
    varied, fixed = [], []
    for name in (*TRAINING_SETTINGS, "epochs"):
        values = sorted(frame[name].unique().tolist())
        called = _NAMES.get(name, name)
        if len(values) > 1:
            varied.append((called, _values(values)))
        elif values[0] != baseline[name] and name != "seed":
            fixed.append((called, f"{_value(values[0])} instead of {_value(baseline[name])}"))
    return Question(description, varied, fixed)


def _values(values: Sequence[object]) -> str:
    if len(values) <= _MOST_VALUES:
        return ", ".join(map(_value, values))
    return f"{len(values)} values, {_value(values[0])} to {_value(values[-1])}"


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def baseline_card(groups: Sequence[Reach], like: pd.DataFrame) -> Card:
    """The card of the baseline: how many seeds reach zero errors, when, and whether they stay there.

    Args:
        groups: The baseline's group; empty if the study has no finished run of it.
        like: Trainings with the baseline's settings, of any seed.
    """
    if not groups:
        return Card(
            "The baseline", "not in this study", ["The study has no finished run with the baseline's settings."]
        )
    [group] = groups
    lines = [f"Learning rate {group.rate}, {plural(group.epochs[1], 'epoch')}, any seed."]
    if group.median is not None and math.isfinite(group.median.value):
        lines.append(f"Median first zero epoch: {captions.epoch(group.median)}.")
    lines.append(
        f"Errors return in {group.came_back} of the seeds that reach zero. After the last epoch, {group.at_zero} of "
        f"{plural(group.n, 'seed')} have zero errors."
    )
    lines += _unseen(like[like["epochs"] == like["epochs"].max()]["held_out_errors"].mean())
    return Card("The baseline", f"{group.reached} of {plural(group.n, 'seed')} reach zero errors", lines)


def recommended_card(found: Sequence[Recommended], groups: Sequence[Reach]) -> Card:
    """The card of the recommended variant: its results with their confidence, its ties, and the rule that chose it.

    Args:
        found: The best variants, best first.
        groups: All groups of the study.
    """
    if not found:
        return Card(
            "Recommended variant", "none", ["No variant had a run with zero errors after its last epoch."], RULE
        )
    first = found[0]
    ties = [one for one in found[1:] if (one.share, one.mean_errors) == (first.share, first.mean_errors)]
    sure = captions.supports(first.at_zero, first.share)
    lines = [
        f"{first.at_zero} of {plural(first.n, 'seed')} end with zero errors. {sure}.",
        f"Errors at the last epoch: {first.mean_errors:.1f} on average, {first.worst_errors} for the worst seed.",
        *([f"Ties with {plural(len(ties), 'other variant')}: the fewest epochs decide."] if ties else []),
        *(
            f"Errors return in {group.came_back} of {plural(group.reached, 'training')} at this learning rate."
            for group in groups
            if group.rate == first.rate and group.came_back
        ),
    ]
    lines += _unseen(first.held_out)
    answer = f"learning rate {first.rate}, {plural(first.epochs, 'epoch')}"
    return Card("Recommended variant", answer, lines, RULE)


def _unseen(held_out_errors: float) -> list[str]:
    """The line about a mean number of held-out errors. Empty if it is NaN, because there are none."""
    if math.isnan(held_out_errors):
        return []
    return [f"Unseen images: {held_out_errors:.0f} of {N_HELD_OUT:,} wrong on average."]


def search_card(trials: pd.DataFrame, shares: Mapping[str, float]) -> Card:
    """The card of a search: what its trials found, and which parameter matters.

    Args:
        trials: Complete trials, with their mean errors over seeds.
        shares: Proportion of the variance of the errors that each parameter explains; empty if it is not known.
    """
    at_zero = trials[trials["at_zero"] == trials["n"]].sort_values(["epochs", "trial"])
    lines = []
    if len(at_zero):
        first = at_zero.iloc[0]
        lines.append(
            f"Of these, trial {first['trial']:.0f} has the fewest epochs: learning rate {first['learning_rate']:.3g}, "
            f"{plural(int(first['epochs']), 'epoch')}."
        )
    if shares:
        listed = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in shares.items())
        rough = f"rough numbers, from {plural(len(trials), 'trial')}"
        lines.append(f"Percentage of the variance of the errors that a parameter explains: {listed} ({rough}).")
    return Card(
        "The search", f"{len(at_zero)} of {plural(len(trials), 'trial')} with zero errors for every seed", lines
    )


def surprise_card(frame: pd.DataFrame, groups: Sequence[Reach], found: Sequence[Spike]) -> Card:
    """The card of what needs attention: failed and diverged runs, then errors that returned.

    Args:
        frame: All runs.
        groups: All groups of the study.
        found: The trainings whose errors returned the most, largest count first.
    """
    failed = int((frame["status"] != "FINISHED").sum())
    done = frames.finished(frame)
    diverged = int((~np.isfinite(done["final_loss"].astype(float))).sum())
    lines = [
        *([f"{plural(failed, 'run')} failed."] if failed else []),
        *([f"{plural(diverged, 'run')} diverged: the loss is not finite."] if diverged else []),
    ]
    reached, back = sum(group.reached for group in groups), sum(group.came_back for group in groups)
    if found:
        first = found[0]
        lines.append(
            f"Seed {first.seed} at learning rate {first.rate} had zero errors at epoch {first.first_zero} and "
            f"{plural(first.errors, 'error')} at epoch {first.epoch}."
        )
        return Card("Surprising", f"errors return in {back} of {plural(reached, 'training')}", lines)
    if lines:
        return Card("Surprising", "not every run has a result", lines)
    if not reached:
        return Card("Surprising", "no training reaches zero errors", [])
    return Card("Surprising", "nothing", [f"All {reached} trainings that reached zero errors stayed there."])
