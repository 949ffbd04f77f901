"""Measures the time, memory and disk space of a study with 10,000 trials, with an engine that trains nothing."""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from benchmarks.processes import environment, memory_mb
from harness import provenance
from harness.errors import StoppedError
from harness.text import markdown_table
from tests import services

ROOT = Path(__file__).resolve().parent.parent
STANDIN = ROOT / "benchmarks" / "standin"
TRIALS = 10_000
SMALL = 160
_NAME = "many"
_MARKS = 10  # the progress is recorded at the start, and then 10 times
_EVERY_S = 1.0

_STUDY = """
description = "Like the default study, with very many seeds and no training."
engine = "standin"
objectives = ["errors"]

[space]
epochs = [20, 40, 60, 80, 100]
learning_rate = [0.0003, 0.001, 0.003, 0.01]
seed = {seeds}

[design]
kind = "factorial"
"""

_PAGE = """# The cost of many trials

The command `nox -s scale` writes this page. It runs a study of {trials} trials with an engine that trains nothing. Five
trials share one simulated training of 100 epochs. The results are therefore the costs of a trial without its training:
recording in MLflow on SQLite, and the report.

Measured on {date} on {machine}; {versions}.

{table}

| | |
|---|---:|
| recording a trial | {trial_ms} ms |
| the whole study with its report | {duration} s |
| peak memory of the coordinator, with the report | {peak} MB |
| the report alone (`harness report`) | {report} s |
| peak memory of `harness report` | {report_peak} MB |
| a second run of the finished study, with its report | {again} s |
| MLflow's database | {database} MB |
| MLflow's artifacts | {artifacts} MB |
| the report with table and figures | {report_mb} MB |
| recording a trial of a small study ({small} trials) in SQLite | {sqlite} |
| recording such a trial through MLflow's server on PostgreSQL | {server} |

Training is measured separately, by `nox -s bench`.

## A million trials

By extrapolation, one process records a million trials in {million_h} hours. MLflow's database then has {million_gb} GB.

## Limits and remedies

1. **The report** reads every run and draws every training. With tens of thousands of runs, use one study for each
   question. Or read the tables `runs`, `params` and `latest_metrics` of the database with pandas or DuckDB.
2. **One coordinator records** all trials. SQLAlchemy takes most of the time: a trial has two rows for each epoch and
   about 40 SQL statements. If workers wait for the coordinator, split the study by learning rate or seed. Give each
   part its own coordinator and database.
3. **Reading the records** delays the start of a study with hundreds of thousands of trials. A TPE search also reads all
   trials for each proposal. Use several studies.
4. **SQLite** allows one writing process at a time. If other machines read at the same time, use MLflow's server on
   PostgreSQL ([cluster.md](cluster.md)).
5. **Artifacts** are one or two files for each trial. At about a million files, use an object store behind the server
   (`--artifacts-destination s3://...`).
6. **Training** scales with the number of workers ([cluster.md](cluster.md)), because workers share nothing.
"""


@dataclass(frozen=True)
class Mark:
    """The progress of a study at one moment.

    Attributes:
        trials: Number of recorded trials.
        elapsed_s: Time since the first mark, in seconds.
        coordinator_mb: Resident memory of the coordinator, the process that runs the study, in MB.
    """

    trials: int
    elapsed_s: float
    coordinator_mb: float


