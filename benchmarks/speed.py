"""Measures the training speed of this project's engines and of other libraries on one core. They take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from harness.data.digits import Digits
from harness.errors import UsageError
from harness.network.variant import BASELINE, Variant

WIDTHS = (1, 2, 4, 8, 16, 32)
EPOCHS = 40  # as in the lab

_SCRIPT = Path(__file__).with_name("contenders.py")
# The contenders of each process, with the number of variants that a contender trains in one call.
_OURS = {"sgemm": 1, "keras": 1, "graph": 1, **{f"xla {width}": width for width in WIDTHS}}
_OTHERS = {"sklearn": 1}
_BASE = "fit"  # Keras as in its guides, unlike the tuned engine `keras`
_KERAS = {_BASE: 1}
_RIVALS = {"jax": 8, "torch": 1}


@dataclass(frozen=True)
class Speed:
    """The speed of a contender: an engine of this project, or another library.

    The values are medians over the rounds, except ``least_us``.

    Attributes:
        name: Name of the contender.
        variants: Number of variants trained in one call.
        variant_s: Seconds for 40 epochs of one variant.
        step_us: Microseconds for one training step of one variant. This includes the time to count errors after each
            epoch, divided by the number of steps.
        least_us: The same in the fastest round.
        times_fit: How many times as fast as Keras' ``fit`` one variant is trained. The ratio is computed within each
            round.
    """

    name: str
    variants: int
    variant_s: float
    step_us: float
    least_us: float
    times_fit: float


@dataclass(frozen=True)
class Speeds:
    """The speeds of all contenders.

    Attributes:
        speeds: Speed of each contender that could be measured.
        sgemm_gflop_per_s: Median speed of NumPy's matrix product on this core in the same rounds, in GFLOP/s.
        missing: Contenders that could not be measured, with the reason for each.
    """

    speeds: list[Speed]
    sgemm_gflop_per_s: float
    missing: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The speeds as plain values for JSON."""
        return asdict(self)


def save_work(digits: Digits, path: Path) -> None:
    """Write an NPZ file with the images, and with the initial weights and batch orders of 32 variants."""
    from harness.engines import tensorflow_setup

    tensorflow_setup.start()
    from harness.network.random_streams import batch_orders, initial_weights

    variants = [Variant(epochs=EPOCHS, seed=seed) for seed in range(max(WIDTHS))]
    work: dict[str, Any] = {"x": digits.x, "y": digits.y, "features": digits.features, "labels": digits.labels}
    work["orders"] = np.stack(list(batch_orders(*variants)), axis=1)
    for part, weights in enumerate(zip(*map(initial_weights, variants), strict=True)):
        work[f"weights_{part}"] = np.stack(weights)
    np.savez(path, allow_pickle=False, **work)


class _Child:
    """A process that measures contenders: engines of this project, or other libraries."""

    def __init__(self, python: str, process: subprocess.Popen[str]) -> None:
        self._python, self._process = python, process
        self.missing: dict[str, str] = {}

    def measure(self, name: str) -> float | None:
        """Measure one call of a contender.

        Returns:
            The duration in seconds. None if the contender fails; ``missing`` then holds the reason.

        Raises:
            UsageError: The process does not answer.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        answer = ""
        if stdin is not None and stdout is not None:
            with suppress(BrokenPipeError):
                stdin.write(name + "\n")
                stdin.flush()
                answer = stdout.readline()
            if not answer:
                with suppress(BrokenPipeError):  # close here: closing later would raise an error for the unsent name
                    stdin.close()
        if not answer:
            raise UsageError(
                f"{self._python} cannot measure {name}", "See the error message above. This Python needs NumPy."
            )
        answered = json.loads(answer)
        self.missing.update({name: answered["missing"]} if "missing" in answered else {})
        duration_s: float | None = answered.get("duration_s")
        return duration_s


@contextmanager
def _child(python: str, work: Path) -> Iterator[_Child]:
    command = [python, str(_SCRIPT), str(work)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(_SCRIPT.parent.parent)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, process_group=0) as process:
        yield _Child(python, process)


def measure(work: Path, rounds: int, rivals_python: str, tell: Callable[[str], None]) -> Speeds:
    """Measure engines and other libraries in turn, so that other load on the machine affects all of them equally.

    Args:
        work: File that :func:`save_work` has written.
        rounds: Number of rounds. Each round measures every contender once.
        rivals_python: Path of the Python interpreter that runs JAX and PyTorch.
        tell: Callback that receives a description of each measurement before it starts.

    Raises:
        UsageError: A Python interpreter cannot run its contenders.
    """
    taken_s: dict[str, list[float]] = {}
    with ExitStack() as stack:
        homes = [
            (stack.enter_context(_child(sys.executable, work)), _OURS),
            (stack.enter_context(_child(sys.executable, work)), _KERAS),
            (stack.enter_context(_child(sys.executable, work)), _OTHERS),
            (stack.enter_context(_child(rivals_python, work)), _RIVALS),
        ]
        for number in range(1, rounds + 1):
            for child, names in homes:
                for name in names:
                    tell(f"round {number} of {rounds}: {name}")
                    duration_s = child.measure(name)
                    if duration_s is not None:
                        taken_s.setdefault(name, []).append(duration_s)
    contenders = {**_OURS, **_KERAS, **_OTHERS, **_RIVALS}
    missing = {name: why for child, _ in homes for name, why in child.missing.items()}
    speeds = [_speed(name, contenders[name], of, taken_s[_BASE]) for name, of in taken_s.items() if name != "sgemm"]
    gflop = 2 * 1024**3 / 1e9
    return Speeds(speeds, gflop / median(taken_s["sgemm"]), missing)


def _speed(name: str, variants: int, taken_s: Sequence[float], fit_s: Sequence[float]) -> Speed:
    steps = BASELINE.steps_per_epoch * EPOCHS * variants
    middle_s = median(taken_s)
    return Speed(
        name,
        variants,
        variant_s=middle_s / variants,
        step_us=middle_s / steps * 1e6,
        least_us=min(taken_s) / steps * 1e6,
        times_fit=median(theirs / (ours / variants) for ours, theirs in zip(taken_s, fit_s, strict=True)),
    )
