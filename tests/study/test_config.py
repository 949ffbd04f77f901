from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.study import files
from harness.study.config import StudyConfig
from tests.support import ROOT

FACTORIAL: dict[str, Any] = {
    "name": "small",
    "description": "Small.",
    "engine": "graph",
    "objectives": ["errors"],
    "space": {"epochs": [1, 2], "learning_rate": [0.001, 0.01], "seed": [1, 2, 3]},
    "design": {"kind": "factorial"},
}
SAMPLED: dict[str, Any] = {
    **FACTORIAL,
    "objectives": ["errors", "epochs"],
    "space": {"epochs": {"low": 2, "high": 8, "step": 2}, "learning_rate": {"low": 1e-4, "high": 0.1, "log": True}},
    "design": {"kind": "sampled", "sampler": "tpe", "trials": 5, "seeds": [1, 2]},
}


def test_a_factorial_has_every_combination_once() -> None:
    config = StudyConfig.model_validate(FACTORIAL)
    points = config.points()
    assert config.n_trials == len(points) == 12
    assert len({config.variant(point) for point in points}) == 12
    assert points[0] == {"epochs": 1, "learning_rate": 0.001, "seed": 1}


def test_a_sampled_study_has_the_trials_that_it_says() -> None:
    config = StudyConfig.model_validate(SAMPLED)
    assert config.n_trials == 5
    assert config.points() == []


def test_what_is_fixed_stands_in_every_variant() -> None:
    config = StudyConfig.model_validate({**FACTORIAL, "fixed": {"layers": [8, 10], "batch_size": 64}})
    variant = config.variant(config.points()[-1])
    assert variant.layers == (8, 10)
    assert variant.batch_size == 64
    assert (variant.epochs, variant.learning_rate, variant.seed) == (2, 0.01, 3)


def test_the_place_of_the_softmax_may_vary() -> None:
    config = StudyConfig.model_validate({**FACTORIAL, "space": {"seed": [1, 2], "softmax": ["output", "logits"]}})
    assert [config.variant(point).softmax for point in config.points()] == ["output", "logits"] * 2


def test_a_study_has_a_shape_if_all_its_variants_have_it() -> None:
    assert StudyConfig.model_validate(FACTORIAL).shape == ((25, 15, 10), 32, "logits")
    assert StudyConfig.model_validate({**FACTORIAL, "space": {"batch_size": [64, 32]}}).shape is None


@pytest.mark.parametrize(("engine", "own"), [("xla", "tensorflow"), ("graph", "tensorflow"), ("keras", "keras")])
def test_a_study_has_its_engines_own_adam_unless_it_says_whose(engine: str, own: str) -> None:
    config = StudyConfig.model_validate({**FACTORIAL, "engine": engine})
    assert config.variant(config.points()[0]).adam == own
    config = StudyConfig.model_validate({**FACTORIAL, "engine": engine, "fixed": {"adam": "tensorflow", "beta_1": 0.8}})
    variant = config.variant(config.points()[0])
    assert (variant.adam, variant.beta_1) == ("tensorflow", 0.8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"softmax": ["middle"]}}, "space.softmax"),
        ({"fixed": {"adam": "torch"}}, "fixed.adam"),
        ({"fixed": {"beta_2": 1.0}}, "beta_2"),
        ({"colour": "red"}, "colour"),
        ({"engine": "abacus"}, "no engine is called 'abacus'"),
        ({"objectives": []}, "objectives"),
        ({"objectives": ["speed"]}, "objectives"),
        ({"space": {}}, "lists no parameter"),
        ({"space": {"epoch": [1]}}, "space.epoch"),
        ({"space": {"epochs": []}}, "space.epochs"),
        ({"space": {"epochs": ["ten"]}}, "space.epochs"),
        ({"space": {"epochs": [0]}}, "epochs"),
        ({"space": {"epochs": [1, 1]}}, "twice"),
        ({"space": {"learning_rate": [float("nan")]}}, "learning_rate"),
        ({"space": {"epochs": {"low": 1, "high": 5}}}, "takes a list"),
        ({"fixed": {"epochs": 7}}, "both space and fixed"),
        ({"fixed": {"layers": [25, 9]}}, "one per digit"),
        ({"objectives": ["errors", "errors"]}, "twice"),
        ({"design": {"kind": "guess"}}, "design"),
        ({"design": {"kind": "factorial", "trials": 3}}, "design"),
        ({"name": "../up"}, "name"),
    ],
)
def test_what_a_study_may_not_say_is_refused_by_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StudyConfig.model_validate({**FACTORIAL, **changes})
    from harness.network.variant import describe

    assert message in describe(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"epochs": [1, 2]}}, "takes a range"),
        ({"space": {"softmax": ["output"]}}, "only a factorial design can vary it"),
        ({"space": {"epochs": {"low": 0, "high": 5, "log": True}}}, "logarithmic scale begins at 1"),
        ({"space": {"epochs": {"low": 2, "high": 4, "colour": 1}}}, "space.epochs.colour"),
        ({"fixed": {"seed": 3}}, "design.seeds, not in fixed"),
        ({"space": {"epochs": {"low": 5, "high": 5}}}, "must be below high"),
        ({"space": {"epochs": {"low": 1, "high": 6, "step": 2}}}, "a multiple of step (2)"),
        ({"space": {"learning_rate": {"low": 0.0, "high": 1.0, "log": True}}}, "above 0"),
        ({"space": {"learning_rate": {"low": -1.0, "high": 1.0}}}, "learning_rate"),
        ({"design": {"kind": "sampled", "sampler": "tpe", "trials": 0, "seeds": [1]}}, "trials"),
        ({"design": {"kind": "sampled", "sampler": "tpe", "trials": 1, "seeds": []}}, "seeds"),
        ({"design": {"kind": "sampled", "sampler": "tpe", "trials": 1, "seeds": [1, 1]}}, "twice"),
        ({"design": {"kind": "sampled", "sampler": "tpe", "trials": 1, "seeds": [-1]}}, "seed"),
    ],
)
def test_what_a_search_may_not_say_is_refused_by_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StudyConfig.model_validate({**SAMPLED, **changes})
    from harness.network.variant import describe

    assert message in describe(caught.value)


def test_a_study_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (ROOT / "studies" / "variants.toml").read_bytes())
    assert files.load(str(path)).n_trials == 160
