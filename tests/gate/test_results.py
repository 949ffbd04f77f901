"""What a gate leaves for people and for CI."""

from __future__ import annotations

from typing import Any

import pytest
from junitparser import Error, Failure, JUnitXml

from harness.errors import DataError, ExitStatus
from harness.gate import results, run
from harness.gate.run import GateResult
from harness.gate.verdict import STATUSES, Check, Verdict, overall


def check(name: str, verdict: Verdict) -> Check:
    return Check(name, verdict, "this | that", "something\nelse", "quite", "behind the sofa", 2.0, {"n": 3})


def result(*verdicts: Verdict) -> GateResult:
    checks = [check(f"check {number}", verdict) for number, verdict in enumerate(verdicts)]
    return GateResult(checks, overall(checks), "xla", "lab-5000", [1, 2], [60, None], [20, 30], 12.0)


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
    assert STATUSES[Verdict.INCONCLUSIVE] is ExitStatus.GATE_INCONCLUSIVE
    assert STATUSES[Verdict.NOT_RUN] is ExitStatus.GATE_NOT_RUN


def test_junit_has_a_case_a_check_and_none_that_is_not_well_passes() -> None:
    every = (Verdict.PASS, Verdict.CHANGED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.FAIL)
    for strict, kinds in ((False, [None, None, Error, Error, Failure]), (True, [None, Failure, Error, Error, Failure])):
        [suite] = JUnitXml.fromstring(results.junit(result(*every), strict=strict))
        assert [type(case.result[0]) if case.result else None for case in suite] == kinds
        assert (suite.tests, suite.errors, suite.failures) == (5, 2, 1 + strict)
        assert {case.time for case in suite} == {2.0}


def test_markdown_keeps_to_a_line_a_check() -> None:
    text = results.markdown(result(Verdict.PASS, Verdict.FAIL))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "check" in line][1:]
    assert len(rows) == 2
    assert "this \\| that" in rows[0]
    assert "something else" in rows[0]
    # Where to look stands where there is something to be looked for.
    assert [("behind the sofa" in row) for row in rows] == [False, True]
    assert "FAIL" in text.splitlines()[0]


def test_a_check_says_where_to_look_only_if_it_does_not_pass() -> None:
    assert "sofa" not in str(check("x", Verdict.PASS))
    assert "look      behind the sofa" in str(check("x", Verdict.FAIL))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.PASS, "still reaches zero errors"),
        (Verdict.FAIL, "training has changed: check 0"),
        (Verdict.INCONCLUSIVE, "too few results to decide: check 0"),
        (Verdict.NOT_RUN, "because these checks have no result: check 0"),
    ],
)
def test_the_answer_names_what_is_not_well(verdict: Verdict, said: str) -> None:
    assert said in result(verdict).answer


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
    assert rows[2][-5:] == ["**PASS**", "PASS", "PASS", "59.5 (3 seeds)", "12"]
    assert rows[3] == ["2.16.2", "-", "-", "-", "**NOT RUN**", "NOT RUN", "-", "-", "12"]
