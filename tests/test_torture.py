"""Studies that are killed again and again; ``nox -s torture`` does the same some hundred times more."""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.change import RECORDING, be_killed
from tests.torture import COORDINATOR, Doomed, Tally, torture, torture_cluster, torture_workers, whole

KILLS = 3  # of each kind


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Doomed]:
    """A study of each design that nobody interrupts."""
    return whole(tmp_path_factory.mktemp("whole"), "standin")


@pytest.fixture
def seed() -> int:
    """The seed of the moments, other ones every time."""
    drawn = random.randrange(2**32)
    random.seed(drawn)
    return drawn


def nothing_is_lost(tally: Tally, seed: int) -> None:
    assert tally.wrong == [], f"random seed {seed}"
    assert min(tally.kills.values()) >= KILLS


@pytest.mark.slow
def test_a_killed_study_loses_nothing_and_does_nothing_twice(
    references: dict[str, Doomed], seed: int, tmp_path: Path
) -> None:
    tally = torture(tmp_path, references, COORDINATOR, KILLS)
    assert tally.kills.keys() == set(COORDINATOR)
    nothing_is_lost(tally, seed)


@pytest.mark.slow
def test_a_study_that_is_killed_while_it_is_begun_is_whole_in_the_end(
    references: dict[str, Doomed], tmp_path: Path
) -> None:
    doomed = Doomed(tmp_path / "doomed", "grid", "standin")
    # When its own run was made; then at every moment at which that is claimed and completed.
    for moment in (2, *range(1, 8)):
        assert doomed.start(partial(be_killed, RECORDING, moment, "before")).wait(300) == -signal.SIGKILL
    doomed.run()
    assert doomed.wrong(references["grid"]) == []


@pytest.mark.slow
def test_killed_workers_of_a_cluster_cost_no_more_than_their_batches(
    references: dict[str, Doomed], seed: int, tmp_path: Path
) -> None:
    nothing_is_lost(torture_cluster(tmp_path / "cluster", references, KILLS), seed)


@pytest.mark.slow
def test_killed_workers_cost_no_more_than_their_batches(
    references: dict[str, Doomed], seed: int, tmp_path: Path
) -> None:
    nothing_is_lost(torture_workers(tmp_path, references, KILLS), seed)
