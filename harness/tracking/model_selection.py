"""Selects the runs whose models are registered, and summarizes the runs of each variant over its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.engines import registry
from harness.selection import recommended_order
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Tag


@dataclass(frozen=True)
class Cell:
    """The runs that have the same settings and differ only in the seed.

    Attributes:
        settings: Settings of the runs as text, without the seed.
        runs: Finished runs with a finite loss, in the order of their trials.
        n_seeds: Number of seeds, including those whose training failed or diverged.
    """

    settings: dict[str, str]
    runs: tuple[RunRecord, ...]
    n_seeds: int

    @property
    def epochs(self) -> int:
        """The number of epochs of each run."""
        return int(self.settings["epochs"])

    @property
    def at_zero(self) -> int:
        """The number of runs with zero errors after the last epoch."""
        return sum(errors(run) == 0 for run in self.runs)

    @property
    def mean_errors(self) -> float:
        """The mean over the runs of the error count after the last epoch."""
        return sum(errors(run) for run in self.runs) / len(self.runs)

    @property
    def worst_errors(self) -> int:
        """The largest error count after the last epoch."""
        return max(errors(run) for run in self.runs)

    @property
    def mean_held_out_errors(self) -> float | None:
        """The mean number of held-out errors, over the runs that have this metric. None if no run has it."""
        return mean_held_out_errors(self.runs)

    @property
    def mean_loss(self) -> float:
        """The mean over the runs of the loss in the last epoch."""
        return sum(run.metrics["final_loss"] for run in self.runs) / len(self.runs)

    @property
    def order(self) -> tuple[float, ...]:
        """The sort key that puts the best variant first.

        Of two equally good variants, the one with the earlier trial comes first.
        """
        key = recommended_order(self.at_zero, self.n_seeds, self.mean_errors, self.epochs, self.mean_loss)
        return *key, _trial(self.runs[0])


def errors(run: RunRecord) -> int:
    """The error count of a finished run after its last epoch."""
    return int(run.metrics["final_errors"])


def mean_held_out_errors(runs: Iterable[RunRecord]) -> float | None:
    """The mean number of held-out errors, over the runs that have this metric. None if no run has it."""
    found = [run.metrics["held_out_errors"] for run in runs if "held_out_errors" in run.metrics]
    return sum(found) / len(found) if found else None


def cells(runs: Iterable[RunRecord]) -> list[Cell]:
    """Group the runs that differ only in the seed. Omit groups in which no run has finished with a finite loss."""
    groups: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for run in runs:
        if run.status in {"FINISHED", "FAILED"}:
            settings = tuple((name, value) for name, value in run.settings.items() if name != "seed")
            groups.setdefault(settings, []).append(run)
    found = []
    for settings, group in groups.items():
        finite = tuple(sorted(filter(_is_finite, group), key=_trial))
        if finite:
            found.append(Cell(dict(settings), finite, len({run.settings["seed"] for run in group})))
    return found


def baseline(runs: Iterable[RunRecord], engine: str) -> RunRecord | None:
    """The finished run with the settings and the seed of the engine's baseline. Its number of epochs may differ.

    If there are several such runs, the result is the run with the most epochs. If there are none, the result is None.
    Runs whose loss is not finite are ignored.
    """
    seed = str(registry.baseline(engine).seed)
    found = [run for run in runs if _is_finite(run) and run.settings["seed"] == seed and is_like_baseline(run, engine)]
    return max(found, key=lambda run: int(run.params["epochs"]), default=None)


def is_like_baseline(run: RunRecord, engine: str) -> bool:
    """Whether a run has the settings of the engine's baseline, for any seed and number of epochs."""
    settings = registry.baseline(engine).settings().items()
    return {(name, str(value)) for name, value in settings if name not in {"epochs", "seed"}} <= run.settings.items()


def longest(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """For each training, its finished run with the most epochs.

    If two runs of a training have the same number of epochs, the run of the later trial is chosen.
    """
    finished = sorted(
        (run for run in runs if run.status == "FINISHED"), key=lambda run: (int(run.params["epochs"]), _trial(run))
    )
    return list({run.training: run for run in finished}.values())


def recommended(runs: Iterable[RunRecord]) -> Cell | None:
    """The recommended variant, which :func:`harness.selection.recommended_order` defines.

    None if no run ended with zero errors.
    """
    return min((cell for cell in cells(runs) if cell.at_zero), key=lambda cell: cell.order, default=None)


def best(runs: Iterable[RunRecord]) -> RunRecord | None:
    """The best run of the recommended variant. None if no run ended with zero errors.

    Among the runs of this variant that ended with zero errors, the best run has the lowest loss.
    """
    chosen = recommended(runs)
    if chosen is None:
        return None
    return min(
        (run for run in chosen.runs if errors(run) == 0), key=lambda run: (run.metrics["final_loss"], _trial(run))
    )


def _is_finite(run: RunRecord) -> bool:
    return run.status == "FINISHED" and "final_errors" in run.metrics and math.isfinite(run.metrics["final_loss"])


def _trial(run: RunRecord) -> int:
    return int(run.tags[Tag.TRIAL])
