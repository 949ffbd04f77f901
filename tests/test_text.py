"""Plurals, durations and tables in Markdown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.text import duration, escape_markdown, markdown_table, plural

CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def test_one_is_singular_and_every_other_count_plural() -> None:
    assert [plural(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_a_duration_has_the_unit_that_people_would_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_is_aligned_as_text_and_in_markdown() -> None:
    lines = ["| name   |    n |", "| ------ | ---: |", "| second | 1024 |"]
    assert markdown_table(["name", "n"], [["second", "1024"]]).splitlines() == lines


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=4))
def test_no_cell_breaks_a_table(rows: list[list[str]]) -> None:
    escaped = [[escape_markdown(cell) for cell in row] for row in rows]
    for given_rows in (rows, escaped):
        lines = markdown_table(["a", "b", "c"], given_rows).splitlines()
        assert len(lines) == 2 + len(rows)
        assert len({len(line) for line in lines}) == 1
