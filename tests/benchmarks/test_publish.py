"""The published reports are those that the command writes, and of today's training."""

from __future__ import annotations

import pytest

from benchmarks.publish import FACTS, PUBLISHED, REPORTS, Published, facts_of
from harness.network.variant import TRACE_VERSION

MOST_MEGABYTES = 10


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: one.folder)
def test_a_published_report_is_of_todays_training(published: Published) -> None:
    facts = facts_of(REPORTS / published.folder)
    assert facts["trace"] == TRACE_VERSION, f"nox -s publish -- {published.folder}"
    assert facts["command"] == f"harness {' '.join(published.command)}"


def test_nothing_else_is_published_and_all_of_it_is_small() -> None:
    folders = [path.parent for path in REPORTS.glob(f"*/{FACTS}")]
    assert {folder.name for folder in folders} == {one.folder for one in PUBLISHED}
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_MEGABYTES * 1_000_000
