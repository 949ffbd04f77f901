"""How messages are printed."""

from __future__ import annotations

import pytest

from harness.commands import console

TEXT = "PASS: [red] is not a style here\n  seen  PASSED, not PASS\nFAIL  a check"
COLOURS = {"PASS": "green", "FAIL": "red"}


def test_verdicts_are_coloured_where_lines_begin_with_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.say_in_colour(TEXT, COLOURS)
    printed = capsys.readouterr().out
    assert printed.count("\x1b[1;32mPASS\x1b[0m") == 1
    assert printed.count("\x1b[1;31mFAIL\x1b[0m") == 1


@pytest.mark.parametrize("json_to", [None, "-"])
def test_without_colours_the_text_is_unchanged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], json_to: str | None
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    long = f"{TEXT} {'word ' * 50}end"
    console.say_in_colour(long, COLOURS, json_to)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ((f"{long}\n", "") if json_to is None else ("", f"{long}\n"))
