"""Training on a Dask cluster: real schedulers and workers, on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.standin.standin import Standin
from harness import provenance
from harness.data.digits import Digits
from harness.engines import training
from harness.engines.contract import Engine
from harness.engines.training import TrainingResult
from harness.errors import StoppedError, UsageError
from harness.network.variant import Variant
from harness.workers.local import RETRIES, WorkerError, WorkerLostError
from tests import warm
from tests.search.test_run import DATA, MADE_UP_STUDY, numbers, optuna_trials, recorded, write_study
from tests.services import LOOPBACK, free_port, own_cluster, running, wait_for_port
from tests.support import COMMAND, SMALL_STUDY, Harness, Started, wait_until

pytest.importorskip("distributed", reason="needs the extra called cluster")

import psutil

from harness.workers import dask, dask_connection
from harness.workers.dask import Cluster
from harness.workers.dask_connection import Tls

DASK = str(Path(sys.executable).with_name("dask"))


def trains(pid: int) -> list[psutil.Process]:
    """The worker processes under this one."""
    return [
        process
        for process in psutil.Process(pid).children(recursive=True)
        if "spawn_main" in " ".join(process.cmdline())
    ]


def trainers(workers: Cluster) -> set[int]:
    """The processes of the workers that have been given batches."""
    busy = [worker for worker, tasks in workers._client.processing().items() if tasks]
    return set(workers._client.run(os.getpid, workers=busy, on_error="ignore").values()) if busy else set()


@contextmanager
def scheduler(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler alone."""
    command = [DASK, "scheduler", "--host", LOOPBACK, "--port", str(port), "--no-dashboard", *options]
    with running(command, folder / "scheduler.log", folder) as process:
        wait_for_port(port, process)
        yield process


