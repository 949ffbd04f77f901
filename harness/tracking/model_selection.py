"""Selects the runs whose models are kept, and computes results over seeds."""

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
    """The runs of one variant, which differ only in their seeds.

    Attributes:
        settings: Settings of the variant without the seed, as text.
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
        """The mean error count after the last epoch."""
        return sum(errors(run) for run in self.runs) / len(self.runs)

    @property
    def mean_held_out_errors(self) -> float | None:
        """The mean number of wrong held-out images, over the runs that have it; None if none has it."""
        found = [run.metrics["held_out_errors"] for run in self.runs if "held_out_errors" in run.metrics]
        return sum(found) / len(found) if found else None

    @property
    def mean_loss(self) -> float:
        """The mean over the runs of the loss of the last epoch."""
        return sum(run.metrics["final_loss"] for run in self.runs) / len(self.runs)

    @property
    def order(self) -> tuple[float, ...]:
        """The sort key of the rule that chooses the best variant. Remaining ties are resolved by the trials."""
        return *recommended_order(self.at_zero, self.n_seeds, self.epochs, self.mean_loss), _trial(self.runs[0])


def errors(run: RunRecord) -> int:
    """The error count of a finished run after its last epoch."""
    return int(run.metrics["final_errors"])


def cells(runs: Iterable[RunRecord]) -> list[Cell]:
    """The variants with at least one finite run, each with its runs in the order of their trials."""
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
    """The run of the engine's baseline with the most epochs, or None if there is no such run.

    Runs whose loss is not finite are ignored.
    """
    own = {name: str(value) for name, value in registry.baseline(engine).settings().items() if name != "epochs"}
    found = [run for run in filter(_is_finite, runs) if own.items() <= run.settings.items()]
    return max(found, key=lambda run: int(run.params["epochs"]), default=None)


def best(runs: Iterable[RunRecord]) -> RunRecord | None:
    """The run with the lowest loss at zero errors of the best variant; None if no run ended with zero errors.

    :func:`harness.selection.recommended_order` is the rule that chooses the variant.
    """
    reached = [cell for cell in cells(runs) if cell.at_zero]
    if not reached:
        return None
    chosen = min(reached, key=lambda cell: cell.order)
    return min(
        (run for run in chosen.runs if errors(run) == 0), key=lambda run: (run.metrics["final_loss"], _trial(run))
    )


def _is_finite(run: RunRecord) -> bool:
    return run.status == "FINISHED" and "final_errors" in run.metrics and math.isfinite(run.metrics["final_loss"])


def _trial(run: RunRecord) -> int:
    return int(run.tags[Tag.TRIAL])
