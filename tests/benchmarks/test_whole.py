from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import table, whole
from harness.data.digits import Digits
from harness.engines.training import by_training
from harness.errors import StoppedError
from harness.study import files
from tests.support import SMALL_STUDY

pytestmark = pytest.mark.slow


def test_a_study_is_run_from_nothing_and_watched_and_a_users_own_store_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(SMALL_STUDY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mine.db")
    run = whole.run_study(str(tmp_path / "small.toml"), "optdigits")
    assert run.trials == 8
    assert run.summary["mlflow_s"] + run.summary["optuna_s"] < run.duration_s
    assert 0 < run.summary["busy_share"] <= 1
    assert 50 < run.coordinator_mb < 2000
    assert 200 < run.worker_mb < 4000
    assert not (tmp_path / "mine.db").exists()


def test_what_the_naive_way_is_told_of_the_default_study_is_so() -> None:
    config = files.load("variants")
    variants = [config.variant(point) for point in config.points()]
    assert config.n_trials == whole.TRIALS
    apart = sum(variant.epochs for variant in variants)
    shared = sum(max(variant.epochs for variant in group) for group in by_training(variants))
    assert (apart, shared) == whole.EPOCHS


def test_a_study_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="cannot be read"):
        whole.run_study(str(tmp_path / "missing.toml"), "optdigits")


def test_the_naive_way_is_a_line_through_short_trials(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "NAIVE_EPOCHS", (1, 1, 12))  # far apart, because the machine is noisy
    np.savez(tmp_path / "work.npz", features=digits.features, labels=digits.labels)
    naive = whole.naive(tmp_path / "work.npz")
    assert naive.epoch_s > 0
    assert naive.default_study_s == pytest.approx(160 * naive.trial_s + 9600 * naive.epoch_s)
    assert naive.default_study_s - naive.as_shared_s == pytest.approx(6400 * naive.epoch_s)


def test_everything_that_was_measured_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    summary = {"mlflow_s": 0.32, "optuna_s": 0.016, "busy_share": 0.97}
    run = whole.StudyRun(16, 12.5, 345.0, 789.0, summary).as_json()
    of = {"name": "xla 8", "variants": 8, "variant_s": 0.4, "step_us": 64.0, "least_us": 60.0, "times_fit": 48.5}
    results = {
        "machine": {"processor": "Abacus", "cores": 2},
        "versions": {"python": "3.11"},
        "dataset": "lab-5000",
        "rounds": 5,
        "speed": {"speeds": [of], "sgemm_gflop_per_s": 99.0, "missing": {"jax": "No module named jax"}},
        "study": {
            "runs": [run],
            "naive": {"trial_s": 2.0, "epoch_s": 0.3, "default_study_s": 3200.0, "as_shared_s": 1280.0},
            "times_naive": 100.0,
            "by_sharing": 2.5,
            "by_speed": 40.0,
        },
        "growth": [run],
    }
    table.show(results, Console(width=100))
    shown = capsys.readouterr().out
    for text in (
        "Abacus",
        "0.400",
        "64.0",
        "48.5",
        "99 GFLOP/s",
        "not measured: jax (No module",
        "12.5",
        "20.0",
        "1.0",
        "97%",
    ):
        assert text in shown
    assert "100 times as fast: a factor of 2.5 because trials share trainings" in shown
    assert "781" in shown  # ms a trial in all
