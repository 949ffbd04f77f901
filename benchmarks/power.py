"""Estimates how often the gate fails, by resampling recorded trainings.

There is one estimate for correct training, and one for each planted fault.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import faults
from harness import provenance, statistics
from harness.data.digits import Digits
from harness.engines import registry
from harness.files import write_json
from harness.gate import convergence as rule
from harness.gate.convergence import Found, Sample
from harness.gate.record import OnDone, results_of, wait
from harness.gate.reference import ERRORS_EPOCH, Reference
from harness.network.variant import BASELINE, TRACE_VERSION
from harness.text import markdown_table
from harness.workers.local import Workers

# The first seed of these trainings, far from the seeds of references and gates.
FIRST_SEED = 300_000
ENGINE = "xla"
CLEAN = "clean"


@dataclass(frozen=True)
class Trained:
    """Trainings with one fault, or without a fault.

    Attributes:
        fault: Name of the fault.
        first_zero: First zero epoch of each training, ``(n,)``; None for a training that never reached zero.
        errors: Error count of each training at the early epoch, ``(n,)``.
        duration_s: Duration of all trainings together, in seconds.
        workers: Number of processes that trained in parallel.
        made_from: Inputs of the trainings besides the seeds: fault, images, trace version and package versions.
    """

    fault: str
    first_zero: list[int | None]
    errors: list[int]
    duration_s: float
    workers: int
    made_from: dict[str, str]

    @property
    def n(self) -> int:
        """The number of trainings."""
        return len(self.errors)

    def sample(self) -> Sample:
        """The values that the gate compares."""
        return rule.sample(self.first_zero, self.errors, BASELINE.epochs)


@dataclass(frozen=True)
class Power:
    """Verdicts of resampled gates that train with one fault, from the convergence check alone.

    Attributes:
        fault: Name of the fault.
        what: Description of the fault in words.
        n: Number of recorded trainings from which the seeds of the gates are drawn.
        mean: Mean first zero epoch of these trainings. A training that never reaches zero counts as the budget.
        slower: Relative difference of ``mean`` from the mean of the reference. Positive if the fault is slower.
        share: Fraction of these trainings that reach zero.
        errors: Mean error count at the early epoch.
        red: Fraction of the resampled gates with the verdict FAIL, with a 95% interval. The interval covers the
            resampling alone, not the choice of the trainings. The same holds for ``better`` and ``passed``.
        better: Fraction of the resampled gates with the verdict CHANGED: training reaches zero sooner.
        passed: Fraction of the resampled gates with the verdict PASS or CHANGED.
        seeds: Numbers of seeds after which 50% and 95% of the gates have a verdict.
        duration_s: Durations of training these numbers of seeds on the machine of the trainings, in seconds.
        must: Whether the gate must detect the fault: compared with the reference, training needs at least 10% more
            epochs, or the fraction that reaches zero is at least 20 percentage points lower.
    """

    fault: str
    what: str
    n: int
    mean: float
    slower: float
    share: float
    errors: float
    red: statistics.Estimate
    better: statistics.Estimate
    passed: statistics.Estimate
    seeds: tuple[float, float]
    duration_s: tuple[float, float]
    must: bool


def train(digits: Digits, name: str, n: int, workers: int, folder: Path, on_done: OnDone) -> Trained:
    """Train with a fault, or read an earlier result with the same fault, images, versions and number of seeds.

    Raises:
        StoppedError: A training fails, or the result cannot be written.
    """
    path, made_from = folder / f"{name}.json", _made_from(name, digits)
    before = _read(path)
    if before is not None and (before.n, before.made_from) == (n, made_from):
        return before
    began_s = time.monotonic()
    variants = [BASELINE.model_copy(update={"seed": FIRST_SEED + number}) for number in range(n)]
    with Workers(workers, ENGINE, faults.task(name)) as pool:
        pool.load(digits)
        futures = [pool.submit(batch) for batch in registry.batches(ENGINE, variants)]
        wait(futures, on_done, n)
    trained = results_of(futures)
    found = Trained(
        name,
        [training.first_zero_epoch for training in trained],
        [training.errors_at(ERRORS_EPOCH) for training in trained],
        time.monotonic() - began_s,
        workers,
        made_from,
    )
    write_json(str(path), asdict(found))
    return found


def _made_from(name: str, digits: Digits) -> dict[str, str]:
    versions = provenance.versions()
    return {
        "fault": faults.FAULTS[name].what,
        "images": digits.sha256_x + digits.sha256_y,
        "trace": str(TRACE_VERSION),
        **{package: versions[package] for package in ("tensorflow", "keras", "numpy")},
    }


def _read(path: Path) -> Trained | None:
    """The earlier result in this file; None if there is no readable result."""
    try:
        content = json.loads(path.read_text())
        content.pop("schema")
        return Trained(**content)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


def measure(trained: Trained, reference: Reference, gates: int) -> Power:
    """Resample this number of gates from recorded trainings, and summarize their verdicts."""
    theirs, pool = reference.repeats.sample(), trained.sample()
    random = np.random.Generator(np.random.PCG64(2))
    drawn = rule.resample(pool, gates, len(reference.gate_seeds), random)
    found, n = rule.decide(drawn, theirs, rule.stages_of(len(reference.gate_seeds)))
    red, better, same = (int((found == kind).sum()) for kind in (Found.SLOWER, Found.FASTER, Found.SAME))
    mean, expected = float(pool.epochs.mean()), float(theirs.epochs.mean())
    share, usual = (float(np.isfinite(side.first_zero).mean()) for side in (pool, theirs))
    seeds = (float(np.quantile(n, 0.5)), float(np.quantile(n, 0.95)))
    each_s = trained.duration_s / trained.n
    return Power(
        fault=trained.fault,
        what=faults.FAULTS[trained.fault].what,
        n=trained.n,
        mean=mean,
        slower=mean / expected - 1,
        share=share,
        errors=float(pool.errors.mean()),
        red=statistics.wilson(red, gates),
        better=statistics.wilson(better, gates),
        passed=statistics.wilson(better + same, gates),
        seeds=seeds,
        duration_s=(seeds[0] * each_s, seeds[1] * each_s),
        must=mean >= expected * (1 + rule.MARGIN_MEAN) or share <= usual - rule.MARGIN_SHARE,
    )


def as_json(found: list[Power]) -> dict[str, Any]:
    """The results as plain values for JSON."""
    return {"power": [asdict(power) for power in found]}


_HEAD = (
    *("fault", "trainings", "first zero epoch", "reach zero", "errors at 40", "red", "CHANGED"),
    *("seeds", "seconds"),
)


def markdown(found: list[Power]) -> str:
    """A Markdown table of the results, and the meaning of its columns."""
    points = rule.MARGIN_SHARE * 100
    about = [
        f"In bold: at least {rule.MARGIN_MEAN:.0%} more epochs, or {points:.0f} percentage points fewer seeds at zero.",
        f"First zero epoch: the mean. A seed that never reaches zero counts as {BASELINE.epochs}.",
        "Red: resampled gates with FAIL. The 95% interval covers the resampling, not the choice of the trainings.",
        "CHANGED: resampled gates in which training is significantly better than the reference.",
        "Seeds and seconds: the values at which 50% and 95% of the gates have their verdict.",
    ]
    return "\n".join([markdown_table(_HEAD, map(_row, found), n_left=len(_HEAD)), "", *about])


def _row(power: Power) -> tuple[str, ...]:
    return (
        f"**{power.what}**" if power.must else power.what,
        str(power.n),
        f"{power.mean:.1f} ({power.slower:+.0%})",
        f"{power.share:.0%}",
        f"{power.errors:.0f}",
        f"{power.red.value:.1%} ({power.red.low:.1%} to {power.red.high:.1%})",
        f"{power.better.value:.0%}",
        f"{power.seeds[0]:.0f}, {power.seeds[1]:.0f}",
        f"{power.duration_s[0]:.0f}, {power.duration_s[1]:.0f}",
    )
