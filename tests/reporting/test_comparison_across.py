"""Comparisons of studies that differ in a setting on purpose."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.errors import UsageError
from harness.reporting import comparison_text
from harness.reporting.comparison_verdict import ComparisonVerdict
from harness.tracking.run_record import StudyRecord
from tests.reporting.compared import compared, run, study


def of(more: int = 0, rates: tuple[float, ...] = (0.001, 0.003), **settings: Any) -> StudyRecord:
    return study(
        run(
            len(rates) * seed + place,
            10 * place + seed + more,
            50 + seed + more,
            seed=seed,
            learning_rate=rate,
            **settings,
        )
        for seed in range(8)
        for place, rate in enumerate(rates)
    )


def test_variants_that_are_equal_in_everything_else_are_paired() -> None:
    found = compared(of(beta_1=0.9), of(more=2, beta_1=0.95), across=("beta_1",))
    assert found.verdict is ComparisonVerdict.WORSE
    assert [row.label for row in found.rows] == ["lr 0.001, 100 epochs", "lr 0.003, 100 epochs"]
    assert [row.errors.difference.value for row in found.rows] == [2, 2]
    assert all("beta_1" not in row.variant for row in found.rows)
    assert found.as_json()["across"] == [{"name": "beta_1", "a": "0.9", "b": "0.95"}]
    assert "- compared across: beta_1 is 0.9 in A and 0.95 in B\n" in comparison_text.markdown(found)
    assert "beta_1 is 0.9 in A and 0.95 in B" in comparison_text.html(found)


def test_several_settings_may_differ() -> None:
    b = of(beta_1=0.95, layers=(30, 10))
    found = compared(of(), b, across=("beta_1", "layers"))
    assert found.verdict is ComparisonVerdict.EQUAL
    assert [(one.name, one.a, one.b) for one in found.across] == [
        ("beta_1", "0.9", "0.95"),
        ("layers", "25-15-10", "30-10"),
    ]


def test_a_learning_rate_that_differs_on_purpose_names_no_variant() -> None:
    found = compared(of(rates=(0.001,)), of(rates=(0.002,)), across=("learning_rate",))
    assert [row.label for row in found.rows] == ["100 epochs"]


@pytest.mark.parametrize(
    ("b", "across", "cause", "remedy"),
    [
        (
            of(beta_1=0.95, batch_size=64),
            ("beta_1",),
            "no variant that is equal in everything but beta_1: batch_size is 32 in A and 64 in B",
            "give --across beta_1 --across batch_size.",
        ),
        (
            of(beta_1=0.95, rates=(0.002, 0.004)),
            ("beta_1",),
            "learning_rate is 0.001, 0.003 in A and 0.002, 0.004 in B",
            "Compare studies that have at least one variant in common.",
        ),
        (of(), ("beta_1",), "--across beta_1: beta_1 does not differ: it is 0.9 in both", "Leave this option out."),
        (
            of(),
            ("learning_rate",),
            "--across learning_rate: learning_rate has several values in A: 0.001, 0.003",
            "in which this setting has only one value",
        ),
        (of(beta_1=0.95), (), "no variant in common: beta_1 is 0.9 in A and 0.95 in B", "give --across beta_1."),
    ],
)
def test_what_cannot_be_paired_is_refused_by_name(
    b: StudyRecord, across: tuple[str, ...], cause: str, remedy: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(cause)) as error:
        compared(of(), b, across=across)
    assert remedy in error.value.remedy


def test_other_numbers_of_epochs_are_no_setting_to_compare_across() -> None:
    with pytest.raises(UsageError, match="epochs is 100 in A and 40 in B") as error:
        compared(of(), study(run(seed, seed, None, seed=seed, learning_rate=0.001, epochs=40) for seed in range(8)))
    assert "--across" not in error.value.remedy