@dataclass(frozen=True)
class Scale:
    """The costs of a study with many trials.

    Sizes are in MB, durations in seconds.

    Attributes:
        marks: Progress of the study over time.
        duration_s: Time from the start of the process to its end, including the report.
        peak_mb: Peak resident memory of the coordinator, the process that runs the study and writes the report.
        report_s: Duration of ``harness report`` for the complete study.
        report_peak_mb: Peak resident memory of ``harness report``.
        again_s: Duration of a second run of the complete study, which trains nothing, including the report.
        database_mb: Size of MLflow's database.
        artifacts_mb: Disk space of MLflow's artifacts.
        report_mb: Size of the report with its table and figures.
        sqlite_ms: Time to record a trial of a small study in SQLite, in milliseconds.
        server_ms: Time to record a trial of the same small study through MLflow's server on PostgreSQL, in
            milliseconds; None if PostgreSQL is not installed.
    """

    marks: list[Mark]
    duration_s: float
    peak_mb: float
    report_s: float
    report_peak_mb: float
    again_s: float
    database_mb: float
    artifacts_mb: float
    report_mb: float
    sqlite_ms: float
    server_ms: float | None

    @property
    def trial_ms(self) -> float:
        """The mean time per trial, in milliseconds, from the first to the last of ``marks``."""
        first, last = self.marks[0], self.marks[-1]
        return (last.elapsed_s - first.elapsed_s) * 1000 / (last.trials - first.trials)


