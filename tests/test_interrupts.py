"""Ctrl-C and SIGTERM, as they come from a terminal, a system that shuts down, or by way of nox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from harness.signals import _SAME_S, Stop, TerminatedError
from tests.support import ROOT, wait_until
from tests.torture import NAME, Doomed
from tests.warm import Command

pytestmark = pytest.mark.usefixtures("standin")

Started = Command | subprocess.Popen[bytes]


def begun(folder: Path, pause_s: float, *options: str) -> Doomed:
    """A study that is to be begun, whose batches take so long."""
    doomed = Doomed(folder, "grid", "standin", on=("--workers", "1", *options), pause_s=pause_s)
    (folder / "log").write_text("")
    return doomed


def told(doomed: Doomed) -> str:
    return (doomed.folder / "log").read_text()


def at_it(doomed: Doomed, process: Started) -> Started:
    """The process, when the first batch is being trained by its one worker."""
    while "trials are done; training" not in told(doomed):
        assert process.poll() is None, told(doomed)
        time.sleep(0.05)
    time.sleep(0.5)  # so that the batch is handed out
    return process


def statuses(folder: Path) -> Counter[str]:
    rows = Doomed(folder, "grid", "standin")._rows(
        "select runs.status from runs join tags using (run_uuid) where key = 'harness.role' and value = 'training'"
    )
    return Counter(status for (status,) in rows)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "interrupted"), pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow)],
)
def test_the_first_signal_records_what_is_being_trained_and_stops(
    number: signal.Signals, status: int, said: str, whole_grid: Doomed, tmp_path: Path
) -> None:
    doomed = begun(tmp_path, pause_s=3)
    process = at_it(doomed, doomed.start())
    process.send_signal(number)
    assert process.wait(60) == status, told(doomed)
    assert "1 batch of trainings will be finished and recorded" in told(doomed)
    # Four trainings a batch, each for two trials; the batch that waited was not begun.
    assert "8 of 20 trials are done" in told(doomed)
    last = told(doomed).splitlines()[-1]
    assert last.startswith(f"{said}. Recorded results are kept. Resume with: harness study run ")
    assert last.endswith(f"{NAME}.toml --data optdigits --workers 1")
    assert statuses(tmp_path) == {"FINISHED": 8}
    doomed = Doomed(tmp_path, "grid", "standin")
    assert not doomed._rows("select 1 from metrics where key in ('share_at_zero', 'failed_runs')")
    doomed.run()
    assert doomed._rows("select step from metrics where key in ('share_at_zero', 'failed_runs')") == [(2,), (2,)]
    assert "8 of 20 trials are done; training 12" in told(doomed)
    assert doomed.wrong(whole_grid) == []
    assert statuses(tmp_path) == {"FINISHED": 20}


def test_the_second_signal_stops_at_once(tmp_path: Path) -> None:
    doomed = begun(tmp_path, pause_s=300)
    process = at_it(doomed, doomed.start())
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "1 batch of trainings will be finished and recorded" in told(doomed))
    time.sleep(2 * _SAME_S)  # signals that come closer together are one
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in told(doomed)
    assert told(doomed).splitlines()[-1].startswith("interrupted. Recorded results are kept. Resume with: ")
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert not doomed._rows("select 1 from runs where status = 'RUNNING'")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nox_waits_until_the_study_has_ended_well(number: signal.Signals, tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "made-from").is_file() or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("these tests do not run in the environment that nox makes: nox -s tests does")
    doomed = begun(tmp_path, 3)
    # nox works in the folder of its file: here in the test's own, with the project's sessions.
    (tmp_path / "sessions.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom noxfile import *\n")
    file = tmp_path / f"{NAME}.toml"
    command = [sys.executable, "-m", "nox", "--noxfile", str(tmp_path / "sessions.py"), "-s", "study", "--", str(file)]
    command += ["--data", "optdigits", "--workers", "1"]
    with (tmp_path / "log").open("ab") as log:
        started = subprocess.Popen(
            command, cwd=tmp_path, env=doomed.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    process = at_it(doomed, started)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert "8 of 20 trials are done" in told(doomed)
    assert f"Resume with: nox -s study -- {file} --data optdigits --workers 1" in told(doomed)
    assert statuses(tmp_path) == {"FINISHED": 8}


@pytest.mark.slow
def test_the_way_to_go_on_does_not_put_aside_again_what_was_begun(tmp_path: Path) -> None:
    Doomed(tmp_path, "grid", "standin").run()
    doomed = begun(tmp_path, 3, "--fresh")
    process = at_it(doomed, doomed.start())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143, told(doomed)
    assert "8 of 20 trials are done" in told(doomed)
    assert (
        told(doomed)
        .splitlines()[-1]
        .endswith(f"Resume with: harness study run {NAME}.toml --data optdigits --workers 1")
    )


def test_signals_that_come_together_are_one() -> None:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert isinstance(stop.asked, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_later_signal_raises() -> None:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        stop._asked_s -= 1
        with pytest.raises(TerminatedError):
            os.kill(os.getpid(), signal.SIGTERM)
