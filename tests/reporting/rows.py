"""Runs as MLflow's tables and artifacts have them, read without any of the project's code, and the study of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RATES = (0.001, 0.002, 0.02)
EPOCHS = (20, 60, 100)
SEEDS = (1234, 1, 2, 3, 4, 5, 6, 7)

STUDY = f"""
description = "Many numbers."
engine = "standin"
objectives = ["errors"]

[space]
epochs = {list(EPOCHS)}
learning_rate = {list(RATES)}
seed = {list(SEEDS)}

[design]
kind = "factorial"
"""

SEARCH = """
description = "A search."
engine = "standin"
objectives = ["errors", "epochs"]

[space]
epochs = { low = 10, high = 80 }
learning_rate = { low = 0.0005, high = 0.02, log = true }

[design]
kind = "sampled"
sampler = "tpe"
sampler_seed = 7
trials = 16
seeds = [1, 2, 3]
"""


@dataclass
class Row:
    """A run as MLflow's tables and its artifact have it."""

    run_id: str
    trial: int
    params: dict[str, str]
    metrics: dict[str, float]
    losses: list[float]
    errors: list[int]
    result: dict[str, Any]

    @property
    def rate(self) -> float:
        return float(self.params["learning_rate"])

    @property
    def epochs(self) -> int:
        return int(self.params["epochs"])

    @property
    def seed(self) -> int:
        return int(self.params["seed"])

    @property
    def first_zero(self) -> int | None:
        return next((epoch for epoch, count in enumerate(self.errors, start=1) if count == 0), None)


def read(folder: Path) -> list[Row]:
    """All trainings, in the order of their trials, read from MLflow's tables."""
    found = []
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        chosen = "SELECT run_uuid FROM tags WHERE key = 'harness.role' AND value = 'training'"
        for (run_id,) in database.execute(chosen):
            params = dict(database.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run_id,)))
            latest = dict(database.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run_id,)))
            tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)))
            losses, errors = (
                [
                    value
                    for (value,) in database.execute(
                        "SELECT value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step", (run_id, name)
                    )
                ]
                for name in ("loss", "errors")
            )
            [result] = (folder / "mlartifacts").glob(f"**/{run_id}/artifacts/outcome.json")
            counts = [int(count) for count in errors]
            details = json.loads(result.read_text())
            found.append(Row(run_id, int(tags["harness.trial"]), params, latest, losses, counts, details))
    return sorted(found, key=lambda row: row.trial)


def longest(runs: list[Row], rate: float) -> list[Row]:
    """One run a training: the longest."""
    return [run for run in runs if run.rate == rate and run.epochs == 100]
