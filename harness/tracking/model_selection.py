"""Selects the runs whose models are kept, and computes results over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.engines import registry
from harness.tracking.reader import RunRecord
from harness.tracking.tags import Tag


@dataclass(frozen=True)
class Cell:
    """The finished runs of one variant, which differ in their seeds alone.

    Attributes:
        settings: what was trained, without the seed, as text.
        runs: in the order of their trials.
    """

    settings: dict[str, str]
    runs: tuple[RunRecord, ...]

    @property
    def epochs(self) -> int:
        """That all of them were trained for."""
        return int(self.settings["epochs"])

    @property
    def at_zero(self) -> int:
        """How many have no error after the last epoch."""
        return sum(errors(run) == 0 for run in self.runs)

    @property
    def mean_errors(self) -> float:
        """After the last epoch."""
        return sum(errors(run) for run in self.runs) / len(self.runs)

    @property
    def mean_loss(self) -> float:
        """Of the last epoch."""
        return sum(run.metrics["final_loss"] for run in self.runs) / len(self.runs)


def errors(run: RunRecord) -> int:
    """Images that a finished run has wrong after its last epoch."""
    return int(run.metrics["final_errors"])


def cells(runs: Iterable[RunRecord]) -> list[Cell]:
    """The finished runs by variant, in the order of their trials."""
    groups: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for run in runs:
        if run.status == "FINISHED" and "final_errors" in run.metrics:
            settings = tuple((name, value) for name, value in run.settings.items() if name != "seed")
            groups.setdefault(settings, []).append(run)
    return [Cell(dict(settings), tuple(sorted(group, key=_trial))) for settings, group in groups.items()]


def baseline(runs: Iterable[RunRecord], engine: str) -> RunRecord | None:
    """The baseline's run, the longest where it was trained for several numbers of epochs; None if there is none."""
    own = {name: str(value) for name, value in registry.baseline(engine).settings().items() if name != "epochs"}
    found = [run for run in _is_finite(runs) if own.items() <= run.settings.items()]
    return max(found, key=lambda run: int(run.params["epochs"]), default=None)


def best(runs: Iterable[RunRecord]) -> RunRecord | None:
    """The run of the cheapest variant at zero, as the report calls it; None if no run has a score.

    That is the variant with the largest share of its seeds at zero after the last epoch, of equals that of the fewest
    epochs, then that of the lowest mean loss; of its runs at zero that of the lowest loss. Where none is at zero, the
    run with the fewest errors, then of the fewest epochs, then of the lowest loss. A run whose loss is not finite is
    none of them, and whatever is equal in all that is decided by the trials' order.
    """
    found = _is_finite(runs)
    reached = [cell for cell in cells(found) if cell.at_zero]
    if not reached:
        return min(
            found,
            key=lambda run: (errors(run), int(run.params["epochs"]), run.metrics["final_loss"], _trial(run)),
            default=None,
        )
    cheapest = min(
        reached,
        key=lambda cell: (-cell.at_zero / len(cell.runs), cell.epochs, cell.mean_loss, _trial(cell.runs[0])),
    )
    return min(
        (run for run in cheapest.runs if errors(run) == 0), key=lambda run: (run.metrics["final_loss"], _trial(run))
    )


def _is_finite(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """The finished runs whose loss is finite."""
    return [run for cell in cells(runs) for run in cell.runs if math.isfinite(run.metrics["final_loss"])]


def _trial(run: RunRecord) -> int:
    return int(run.tags[Tag.TRIAL])
