from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from pebble import ProcessExpired

from harness import trials
from harness.digits import Digits
from harness.engines.contract import Engine
from harness.variant import Variant
from harness.workers import Workers, default_count


def test_there_is_a_worker_for_every_core_that_may_be_used() -> None:
    assert 1 <= default_count() <= (os.cpu_count() or 1)


def test_workers_give_what_this_process_gives(graph: Engine, digits: Digits) -> None:
    variants = [Variant(epochs=1), Variant(epochs=2, seed=3)]
    with Workers(2, "graph") as workers:
        workers.load(digits)
        futures = [workers.submit([variant]) for variant in variants]
        outcomes = [future.result(timeout=120).outcomes[0] for future in futures]
    for outcome, expected in zip(outcomes, trials.run(graph, digits, variants), strict=True):
        assert np.array_equal(outcome.losses, expected.losses)
        assert np.array_equal(outcome.errors, expected.errors)
        assert np.array_equal(outcome.logits_1015, expected.logits_1015)


def test_a_worker_that_is_killed_fails_its_own_batch_alone(digits: Digits) -> None:
    with Workers(1, "graph") as workers:
        workers.load(digits)
        workers.submit([Variant(epochs=1)]).result(timeout=120)
        doomed = workers.submit([Variant(epochs=100_000)])
        next_one = workers.submit([Variant(epochs=1)])
        time.sleep(1)
        [worker] = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert isinstance(doomed.exception(timeout=60), ProcessExpired)
        assert next_one.result(timeout=120).outcomes[0].final_errors > 0


def test_ctrl_c_is_not_a_workers_to_handle(digits: Digits) -> None:
    with Workers(1, "graph") as workers:
        workers.load(digits)
        workers.submit([Variant(epochs=1)]).result(timeout=120)
        running = workers.submit([Variant(epochs=20)])
        [worker] = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        assert len(running.result(timeout=120).outcomes[0].errors) == 20


def test_leaving_by_an_error_stops_the_workers(digits: Digits) -> None:
    def interrupted() -> None:
        with Workers(1, "graph") as workers:
            workers.load(digits)
            workers.submit([Variant(epochs=1_000_000)])
            time.sleep(1)
            raise KeyboardInterrupt

    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started_s < 60
    assert multiprocessing.active_children() == []
