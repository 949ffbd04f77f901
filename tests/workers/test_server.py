"""The fork server, and the processes that are forked from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.data.digits import Digits
from harness.engines import training
from harness.network.variant import Variant
from harness.workers import server
from harness.workers.local import WorkerLostError, Workers
from tests.support import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no fork server")


def test_settings_of_tensorflow_that_changed_since_the_server_started_need_other_processes(tmp_path: Path) -> None:
    code = (
        "import os; from harness.workers import server; before = server.is_usable()\n"
        "os.environ['TF_DETERMINISTIC_OPS'] = '1'; print(before, server.is_usable())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_a_server_ends_with_its_process_also_while_tensorflow_is_imported(tmp_path: Path) -> None:
    code = (
        "import os, psutil, signal; from harness.workers import server; server.start()\n"
        "print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # The output ends when the last process that holds it has ended.
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    assert pids
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_a_server_imports_nothing_of_the_current_folder(tmp_path: Path) -> None:
    for name in ("harness", "tensorflow", "numpy", "signal"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()")
    code = (
        "import sys; sys.path.remove('')\n"
        "import multiprocessing, os; from harness.workers import processes\n"
        "child = processes.start('xla', os.write); child.end()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not (tmp_path / "imported").exists()


def kill_server() -> None:
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    for child in children:
        if "forkserver" in " ".join(child.cmdline()):
            child.kill()


@pytest.mark.slow
def test_a_server_that_ended_is_started_again(digits: Digits) -> None:
    for _ in range(2):
        with Workers(1, "xla", training.run, Variant().shape) as workers:
            workers.load(digits)
            assert workers.submit([Variant(epochs=1)]).result(timeout=120).results[0].final_errors > 0
        kill_server()


@pytest.mark.slow
def test_a_tensorflow_that_ends_the_server_ends_each_worker_and_is_reported(
    optdigits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_server()  # the next one has the wrong flag, which TensorFlow reads when it starts
    monkeypatch.setattr(server, "is_usable", lambda: True)
    monkeypatch.setenv("XLA_FLAGS", "--no_flag_of_xla")
    with Workers(1, "xla", training.run, Variant().shape) as workers:
        workers.load(optdigits)
        error = workers.submit([Variant(epochs=1)]).exception(timeout=120)
    kill_server()
    assert isinstance(error, WorkerLostError)
    assert "3 times in a row" in str(error)
