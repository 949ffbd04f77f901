"""Measures the time, memory and disk space of a study with 10,000 trials, with an engine that trains nothing."""

from __future__ import annotations

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
from pathlib import Path
from typing import Any

from harness.errors import StoppedError

STANDIN = Path(__file__).resolve().parent / "standin"
TRIALS = 10_000
_MARKS = 10  # progress is recorded at the first trials, and after each tenth of all
_EVERY_S = 1.0

_STUDY = """
description = "As the default study, with very many seeds and no training."
engine = "standin"
objectives = ["errors"]

[space]
epochs = [20, 40, 60, 80, 100]
learning_rate = [0.0003, 0.001, 0.003, 0.01]
seed = {seeds}

[design]
kind = "factorial"
"""


@dataclass(frozen=True)
class Mark:
    """The progress of a study at one moment.

    Attributes:
        trials: Number of recorded trials.
        elapsed_s: Time since the first mark, in seconds.
        coordinator_mb: Resident memory of the coordinating process, in MB.
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
        report_s: Part of ``duration_s`` outside the marks: the time before the first mark and the time after the last
            one, which includes the report.
        peak_mb: Peak resident memory of the coordinating process, including the report.
        database_mb: Size of MLflow's database.
        artifacts_mb: Size of MLflow's artifacts, in blocks of the file system.
        report_mb: Size of the report with its table and figures.
        again_s: Duration of a second run with nothing to train, including its report.
    """

    marks: list[Mark]
    duration_s: float
    report_s: float
    peak_mb: float
    database_mb: float
    artifacts_mb: float
    report_mb: float
    again_s: float

    def as_json(self) -> dict[str, Any]:
        """The costs as plain values for JSON."""
        return asdict(self)


def measure(data: str, tell: Callable[[str], None], n_trials: int = TRIALS) -> Scale:
    """Run a study with this number of trials in a new folder, on SQLite, and measure its costs.

    Raises:
        StoppedError: The study fails.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        (folder / "many.toml").write_text(_STUDY.format(seeds=list(range(n_trials // 20))))
        tell(f"a study of {n_trials} trials that trains nothing")
        marks, duration_s, peak_mb = _watched(folder, data, n_trials)
        tell("the same again, with nothing to train")
        started_s = time.perf_counter()
        _wait(_start(folder, data), folder)
        again_s = time.perf_counter() - started_s
        out = folder / "out" / "many"
        return Scale(
            marks=marks,
            duration_s=duration_s,
            report_s=duration_s - marks[-1].elapsed_s - marks[0].elapsed_s,
            peak_mb=peak_mb,
            database_mb=_size_mb(folder, "mlflow.db*"),
            artifacts_mb=_size_mb(folder / "mlartifacts", "**/*"),
            report_mb=_size_mb(out, "r*") + _size_mb(out / "figures", "*"),
            again_s=again_s,
        )


def _start(folder: Path, data: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(STANDIN)
    command = [str(Path(sys.executable).with_name("harness")), "study", "run", "many.toml", "--data", data]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.wait():
        log = (folder / "log").read_text().strip()
        raise StoppedError(f"the study failed: {log[-1000:]}", "No cost is reported without a result.")


def _watched(folder: Path, data: str, n_trials: int) -> tuple[list[Mark], float, float]:
    """Run the study, and return its marks, its duration in seconds, and its peak memory in MB."""
    marks: list[Mark] = []
    peak_mb, first_s = 0.0, 0.0
    started_s = time.perf_counter()
    process = _start(folder, data)
    try:
        while process.poll() is None:
            time.sleep(_EVERY_S)
            memory_mb = _memory_mb(process.pid, "VmRSS")
            peak_mb = max(peak_mb, _memory_mb(process.pid, "VmHWM"))
            done = _recorded(folder / "mlflow.db") if len(marks) <= _MARKS else 0
            if done >= len(marks) * n_trials / _MARKS and done:
                first_s = first_s or time.perf_counter()
                marks.append(Mark(done, time.perf_counter() - first_s, memory_mb))
    finally:
        process.terminate()
    _wait(process, folder)
    return marks, time.perf_counter() - started_s, peak_mb


def _recorded(database: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            [[count]] = connection.execute("select count(*) from runs where status = 'FINISHED'").fetchall()
            return int(count)
    except sqlite3.Error:
        return 0  # the database is not complete yet


def _memory_mb(pid: int, name: str) -> float:
    """A memory value of a process, in MB, as reported by the system.

    The value is 0 if the system does not report it (any system but Linux), or if the process has ended.
    """
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / 1000
    except OSError:
        pass
    return 0.0


def _size_mb(folder: Path, pattern: str) -> float:
    """The disk space of files, in MB.

    Counts blocks if the system reports them, else bytes.
    """
    sizes = (path.stat() for path in folder.glob(pattern) if path.is_file())
    return sum(getattr(size, "st_blocks", size.st_size / 512) * 512 for size in sizes) / 1e6


def main() -> None:
    """Print the costs as JSON."""
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    print(json.dumps(measure("optdigits", print, n_trials).as_json(), indent=2))


if __name__ == "__main__":
    main()
