"""Studies that are killed again and again; ``nox -s torture`` does the same some hundred times more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.killer import ASKING, RECORDING, REPORT, TELLING, TRAINING
from tests.torture import START_UP, torture, torture_cluster, torture_workers


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [(START_UP, ASKING, TRAINING), (RECORDING, TELLING, REPORT)])
def test_a_killed_study_loses_nothing_and_does_nothing_twice(kinds: tuple[str, ...], tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    random.seed(seed)
    tally = torture(tmp_path, "standin", kinds, 10)
    assert tally.wrong == [], f"random seed {seed}"
    assert all(tally.kills[kind] >= 10 for kind in kinds)


@pytest.mark.slow
def test_killed_workers_of_a_cluster_cost_no_more_than_their_batches(tmp_path: Path) -> None:
    tally = torture_cluster(tmp_path / "cluster", 10)
    assert tally.wrong == []
    assert tally.kills.total() >= 10


@pytest.mark.slow
def test_killed_workers_cost_no_more_than_their_batches(tmp_path: Path) -> None:
    tally = torture_workers(tmp_path, "standin", 10)
    assert tally.wrong == []
    assert tally.kills.total() >= 10
