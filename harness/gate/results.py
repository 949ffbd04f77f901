"""Writes the results of a gate as JSON, JUnit XML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from harness import fingerprint, provenance
from harness.gate.run import GateResult
from harness.gate.verdict import Check, Verdict
from harness.text import markdown_table

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SIGNS = {
    Verdict.PASS: "✅",
    Verdict.CHANGED: "🔷",
    Verdict.INCONCLUSIVE: "❔",
    Verdict.NOT_RUN: "⚪",
    Verdict.FAIL: "❌",
}


def as_json(result: GateResult) -> dict[str, Any]:
    """The result of a gate as plain values, with the environment in which it ran."""
    commit = provenance.commit()
    return {
        **asdict(result),
        "versions": provenance.versions(),
        "processor": provenance.processor(),
        "commit": None if commit is None else asdict(commit),
        "fingerprint": fingerprint.here(),
    }


def junit(result: GateResult, *, strict: bool) -> bytes:
    """The result of a gate as JUnit XML for CI systems, with one test case for each check.

    FAIL is a failure. INCONCLUSIVE and NOT RUN are errors, so that no CI system treats them as passed.
    """
    suite = TestSuite("harness gate")
    for check in result.checks:
        suite.add_testcase(_case(check, strict=strict))
    suite.time = result.duration_s
    suite.add_property("verdict", result.verdict)
    for name, version in provenance.versions().items():
        suite.add_property(name, version)
    document = JUnitXml()
    document.add_testsuite(suite)
    written: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return written


def _case(check: Check, *, strict: bool) -> TestCase:
    case = TestCase(check.name, "harness.gate", check.duration_s)
    said = _writable(f"expected {check.expected}; seen {check.seen}")
    if check.verdict is Verdict.FAIL or (strict and check.verdict is Verdict.CHANGED):
        case.result = [Failure(said, check.verdict)]
    elif check.verdict in {Verdict.INCONCLUSIVE, Verdict.NOT_RUN}:
        case.result = [Error(said, check.verdict)]
    case.system_out = _writable(str(check))
    return case


def _writable(text: str) -> str:
    """The text with a question mark for every character that XML does not allow. Messages of engines may have such."""
    return _UNWRITABLE.sub("?", text)


def markdown(result: GateResult) -> str:
    """The result of a gate as a Markdown table, for example for the summary of a GitHub workflow run."""
    about = f"engine `{result.engine}`, images `{result.dataset}`, {result.duration_s:.0f} s" if result.engine else ""
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions().items())
    head = ["verdict", "check", "expected", "seen", "how sure", "where to look"]
    rows = [[f"{_SIGNS[check.verdict]} {check.verdict}", *_texts(check)] for check in result.checks]
    return "\n".join(
        [
            f"## {_SIGNS[result.verdict]} Does the baseline still reach zero errors? {result.verdict}",
            "",
            *([about, ""] if about else []),
            markdown_table(head, rows, n_left=len(head)),
            "",
            f"{provenance.processor()}; {versions}",
            "",
        ]
    )


_COLUMNS = ("tensorflow", "keras", "numpy", "python")


def table(gates: Sequence[Mapping[str, Any]]) -> str:
    """The results of several gates as a Markdown table, with one row for each gate.

    A dash marks a check that a gate did not run.

    Args:
        gates: Results of gates, as :func:`as_json` returns them.
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
                "-" if mean is None else f"{mean:.1f} ({details['n']} seeds)",
                f"{gate['duration_s']:.0f}",
            ]
        )
    return markdown_table(head, rows, n_left=len(head))


def _texts(check: Check) -> list[str]:
    look = "" if check.verdict is Verdict.PASS else check.look
    return [check.name, check.expected, check.seen, check.sure, look]
