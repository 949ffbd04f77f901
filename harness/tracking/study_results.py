"""The results of a study: a line about the recommended variant, a line about the baseline, and a few metrics.

The terminal, the note in MLflow and the metrics of the study's parent run show the same results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.data.held_out import N_HELD_OUT
from harness.statistics import median_epoch
from harness.text import plural
from harness.tracking import model_selection
from harness.tracking.model_selection import Cell
from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.tags import Tag

_NAMES = {"learning_rate": "learning rate", "batch_size": "batch"}


@dataclass(frozen=True)
class BaselineGroup:
    """The trainings with the baseline's settings, one for each seed.

    Attributes:
        runs: For each training, its finished run with the most epochs. A run whose loss is not finite is included.
        n_seeds: Number of seeds, including those whose training failed.
        own: Finished run with the most epochs among the runs whose seed is that of the baseline. Runs whose loss is not
            finite are ignored. None if there is no such run.
    """

    runs: tuple[RunRecord, ...]
    n_seeds: int
    own: RunRecord | None

    @property
    def first_zero_epochs(self) -> list[float | None]:
        """The first zero epoch of each training; None if the training never reached zero errors."""
        return [run.metrics.get("first_zero_epoch") for run in self.runs]

    @property
    def budgets(self) -> list[int]:
        """The number of epochs of each training."""
        return [int(run.params["epochs"]) for run in self.runs]

    @property
    def n_reached(self) -> int:
        """The number of trainings that reached zero errors."""
        return sum(epoch is not None for epoch in self.first_zero_epochs)

    @property
    def mean_first_zero_epoch(self) -> float | None:
        """The mean first zero epoch. A training that never reached zero errors counts as its number of epochs.

        None if no training reached zero errors, or if the trainings differ in their numbers of epochs.
        """
        return fmean(self._observed_epochs) if self.n_reached and len(set(self.budgets)) == 1 else None

    @property
    def median_first_zero_epoch(self) -> float:
        """The median first zero epoch. Infinite if fewer than half of the trainings reached zero errors."""
        return median_epoch(self._observed_epochs, [epoch is not None for epoch in self.first_zero_epochs]).value

    @property
    def _observed_epochs(self) -> list[float]:
        """The first zero epoch of each training, or its number of epochs if it never reached zero errors."""
        pairs = zip(self.first_zero_epochs, self.budgets, strict=True)
        return [budget if epoch is None else epoch for epoch, budget in pairs]

    @property
    def mean_held_out_errors(self) -> float | None:
        """The mean number of held-out errors after the last epoch. None if there are no held-out images."""
        return model_selection.mean_held_out_errors(self.runs)


@dataclass(frozen=True)
class StudyResults:
    """The results of a study.

    Attributes:
        cells: Variants that have a finished run with a finite loss, each with its runs over the seeds.
        recommended: Recommended variant; None if no run ended with zero errors.
        baseline: Trainings with the baseline's settings.
        n_failed: Number of failed runs.
    """

    cells: Sequence[Cell]
    recommended: Cell | None
    baseline: BaselineGroup
    n_failed: int

    @classmethod
    def of(cls, record: StudyRecord) -> StudyResults:
        """The results of a recorded study."""
        runs = record.trainings
        group = _baseline(runs, record.parent.tags[Tag.ENGINE])
        n_failed = sum(run.status == "FAILED" for run in runs)
        return cls(model_selection.cells(runs), model_selection.recommended(runs), group, n_failed)

    def metrics(self) -> dict[str, float]:
        """The results as metrics of the study's parent run. A metric without a value is left out.

        - `share_at_zero`: the proportion of the recommended variant's seeds that have zero errors after the last epoch.
          It is 0 if no run ended with zero errors. It is left out if no run has finished with a finite loss.
        - `held_out_errors`: the mean number of held-out errors of the recommended variant. It is left out if there is
          no recommended variant, or if there are no held-out images.
        - `mean_first_zero_epoch`: the mean over the baseline's seeds; see :attr:`BaselineGroup.mean_first_zero_epoch`.
        - `baseline_first_zero_epoch`: the first zero epoch of the baseline itself, with its own seed. It is left out if
          this run is missing or never reached zero errors.
        - `baseline_held_out_errors`: the mean number of held-out errors over the baseline's seeds. It is left out if
          there are no held-out images.
        - `failed_runs`: the number of failed runs.
        """
        best, own = self.recommended, self.baseline.own
        found = {
            "share_at_zero": best.at_zero / best.n_seeds if best else (0.0 if self.cells else None),
            "held_out_errors": best.mean_held_out_errors if best else None,
            "mean_first_zero_epoch": self.baseline.mean_first_zero_epoch,
            "baseline_first_zero_epoch": own.metrics.get("first_zero_epoch") if own else None,
            "baseline_held_out_errors": self.baseline.mean_held_out_errors,
            "failed_runs": self.n_failed,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def recommended_line(self) -> str:
        """The recommended variant, how many of its seeds end with zero errors, and its mean and largest error count.

        If no variant is recommended, the line states the reason.
        """
        if not self.cells:
            return "none, because no run has finished"
        best = self.recommended
        if best is None:
            nearest = min(self.cells, key=lambda cell: cell.order)
            errors = f"{self._name(nearest)} has the fewest errors (mean {_brief(nearest.mean_errors)})"
            return f"none, because no run ended with zero errors; {errors}"
        lost = best.n_seeds - len({run.settings["seed"] for run in best.runs})
        said = f"mean {_brief(best.mean_errors)}, worst {best.worst_errors}"
        said += f"; {plural(lost, 'seed')} failed or diverged" if lost else ""
        return f"{self._name(best)} ({best.at_zero} of {plural(best.n_seeds, 'seed')} at zero errors; {said})"

    @property
    def baseline_line(self) -> str:
        """How many seeds of the baseline reach zero errors, the median first zero epoch, and the held-out errors."""
        group = self.baseline
        if not group.n_seeds:
            return "not part of this study"
        if not group.runs:
            return f"{plural(group.n_seeds, 'seed')} failed"
        verb = "reaches" if group.n_seeds == 1 else "reach"
        said = f"{group.n_reached} of {plural(group.n_seeds, 'seed')} {verb} zero errors"
        if group.n_reached < group.n_seeds:
            said += f" within {_span(group.budgets)} epochs"
        if math.isfinite(median := group.median_first_zero_epoch):
            said += f", median epoch {median:g}"
        if (wrong := group.mean_held_out_errors) is not None:
            said += f"; {wrong:.0f} of {N_HELD_OUT:,} unseen images wrong"
            said += " on average" if len(group.runs) > 1 else ""
        return said

    def _name(self, cell: Cell) -> str:
        """The name of a variant: its learning rate and epochs, and the other settings that differ in the study."""
        others = (name for name in cell.settings if len({one.settings[name] for one in self.cells}) > 1)
        names = dict.fromkeys(("learning_rate", "epochs", *others))
        return ", ".join(_setting(name, cell.settings[name]) for name in names)


def _baseline(runs: Sequence[RunRecord], engine: str) -> BaselineGroup:
    like = [
        run for run in runs if run.status in {"FINISHED", "FAILED"} and model_selection.is_like_baseline(run, engine)
    ]
    longest = model_selection.longest(like)
    n_seeds = len({run.settings["seed"] for run in like})
    return BaselineGroup(tuple(longest), n_seeds, model_selection.baseline(runs, engine))


def _setting(name: str, value: str) -> str:
    return plural(int(value), "epoch") if name == "epochs" else f"{_NAMES.get(name, name)} {value}"


def _brief(value: float) -> str:
    """A number with at most two decimals and without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
