"""What a gate leaves for people and for CI."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from junitparser import Error, Failure, JUnitXml

from harness.errors import DataError, ExitStatus
from harness.gate import results, run
from harness.gate.environment import Difference
from harness.gate.run import GateResult
from harness.gate.verdict import STATUSES, Check, Effect, Verdict, overall


def check(name: str, verdict: Verdict) -> Check:
    return Check(
        name, verdict, "this | that", "something\nelse", "quite", "behind the sofa", duration_s=2.0, details={"n": 3}
    )


def result(*verdicts: Verdict) -> GateResult:
    checks = [check(f"check {number}", verdict) for number, verdict in enumerate(verdicts)]
    return GateResult(
        checks,
        overall(checks),
        "xla",
        "lab-5000",
        "2026-11-27T01:02:03+00:00",
        [Difference("tensorflow", "2.21.0", "2.22.0")],
        "harness gate run --data 'my images'",
        [1, 2],
        [60, None],
        [20, 30],
        12.0,
    )


@pytest.mark.parametrize(
    ("verdicts", "strict", "whole"),
    [
        ([], False, Verdict.NOT_RUN),
        ([Verdict.PASS], False, Verdict.PASS),
        ([Verdict.PASS, Verdict.CHANGED], False, Verdict.PASS),
        ([Verdict.PASS, Verdict.CHANGED], True, Verdict.FAIL),
        ([Verdict.PASS, Verdict.INCONCLUSIVE], False, Verdict.INCONCLUSIVE),
        ([Verdict.INCONCLUSIVE, Verdict.NOT_RUN], False, Verdict.NOT_RUN),
        ([Verdict.NOT_RUN, Verdict.FAIL, Verdict.PASS], False, Verdict.FAIL),
    ],
)
def test_a_gate_is_as_bad_as_its_worst_check(verdicts: list[Verdict], whole: Verdict, *, strict: bool) -> None:
    assert overall([check("x", verdict) for verdict in verdicts], strict=strict) is whole


def test_every_verdict_has_its_status_and_only_pass_is_zero() -> None:
    assert [verdict for verdict, status in STATUSES.items() if status == 0] == [Verdict.PASS]
    assert STATUSES[Verdict.INCONCLUSIVE] is ExitStatus.INCONCLUSIVE
    assert STATUSES[Verdict.NOT_RUN] is ExitStatus.GATE_NOT_RUN


def test_junit_has_a_case_a_check_and_none_that_is_not_well_passes() -> None:
    every = (Verdict.PASS, Verdict.CHANGED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.FAIL)
    for strict, kinds in ((False, [None, None, Error, Error, Failure]), (True, [None, Failure, Error, Error, Failure])):
        [suite] = JUnitXml.fromstring(results.junit(result(*every), strict=strict))
        assert [type(case.result[0]) if case.result else None for case in suite] == kinds
        assert (suite.tests, suite.errors, suite.failures) == (5, 2, 1 + strict)
        assert {case.time for case in suite} == {2.0}


def test_every_form_begins_with_the_answer_and_names_what_differs_and_the_command() -> None:
    found = result(Verdict.PASS, Verdict.FAIL)
    whole = "FAIL: check 1: something else"
    assert found.answer == whole
    assert results.terminal(found).startswith(whole)
    assert results.markdown(found).splitlines()[0] == f"## ❌ {whole}"
    [suite] = JUnitXml.fromstring(results.junit(found, strict=False))
    first = next(suite.properties())  # type: ignore[no-untyped-call]
    assert (first.name, first.value) == ("answer", whole)
    assert results.as_json(found)["answer"] == whole
    for text in (results.terminal(found), results.markdown(found)):
        assert "2.21.0" in text
        assert "2.22.0" in text
        assert "harness gate run --data 'my images'" in text


def test_failed_checks_are_shown_whole_and_passed_ones_on_a_line() -> None:
    lines = results.terminal(result(Verdict.PASS, Verdict.FAIL, Verdict.CHANGED)).splitlines()
    start = lines.index("FAIL  check 1")
    assert lines[start + 1 : start + 5] == [
        "  expected  this | that",
        "  seen      something else",
        "  sure      quite",
        "  look      behind the sofa",
    ]
    assert "PASS  check 0: something else" in lines
    assert "CHANGED  check 2: something else" in lines
    text = results.markdown(result(Verdict.PASS, Verdict.FAIL))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "check" in line]
    assert any("this \\| that" in row and "behind the sofa" in row for row in rows)
    assert "1 check passed" in text


def test_many_differing_packages_are_counted() -> None:
    many = [Difference(f"package-{number}", "1", "2") for number in range(100)]
    shown = results.shown(many)
    assert len(shown) < 20
    assert shown[-1].now == f"{100 - len(shown) + 1} differ, see gate.json"
    assert results.shown(many[:3]) == many[:3]


@pytest.mark.parametrize(
    ("names", "first", "others"),
    [
        (("trace xla", "errors", "epochs"), "errors", ("epochs", "trace xla")),
        (("trace xla", "trainings"), "trainings", ("trace xla",)),
        (("softmax", "trace graph"), "softmax", ("trace graph",)),
    ],
)
def test_the_answer_is_that_of_the_check_that_says_most(
    names: tuple[str, ...], first: str, others: tuple[str, ...]
) -> None:
    effect = Effect("a change", 0.2, 0.1, 0.3, 0.0, 0.1, is_share=True)
    checks = [
        check("data", Verdict.PASS),
        *(
            replace(check(name, Verdict.FAIL), effect=effect if name in {"errors", "epochs"} else None)
            for name in names
        ),
    ]
    found = GateResult(checks, overall(checks), "xla", "lab-5000")
    assert found.answer == f"FAIL: {first}: something else; also FAIL: {', '.join(others)}"


def test_a_gate_that_became_better_says_so() -> None:
    better = replace(check("epochs to zero errors", Verdict.CHANGED), answer="zero errors come 9% sooner")
    checks = [check("data", Verdict.PASS), better]
    assert GateResult(checks, overall(checks), "xla", "x").answer == "PASS: CHANGED, zero errors come 9% sooner"
    assert GateResult(checks, overall(checks, strict=True), "xla", "x").answer == "FAIL: zero errors come 9% sooner"


def test_without_images_there_is_a_result_all_the_same() -> None:
    found = run.not_run("data", "images", DataError("they are gone", "Bring them back."))
    assert found.verdict is Verdict.NOT_RUN
    assert results.as_json(found)["checks"][0]["seen"] == "they are gone"
    assert "Bring them back." in results.markdown(found)


def test_gates_of_several_environments_are_a_row_each() -> None:
    whole = results.as_json(result(Verdict.PASS, Verdict.PASS))
    whole["checks"][1]["details"]["mean_first_zero"] = 59.5
    less: dict[str, Any] = results.as_json(result(Verdict.NOT_RUN))
    less["versions"] = {"tensorflow": "2.16.2"}
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in results.table([whole, less]).splitlines()]
    assert rows[0][-4:] == ["check 0", "check 1", "first zero epoch, mean", "seconds"]
    assert rows[2][-5:] == ["**PASS**", "PASS", "PASS", "59.5 (2 seeds)", "12"]
    assert rows[3] == ["2.16.2", "-", "-", "-", "**NOT RUN**", "NOT RUN", "-", "-", "12"]


def in_a_terminal(monkeypatch: pytest.MonkeyPatch, found: GateResult) -> list[str]:
    """The lines of a result in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    return results.terminal(found).splitlines()


