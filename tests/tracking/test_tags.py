"""The names of tags stand in users' databases, so they never change."""

from __future__ import annotations

from harness.tracking.tags import Tag

RECORDED = {
    *("harness.study", "harness.study_key", "harness.role", "harness.dataset", "harness.engine", "harness.trace"),
    *("harness.cpu", "harness.versions", "harness.commit", "harness.dirty", "harness.trial", "harness.variant"),
    *("harness.failure", "harness.diverged", "harness.description", "harness.meaning", "harness.trials"),
    *("harness.trials_done", "harness.times_run", "harness.last_run_ms", "harness.runner", "harness.heartbeat_s"),
    *("harness.asking.", "harness.archived", "harness.verdict", "harness.point", "harness.seeds", "harness.same_as"),
    *("harness.command", "harness.bookkeeping", "harness.longest"),
    *("mlflow.runName", "mlflow.note.content", "mlflow.parentRunId"),
}


def test_tags_have_the_names_that_earlier_records_have() -> None:
    assert {value for name, value in vars(Tag).items() if name.isupper()} == RECORDED
