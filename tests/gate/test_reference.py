"""Reading and writing references: what is not right is said, and never compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.digits import LAB_NAME, OPTDIGITS_NAME, Digits
from harness.errors import DataError
from harness.gate import reference
from harness.gate.reference import Reference
from harness.gate.trace import MAY_DIVERGE
from harness.network.variant import BASELINE
from harness.statistics import wilson


@pytest.fixture
def content(recorded: Reference, tmp_path: Path) -> dict[str, Any]:
    """A reference's file, as plain values."""
    path = tmp_path / "whole.json"
    reference.save(recorded, path)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def refused(content: object, folder: Path) -> str:
    path = folder / "changed.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError) as error:
        reference.load(path)
    assert str(path) in error.value.cause
    assert "harness gate record" in error.value.remedy
    return error.value.cause


def test_what_is_saved_is_loaded(recorded: Reference, tmp_path: Path) -> None:
    reference.save(recorded, tmp_path / "again.json")
    assert reference.load(tmp_path / "again.json") == recorded


def test_a_missing_reference_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reference found"):
        reference.load(tmp_path / "none.json")


@pytest.mark.parametrize(("schema", "said"), [(0, "older format 0"), (3, "newer format 3"), ("x", "older format 'x'")])
def test_a_reference_of_another_form_is_refused(
    schema: object, said: str, content: dict[str, Any], tmp_path: Path
) -> None:
    assert said in refused({**content, "schema": schema}, tmp_path)


def test_an_edited_reference_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["repeats"]["first_zero"][3] += 20
    assert "was edited" in refused(content, tmp_path)


def test_a_reference_without_its_hash_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    del content["sha256"]
    assert "was edited" in refused(content, tmp_path)


def test_a_reference_of_another_trace_is_refused(recorded: Reference, tmp_path: Path) -> None:
    reference.save(recorded.model_copy(update={"trace": 99}), tmp_path / "other.json")
    with pytest.raises(DataError, match="trace version 99, not "):
        reference.load(tmp_path / "other.json")


def test_a_reference_whose_columns_are_of_other_lengths_is_refused(recorded: Reference, tmp_path: Path) -> None:
    repeats = recorded.repeats.model_copy(update={"errors": recorded.repeats.errors[1:]})
    reference.save(recorded.model_copy(update={"repeats": repeats}), tmp_path / "cut.json")
    with pytest.raises(DataError, match="differ in length"):
        reference.load(tmp_path / "cut.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}"])
def test_a_file_that_is_no_reference_is_refused(text: str, tmp_path: Path) -> None:
    assert "reference" in refused(text, tmp_path)


def test_a_reference_with_an_unknown_field_is_refused(recorded: Reference, tmp_path: Path) -> None:
    path = tmp_path / "more.json"
    reference.save(recorded, path)
    content = json.loads(path.read_text())
    content["colour"] = "green"
    content.pop("sha256")
    content["sha256"] = reference._digest(content)
    assert "colour" in refused(content, tmp_path)


def test_why_a_file_was_recorded_is_known_even_if_it_is_of_another_form(
    recorded: Reference, content: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "old.json").write_text(json.dumps({**content, "schema": 0}))
    assert reference.records_of(tmp_path / "old.json") == recorded.records
    (tmp_path / "broken.json").write_text("{")
    assert reference.records_of(tmp_path / "broken.json") == []


@pytest.mark.parametrize("name", [LAB_NAME, OPTDIGITS_NAME])
def test_the_package_has_a_reference_that_supports_its_gate(name: str) -> None:
    found = reference.load(reference.path_of(name))
    assert found.dataset["name"] == name
    seeds = reference.gate_seeds(found.n_gate_seeds)
    assert not {*found.repeats.seeds} & {*seeds, BASELINE.seed}
    assert (len(seeds), found.margin, found.repeats.reached_at) == (63, 0.1, 0)
    assert {len(trace.weights) for trace in found.traces.values()} == {BASELINE.epochs}
    assert found.early is not None
    assert found.early.seeds[1:] == seeds[: len(found.early.seeds) - 1]
    # What the votes of the trace rest on: no more right trainings leave than they allow for.
    assert wilson(found.early.left, found.early.tried).high <= MAY_DIVERGE


def test_the_reference_is_of_the_images_that_the_package_makes(digits: Digits, recorded: Reference) -> None:
    assert recorded.dataset == {"name": digits.name, "sha256_x": digits.sha256_x, "sha256_y": digits.sha256_y}
