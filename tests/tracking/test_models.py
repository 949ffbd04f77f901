"""The registered models of studies: whose they are, and when an alias moves."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tests.search.test_run import recorded, write_study
from tests.support import SMALL_STUDY, Harness

DATA = ("--data", "optdigits", "--workers", "2")
AT_ZERO = SMALL_STUDY.replace("[1, 2]", "[60]").replace("[0.001, 0.01]", "[0.003]")


@pytest.mark.slow
def test_best_is_the_reports_cheapest_variant_and_stays_where_nothing_is_at_zero(
    tmp_path: Path, harness: Harness
) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    write_study(tmp_path, SMALL_STUDY)
    first = harness("study", "run", "small.toml", *DATA)
    assert "no model registered as best: no run ended with zero errors" in first.stderr
    with pytest.raises(MlflowException, match="alias best not found"):
        client.get_model_version_by_alias("zero-errors", "best")
    write_study(tmp_path, AT_ZERO, "zero")
    assert harness("study", "run", "zero.toml", *DATA).returncode == 0
    best = client.get_model_version_by_alias("zero-errors", "best")
    [run] = [run for run in recorded(tmp_path, "zero").trainings if run.run_id == best.run_id]
    assert run.metrics["final_errors"] == 0
    assert "learning rate 0.003, 60 epochs" in (tmp_path / "out" / "zero" / "report.md").read_text()
    write_study(tmp_path, SMALL_STUDY.replace("[1234, 1]", "[1234, 1, 2]"))
    again = harness("study", "run", "small.toml", *DATA)
    assert again.returncode == 0
    assert "no model registered as best: no run ended with zero errors" in again.stderr
    assert client.get_model_version_by_alias("zero-errors", "best").run_id == best.run_id
    assert not (tmp_path / "out" / "zero" / ".models").exists()


@pytest.mark.slow
def test_files_of_a_killed_process_are_removed_by_the_next_run(tmp_path: Path, harness: Harness) -> None:
    write_study(tmp_path, SMALL_STUDY)
    left = tmp_path / "out" / "small" / ".models" / "abc" / "weights.npz"
    left.parent.mkdir(parents=True)
    left.write_text("left")
    assert harness("study", "run", "small.toml", *DATA).returncode == 0
    assert not left.parent.parent.exists()
