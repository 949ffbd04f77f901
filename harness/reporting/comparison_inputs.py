"""The inputs of a comparison: studies in MLflow, or the ``runs.csv`` of a report."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from harness.data.held_out import N_HELD_OUT
from harness.errors import UsageError
from harness.network.variant import BASELINE, N_IMAGES
from harness.reporting import frames
from harness.suggestions import did_you_mean_path
from harness.tracking.run_record import StudyRecord
from harness.tracking.tags import Tag

# The settings that identify a training, except its seed. With the epochs they identify a variant.
CONFIGURATION = [name for name in BASELINE.settings() if name not in {"epochs", "seed"}]
VARIANT = [*CONFIGURATION, "epochs"]
_NUMBERS = [name for name, value in BASELINE.settings().items() if not isinstance(value, str)]
_WHOLE = [name for name, value in BASELINE.settings().items() if isinstance(value, int)]
_NEEDED = ["run_id", "status", "trial", *BASELINE.settings(), "engine", "dataset", "final_errors", "first_zero_epoch"]
_HUGE = sys.float_info.max
_MOST = 2**31 - 1  # The largest seed, number of epochs and trial number.
_NOT_IN_CSV = "not in a CSV file"
_REMEDY = "Give an unchanged runs.csv of `harness report`."


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two studies of a comparison.

    Attributes:
        name: Name of the study, for display.
        frame: Finished runs, one per variant and seed.
        dataset: Name of the images.
        engine: Name of the engine.
        facts: Environment of the study: the value of each of its parts, by name.
        left_out: Number of runs that are left out, because they are not finished.
        wrong: Indices of the wrong images by run id; None if they are unknown.
    """

    name: str
    frame: pd.DataFrame
    dataset: str
    engine: str
    facts: Mapping[str, str]
    left_out: int
    wrong: Mapping[str, frozenset[int]] | None = field(default=None, repr=False)

    @property
    def n_seeds(self) -> int:
        """The number of seeds."""
        return int(self.frame["seed"].nunique())

    def with_held_out(self) -> Side:
        """The study without the runs that have no held-out errors."""
        return replace(self, frame=self.frame.dropna(subset="held_out_errors"))


def of_record(record: StudyRecord) -> Side:
    """A recorded study as one side of a comparison.

    Raises:
        UsageError: No run has finished.
    """
    parent, tags = record.parent, record.parent.tags
    name = f"study {tags[Tag.STUDY]} (run {parent.run_id[:8]})"
    frame = frames.runs(record)
    finished = _finished(frame, name)
    versions = dict(part.rsplit(" ", 1) for part in tags[Tag.VERSIONS].split(", ") if " " in part)
    commit = tags.get(Tag.COMMIT, "not a checkout")
    facts = {
        **versions,
        "processor": tags[Tag.CPU],
        "commit": commit + (" with changes" if tags.get(Tag.DIRTY) == "true" else ""),
        "trace": tags.get(Tag.TRACE, "unknown"),
    }
    wrong = {run.run_id: frozenset(run.wrong_images) for run in record.trainings if run.status == "FINISHED"}
    left_out = len(frame) - len(finished) + len(frames.half_written(record))
    return _side(name, finished, facts, left_out, wrong)


def of_csv(path: Path) -> Side:
    """The ``runs.csv`` of a report as one side of a comparison.

    Raises:
        UsageError: The file cannot be read, is not such a file, or has no finished run.
    """
    name = str(path)
    try:
        frame = pd.read_csv(path, dtype=str, compression=None)
    except OSError as error:
        cause = f"{name}: cannot be read ({error.strerror or error})"
        raise UsageError(cause, f"{did_you_mean_path(path)}{_REMEDY}") from error
    except (ValueError, pd.errors.ParserError) as error:  # ValueError: the file is not text, or is empty
        raise UsageError(f"{name}: is not a CSV file of runs ({str(error).splitlines()[0]})", _REMEDY) from error
    missing = [column for column in _NEEDED if column not in frame]
    if missing:
        raise UsageError(f"{name}: has no column {', '.join(missing)}", _REMEDY)
    finished = _checked(_finished(frame, name), name)
    return _side(name, finished, {}, len(frame) - len(finished), None)


def fact(side: Side, name: str) -> str:
    """The value of one part of a study's environment, or the reason why it is unknown."""
    return side.facts.get(name, "not installed" if side.facts else _NOT_IN_CSV)


def _finished(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    finished = frame if frame.empty else frames.finished(frame)
    if finished.empty:
        raise UsageError(f"{name}: no run has finished", "Finish the study, then compare it.")
    return finished


def _side(
    name: str,
    finished: pd.DataFrame,
    facts: Mapping[str, str],
    left_out: int,
    wrong: Mapping[str, frozenset[int]] | None,
) -> Side:
    datasets, trained_by = (sorted(finished[column].unique()) for column in ("dataset", "engine"))
    if len(datasets) > 1 or len(trained_by) > 1:
        found = ", ".join(datasets if len(datasets) > 1 else trained_by)
        raise UsageError(f"{name}: mixes runs of {found}", "Compare studies of one dataset and one engine.")
    # A variant and seed may have several runs, because a search may propose it again. The run of the last trial counts.
    once = finished.sort_values("trial").drop_duplicates([*VARIANT, "seed"], keep="last")
    return Side(name, once, str(datasets[0]), str(trained_by[0]), facts, left_out, wrong)


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The finished runs of a file, with their numbers converted.

    Raises:
        UsageError: A run has an impossible value.
    """
    frame = frame.copy()
    if "held_out_errors" not in frame:  # The file is of an earlier version.
        frame["held_out_errors"] = pd.NA
    for column in (*_NUMBERS, "trial", "final_errors", "first_zero_epoch", "held_out_errors"):
        values = frame[column].map(_number).astype(float)
        is_number = values.between(-_HUGE, _HUGE)
        if column in {"first_zero_epoch", "held_out_errors"}:
            is_number |= frame[column].isna()
        elif column in {*_WHOLE, "trial", "final_errors"}:
            is_number &= (values == values.round()) & values.between(0, _MOST)
        _refuse(frame, ~is_number, column, name)
        frame[column] = values
    for column in ("run_id", *(column for column in VARIANT if column not in _NUMBERS), "engine", "dataset"):
        _refuse(frame, frame[column].isna(), column, name)
    errors, zero = frame["final_errors"], frame["first_zero_epoch"]
    _refuse(frame, frame["epochs"] < 1, "epochs", name)
    _refuse(frame, ~errors.between(0, N_IMAGES), "final_errors", name)
    unseen = frame["held_out_errors"]
    _refuse(frame, unseen.notna() & ~unseen.between(0, N_HELD_OUT), "held_out_errors", name)
    is_no_epoch = zero.notna() & ~(zero.between(1, frame["epochs"]) & (zero == zero.round()))
    _refuse(frame, is_no_epoch | (zero.isna() & (errors == 0)), "first_zero_epoch", name)
    return frame.astype(dict.fromkeys([*_WHOLE, "trial"], int))


def _number(text: object) -> float:
    """A text as a number, without loss of precision; NaN if the text is not a number."""
    try:
        return float(str(text))
    except ValueError:
        return math.nan


def _refuse(frame: pd.DataFrame, is_wrong: pd.Series[bool], column: str, name: str) -> None:
    if is_wrong.any():
        row = frame[is_wrong].iloc[0]
        given = "nothing" if pd.isna(row[column]) else row[column]
        raise UsageError(f"{name}: run {row['run_id']} has {given} as {column}", _REMEDY)