def measure(data: str, tell: Callable[[str], None], n_trials: int = TRIALS) -> Scale:
    """Run a study with `n_trials` trials on SQLite, in a new folder, and measure its costs.

    Raises:
        StoppedError: The study fails.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        tell(f"two studies of {SMALL} trials: one on SQLite, one through MLflow's server")
        sqlite_ms = _recording_ms(folder / "sqlite", data, None)
        server_ms = _behind_a_server_ms(folder / "server", data)
        _write_study(folder, n_trials)
        tell(f"a study of {n_trials} trials without training")
        marks, duration_s, peak_mb = _watched(folder, data, n_trials)
        tell("a second run of the complete study, with nothing to train")
        started_s = time.perf_counter()
        _wait(_start(folder, *_run(data)), folder)
        again_s = time.perf_counter() - started_s
        tell("the report of the study")
        report_s, report_peak_mb = _report(folder)
        out = folder / "out" / _NAME
        return Scale(
            marks=marks,
            duration_s=duration_s,
            peak_mb=peak_mb,
            report_s=report_s,
            report_peak_mb=report_peak_mb,
            again_s=again_s,
            database_mb=_size_mb(folder, "mlflow.db*"),
            artifacts_mb=_size_mb(folder / "mlartifacts", "**/*"),
            report_mb=_size_mb(out, "r*") + _size_mb(out / "figures", "*"),
            sqlite_ms=sqlite_ms,
            server_ms=server_ms,
        )


def _write_study(folder: Path, n_trials: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{_NAME}.toml").write_text(_STUDY.format(seeds=list(range(n_trials // 20))))


def _run(data: str) -> tuple[str, ...]:
    return "study", "run", f"{_NAME}.toml", "--data", data


def _recording_ms(folder: Path, data: str, uri: str | None) -> float:
    """Run a small study, and return the time to record a trial, in milliseconds."""
    _write_study(folder, SMALL)
    _wait(_start(folder, *_run(data), "--json", "result.json", uri=uri), folder)
    result = json.loads((folder / "result.json").read_text())
    return float(result["mlflow_s"]) * 1000 / int(result["trained"])


def _behind_a_server_ms(folder: Path, data: str) -> float | None:
    folder.mkdir()
    try:
        with services.postgres("measured") as database, services.mlflow_server(folder, database.uri()) as uri:
            return _recording_ms(folder, data, uri)
    except pytest.skip.Exception:
        return None


def _report(folder: Path) -> tuple[float, float]:
    """Run ``harness report``, and return its duration in seconds and its peak memory in MB."""
    started_s, peak_mb = time.perf_counter(), 0.0
    process = _start(folder, "report", _NAME)
    while process.poll() is None:
        peak_mb = max(peak_mb, memory_mb(process.pid, "VmHWM"))
        time.sleep(_EVERY_S / 10)
    _wait(process, folder)
    return time.perf_counter() - started_s, peak_mb


def _start(folder: Path, *arguments: str, uri: str | None = None) -> subprocess.Popen[bytes]:
    variables = {**environment(), "PYTHONPATH": str(STANDIN)}
    if uri is not None:
        variables["MLFLOW_TRACKING_URI"] = uri
    command = [str(Path(sys.executable).with_name("harness")), *arguments]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=variables)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.wait():
        log = (folder / "log").read_text().strip()
        raise StoppedError(f"the study failed: {log[-1000:]}", "The costs of a failed study are not reported.")


def _watched(folder: Path, data: str, n_trials: int) -> tuple[list[Mark], float, float]:
    """Run the study, and return its progress marks, its duration in seconds, and its peak memory in MB."""
    marks: list[Mark] = []
    peak_mb, first_s = 0.0, 0.0
    started_s = time.perf_counter()
    process = _start(folder, *_run(data))
    try:
        while process.poll() is None:
            time.sleep(_EVERY_S)
            resident_mb = memory_mb(process.pid, "VmRSS")
            peak_mb = max(peak_mb, memory_mb(process.pid, "VmHWM"))
            is_complete = bool(marks) and marks[-1].trials >= n_trials
            done = 0 if is_complete else _recorded(folder / "mlflow.db")
            if done and done >= min(len(marks), _MARKS) * n_trials / _MARKS:
                first_s = first_s or time.perf_counter()
                marks.append(Mark(done, time.perf_counter() - first_s, resident_mb))
    finally:
        process.terminate()
    _wait(process, folder)
    return marks, time.perf_counter() - started_s, peak_mb


def _recorded(database: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            # Exclude the run of the study itself, which also becomes FINISHED.
            query = "select count(*) from runs where status = 'FINISHED' and name not like ?"
            [[count]] = connection.execute(query, [f"{_NAME} on %"]).fetchall()
            return int(count)
    except sqlite3.Error:
        return 0  # the database has no tables yet, or is locked


def _size_mb(folder: Path, pattern: str) -> float:
    """The disk space of files, in MB. It is the sum of the file sizes if the system does not report disk blocks."""
    sizes = (path.stat() for path in folder.glob(pattern) if path.is_file())
    return sum(getattr(size, "st_blocks", size.st_size / 512) * 512 for size in sizes) / 1e6


def page(scale: Scale) -> str:
    """Return the text of the page ``docs/scale.md``."""
    versions, last = provenance.versions(), scale.marks[-1]
    rows = [[f"{mark.trials:,}", f"{mark.elapsed_s:.0f}", f"{mark.coordinator_mb:.0f}"] for mark in scale.marks]
    server = "not measured" if scale.server_ms is None else f"{scale.server_ms:.0f} ms"
    million_h = scale.trial_ms * 1e6 / 3.6e6
    return _PAGE.format(
        trials=f"{last.trials:,}",
        machine=f"{os.cpu_count()} cores of {provenance.processor()}",
        versions=", ".join(f"{name} {versions[name]}" for name in ("python", "mlflow", "optuna")),
        date=datetime.now(UTC).date(),
        table=markdown_table(["trials recorded", "s since the first row", "coordinator, MB"], rows, n_left=0),
        trial_ms=f"{scale.trial_ms:.0f}",
        sqlite=f"{scale.sqlite_ms:.0f} ms",
        server=server,
        duration=f"{scale.duration_s:.0f}",
        peak=f"{scale.peak_mb:.0f}",
        report=f"{scale.report_s:.0f}",
        report_peak=f"{scale.report_peak_mb:.0f}",
        again=f"{scale.again_s:.0f}",
        database=f"{scale.database_mb:.0f}",
        artifacts=f"{scale.artifacts_mb:.0f}",
        report_mb=f"{scale.report_mb:.0f}",
        small=SMALL,
        million_h=f"{million_h:.0f}",
        million_gb=f"{scale.database_mb * 1e6 / last.trials / 1000:.0f}",
    )


def main() -> None:
    """Measure the costs, print them as JSON, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, help="number of trials, a multiple of 20")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "scale.md", help="page to write")
    options = parser.parse_args()
    scale = measure("optdigits", partial(print, flush=True), options.trials)
    print(json.dumps(asdict(scale), indent=2))
    options.page.write_text(page(scale), encoding="utf-8")


if __name__ == "__main__":
    main()
