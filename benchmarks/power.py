"""Estimates how often the gate fails: for correct training, and for each planted fault.

The gates are simulated. Each simulated gate draws its seeds at random from finished trainings with the same fault.
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
from harness.gate import rule, trace
from harness.gate.record import OnDone, results_of, wait
from harness.gate.reference import ERRORS_EPOCH, Early, Reference
from harness.gate.rule import Sample
from harness.gate.verdict import Verdict
from harness.network.variant import BASELINE, TRACE_VERSION
from harness.text import markdown_table
from harness.workers.local import Workers

# The first seed of these trainings, far from the seeds of references and gates.
FIRST_SEED = 300_000
ENGINE = "xla"
CLEAN = "clean"

# A bootstrap estimates how much the result depends on which seeds were trained: it draws `_SETS` sets of trainings from
# the finished ones, with replacement, and simulates `_GATES` gates with each set.
_SETS, _GATES = 200, 200


@dataclass(frozen=True)
class Trained:
    """Trainings with one fault, or without a fault.

    Attributes:
        fault: Name of the fault.
        first_zero: First zero epoch of each training, ``(n,)``; None for a training that never reached zero errors.
        errors: Error count of each training after epoch 40, at which the gate compares error counts, ``(n,)``.
        n_early: Number of early seeds. An early seed is a seed whose first losses the reference holds.
        n_diverging: Number of early seeds whose first losses, trained with the fault, depart from the reference.
        duration_s: Duration of all trainings together, in seconds.
        workers: Number of processes that trained in parallel.
        made_from: Inputs of the trainings besides the seeds: fault, images, trace version and package versions.
    """

    fault: str
    first_zero: list[int | None]
    errors: list[int]
    n_early: int
    n_diverging: int
    duration_s: float
    workers: int
    made_from: dict[str, str]

    @property
    def n(self) -> int:
        """The number of trainings."""
        return len(self.errors)

    def sample(self) -> Sample:
        """The first zero epochs and error counts, in the form that the rule of the gate accepts."""
        return rule.sample(self.first_zero, self.errors, BASELINE.epochs)


@dataclass(frozen=True)
class Power:
    """How often simulated gates fail when training has one fault.

    The simulated gates run only the checks over seeds. The trace check is not simulated: it has its own fields,
    ``diverging`` and ``is_traced``.

    Attributes:
        fault: Name of the fault.
        what: Description of the fault in words.
        n: Number of trainings with the fault, from which the gates draw their seeds.
        mean: Mean first zero epoch of these trainings. If a training never reaches zero errors, its number of epochs
            counts instead.
        slower: Relative difference of ``mean`` from the mean of the reference. Positive if the fault slows training.
        share: Fraction of these trainings that reach zero errors.
        errors: Mean error count of these trainings after epoch 40.
        red: Fraction of the gates with the verdict FAIL, with a 95% interval. The interval includes the uncertainty
            from the choice of the trained seeds and from the simulation.
        better: Fraction of the gates with the verdict CHANGED: training is significantly better than the reference.
        passed: Fraction of the gates with the verdict PASS or CHANGED.
        diverging: Number of early seeds whose first losses depart from the reference, and number of early seeds.
        is_traced: Whether the trace check fails on a machine other than the one where the reference was recorded.
        must: Whether the gate must detect the fault, because it slows training by at least the margin of the reference.
    """

    fault: str
    what: str
    n: int
    mean: float
    slower: float
    share: float
    errors: float
    red: statistics.Estimate
    better: float
    passed: float
    diverging: tuple[int, int]
    is_traced: bool
    must: bool


def train(digits: Digits, name: str, n: int, workers: int, folder: Path, early: Early, on_done: OnDone) -> Trained:
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
    begun = BASELINE.with_epochs(trace.EARLY_EPOCHS)
    first = [begun.model_copy(update={"seed": seed}) for seed in early.seeds]
    with Workers(workers, ENGINE, faults.task(name)) as pool:
        pool.load(digits)
        futures = [pool.submit(batch) for part in (first, variants) for batch in registry.batches(ENGINE, part)]
        wait(futures, on_done, n + len(first))
    everything = results_of(futures)
    votes = trace.votes(everything[: len(first)], early.losses["tensorflow"], trace.may_diverge(early))
    trained = everything[len(first) :]
    found = Trained(
        name,
        [training.first_zero_epoch for training in trained],
        [training.errors_at(ERRORS_EPOCH) for training in trained],
        votes.n,
        len(votes.diverged),
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
    """Read an earlier result from a file. Returns None if the file is missing or unreadable."""
    try:
        content = json.loads(path.read_text())
        content.pop("schema")
        return Trained(**content)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


def measure(trained: Trained, reference: Reference, gates: int) -> Power:
    """Simulate gates, and summarize their verdicts.

    Args:
        trained: Trainings from which each gate draws its seeds.
        reference: Reference with which the gates compare the drawn trainings.
        gates: Number of gates.
    """
    theirs, pool = reference.repeats.sample(), trained.sample()
    random, n = np.random.Generator(np.random.PCG64(2)), reference.n_gate_seeds
    looked = rule.look(rule.resample(pool, gates, n, random), theirs, reference.margin)
    verdicts = [looked.verdicts(row) for row in range(gates)]
    is_better = [
        not red and Verdict.CHANGED in found.values() for red, found in zip(looked.is_red, verdicts, strict=True)
    ]
    mean, expected = float(pool.epochs.mean()), float(theirs.epochs.mean())
    chance = (
        0.0
        if reference.early is None
        else trace.chance(trained.n_diverging, trained.n_early, trace.may_diverge(reference.early))
    )
    return Power(
        fault=trained.fault,
        what=faults.FAULTS[trained.fault].what,
        n=trained.n,
        mean=mean,
        slower=mean / expected - 1,
        share=float(np.isfinite(pool.first_zero).mean()),
        errors=float(pool.errors.mean()),
        red=_red(pool, theirs, n, int(looked.is_red.sum()), gates),
        better=float(np.mean(is_better)),
        passed=float(looked.is_green.mean()),
        diverging=(trained.n_diverging, trained.n_early),
        is_traced=chance <= trace.ALPHA,
        must=mean >= expected * (1 + reference.margin),
    )


def _red(pool: Sample, reference: Sample, n: int, red: int, gates: int) -> statistics.Estimate:
    """The fraction of gates with the verdict FAIL, with a 95% interval.

    The interval includes the uncertainty from the choice of the trained seeds and from the simulation.
    """
    random = np.random.Generator(np.random.PCG64(5))
    found = []
    for _ in range(_SETS):
        chosen = random.integers(0, pool.n, pool.n)
        drawn = Sample(pool.first_zero[chosen], pool.errors[chosen], pool.budget)
        found.append(rule.look(rule.resample(drawn, _GATES, n, random), reference).is_red.mean())
    low, high = np.quantile(found, [0.025, 0.975])
    alone = statistics.wilson(red, gates)
    return statistics.Estimate(alone.value, min(alone.low, float(low)), max(alone.high, float(high)), gates)


def as_json(found: list[Power]) -> dict[str, Any]:
    """The results as plain values for JSON."""
    return {"power": [asdict(power) for power in found]}


_HEAD = (
    *("fault", "trainings", "first zero epoch", "reach zero", "errors at 40", "red", "CHANGED", "PASS"),
    *("early seeds that depart", "trace elsewhere"),
)


def markdown(found: list[Power], reference: Reference) -> str:
    """A Markdown table with one row per fault, and an explanation of its columns."""
    about = f"""- Faults in bold: training needs at least {reference.margin:.0%} more epochs than in the reference.
