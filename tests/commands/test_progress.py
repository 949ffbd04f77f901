from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from harness.commands import progress as progress_module
from harness.commands.progress import EpochLines, StudyProgress, TrainingsProgress
from harness.engines.contract import EpochReport
from harness.network.variant import Variant


def told(*, quiet: bool, terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with StudyProgress(console, quiet=quiet) as progress:
        progress.begin(2, 4)
        progress.repeated()
        progress.trial([Variant(epochs=5)], None)
    return stream.getvalue()


def test_a_log_gets_plain_lines_that_say_how_far_how_fast_and_until_when() -> None:
    lines = told(quiet=False, terminal=False).splitlines()
    assert lines[0] == "2 of 4 trials are done; training 2"
    pattern = r"4 of 4 trials \(learning rate 0.001, 5 epochs\); [\d.]+ trials/s, until \d\d:\d\d:\d\d, 1 failed"
    assert re.fullmatch(pattern, lines[1])
    assert len(lines) == 2


def test_a_terminal_gets_a_bar() -> None:
    shown = told(quiet=False, terminal=True)
    assert "4/4" in shown
    assert "trials are done" not in shown


def test_quiet_says_nothing() -> None:
    assert told(quiet=True, terminal=False) == ""


def test_an_epoch_is_shown_as_keras_shows_it() -> None:
    stream = io.StringIO()
    EpochLines(stream)(EpochReport(Variant(epochs=40), 3, 0.44281, 473, 0.157))
    bar = "=" * 30
    assert stream.getvalue() == f"Epoch 3/40\n157/157 [{bar}] - 0.2s 1.00ms/step - loss: 0.4428 - errors: 473\n"


def test_trainings_get_a_line_now_and_then_in_a_log_and_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_LINE_EVERY_S", 0)
    for terminal, shown in ((False, r"3 of 12 trainings are done; until \d\d:\d\d:\d\d\n"), (True, r"(?s).*3/12.*")):
        stream = io.StringIO()
        with TrainingsProgress(Console(file=stream, force_terminal=terminal, width=100)) as progress:
            progress.trained(3, 12)
        assert re.fullmatch(shown, stream.getvalue())
