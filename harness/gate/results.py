"""Formats the result of a gate as text for terminals, JSON, JUnit XML and Markdown."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from harness import fingerprint, provenance
from harness.gate.environment import Difference
from harness.gate.run import GateResult
from harness.gate.verdict import Check, Verdict
from harness.text import escape_markdown, markdown_table, plural

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The largest number of environment differences to show, and the largest line width.
_SHOWN, _WIDTH = 12, 100
_SIGNS = {
    Verdict.PASS: "✅",
    Verdict.CHANGED: "🔷",
    Verdict.INCONCLUSIVE: "❔",
    Verdict.NOT_RUN: "⚪",
    Verdict.FAIL: "❌",
}


def as_json(result: GateResult) -> dict[str, Any]:
    """Return the result of a gate as plain values for JSON, with the environment of the gate."""
    commit, watched = provenance.commit(), provenance.watched_commit()
    return {
        **asdict(result),
        "answer": result.answer,
        "versions": provenance.versions(),
        "packages": provenance.packages(),
        "processor": provenance.processor(),
        "commit": None if commit is None else asdict(commit),
        "watched_commit": None if watched is None else asdict(watched),
        "fingerprint": fingerprint.here(),
    }


def terminal(result: GateResult) -> str:
    """Return the result of a gate as text for a terminal.

    The text has the answer, the environment differences, the failed checks, the passed checks, and the command that
    repeats the gate.
    """
    lines = [_headline(result.answer)]
    if result.environment:
        lines += ["", "Differs from the environment of the reference:", *map(_difference, shown(result.environment))]
    bad = [check for check in result.checks if not check.is_good]
    for check in bad:
        lines += ["", f"{check.verdict}  {check.name}"]
        lines += [_wrapped(f"  {name:<10}{_line(text)}", " " * 12) for name, text in check.texts.items()]
    good = [
        _wrapped(f"{check.verdict}  {check.name}: {_line(check.seen)}", " " * 6)
        for check in result.checks
        if check.is_good
    ]
    lines += ["", *good] if good else []
    if result.command:
        lines += ["", _repeat(result.command)]
    return "\n".join(lines)


def shown(environment: Sequence[Difference]) -> list[Difference]:
    """Return the first environment differences. If some are left out, the last entry states their number."""
    if len(environment) <= _SHOWN:
        return list(environment)
    rest = len(environment) - _SHOWN + 1
    return [*environment[: _SHOWN - 1], Difference("other packages", "", f"{rest} differ, see gate.json")]


def _difference(difference: Difference) -> str:
    before = f"{difference.reference} -> " if difference.reference else ""
    return _wrapped(f"  {difference.name:<18}{before}{difference.now}", " " * 20)


def _headline(answer: str) -> str:
    """Return the answer. If it is too long for the terminal, its part in parentheses begins a new line."""
    said, opens, rest = answer.partition(" (")
    if not opens or len(answer) <= _width():
        return _wrapped(answer, "  ")
    return f"{_wrapped(said, '  ')}\n{_wrapped(f'  ({rest}', '   ')}"


def _repeat(command: str) -> str:
    """Return the command that repeats the gate. If it is too long for the terminal, its lines end with a backslash."""
    whole = f"Repeat this gate: {command}"
    if len(whole) <= _width():
        return whole
    lines = ["Repeat this gate:", " "]
    for word in map(shlex.quote, shlex.split(command)):
        if len(f"{lines[-1]} {word} \\") > _width() and lines[-1].strip():
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}"
    return "\n".join(lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _width() -> int:
    """Return the width of the lines. In a log file, each text is one line."""
    return min(_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else sys.maxsize


def junit(result: GateResult, *, strict: bool) -> bytes:
    """Return the result of a gate as JUnit XML for CI systems, with one test case for each check.

    FAIL becomes a failure, and so does CHANGED if ``strict`` is true. INCONCLUSIVE and NOT RUN become errors, so that
    no CI system treats them as passed.
    """
    suite = TestSuite("harness gate")
    for check in result.checks:
        suite.add_testcase(_case(check, strict=strict))
    suite.time = result.duration_s
    suite.add_property("answer", _writable(result.answer))
    suite.add_property("verdict", result.verdict)
    for name, version in provenance.versions().items():
        suite.add_property(name, version)
    document = JUnitXml()
    document.add_testsuite(suite)
    written: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return written


def _case(check: Check, *, strict: bool) -> TestCase:
    case = TestCase(check.name, "harness.gate", check.duration_s)
    said = _writable(check.said)
    if check.verdict is Verdict.FAIL or (strict and check.verdict is Verdict.CHANGED):
        case.result = [Failure(said, check.verdict)]
    elif check.verdict in {Verdict.INCONCLUSIVE, Verdict.NOT_RUN}:
        case.result = [Error(said, check.verdict)]
    case.system_out = _writable("\n".join(f"{name}: {text}" for name, text in check.texts.items()))
    return case


def _writable(text: str) -> str:
    """Replace every character that XML does not allow by a question mark. Messages may contain such characters."""
    return _UNWRITABLE.sub("?", text)


def markdown(result: GateResult) -> str:
    """Return the result of a gate in Markdown, for example for the summary of a GitHub workflow run."""
    bad = [check for check in result.checks if not check.is_good]
    good = [check for check in result.checks if check.is_good]
    parts = [f"## {_SIGNS[result.verdict]} {escape_markdown(result.answer)}"]
    if result.environment:
        rows = [[one.name, one.reference, one.now] for one in shown(result.environment)]
        head = ["differs from the reference", "reference", "now"]
        parts.append(markdown_table(head, rows, n_left=3))
    if bad:
        head = ["verdict", "check", "expected", "seen", "sure", "where to look"]
        rows = [[*_signed(check), check.expected, check.seen, check.sure, check.look] for check in bad]
        parts.append(markdown_table(head, rows, n_left=len(head)))
    if good:
        table = markdown_table(
            ["verdict", "check", "seen"], [[*_signed(check), check.seen] for check in good], n_left=3
        )
        parts.append(f"<details><summary>{plural(len(good), 'check')} passed</summary>\n\n{table}\n\n</details>")
    if result.command:
        parts.append(f"Repeat this gate:\n\n```console\n{result.command}\n```")
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions().items())
    parts.append(f"{result.date}, {result.duration_s:.0f} s, {provenance.processor()}, {versions}")
    return "\n\n".join(parts) + "\n"


def _signed(check: Check) -> list[str]:
    return [f"{_SIGNS[check.verdict]} {check.verdict}", check.name]


_COLUMNS = ("tensorflow", "keras", "numpy", "python")


def table(gates: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of several gates as a Markdown table, with one row for each gate.

    A dash marks a check that a gate did not run.

    Args:
        gates: Results of the gates, as :func:`as_json` returns them.
    """
    names = list(dict.fromkeys(check["name"] for gate in gates for check in gate["checks"]))
    head = [*_COLUMNS, "verdict", *names, "first zero epoch, mean", "seconds"]
    rows = []
    for gate in gates:
        verdicts = {check["name"]: str(check["verdict"]) for check in gate["checks"]}
        details = {name: value for check in gate["checks"] for name, value in check["details"].items()}
        mean = details.get("mean_first_zero")
        rows.append(
            [
                *(str(gate["versions"].get(name, "-")) for name in _COLUMNS),
                f"**{gate['verdict']}**",
                *(verdicts.get(name, "-") for name in names),
                "-" if mean is None else f"{mean:.1f} ({len(gate['seeds'])} seeds)",
                f"{gate['duration_s']:.0f}",
            ]
        )
    return markdown_table(head, rows, n_left=len(head))
