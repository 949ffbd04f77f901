"""Faults are planted where they say, and gates are resampled from what was trained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import faults, power
from benchmarks.power import Trained
from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.contract import Engine
from harness.gate import reference
from harness.gate.reference import Reference, Repeats
from harness.gate.training import train
from harness.network.variant import BASELINE, Variant
from harness.statistics import wilson
from harness.workers.local import Workers
from tests.support import ROOT

VARIANTS = [BASELINE.model_copy(update={"seed": seed, "epochs": 2}) for seed in (1, 2)]


def trained(name: str, digits: Digits) -> list[list[float]]:
    with Workers(1, power.ENGINE, faults.task(name)) as workers:
        workers.load(digits)
        return [one.losses.tolist() for one in workers.submit(VARIANTS).result().results]


@pytest.fixture(scope="module")
def clean(digits: Digits) -> list[list[float]]:
    """Losses where nothing is planted."""
    with Workers(1, power.ENGINE, train) as workers:
        workers.load(digits)
        return [one.losses.tolist() for one in workers.submit(VARIANTS).result().results]


@pytest.mark.slow
def test_without_a_fault_training_is_as_ever(digits: Digits, clean: list[list[float]]) -> None:
    assert trained("clean", digits) == clean


@pytest.fixture
def xla(digits: Digits) -> Iterator[Engine]:
    """The engine that faults are planted into, in this process. After the test it is as it was before."""
    from harness.engines import xla as module

    engine = registry.make(power.ENGINE, digits)
    before, losses = dict(vars(module)), dict(module._LOSSES)
    yield engine
    for name in vars(module).keys() - before.keys():
        delattr(module, name)
    vars(module).update(before)
    module._LOSSES.update(losses)
    module._compiled.cache_clear()
    faults._planted.clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, fault in faults.FAULTS.items() if fault.plant or fault.spoil])
def test_every_fault_that_is_planted_changes_training(
    name: str, xla: Engine, digits: Digits, clean: list[list[float]]
) -> None:
    found = [one.losses.tolist() for one in faults.task(name)(xla, digits, VARIANTS)]
    assert all(np.abs(np.array(mine) - theirs).max() > 1e-4 for mine, theirs in zip(found, clean, strict=True))


@pytest.mark.slow
def test_variants_come_back_without_what_was_changed(digits: Digits) -> None:
    with Workers(1, power.ENGINE, faults.task("rate-0.5")) as workers:
        workers.load(digits)
        variants: list[Variant] = [one.variant for one in workers.submit(VARIANTS).result().results]
    assert variants == VARIANTS


@pytest.fixture(scope="module")
def recorded(digits: Digits) -> Reference:
    """The package's reference of the images."""
    return reference.load(reference.path_of(digits.name))


def half(recorded: Reference, first: int) -> Reference:
    """The reference with every second of its seeds, from the first or the second on."""
    columns = {
        name: column[first::2] if isinstance(column, list) else column
        for name, column in recorded.repeats.model_dump().items()
    }
    return recorded.model_copy(update={"repeats": Repeats.model_validate(columns)})


def made_up(name: str, recorded: Reference, later: int) -> Trained:
    repeats = recorded.repeats
    first_zero = [None if epoch is None or epoch + later > 100 else epoch + later for epoch in repeats.first_zero]
    return Trained(name, first_zero, list(repeats.errors), 16, 0, 500.0, 2, {})


@pytest.fixture
def _few_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals from fewer resampled sets, to save a minute."""
    monkeypatch.setattr(power, "_SETS", 30)
    monkeypatch.setattr(power, "_GATES", 200)


@pytest.mark.usefixtures("_few_sets")
def test_what_is_as_recorded_is_nearly_never_red_and_what_is_later_nearly_always(recorded: Reference) -> None:
    # Gates of one half of the recorded seeds against the other half: no training is on both sides.
    ours, theirs = half(recorded, 0), half(recorded, 1)
    same = power.measure(made_up("clean", ours, 0), theirs, 2000)
    assert same.red.value <= 0.015
    assert not same.must
    late = power.measure(made_up("batch-64", ours, 8), theirs, 1000)
    assert late.red.low >= 0.95
    assert late.must
    assert late.slower > 0.1
    assert same.passed > 0.95
    assert late.passed < 0.05
    # The trainings of a set are few, so the interval is wider than that of the gates alone.
    assert same.red.high > wilson(round(same.red.value * 2000), 2000).high
    assert "**batches of 64**" in power.markdown([same, late], theirs)


@pytest.mark.usefixtures("_few_sets")
def test_the_trace_elsewhere_fails_if_most_early_seeds_diverge(recorded: Reference) -> None:
    for n_diverging, is_traced in ((0, False), (8, False), (9, True), (16, True)):
        trained = replace(made_up("clean", recorded, 0), n_diverging=n_diverging)
        assert power.measure(trained, recorded, 50).is_traced == is_traced


def gate_power(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gate_power", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_what_was_trained_is_not_trained_again(chosen: Sequence[str], tmp_path: Path) -> None:
    few = (
        "--clean",
        "8",
        "--seeds",
        "8",
        "--gates",
        "50",
        "--page",
        str(tmp_path / "page.md"),
        "--fault",
        "clean",
        "--workers",
        "1",
    )
    asked = (*few, "--out", str(tmp_path / "power"), *chosen)
    first = gate_power(*asked, "--json", str(tmp_path / "first.json"))
    assert first.returncode == 0, first.stderr
    [path] = (tmp_path / "power").glob("*/clean.json")
    moment = path.stat().st_mtime_ns
    second = gate_power(*asked, "--json", str(tmp_path / "second.json"))
    assert path.stat().st_mtime_ns == moment
    assert first.stdout == second.stdout
    assert first.stdout.strip() in (tmp_path / "page.md").read_text()
    assert json.loads((tmp_path / "first.json").read_text()) == json.loads((tmp_path / "second.json").read_text())
    wrong = gate_power("--fault", "gremlins", *chosen)
    assert wrong.returncode == 2
    assert "no fault is called 'gremlins'" in wrong.stderr
