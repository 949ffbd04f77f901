"""Measures whole studies, including the report, and compares them with a naive version."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.processes import environment, memory_mb
from harness.errors import StoppedError

# The epochs of the short trials. They differ enough to fit a line through the durations.
NAIVE_EPOCHS = (2, 4, 16, 4, 16)
SIZES = (16, 160, 1600)
# The number of trials of the default study, and the number of epochs that it trains in all: first with one training per
# trial, then with one training for all trials that differ only in their number of epochs.
TRIALS = 160
EPOCHS = (9600, 3200)
_EVERY_S = 0.1

_GROWING = """
description = "Like the default study, with another number of seeds."
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
    """The measurements of one run of a study.

    Attributes:
        trials: Number of recorded trials.
        duration_s: Seconds from the start of the process to its end, including the report.
        coordinator_mb: Peak resident memory of the coordinator process, in MB.
        worker_mb: Peak resident memory of the largest worker, in MB.
        summary: JSON content that ``harness study run --json`` writes.
    """

    trials: int
    duration_s: float
    coordinator_mb: float
    worker_mb: float
    summary: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The measurements as plain values for JSON."""
        return asdict(self)


def run_study(name: str, data: str) -> StudyRun:
    """Run a study in a new folder and a new process, and measure its duration and memory.

    Raises:
        StoppedError: The study fails.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [str(Path(sys.executable).with_name("harness")), "study", "run", name, "--quiet", "--data", data]
        summary = Path(folder) / "summary.json"
        peaks: dict[int, float] = {}
        with (Path(folder) / "log").open("w") as log:
            started = time.perf_counter()
            command += ["--json", str(summary)]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment())
            try:
                while process.poll() is None:
                    _note_peaks(process.pid, peaks)
                    time.sleep(_EVERY_S)
            finally:
                process.terminate()
                process.wait()
            duration_s = time.perf_counter() - started
        if process.returncode:
            text = (Path(folder) / "log").read_text().strip()
            raise StoppedError(f"the study {name} failed: {text}", "The time of a failed study is not reported.")
        said = json.loads(summary.read_text())
        others = [peak for pid, peak in peaks.items() if pid != process.pid]
        return StudyRun(said["trained"], duration_s, peaks.get(process.pid, 0.0), max(others, default=0.0), said)


def _note_peaks(pid: int, peaks: dict[int, float]) -> None:
    """Store in ``peaks`` the peak memory, in MB, of a process and of each of its descendants, by process id.

    Nothing is stored if the system does not report the memory (only Linux does).
    """
    with suppress(OSError):  # one of the processes has ended
        for one in _with_descendants(pid):
            if peak_mb := memory_mb(one, "VmHWM"):
                peaks[one] = peak_mb


def _with_descendants(pid: int) -> Iterator[int]:
    """Yield the ids of a process and its descendants. They include the workers, which the fork server starts."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _with_descendants(int(child))


def cold(data: str, rounds: int, tell: Callable[[str], None]) -> list[StudyRun]:
    """Run the default study `rounds` times, each time in a new folder."""
    runs = []
    for number in range(1, rounds + 1):
        tell(f"the default study, run {number} of {rounds}")
        runs.append(run_study("variants", data))
    return runs


def growing(data: str, tell: Callable[[str], None]) -> list[StudyRun]:
    """Run studies with 16, 160 and 1600 trials, which differ only in the number of seeds."""
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
    """The duration of a naive default study, extrapolated from a few short trials by a straight line.

    Attributes:
        trial_s: Part of a trial's duration that does not depend on its number of epochs, in seconds.
        epoch_s: Seconds for each epoch.
        default_study_s: Seconds for all trials of the default study, with one training per trial.
        as_shared_s: Seconds for all trials, if trials that differ only in their number of epochs share one training.
    """

    trial_s: float
    epoch_s: float
    default_study_s: float
    as_shared_s: float

    def as_json(self) -> dict[str, Any]:
        """The durations as plain values for JSON."""
        return asdict(self)


def naive(work: Path) -> Naive:
    """Measure a few trials of the naive study once, on all cores.

    The first trial is ignored, because its duration includes imports and the tracing of TensorFlow functions.

    Raises:
        StoppedError: The naive study fails.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        answer = Path(folder) / "answer.json"
        script = Path(__file__).with_name("naive.py")
        command = [sys.executable, str(script), str(work), str(answer), *map(str, NAIVE_EPOCHS)]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise StoppedError(f"the naive study failed: {last}", "The time of a failed study is not reported.")
        durations_s = json.loads(answer.read_text())
    epoch_s, trial_s = map(float, np.polyfit(NAIVE_EPOCHS[1:], durations_s[1:], 1))
    all_trials_s, (apart, shared) = TRIALS * trial_s, EPOCHS
    return Naive(trial_s, epoch_s, all_trials_s + apart * epoch_s, all_trials_s + shared * epoch_s)


def middle(runs: list[StudyRun]) -> float:
    """The median duration of the runs, in seconds."""
    return median(run.duration_s for run in runs)
