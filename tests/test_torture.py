"""Studies that are killed again and again; ``nox -s torture`` does the same some hundred times more.

Set ``HARNESS_TORTURE_SEED`` to the seed that a failure prints to repeat its moments.
"""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.change import RECORDING, Moment, be_killed
from tests.shared import Shared
from tests.torture import (
    COORDINATOR,
    DESIGNS,
    START_UP,
    Doomed,
    Tally,
    schedule,
    torture,
    torture_cluster,
    torture_workers,
)

KILLS = 3  # of each kind
SEED = "HARNESS_TORTURE_SEED"


@pytest.fixture(scope="session")
def references(shared: Shared) -> dict[str, Doomed]:
    """An uninterrupted study of each design."""
    return {design: shared.doomed(design) for design in DESIGNS}


@pytest.fixture
def seed() -> int:
    """The seed of the moments: the one that is given, else a new one. It is printed with a failure."""
    drawn = int(os.environ.get(SEED) or random.randrange(2**32))
    print(f"repeat these moments: {SEED}={drawn}")
    return drawn


def nothing_is_lost(tally: Tally) -> None:
    assert tally.wrong == []
    assert min(tally.kills.values()) >= KILLS


def test_a_seed_gives_the_same_moments_and_another_seed_others() -> None:
    first, again, other = (schedule(Random(seed), COORDINATOR, KILLS, 4.0) for seed in (7, 7, 8))
    assert first == again != other
    assert sorted(moment.kind for moment in first) == sorted(COORDINATOR * KILLS)


def test_a_moment_that_is_not_reached_comes_sooner_the_next_time() -> None:
    moment = Moment(START_UP, 15, "after", 4.0)
    for _ in range(4):
        moment = moment.sooner()
    assert moment == Moment(START_UP, 1, "after", 0.25)


@pytest.mark.slow
def test_a_killed_study_loses_nothing_and_does_nothing_twice(
    references: dict[str, Doomed], seed: int, tmp_path: Path
) -> None:
    random = Random(seed)
    tally = torture(tmp_path, references, schedule(random, COORDINATOR, KILLS, 4.0), random, print)
    assert tally.kills.keys() == set(COORDINATOR)
    nothing_is_lost(tally)


@pytest.mark.slow
def test_a_study_that_is_killed_while_it_is_begun_is_whole_in_the_end(
    references: dict[str, Doomed], tmp_path: Path
) -> None:
    doomed = Doomed(tmp_path / "doomed", "grid", "standin")
    # When its own run was made; then at every moment at which that is claimed and completed.
    for call in (2, *range(1, 8)):
        assert doomed.start(partial(be_killed, Moment(RECORDING, call))).wait(300) == -signal.SIGKILL
    doomed.run()
    assert doomed.wrong(references["grid"]) == []


@pytest.mark.slow
def test_killed_workers_of_a_cluster_cost_no_more_than_their_batches(
    references: dict[str, Doomed], seed: int, tmp_path: Path
) -> None:
    nothing_is_lost(torture_cluster(tmp_path / "cluster", references, KILLS, Random(seed), print))


@pytest.mark.slow
def test_killed_workers_cost_no_more_than_their_batches(
    references: dict[str, Doomed], seed: int, tmp_path: Path
) -> None:
    nothing_is_lost(torture_workers(tmp_path, references, KILLS, Random(seed), print))
