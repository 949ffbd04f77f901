"""The trials of a search as a data frame, from MLflow's records, and the best among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.reporting import frames
from harness.tracking.run_record import StudyRecord
from harness.tracking.tags import Tag

# The parameters that a sampled design can vary.
PARAMETERS = ("learning_rate", "epochs", "batch_size")


def is_search(record: StudyRecord) -> bool:
    """Whether a sampler proposed the trials."""
    return record.parent.params.get("design") == "sampled"


def recorded_signature(record: StudyRecord) -> Mapping[str, Any]:
    """The signature of a study, that is, its fixed settings; empty if an earlier version did not record it."""
    found: Mapping[str, Any] = json.loads(record.parent.tags.get(Tag.SIGNATURE, "{}"))
    return found


def trials(record: StudyRecord, frame: pd.DataFrame) -> pd.DataFrame:
    """The complete trials, one row per trial, in the order of their numbers: parameters, and means over the seeds."""
    done = frames.finished(frame)
    if done.empty:
        return done
    n_seeds = len(recorded_signature(record).get("seeds") or ()) or int(done.groupby("trial")["seed"].nunique().max())
    grouped = done.groupby("trial", as_index=False).agg(
        **{name: (name, "first") for name in PARAMETERS},
        errors=("final_errors", "mean"),
        held_out_errors=("held_out_errors", "mean"),
        least=("final_errors", "min"),
        most=("final_errors", "max"),
        at_zero=("final_errors", lambda errors: int((errors == 0).sum())),
        n=("seed", "nunique"),
    )
    return grouped[grouped["n"] == n_seeds].reset_index(drop=True)


def objectives(record: StudyRecord) -> list[str]:
    """The objectives of a search."""
    return list(recorded_signature(record).get("objectives", ["errors"]))


def varied(found: pd.DataFrame) -> list[str]:
    """The parameters that differ between trials."""
    return [name for name in PARAMETERS if found[name].min() < found[name].max()]


def scale(record: StudyRecord, name: str) -> str:
    """The scale of a parameter in the search: ``log`` or ``linear``."""
    return "log" if recorded_signature(record).get("scales", {}).get(name) == "logarithmic" else "linear"


def front(found: pd.DataFrame, goals: list[str]) -> pd.Series[bool]:
    """Whether each trial is Pareto-optimal: no other is as good in every objective and better in one."""
    values = found[goals].to_numpy(float)
    beaten = [bool(((values <= own).all(axis=1) & (values < own).any(axis=1)).any()) for own in values]
    return pd.Series([not is_beaten for is_beaten in beaten], index=found.index)
