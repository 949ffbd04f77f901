"""Tables of the measured numbers of two studies: a row for each seed, a column for each variant that both have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.reporting.comparison_inputs import CONFIGURATION, VARIANT, Side

# Studies with at least this number of shared seeds are compared in pairs. With fewer pairs, no difference is
# significant after the correction for two tests.
ENOUGH_PAIRS = 8

Floats = NDArray[np.float64]
Tables = tuple[pd.DataFrame, pd.DataFrame]  # A's and B's numbers: a row per seed, a column per variant.


def common(a: Side, b: Side, number: str, across: Sequence[str] = ()) -> Tables:
    """The tables of one number of both studies, by seed and common variant. A missing run is NaN.

    Args:
        a: First study.
        b: Second study, with A's values of the settings in ``across``.
        number: Name of the number, a column of both frames.
        across: Settings in which the studies differ on purpose. The error names them.

    Raises:
        UsageError: The studies have no variant in common.
    """
    first, second = (
        # In a finished run, only the first zero epoch can be missing: the training never reached zero.
        side.frame.assign(value=side.frame[number].fillna(math.inf)).set_index(["seed", *VARIANT])["value"]
        for side in (a, b)
    )
    tables = first.unstack(VARIANT), second.unstack(VARIANT)  # noqa: PD010 - pivot_table would average
    both = tables[0].columns.intersection(tables[1].columns).sort_values()
    if both.empty:
        raise _nothing_in_common(a, b, across)
    return tables[0][both].dropna(how="all"), tables[1][both].dropna(how="all")


def _nothing_in_common(a: Side, b: Side, across: Sequence[str]) -> UsageError:
    """The error that names the settings in which two studies differ, and the option that permits it."""
    apart = [name for name in VARIANT if not set(a.frame[name]) & set(b.frame[name])]
    found = "; ".join(f"{name} is {listed(a.frame[name])} in A and {listed(b.frame[name])} in B" for name in apart)
    so_far = f" that is equal in everything but {' and '.join(across)}" if across else " in common"
    cause = f"{a.name} and {b.name} have no variant{so_far}: {found or 'they combine their settings differently'}"
    permitted = [*across, *apart]
    if apart and "epochs" not in apart and all(len(set(side.frame[name])) == 1 for side in (a, b) for name in apart):
        options = " ".join(f"--across {name}" for name in permitted)
        return UsageError(cause, f"To compare studies that differ in these settings, give {options}.")
    return UsageError(cause, "Compare studies that have at least one variant in common.")


def listed(values: Iterable[Any]) -> str:
    """The distinct values of a setting, at most four of them, in words."""
    known = [f"{value:.12g}" if isinstance(value, float) else str(value) for value in sorted(set(values))]
    return ", ".join([*known[:4], *(["..."] if len(known) > 4 else [])])


def can_pair(tables: Tables) -> bool:
    """Whether to compare pairs of runs with the same seed: if both studies have 8 common seeds, or the same seeds."""
    pairs = len(aligned(tables, is_paired=True)[0])
    return pairs >= ENOUGH_PAIRS or pairs == len(tables[0]) == len(tables[1])


def aligned(tables: Tables, *, is_paired: bool) -> Tables:
    """The tables. If paired, their rows are the seeds that both studies have.

    A cell of paired tables is NaN if either study lacks the run for that seed and variant. Rows and columns in which
    all cells are NaN are left out.
    """
    first, second = tables
    if not is_paired:
        return tables
    seeds = first.index.intersection(second.index)
    first, second = first.loc[seeds], second.loc[seeds]
    is_both = first.notna() & second.notna()
    rows, columns = is_both.any(axis=1), is_both.any(axis=0)
    return first.where(is_both).loc[rows, columns], second.where(is_both).loc[rows, columns]


def longest(tables: Tables) -> Tables:
    """The tables with one column per configuration: the variant with the most epochs. It has the first zero epoch."""
    columns = tables[0].columns.to_frame(index=False).sort_values("epochs")
    kept = columns.drop_duplicates(CONFIGURATION, keep="last").sort_index().index
    first, second = (table.iloc[:, kept].dropna(how="all") for table in tables)
    return first, second


def restricted(zeros: Tables) -> Tables:
    """The first zero epochs. A training that never reached zero has its last epoch instead."""
    first, second = (slowed(table, 0.0) for table in zeros)
    return first, second


def slowed(zeros: pd.DataFrame, share: float) -> pd.DataFrame:
    """The first zero epochs, later by the fraction ``share``. A training that never reaches zero has its last epoch.

    A delay is visible only within the trained epochs: a training cannot reach zero after its last epoch.
    """
    return (zeros * (1 + share)).clip(upper=zeros.columns.get_level_values("epochs"), axis=1)


def arrays(tables: Tables) -> tuple[Floats, Floats]:
    """The numbers of both tables, ``(seeds, variants)`` each."""
    first, second = (table.to_numpy(np.float64) for table in tables)
    return first, second


def of_variant(tables: Tables, place: int) -> Tables:
    """Both tables with only the column of one variant."""
    return tables[0].iloc[:, [place]].dropna(), tables[1].iloc[:, [place]].dropna()