def test_in_a_terminal_the_verdict_is_one_line_and_no_word_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "zero errors come as early as in the reference"
    details = "less than 2.4% later with 95% confidence; 63 seeds, reference 1024 seeds"
    found = replace(
        result(Verdict.PASS),
        checks=[replace(check("epochs", Verdict.PASS), answer=f"{said} ({details})")],
        environment=[Difference("CPU instructions", "-", " ".join(f"avx512_number_{number}" for number in range(20)))],
        command="harness gate run --data 'my own images' --engine xla --workers 2 --seeds 63 --first-seed 200000",
    )
    lines = in_a_terminal(monkeypatch, found)
    assert lines[:2] == [f"PASS: {said}", f"  ({details})"]
    assert max(map(len, lines)) <= 80
    whole = f"PASS: {said} ({details})"
    words = {word for text in (whole, found.environment[0].now) for word in text.split()}
    assert words <= {word for line in lines for word in line.split()}


def test_in_a_terminal_the_command_that_repeats_a_gate_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"harness gate run --data 'my own images' --reference {'folder/' * 8}reference.json --first-seed 200000"
    lines = in_a_terminal(monkeypatch, replace(result(Verdict.PASS), command=command))
    pasted = lines[lines.index("Repeat this gate:") + 1 :]
    assert len(pasted) > 1
    assert max(map(len, pasted)) <= 80
    assert shlex.split("\n".join(pasted).replace("\\\n", " ")) == shlex.split(command)
    short = in_a_terminal(monkeypatch, replace(result(Verdict.PASS), command="harness gate run"))
    assert short[-1] == "Repeat this gate: harness gate run"


def test_in_a_log_file_each_text_is_one_line() -> None:
    long = replace(result(Verdict.PASS), command=f"harness gate run --data {'folder/' * 30}")
    assert results.terminal(long).splitlines()[-1] == f"Repeat this gate: {long.command}"
