"""What a study of very many trials costs: time, memory and disk, with an engine that trains nothing."""

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
_MARKS = 10  # so often on the way it is noted how far the study is
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
    """How far a study was at one moment.

    Attributes:
        trials: that were recorded.
        elapsed_s: since the first was.
        coordinator_mb: that its process had resident.
    """

    trials: int
    elapsed_s: float
    coordinator_mb: float


@dataclass(frozen=True)
class Scale:
    """What a study of many trials cost; sizes in MB.

    Attributes:
        marks: how far it was on the way.
        duration_s: from the start of the process to its end, the report written.
        report_s: of these, what passed after the last trial.
        peak_mb: the most memory that the coordinator had resident, the report among it.
        database_mb: MLflow's database.
        artifacts_mb: MLflow's artifacts, in blocks of the file system.
        journal_mb: Optuna's journal.
        report_mb: the report with its table and figures.
        again_s: a further run, that finds nothing to train, its report among it.
    """

    marks: list[Mark]
    duration_s: float
    report_s: float
    peak_mb: float
    database_mb: float
    artifacts_mb: float
    journal_mb: float
    report_mb: float
    again_s: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(data: str, tell: Callable[[str], None], n_trials: int = TRIALS) -> Scale:
    """Run a study of so many trials in a new folder, on SQLite and a journal, and watch it.

    Raises:
        StoppedError: it failed.
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
            journal_mb=_size_mb(out, "optuna.journal"),
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
        told = (folder / "log").read_text().strip()
        raise StoppedError(f"the study failed: {told[-1000:]}", "A cost is of no use without its result.")


def _watched(folder: Path, data: str, n_trials: int) -> tuple[list[Mark], float, float]:
    """Run the study; the marks on its way, how long it took, and its peak."""
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
        return 0  # it is being made


def _memory_mb(pid: int, name: str) -> float:
    """What the system says of a process' memory, MB; 0 where it does not (not Linux), or the process has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / 1000
    except OSError:
        pass
    return 0.0


def _size_mb(folder: Path, pattern: str) -> float:
    """What files take on the disk, in blocks where the system says how many."""
    sizes = (path.stat() for path in folder.glob(pattern) if path.is_file())
    return sum(getattr(size, "st_blocks", size.st_size / 512) * 512 for size in sizes) / 1e6


def main() -> None:
    """Print what it costs as JSON."""
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    print(json.dumps(measure("optdigits", print, n_trials).as_json(), indent=2))


if __name__ == "__main__":
    main()
