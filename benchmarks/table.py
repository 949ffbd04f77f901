"""Runs the measurements, and returns the results for JSON or prints them as tables."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import speed, whole
from harness import provenance
from harness.data.digits import Digits

_STUDY_COLUMNS = ("MLflow", "Optuna", "workers busy", "coordinator, MB", "worker, MB")


def measure(
    digits: Digits, data: str, parts: tuple[str, ...], rounds: int, rivals_python: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the chosen parts, and return the results for JSON, with the processor and the versions.

    Args:
        digits: Images.
        data: Value of ``--data`` that selects these images.
        parts: Parts to measure: ``speed`` (engines and other libraries), ``study`` (the default study), ``growth``
            (studies with an increasing number of trials).
        rounds: Number of times that each engine and library is measured. The default study also runs this number of
            times, but at most three times.
        rivals_python: Path of the Python interpreter that runs JAX and PyTorch.
        tell: Callback that receives a description of each measurement before it starts.

    Raises:
        UsageError: A Python interpreter cannot run the libraries that are measured in it.
        StoppedError: A study fails.
    """
    results: dict[str, Any] = {
        "machine": {"processor": provenance.processor(), "cores": os.cpu_count()},
        "versions": provenance.versions(),
        "dataset": digits.name,
        "rounds": rounds,
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder) / "work.npz"
        if {"speed", "study"} & set(parts):
            speed.save_work(digits, work)
        if "speed" in parts:
            results["speed"] = speed.measure(work, rounds, rivals_python, tell).as_json()
        if "study" in parts:
            runs = whole.cold(data, min(rounds, 3), tell)
            tell("a few trials of the naive default study")
            against = whole.naive(work)
            results["study"] = {
                "runs": [run.as_json() for run in runs],
                "median_s": whole.middle(runs),
                "naive": against.as_json(),
                "times_naive": against.default_study_s / whole.middle(runs),
                "by_sharing": against.default_study_s / against.as_shared_s,
                "by_speed": against.as_shared_s / whole.middle(runs),
            }
        if "growth" in parts:
            results["growth"] = [run.as_json() for run in whole.growing(data, tell)]
    return results


def show(results: dict[str, Any], console: Console) -> None:
    """Print the results of :func:`measure`."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    console.print(f"{results['machine']['cores']} cores of {results['machine']['processor']}; {results['dataset']}")
    console.print(versions, soft_wrap=True)
    if "speed" in results:
        _show_speed(results["speed"], results["rounds"], console)
    if "study" in results:
        _show_study(results["study"], console)
    if "growth" in results:
        _show_growth(results["growth"], console)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _show_speed(measured: dict[str, Any], rounds: int, console: Console) -> None:
    title = f"training on one core, {speed.EPOCHS} epochs, median of {rounds} rounds"
    table = _table(title, "", "variants per call", "s per variant", "us per step", "least us", "speed / Keras' fit")
    for of in sorted(measured["speeds"], key=lambda of: -of["variant_s"]):
        numbers = f"{of['variant_s']:.3f}", f"{of['step_us']:.1f}", f"{of['least_us']:.1f}", f"{of['times_fit']:.1f}"
        table.add_row(of["name"].split()[0], str(of["variants"]), *numbers)
    console.print(table)
    console.print(f"NumPy's product of 1024 x 1024 matrices, same rounds: {measured['sgemm_gflop_per_s']:.0f} GFLOP/s")
    for name, why in measured["missing"].items():
        console.print(f"not measured: {name} ({why})", markup=False)


def _show_study(measured: dict[str, Any], console: Console) -> None:
    table = _table(
        "the default study in a new folder, including the report; MLflow and Optuna in ms per trial",
        *("", "s", *_STUDY_COLUMNS),
    )
    for number, run in enumerate(measured["runs"], start=1):
        table.add_row(f"run {number}", *_study_columns(run))
    console.print(table)
    naive = measured["naive"]
    console.print(
        f"the naive study takes {naive['default_study_s']:.0f} s, extrapolated from {len(whole.NAIVE_EPOCHS) - 1} "
        f"short trials on all cores: {naive['trial_s']:.2f} s per trial and {naive['epoch_s']:.3f} s per epoch\n"
        f"the default study is {measured['times_naive']:.0f} times as fast: a factor of {measured['by_sharing']:.1f} "
        f"because trials share trainings, and a factor of {measured['by_speed']:.0f} because the same trainings take "
        "less time"
    )


def _study_columns(run: dict[str, Any]) -> list[str]:
    said, trials = run["summary"], max(run["trials"], 1)
    return [
        f"{run['duration_s']:.1f}",
        f"{said['mlflow_s'] / trials * 1000:.1f}",
        f"{said['optuna_s'] / trials * 1000:.1f}",
        f"{said['busy_share']:.0%}",
        f"{run['coordinator_mb']:.0f}",
        f"{run['worker_mb']:.0f}",
    ]


def _show_growth(runs: list[dict[str, Any]], console: Console) -> None:
    table = _table(
        "the same study with increasing numbers of seeds, one run each; MLflow, Optuna and total in ms per trial",
        *("trials", "s", *_STUDY_COLUMNS, "total"),
    )
    for run in runs:
        table.add_row(str(run["trials"]), *_study_columns(run), f"{run['duration_s'] / run['trials'] * 1000:.0f}")
    console.print(table)
