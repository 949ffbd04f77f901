"""Selects the runs whose models are kept, and computes results over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.engines import registry
from harness.selection import training_order, variant_order
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Tag


@dataclass(frozen=True)
class Cell:
    """The finished runs of one variant, which differ only in their seeds.

    Attributes:
        settings: Settings of the variant without the seed, as text.
        runs: Finished runs, in the order of their trials.
    """

    settings: dict[str, str]
    runs: tuple[RunRecord, ...]

    @property
    def epochs(self) -> int:
        """The number of epochs of each run."""
        return int(self.settings["epochs"])

    @property
    def at_zero(self) -> int:
        """The number of runs with no errors after the last epoch."""
        return sum(errors(run) == 0 for run in self.runs)

    @property
    def mean_errors(self) -> float:
        """The mean error count after the last epoch."""
        return sum(errors(run) for run in self.runs) / len(self.runs)

    @property
    def mean_loss(self) -> float:
        """The mean over the runs of the loss of the last epoch."""
        return sum(run.metrics["final_loss"] for run in self.runs) / len(self.runs)


def errors(run: RunRecord) -> int:
    """The error count of a finished run after its last epoch."""
    return int(run.metrics["final_errors"])


def cells(runs: Iterable[RunRecord]) -> list[Cell]:
    """The finished runs grouped by variant, each group in the order of its trials."""
    groups: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for run in runs:
        if run.status == "FINISHED" and "final_errors" in run.metrics:
            settings = tuple((name, value) for name, value in run.settings.items() if name != "seed")
            groups.setdefault(settings, []).append(run)
    return [Cell(dict(settings), tuple(sorted(group, key=_trial))) for settings, group in groups.items()]


def baseline(runs: Iterable[RunRecord], engine: str) -> RunRecord | None:
    """The run of the engine's baseline with the most epochs, or None if there is no such run.

    Runs whose loss is not finite are ignored.
    """
    own = {name: str(value) for name, value in registry.baseline(engine).settings().items() if name != "epochs"}
    found = [run for run in _finite(runs) if own.items() <= run.settings.items()]
    return max(found, key=lambda run: int(run.params["epochs"]), default=None)


def best(runs: Iterable[RunRecord]) -> RunRecord | None:
    """The best run of the variant that the report calls the cheapest at zero; None if no run has a finite loss.

    That variant has the largest share of runs with zero errors after the last epoch. Ties are resolved by the fewest
    epochs, then by the lowest mean loss. Of the variant's runs with zero errors, the run with the lowest loss is
    returned.

    If no run has zero errors, the run with the fewest errors is returned. Ties are resolved by the fewest epochs, then
    by the lowest loss.

    Runs whose loss is not finite are ignored. Remaining ties are resolved by the order of the trials.
    """
    found = _finite(runs)
    reached = [cell for cell in cells(found) if cell.at_zero]
    if not reached:
        return min(
            found,
            key=lambda run: (
                training_order(errors(run), int(run.params["epochs"]), run.metrics["final_loss"]),
                _trial(run),
            ),
            default=None,
        )
    cheapest = min(
        reached,
        key=lambda cell: (
            variant_order(cell.at_zero, len(cell.runs), cell.epochs, cell.mean_loss),
            _trial(cell.runs[0]),
        ),
    )
    return min(
        (run for run in cheapest.runs if errors(run) == 0), key=lambda run: (run.metrics["final_loss"], _trial(run))
    )


def _finite(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """The finished runs whose loss is finite."""
    return [run for cell in cells(runs) for run in cell.runs if math.isfinite(run.metrics["final_loss"])]


def _trial(run: RunRecord) -> int:
    return int(run.tags[Tag.TRIAL])