@contextmanager
def worker(folder: Path, address: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """One worker with its nanny."""
    settings = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--local-directory", str(folder)]
    with running([DASK, "worker", address, *settings, *options], folder / "worker.log", folder) as process:
        yield process


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A cluster of two workers, for tests that leave it as they find it."""
    with own_cluster(tmp_path_factory.mktemp("cluster"), 2) as running_cluster:
        yield running_cluster


@pytest.fixture
def endless(standin: None, monkeypatch: pytest.MonkeyPatch) -> Variant:  # noqa: ARG001 - its workers need the engine
    """What the engine that trains nothing pretends to train for ever, and one epoch at once, on workers of a test."""
    monkeypatch.setenv("STANDIN_EPOCH_S", "0.01")
    return Variant(epochs=1_000_000)


def same(results: Sequence[TrainingResult], expected: Sequence[TrainingResult]) -> bool:
    return len(results) == len(expected) and all(
        np.array_equal(ours.losses, theirs.losses)
        and np.array_equal(ours.errors, theirs.errors)
        and np.array_equal(ours.wrong, theirs.wrong)
        and np.array_equal(ours.logits_1015, theirs.logits_1015)
        for ours, theirs in zip(results, expected, strict=True)
    )


@pytest.mark.slow
def test_a_cluster_gives_what_this_process_gives(two_workers: tuple[str, int], graph: Engine, digits: Digits) -> None:
    variants = [Variant(epochs=1), Variant(epochs=2, seed=3)]
    with Cluster(two_workers[0], "graph") as workers:
        assert workers.count == 2
        workers.load(digits)
        futures = [workers.submit([variant]) for variant in variants]
        assert not workers.withdraw(futures[0])
        results = [future.result(timeout=120).results[0] for future in futures]
    expected = training.run(graph, digits, variants)
    assert same(results, expected)
    assert [result.softmax for result in results] == [result.softmax for result in expected]


@pytest.mark.slow
def test_a_batch_waits_for_a_worker_when_the_last_one_has_just_left(
    two_workers: tuple[str, int], digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster(two_workers[0], "graph") as workers:
        workers.load(digits)
        present: Callable[[], dict[str, int]] = workers._client.nthreads
        empty: list[dict[str, int]] = [{}]
        monkeypatch.setattr(workers._client, "nthreads", lambda: empty.pop() if empty else present())
        [result] = workers.submit([Variant(epochs=1)]).result(timeout=120).results
    assert len(result.errors) == 1
    assert empty == []


@pytest.mark.slow
def test_a_study_on_a_cluster_records_what_it_records_here(
    two_workers: tuple[str, int], harness: Harness, tmp_path: Path
) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder, options in zip(folders, (("--workers", "1"), ("--cluster", two_workers[0])), strict=True):
        folder.mkdir()
        write_study(folder, SMALL_STUDY.replace('"xla"', '"graph"'))  # which the cluster's workers have loaded
        done = harness("study", "run", "small.toml", *options, *DATA, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "distributed" not in done.stderr
    here, there = (sorted(map(numbers, recorded(folder).trainings), key=str) for folder in folders)
    assert here == there
    assert len(here) == 8


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_a_retry_and_no_record(started: Started, tmp_path: Path) -> None:
    write_study(tmp_path, MADE_UP_STUDY)
    log = tmp_path / "log"
    log.touch()
    with own_cluster(tmp_path, 2, {"STANDIN_PAUSE_S": "4"}) as (address, pid):
        command = ["study", "run", "small.toml", "--cluster", address, *DATA]
        study = warm.start(command, tmp_path, os.environ, (log, log))
        before = {process.pid for process in trains(pid)}
        os.kill(started.pids(1)[0], signal.SIGKILL)
        assert study.wait(300) == 0, log.read_text()
        assert {process.pid for process in trains(pid)} != before
    told = log.read_text()
    assert "8 trials done, 0 failed" in told
    assert "Traceback" not in told
    runs = recorded(tmp_path).trainings
    assert sorted(int(run.tags["harness.trial"]) for run in runs) == list(range(8))
    assert all(run.status == "FINISHED" for run in runs)
    assert [trial.state.name for trial in optuna_trials(tmp_path)] == ["COMPLETE"] * 8


@pytest.mark.slow
@pytest.mark.usefixtures("endless")
def test_images_that_were_lost_with_all_workers_are_sent_again(digits: Digits, tmp_path: Path) -> None:
    variant = Variant(epochs=5)
    with own_cluster(tmp_path, 2) as (address, pid), Cluster(address, "standin") as workers:
        workers.load(digits)
        futures = [workers.submit([variant]) for _ in range(3)]
        for process in trains(pid):
            process.kill()
        expected = training.run(Standin(digits), digits, [variant])
        assert all(same(future.result(timeout=120).results, expected) for future in futures)


@pytest.mark.slow
def test_a_batch_that_takes_worker_after_worker_with_it_fails(digits: Digits, endless: Variant, tmp_path: Path) -> None:
    with own_cluster(tmp_path, 1) as (address, pid), Cluster(address, "standin") as workers:
        workers.load(digits)
        deadly = workers.submit([endless])
        seen: set[int] = set()
        while not deadly.done():
            # Only when it trains: a worker that dies while it starts is not started again.
            for process in trains(pid):
                if process.pid in trainers(workers):
                    seen.add(process.pid)
                    process.kill()
            time.sleep(0.2)
        with pytest.raises(WorkerLostError, match="died, one after another"):
            deadly.result()
        assert len(seen) >= RETRIES + 1
        wait_until(lambda: trains(pid) != [])
        assert workers.submit([Variant(epochs=1)]).result(timeout=120).results[0].final_errors > 0


def other_versions() -> dict[str, str]:
    return {**dict.fromkeys(("zero-errors", "tensorflow", "keras", "numpy"), "0.1"), "python": "3.11.7"}


@pytest.mark.slow
def test_workers_of_other_versions_are_refused(two_workers: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "versions", other_versions)
    with pytest.raises(StoppedError, match=r"differ from this machine: tcp://.* tensorflow \S+ \(here 0\.1\)"):
        Cluster(two_workers[0], "graph")


@pytest.mark.slow
def test_a_worker_of_other_versions_that_comes_later_trains_nothing(
    two_workers: tuple[str, int], digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster(two_workers[0], "graph") as workers:
        workers.load(digits)
        monkeypatch.setattr(provenance, "versions", other_versions)
        with pytest.raises(StoppedError, match=rf"worker on {socket.gethostname()} differs from .*tensorflow 0\.1"):
            workers.submit([Variant(epochs=1)]).result(timeout=120)


@pytest.mark.slow
def test_an_engine_that_cannot_be_made_is_told(two_workers: tuple[str, int], digits: Digits) -> None:
    with Cluster(two_workers[0], "abacus") as workers:
        workers.load(digits)
        with pytest.raises(WorkerError, match=r"engine abacus cannot be created on .*no engine is called"):
            workers.submit([Variant(epochs=1)]).result(timeout=120)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8786", "tcp://", "tcp://host", "tcp://host:port", "http://host:8786", "tcp://h:1/x", ""]
)
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a scheduler"):
        Cluster(address, "graph")


def test_an_encrypted_address_needs_certificates() -> None:
    with pytest.raises(UsageError, match="is encrypted"):
        Cluster("tls://127.0.0.1:8786", "graph")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cluster", "nonsense"), "'nonsense' is not the address of a scheduler"),
        (("--cluster", "tcp://127.0.0.1:1", "--workers", "2"), "--workers and --cluster cannot be used together"),
        (("--cluster", "tcp://127.0.0.1:1", "--tls-ca", "ca.pem"), "must be given together"),
        (("--cluster", "tcp://127.0.0.1:1", "--tls-ca", "absent.pem"), "there is no file 'absent.pem'"),
        (("--tls-ca", "ca.pem"), "need --cluster"),
        (
            ("--cluster", "tcp://127.0.0.1:1", "--tls-ca", "ca.pem", "--tls-cert", "ca.pem", "--tls-key", "ca.pem"),
            "cannot be used",
        ),
    ],
)
def test_a_mistake_is_one_clear_error(
    harness: Harness, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    done = harness("study", "run", *arguments, *DATA)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_no_scheduler_is_one_clear_error(harness: Harness, tmp_path: Path) -> None:
    done = harness("study", "run", "--cluster", f"tcp://{LOOPBACK}:{free_port()}", *DATA)
    assert done.returncode == 5
    assert "error: no scheduler listens at tcp://127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_what_is_no_scheduler_is_told_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_connection, "_ANSWER_S", 1.0)
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen()
        with pytest.raises(StoppedError, match="is not a Dask scheduler"):
            Cluster(f"tcp://{LOOPBACK}:{silent.getsockname()[1]}", "graph")


@pytest.mark.slow
def test_a_scheduler_without_workers_is_waited_for_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_WORKERS_S", 1.0)
    port = free_port()
    with scheduler(tmp_path, port), pytest.raises(StoppedError, match="had no worker for 1 s"):
        Cluster(f"tcp://{LOOPBACK}:{port}", "graph")


def test_the_extra_that_is_not_installed_is_named() -> None:
    code = "import sys; sys.modules['distributed'] = None; from harness.commands.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "cluster"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the packages for a cluster are not installed" in done.stderr
    assert "pip install 'zero-errors[cluster]'" in done.stderr


@pytest.mark.slow
def test_a_scheduler_that_is_away_for_a_moment_is_waited_for(digits: Digits, endless: Variant, tmp_path: Path) -> None:
    port = free_port()
    address = f"tcp://{LOOPBACK}:{port}"
    with scheduler(tmp_path, port) as first, worker(tmp_path, address), Cluster(address, "standin") as workers:
        workers.load(digits)
        lost = workers.submit([endless])
        short = Variant(epochs=1)
        behind = workers.submit([short])
        wait_until(workers._client.processing)
        first.kill()
        first.wait()
        with scheduler(tmp_path, port), worker(tmp_path, address), worker(tmp_path, address):
            assert same(behind.result(timeout=120).results, training.run(Standin(digits), digits, [short]))
            assert not lost.done(), lost.exception()
    assert lost.done()


@pytest.mark.slow
def test_a_worker_that_stops_while_it_gets_the_images_does_not_stall_the_study(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_SCATTER_S", 1.0)
    port = free_port()
    address = f"tcp://{LOOPBACK}:{port}"
    with scheduler(tmp_path, port), worker(tmp_path, address) as nanny, Cluster(address, "standin") as workers:
        processes = psutil.Process(nanny.pid).children()
        for process in processes:
            process.suspend()
        try:
            with pytest.raises(StoppedError, match="did not send the images to all workers within 1 s"):
                workers.load(digits)
        finally:
            for process in processes:
                process.resume()
        workers.load(digits)


@pytest.mark.slow
def test_a_scheduler_that_is_gone_stops_the_study(
    digits: Digits, endless: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dask, dask_connection):
        monkeypatch.setattr(module, "SCHEDULER_S", 3.0)
    port = free_port()
    address = f"tcp://{LOOPBACK}:{port}"
    with scheduler(tmp_path, port) as process, worker(tmp_path, address), Cluster(address, "standin") as workers:
        workers.load(digits)
        running_one = workers.submit([endless])
        wait_until(workers._client.processing)
        process.kill()
        with pytest.raises(StoppedError, match="did not respond for"):
            running_one.result(timeout=60)
        with pytest.raises(StoppedError, match="did not respond for"):
            workers.submit([endless]).result(timeout=60)
        assert workers.count == 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """An authority's certificate, and one that it signed, with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    return Tls(folder / "ca.pem", *signed(folder))


def signed(folder: Path) -> tuple[Path, Path]:
    key = ["-newkey", "rsa:2048", "-nodes"]
    for command in (
        ["req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", *key, "-subj", "/CN=cluster", "-keyout", "own.key", "-out", "own.csr"],
        ["x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "own.pem"],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    return folder / "own.pem", folder / "own.key"


@pytest.mark.slow
@pytest.mark.usefixtures("standin")
def test_with_tls_only_those_of_the_authority_are_let_in(
    certificates: Tls, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"--tls-ca-file": certificates.ca, "--tls-cert": certificates.cert, "--tls-key": certificates.key}
    options = [str(word) for pair in files.items() for word in pair]
    port = free_port()
    address = f"tls://{LOOPBACK}:{port}"
    with scheduler(tmp_path, port, "--protocol", "tls", *options), worker(tmp_path, address, *options):
        with Cluster(address, "standin", tls=certificates) as workers:
            workers.load(digits)
            assert workers.submit([Variant(epochs=1)]).result(timeout=120).results[0].final_errors > 0
        monkeypatch.setattr(dask_connection, "_ANSWER_S", 2.0)
        with pytest.raises(StoppedError, match="is not a Dask scheduler"):
            Cluster(address.replace("tls", "tcp"), "graph")
        (tmp_path / "other").mkdir()
        stranger = Tls(certificates.ca, *signed(tmp_path / "other"))
        with pytest.raises(StoppedError, match="is not a Dask scheduler"):
            Cluster(address, "graph", tls=stranger)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_cluster_of_this_machine_ends_in_order(number: int, status: int, tmp_path: Path) -> None:
    port = free_port()
    command = [COMMAND, "cluster", "--workers", "2", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"harness study run --cluster tcp://{LOOPBACK}:{port}\n"
    workers = trains(process.pid)
    assert len(workers) == 2
    os.killpg(process.pid, number)  # as the terminal does: to all processes
    _, told = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in told
    assert not [worker for worker in workers if worker.is_running()]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_clear_error(two_workers: tuple[str, int], harness: Harness) -> None:
    done = harness("cluster", "--workers", "1", "--port", two_workers[0].rsplit(":", maxsplit=1)[1])
    assert done.returncode == 5
    assert "a cluster cannot be started at" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
