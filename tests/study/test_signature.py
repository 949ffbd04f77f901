from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import provenance
from harness.data.digits import Digits
from harness.study import files, signature
from harness.study.config import StudyConfig


@pytest.fixture
def config() -> StudyConfig:
    return files.load("variants")


def changed(config: StudyConfig, **parts: Any) -> StudyConfig:
    return StudyConfig.model_validate({**config.model_dump(exclude_unset=True), **parts})


def test_a_study_means_the_same_as_itself(config: StudyConfig, optdigits: Digits) -> None:
    meant = signature.of(config, optdigits)
    assert signature.differences(meant, signature.of(files.load("variants"), optdigits)) == []


@pytest.mark.parametrize("grown", [{"seed": [1234, 9]}, {"learning_rate": [0.1, 0.2]}, {"epochs": [1]}])
def test_a_space_may_grow_and_shrink(config: StudyConfig, optdigits: Digits, grown: dict[str, Any]) -> None:
    space = config.space.model_dump(exclude_unset=True)
    other = changed(config, space={**space, **grown})
    assert signature.differences(signature.of(config, optdigits), signature.of(other, optdigits)) == []


def test_what_was_fixed_may_begin_to_vary_and_the_other_way_round(config: StudyConfig, optdigits: Digits) -> None:
    space = config.space.model_dump(exclude_unset=True)
    fixed = changed(config, fixed={"batch_size": 64})
    varied = changed(config, space={**space, "batch_size": [32, 64]})
    ways = [signature.of(one, optdigits) for one in (fixed, varied)]
    assert signature.differences(*ways) == signature.differences(*reversed(ways)) == []


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"engine": "graph"}, "engine: xla before, graph now"),
        ({"fixed": {"batch_size": 64}}, "batch_size: 32 before, 64 now"),
        ({"objectives": ["errors", "epochs"]}, "objectives: errors before, errors, epochs now"),
    ],
)
def test_what_finished_trials_meant_is_told_when_it_changes(
    config: StudyConfig, optdigits: Digits, parts: dict[str, Any], said: str
) -> None:
    assert signature.differences(
        signature.of(config, optdigits), signature.of(changed(config, **parts), optdigits)
    ) == [said]


def test_other_images_are_told_by_name_and_hash(config: StudyConfig, optdigits: Digits) -> None:
    x = np.zeros_like(optdigits.x)
    other = replace(optdigits, x=x, name="file-123456789abc", sha256_x="0" * 64)
    [said] = signature.differences(signature.of(config, optdigits), signature.of(config, other))
    assert said == "images: optdigits-5000 (1df638f67c09) before, file-123456789abc (000000000000) now"


def test_an_upgrade_is_noticed(config: StudyConfig, optdigits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signature.of(config, optdigits)
    now = {**provenance.versions(), "keras": "9.9", "pandas": "9.9"}
    monkeypatch.setattr(provenance, "versions", lambda: now)
    [said] = signature.differences(before, signature.of(config, optdigits))
    assert said == f"keras: {before['keras']} before, 9.9 now"


def test_the_seeds_of_a_search_are_what_its_trials_mean_and_its_sampler_is_not(optdigits: Digits) -> None:
    search = files.load("search")
    before = signature.of(search, optdigits)
    design = search.design.model_dump()
    other = changed(search, design={**design, "sampler": "random", "sampler_seed": 9, "trials": 500})
    assert signature.differences(before, signature.of(other, optdigits)) == []
    other = changed(search, design={**design, "seeds": [1, 2]})
    assert signature.differences(before, signature.of(other, optdigits)) == ["seeds: 1234, 1, 2, 3 before, 1, 2 now"]


def test_a_key_tells_studies_of_one_name_apart(config: StudyConfig, optdigits: Digits) -> None:
    meant = signature.of(config, optdigits)
    other = signature.of(changed(config, engine="graph"), optdigits)
    keys = {
        signature.key("a", 0, meant),
        signature.key("a", 1, meant),
        signature.key("b", 0, meant),
        signature.key("a", 0, other),
    }
    assert len(keys) == 4
    assert signature.key("a", 0, signature.of(config, optdigits)) in keys
