from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.errors import StoppedError, UsageError
from harness.tracking import ui
from harness.tracking.location import tracking_uri
from harness.tracking.store import Store
from tests.support import Harness


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


def test_nothing_to_show_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"nothing to show: .*does not exist"):
        ui.landing(tracking_uri())
    assert list(tmp_path.iterdir()) == []
    Store(create=True)
    with pytest.raises(UsageError, match=r"nothing to show: .* has no runs"):
        ui.landing(tracking_uri())


def test_a_file_that_is_no_database_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("notes, not a database\n" * 100)
    with pytest.raises(StoppedError, match="file is not a database"):
        ui.landing(f"sqlite:///{tmp_path}/mlflow.db")


def test_runs_on_a_server_are_shown_by_that_server() -> None:
    with pytest.raises(UsageError, match="tracking server"):
        ui.landing("http://127.0.0.1:5000")


def test_a_server_that_ends_at_once_is_one_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StoppedError, match="ended with status 1"), ui.served("nonsense://", ui.free_port(5600)):
        pass
    assert "nonsense" in capfd.readouterr().err


def test_the_dashboard_says_that_there_is_nothing_to_show(harness: Harness, tmp_path: Path) -> None:
    done = harness("dashboard", "small")
    assert done.returncode == 2
    assert "nothing was recorded yet" in done.stderr
    assert list(tmp_path.iterdir()) == []
