from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness import ui
from harness.errors import StoppedError, UsageError
from tests.support import COMMAND, page


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ui.free_port(port) > port


def test_no_free_port_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(ui, "_PORTS", 1)
        with pytest.raises(StoppedError, match="is free"):
            ui.free_port(taken.getsockname()[1])


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to show"):
        ui.command(f"sqlite:///{tmp_path}/mlflow.db", 5000)


def test_runs_on_a_server_are_shown_by_that_server() -> None:
    with pytest.raises(UsageError, match="tracking server"):
        ui.command("http://127.0.0.1:5000", 5001)


@pytest.mark.slow
def test_the_ui_serves_the_database_to_this_machine_and_stops_when_asked(tmp_path: Path) -> None:
    from harness.tracking import Tracker

    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        Tracker()
    finally:
        os.chdir(before)
    port = ui.free_port(5600)
    server = subprocess.Popen([COMMAND, "ui", "--port", str(port)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{port}/"
        assert "MLflow" in page(address, seconds=90)
    finally:
        server.send_signal(signal.SIGINT)
        _, told = server.communicate(timeout=60)
    assert address in told
    assert server.returncode == 0
    assert "Traceback" not in told