- First zero epoch: the mean over the seeds. A seed that never reaches zero errors counts as {BASELINE.epochs}.
- Red: the fraction of simulated gates with the verdict FAIL. A gate has {reference.n_gate_seeds} seeds, and runs only
  the three checks over seeds. The 95% interval includes the uncertainty from the choice of the trained seeds and from
  the simulation.
- CHANGED: the fraction of gates in which training is significantly better than the reference. PASS includes CHANGED.
- Early seeds that depart: the reference holds the first losses of a few seeds, the early seeds. This is the number of
  them whose losses with the fault depart from the recorded losses.
- Trace elsewhere: the verdict of the trace check on a machine other than the one where the reference was recorded. On
  the recording machine, the trace check detects every fault at the first epoch."""
    return "\n".join([markdown_table(_HEAD, map(_row, found), n_left=len(_HEAD)), "", about])


def page(table: str, dataset: str) -> str:
    """Return the text of the page ``docs/gate-power.md``."""
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions().items())
    return f"""# How often the gate is red

The command `nox -s gate-power` writes this page. It trains with each planted fault, and simulates gates that draw their
seeds from these trainings. Images: `{dataset}`. Machine: {provenance.processor()}; {versions}.

{table}
"""


def _row(power: Power) -> tuple[str, ...]:
    return (
        f"**{power.what}**" if power.must else power.what,
        str(power.n),
        f"{power.mean:.1f} ({power.slower:+.0%})",
        f"{power.share:.0%}",
        f"{power.errors:.0f}",
        f"{power.red.value:.1%} ({power.red.low:.1%} to {power.red.high:.1%})",
        f"{power.better:.0%}",
        f"{power.passed:.0%}",
        f"{power.diverging[0]} of {power.diverging[1]}",
        "FAIL" if power.is_traced else "PASS",
    )
