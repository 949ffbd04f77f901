from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

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


def test_workers_give_what_this_process_gives(graph: Engine, digits: Digits, tmp_path: Path) -> None:
    variants = [Variant(epochs=1), Variant(epochs=2, seed=3)]
    with Workers(2, "graph", tmp_path) as workers:
        workers.load(digits)
        futures = [workers.submit([variant]) for variant in variants]
        outcomes = [future.result(timeout=120).outcomes[0] for future in futures]
    for outcome, expected in zip(outcomes, trials.run(graph, digits, variants), strict=True):
        assert np.array_equal(outcome.losses, expected.losses)
        assert np.array_equal(outcome.errors, expected.errors)
        assert np.array_equal(outcome.logits_1015, expected.logits_1015)


def test_a_worker_that_is_killed_fails_its_own_batch_alone(digits: Digits, tmp_path: Path) -> None:
    with Workers(1, "graph", tmp_path) as workers:
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


def test_a_worker_that_is_killed_while_it_loads_costs_nothing(digits: Digits, tmp_path: Path) -> None:
    with Workers(1, "xla", tmp_path, Variant().shape) as workers:
        workers.load(digits)
        waiting = workers.submit([Variant(epochs=1)])
        while not (loading := multiprocessing.active_children()):
            time.sleep(0.05)
        time.sleep(1.5)  # it takes four at least to load TensorFlow and compile
        assert loading[0].pid is not None
        os.kill(loading[0].pid, signal.SIGKILL)
        assert waiting.result(timeout=120).outcomes[0].final_errors > 0


def test_the_images_are_gone_when_the_workers_are(digits: Digits, tmp_path: Path) -> None:
    with Workers(1, "graph", tmp_path) as workers:
        workers.load(digits)
        assert list(tmp_path.iterdir()) != []
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_not_a_workers_to_handle(digits: Digits, tmp_path: Path) -> None:
    with Workers(1, "graph", tmp_path) as workers:
        workers.load(digits)
        workers.submit([Variant(epochs=1)]).result(timeout=120)
        running = workers.submit([Variant(epochs=20)])
        [worker] = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        assert len(running.result(timeout=120).outcomes[0].errors) == 20


def test_leaving_by_an_error_stops_the_workers(digits: Digits, tmp_path: Path) -> None:
    def interrupted() -> None:
        with Workers(1, "graph", tmp_path) as workers:
            workers.load(digits)
            workers.submit([Variant(epochs=1_000_000)])
            time.sleep(1)
            raise KeyboardInterrupt

    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started_s < 60
    assert multiprocessing.active_children() == []
