"""The note of a gate's run in MLflow."""

from __future__ import annotations

from dataclasses import replace

from harness.gate import results, track
from harness.gate.environment import Difference
from harness.gate.run import GateResult
from harness.gate.verdict import Verdict
from tests.gate.test_results import check, result


def lines(found: GateResult) -> list[str]:
    return track.note(found).splitlines()


def test_a_note_begins_with_the_answer_and_what_to_look_at() -> None:
    seeds = replace(check("epochs to zero errors", Verdict.FAIL), answer="zero errors come 17% later", details={})
    found = replace(result(Verdict.PASS), checks=[seeds], verdict=Verdict.FAIL)
    found.checks.append(replace(check("errors", Verdict.PASS), details={"n_reference": 1024}))
    first, second, blank, *rest = lines(found)
    assert first == "**FAIL:** zero errors come 17% later.  "  # two spaces break the line
    assert second == (
        r"**Look at:** reference of 1024 seeds; 2 trained seeds, 1 to 2; environment: tensorflow 2.21.0 -\> 2.22.0."
    )
    assert blank == ""
    assert rest == results.markdown(found).splitlines()[2:]


def test_a_note_names_few_differences_and_counts_the_rest() -> None:
    many = [Difference(f"package {number}", "1", "2") for number in range(5)]
    many[0] = Difference("CPU instructions", "-", "also " + "avx512 " * 20)
    second = lines(replace(result(Verdict.PASS), environment=many))[1]
    assert r"package 1 1 -\> 2, package 2 1 -\> 2, 2 more differences." in second
    assert len(second) < 200
    same = lines(replace(result(Verdict.PASS), environment=[], seeds=[]))
    assert same[:2] == [
        "**PASS:** check 0: something else.  ",
        "**Look at:** 0 trained seeds; environment: no difference from the reference.",
    ]
