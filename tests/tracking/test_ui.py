from __future__ import annotations

import io
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands import console, serve
from harness.errors import StoppedError, UsageError
from harness.tracking import ui
from harness.tracking.location import tracking_uri
from harness.tracking.reader import StudyReader
from harness.tracking.store import Store
from tests.support import Harness
from tests.torture import NAME, Doomed


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


def test_an_unknown_study_gets_the_nearest_name(whole_grid: Doomed, harness: Harness) -> None:
    for command in (("ui", "domed"), ("report", "domed"), ("study", "show", "domed"), ("compare", "domed", NAME)):
        done = harness(*command, cwd=whole_grid.folder)
        assert done.returncode == 2
        assert f"Did you mean {NAME}? `harness study list` shows the recorded studies." in done.stderr
    unlike = harness("ui", "mnist", cwd=whole_grid.folder)
    assert unlike.returncode == 2
    assert "no study called 'mnist' was recorded" in unlike.stderr
    assert "Did you mean" not in unlike.stderr


@pytest.mark.parametrize(
    ("display", "is_terminal", "opens"), [(":0", True, True), ("", True, False), (":0", False, False)]
)
def test_the_page_of_a_study_is_printed_and_opened_where_a_person_sees_it(
    whole_grid: Doomed, monkeypatch: pytest.MonkeyPatch, display: str, *, is_terminal: bool, opens: bool
) -> None:
    opened: list[str] = []
    ended = subprocess.Popen(["true"])

    @contextmanager
    def served(_uri: str, _port: int) -> Iterator[subprocess.Popen[bytes]]:
        yield ended

    monkeypatch.chdir(whole_grid.folder)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(ui, "served", served)
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("harness.commands.serve.sys.stderr.isatty", lambda: is_terminal, raising=False)
    with pytest.MonkeyPatch.context() as patch:
        printed = io.StringIO()
        patch.setattr(console, "err", Console(file=printed, soft_wrap=True))
        assert serve.ui.main([NAME, "--port", str(ui.free_port(5700))], standalone_mode=False) == 0
    reader = StudyReader(Store(create=False))
    page = f"/runs/{reader.recorded(NAME).run_id}?workflowType=machine_learning"
    assert page in printed.getvalue()
    assert [page in address for address in opened] == [True] * opens


def test_the_dashboard_says_that_there_is_nothing_to_show(harness: Harness, tmp_path: Path) -> None:
    done = harness("dashboard", "small")
    assert done.returncode == 2
    assert "nothing was recorded yet" in done.stderr
    assert list(tmp_path.iterdir()) == []
