"""What tests name: the command, and studies small enough to run in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# With this as its PYTHONPATH a process finds the engine `standin`, which trains nothing.
STANDIN = ROOT / "benchmarks" / "standin"
STANDIN_PATH = f"{STANDIN}{os.pathsep}{ROOT}"
COMMAND = str(Path(sys.executable).with_name("harness"))
Harness = Callable[..., subprocess.CompletedProcess[str]]

SMALL_STUDY = """
description = "Eight trials from four trainings."
engine = "xla"
objectives = ["errors"]

[space]
epochs = [1, 2]
learning_rate = [0.001, 0.01]
seed = [1234, 1]

[design]
kind = "factorial"
"""

SMALL_SEARCH = """
description = "Three trials of two seeds."
engine = "xla"
objectives = ["errors", "epochs"]

[space]
epochs = { low = 1, high = 3 }
learning_rate = { low = 0.0005, high = 0.02, log = true }

[design]
kind = "sampled"
sampler = "tpe"
sampler_seed = 7
trials = 3
seeds = [1, 2]
"""


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return when a condition holds; fail if it does not within this time."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {seconds} s"
        time.sleep(0.05)


@dataclass(frozen=True)
class Started:
    """The processes that have begun a training with the stand-in engine.

    Attributes:
        path: the file that they add their numbers to.
    """

    path: Path

    def pids(self, count: int) -> list[int]:
        """The process of each training that has begun, in order, when there are at least this many."""
        wait_until(lambda: len(self._lines()) >= count)
        return [int(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


def page(address: str, seconds: float) -> str:
    """What a server answers, once it does."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as response:  # noqa: S310 - our own address
                content: bytes = response.read()
                return content.decode()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.3)
