"""How long whole studies take: from the command to the written report, against the same written naively."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from harness.errors import StoppedError

# Trials that are few and short, and long enough apart for a line through their times.
NAIVE_EPOCHS = (2, 4, 16, 4, 16)
SIZES = (16, 160, 1600)
# Of the default study: its trials, and their epochs where each is trained for itself and where those that differ in
# nothing else share one training.
TRIALS = 160
EPOCHS = (9600, 3200)
_EVERY_S = 0.1

_GROWING = """
description = "As the default study, with more seeds."
engine = "xla"
objectives = ["errors"]

[space]
epochs = [25, 50, 75, 100]
learning_rate = [0.0003, 0.001, 0.003, 0.01]
seed = {seeds}

[design]
kind = "factorial"
"""


@dataclass(frozen=True)
class StudyRun:
    """What was measured of a study; see ``harness study run --json`` for what it says of itself.

    Attributes:
        trials: recorded.
        duration_s: from the start of the process to its end, the report written.
        coordinator_mb: the most memory that its process had resident.
        worker_mb: the same of its largest worker.
        summary: what the study says of itself.
    """

    trials: int
    duration_s: float
    coordinator_mb: float
    worker_mb: float
    summary: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run_study(name: str, data: str) -> StudyRun:
    """Run a study in a new folder, in a new process, and watch it.

    Raises:
        StoppedError: it failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [str(Path(sys.executable).with_name("harness")), "study", "run", name, "--quiet", "--data", data]
        summary = Path(folder) / "summary.json"
        peaks: dict[int, float] = {}
        with (Path(folder) / "log").open("w") as log:
            started = time.perf_counter()
            command += ["--json", str(summary)]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environment())
            try:
                while process.poll() is None:
                    _note_peaks(process.pid, peaks)
                    time.sleep(_EVERY_S)
            finally:
                process.terminate()
                process.wait()
            duration_s = time.perf_counter() - started
        if process.returncode:
            told = (Path(folder) / "log").read_text().strip()
            raise StoppedError(f"the study {name} failed: {told}", "A time is of no use without its result.")
        said = json.loads(summary.read_text())
        others = [peak for pid, peak in peaks.items() if pid != process.pid]
        return StudyRun(said["trained"], duration_s, peaks.get(process.pid, 0.0), max(others, default=0.0), said)


def _environment() -> dict[str, str]:
    """This process' environment, but for the store that a user's own runs go to."""
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}


def _note_peaks(pid: int, peaks: dict[int, float]) -> None:
    """Note the peak of a process and of its children, MB; nothing where the system does not tell (not Linux)."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        pids = [pid, *map(int, children.read_text().split())]
        for one in pids:
            for line in Path(f"/proc/{one}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks[one] = float(line.split()[1]) / 1000
    except OSError:
        return  # it has just ended


def cold(data: str, rounds: int, tell: Callable[[str], None]) -> list[StudyRun]:
    """The default study, again and again, each time from nothing."""
    runs = []
    for number in range(1, rounds + 1):
        tell(f"the default study, run {number} of {rounds}")
        runs.append(run_study("variants", data))
    return runs


def growing(data: str, tell: Callable[[str], None]) -> list[StudyRun]:
    """The same study of 16, 160 and 1600 trials."""
    runs = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for size in SIZES:
            tell(f"a study of {size} trials")
            file = Path(folder) / f"of-{size}-trials.toml"
            file.write_text(_GROWING.format(seeds=list(range(size // 16))))
            runs.append(run_study(str(file), data))
    return runs


@dataclass(frozen=True)
class Naive:
    """The default study written naively: extrapolated by a line through the times of a few short trials.

    Attributes:
        trial_s: what a trial costs whatever its epochs.
        epoch_s: what an epoch costs.
        default_study_s: all its trials, each trained for itself.
        as_shared_s: all its trials, but only the epochs that are left where shorter ones are read off longer ones.
    """

    trial_s: float
    epoch_s: float
    default_study_s: float
    as_shared_s: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def naive(work: Path) -> Naive:
    """Time a few trials once, all cores allowed; the first, which loads and traces, is left out.

    Raises:
        StoppedError: they failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        answer = Path(folder) / "answer.json"
        script = Path(__file__).with_name("naive.py")
        command = [sys.executable, str(script), str(work), str(answer), *map(str, NAIVE_EPOCHS)]
        done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise StoppedError(f"the study written naively failed: {last}", "A time is of no use without its result.")
        durations_s = json.loads(answer.read_text())
    epoch_s, trial_s = map(float, np.polyfit(NAIVE_EPOCHS[1:], durations_s[1:], 1))
    all_trials_s, (apart, shared) = TRIALS * trial_s, EPOCHS
    return Naive(trial_s, epoch_s, all_trials_s + apart * epoch_s, all_trials_s + shared * epoch_s)


def middle(runs: list[StudyRun]) -> float:
    """The median duration, seconds."""
    return median(run.duration_s for run in runs)
