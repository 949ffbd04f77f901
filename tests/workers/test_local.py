from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.data.digits import Digits
from harness.engines import training
from harness.engines.contract import Engine
from harness.network.variant import Variant
from harness.workers.local import RETRIES, WorkerLostError, Workers, default_count
from tests.support import STANDIN, Started, wait_until


@pytest.fixture
def light(started: Started, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Workers with the stand-in for TensorFlow, which takes seconds to load; says which of them have begun."""
    monkeypatch.setattr(sys, "path", [str(STANDIN), *sys.path])
    return started


def test_there_is_a_worker_for_every_core_that_may_be_used() -> None:
    assert 1 <= default_count() <= (os.cpu_count() or 1)


@pytest.mark.slow
def test_workers_give_what_this_process_gives(graph: Engine, digits: Digits) -> None:
    variants = [Variant(epochs=1), Variant(epochs=2, seed=3)]
    with Workers(2, "graph", training.run) as workers:
        workers.load(digits)
        futures = [workers.submit([variant]) for variant in variants]
        results = [future.result(timeout=120).results[0] for future in futures]
    for result, expected in zip(results, training.run(graph, digits, variants), strict=True):
        assert np.array_equal(result.losses, expected.losses)
        assert np.array_equal(result.errors, expected.errors)
        assert np.array_equal(result.logits_1015, expected.logits_1015)


@pytest.mark.slow
def test_a_batch_whose_worker_is_killed_is_tried_twice_more_and_then_fails_alone(
    optdigits: Digits, light: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PAUSE_S", "3")
    with Workers(1, "standin", training.run) as workers:
        workers.load(optdigits)
        doomed = workers.submit([Variant(epochs=1)])
        next_one = workers.submit([Variant(epochs=1, seed=7)])
        for attempt in range(1 + RETRIES):
            assert not doomed.done()
            os.kill(light.pids(attempt + 1)[-1], signal.SIGKILL)
        error = doomed.exception(timeout=60)
        assert isinstance(error, WorkerLostError)
        assert str(error).startswith("a worker ")
        assert "3 times in a row" in str(error)
        assert next_one.result(timeout=120).results[0].variant.seed == 7


def test_a_batch_whose_worker_is_killed_once_is_trained_by_the_next_one(
    optdigits: Digits, light: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PAUSE_S", "2")
    with Workers(1, "standin", training.run) as workers:
        workers.load(optdigits)
        doomed = workers.submit([Variant(epochs=3)])
        os.kill(light.pids(1)[-1], signal.SIGKILL)
        assert len(doomed.result(timeout=60).results[0].errors) == 3


@pytest.mark.usefixtures("light")
def test_a_batch_that_no_worker_has_begun_can_be_taken_back(optdigits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_PAUSE_S", "1")
    with Workers(1, "standin", training.run) as workers:
        workers.load(optdigits)
        first, second = (workers.submit([Variant(epochs=1, seed=seed)]) for seed in (1, 2))
        while not first.running():
            time.sleep(0.05)
        assert workers.withdraw(second)
        assert not workers.withdraw(first)
        assert first.result(timeout=60).results[0].variant.seed == 1
        assert second.cancelled()


@pytest.mark.usefixtures("standin")
def test_a_worker_does_not_train_for_a_coordinator_that_was_killed(started: Started, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, time; from harness.data import digits; from harness.engines import training; "
        "from harness.network.variant import Variant; from harness.workers.local import Workers\n"
        "if __name__ == '__main__':\n"
        " workers = Workers(1, 'standin', training.run); workers.load(digits.load('optdigits'))\n"
        " workers.submit([Variant(epochs=1)])\n"
        " while not pathlib.Path(os.environ['STANDIN_STARTED']).exists(): time.sleep(0.05)\n"
        " os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "STANDIN_PAUSE_S": "60"}
    (tmp_path / "main.py").write_text(code)
    command = [sys.executable, "main.py"]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    [worker] = started.pids(1)
    deadline_s = time.monotonic() + 20
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s, "the worker trains on"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_loads_costs_nothing(digits: Digits) -> None:
    with Workers(1, "xla", training.run, Variant().shape) as workers:
        workers.load(digits)
        waiting = workers.submit([Variant(epochs=1)])
        while not (loading := multiprocessing.active_children()):
            time.sleep(0.05)
        worker = psutil.Process(loading[0].pid)
        # It still has to start TensorFlow and to compile when it has opened TensorFlow's library.
        wait_until(lambda: any("libtensorflow" in part.path for part in worker.memory_maps()))
        worker.kill()
        assert waiting.result(timeout=120).results[0].final_errors > 0


@pytest.mark.slow
def test_ctrl_c_is_not_a_workers_to_handle(digits: Digits) -> None:
    with Workers(1, "graph", training.run) as workers:
        workers.load(digits)
        workers.submit([Variant(epochs=1)]).result(timeout=120)
        running = workers.submit([Variant(epochs=20)])
        [worker] = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        assert len(running.result(timeout=120).results[0].errors) == 20


@pytest.mark.slow
def test_leaving_by_an_error_stops_the_workers(digits: Digits) -> None:
    def interrupted() -> None:
        with Workers(1, "graph", training.run) as workers:
            workers.load(digits)
            endless = workers.submit([Variant(epochs=1_000_000)])
            wait_until(endless.running)
            raise KeyboardInterrupt

    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started_s < 60
    assert multiprocessing.active_children() == []
