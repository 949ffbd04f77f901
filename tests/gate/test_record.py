"""A reference is recorded whole, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.contract import Engine
from harness.errors import StoppedError
from harness.gate import record, reference
from harness.gate.reference import FIRST_SEED, Record, Reference
from harness.gate.training import Training
from harness.network.variant import BASELINE, Variant
from tests.support import Harness

EPOCHS = 3


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """All as ever, but for the lengths: a recording takes many minutes."""
    brief = BASELINE.with_epochs(EPOCHS)
    modules: tuple[ModuleType, ...] = (record, registry)
    for module in modules:
        monkeypatch.setattr(module, "BASELINE", brief)
    lengths = {"EARLY_EPOCHS": 2, "EARLY_SEEDS": 4, "ERRORS_EPOCH": 2, "NOISY_SEEDS": 9}
    for name, value in lengths.items():
        monkeypatch.setattr(record, name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_all_that_a_reference_holds_is_trained_and_can_be_read_again(digits: Digits, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    before = [Record(date="2026-01-02", reason="older", commit="x", versions={}, processor="y")]
    found = record.record(digits, 64, 1, "a test", before, lambda done, total: told.append((done, total)))
    reference.save(found, tmp_path / "made.json")
    assert reference.load(tmp_path / "made.json") == found
    assert told[-1][0] == told[-1][1] == 64 + 9 + 9 + 3 * 4 + 3
    assert [one.reason for one in found.records] == ["older", "a test"]
    assert found.repeats.seeds == list(range(FIRST_SEED, FIRST_SEED + 64))
    assert (found.n_gate_seeds, found.margin) == (16, 0.1)
    assert found.records[-1].packages["numpy"] == found.records[-1].versions["numpy"]
    assert list(found.traces) == list(registry.NAMES)
    assert [len(set(one.weights)) for one in found.traces.values()] == [EPOCHS] * 3
    assert found.early is not None
    assert found.early.seeds == [BASELINE.seed, *reference.gate_seeds(3)]
    assert found.early.tried == 9 + 4 + 4
    # The same training by the same engine, once for its trace and once for its early losses.
    assert found.early.losses["tensorflow"][0] == found.traces["xla"].losses[:2]


def broken(_engine: Engine, _digits: Digits, _variants: Sequence[Variant]) -> list[Training]:
    raise RuntimeError("the disk is made of cheese")


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_recording_that_fails_leaves_nothing(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "train", broken)
    with pytest.raises(StoppedError, match="made of cheese"):
        record.record(digits, 64, 1, "a test", [], lambda _done, _total: None)


def test_a_reference_is_replaced_only_for_a_reason(
    harness: Harness, recorded: Reference, chosen: Sequence[str], tmp_path: Path
) -> None:
    path = tmp_path / "kept.json"
    reference.save(recorded, path)
    before = path.read_text()
    done = harness("gate", "record", "--out", str(path), *chosen)
    assert done.returncode == 2
    assert "--reason TEXT" in done.stderr
    assert path.read_text() == before
    assert json.loads(before)["schema"] == reference.SCHEMA


def test_what_the_gate_compares_with_is_explained_by_the_command(harness: Harness, chosen: Sequence[str]) -> None:
    done = harness("gate", "explain", *chosen)
    assert done.returncode == 0
    assert "Results of the reference over 1024 seeds" in done.stdout
