"""The store that runs go to: a real server. For databases that are locked, damaged or newer see ``test_faults``."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.tracking.reader import StudyReader
from harness.tracking.store import Store
from tests.support import SMALL_STUDY, Harness


@pytest.mark.slow
@pytest.mark.usefixtures("standin")
def test_runs_and_artifacts_go_to_a_server_that_is_named(
    tracking_server: str, harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(SMALL_STUDY.replace('"xla"', '"standin"'))
    arguments = ("study", "run", "small.toml", "--workers", "1", "--data", "optdigits")
    done = harness(*arguments, MLFLOW_TRACKING_URI=tracking_server)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlartifacts").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    reader = StudyReader(Store(create=False))
    study = reader.study("small")
    assert len(study.trainings) == 8
    for run in study.trainings:
        assert len(run.wrong_images) == run.metrics["final_errors"]
        # The longer of the two runs of each training has been read whole.
        assert len(run.losses) == (2 if run.params["epochs"] == "2" else 0)
        assert len(reader.with_histories(run).losses) == int(run.params["epochs"])
    assert "nothing to train" in harness(*arguments, MLFLOW_TRACKING_URI=tracking_server).stderr
