"""Held-out errors as they are recorded: recomputed by NumPy alone, shown, and refused where there are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from harness.data.imresize import imresize
from tests.support import SMALL_SEARCH, SMALL_STUDY, Harness


@pytest.fixture(scope="module")
def test_images(mnist: Path) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's test images in the lab's layout, and their labels."""
    content = np.load(mnist)
    images = imresize(content["x_test"].astype(np.float64) / 255.0)
    return images.transpose(0, 2, 1).reshape(10_000, 400).astype(np.float32), content["y_test"]


@pytest.mark.slow
def test_the_recorded_number_is_what_the_recorded_weights_get_wrong(
    harness: Harness, mnist: Path, test_images: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(SMALL_STUDY)
    done = harness("study", "run", "small.toml", "--data", str(mnist), "--quiet")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    [experiment] = [one for one in client.search_experiments() if one.name == "zero-errors"]
    runs = client.search_runs([experiment.experiment_id], "tags.`harness.role` = 'training'")
    assert len(runs) == 8
    checked = 0
    for run in runs:
        assert 0 < run.data.metrics["held_out_errors"] < 10_000
        if "weights.npz" not in {file.path for file in client.list_artifacts(run.info.run_id)}:
            continue
        archive = np.load(client.download_artifacts(run.info.run_id, "weights.npz", str(tmp_path)))
        layer, *rest = (archive[name] for name in archive.files)
        activations = test_images[0] @ layer + rest[0]
        for kernel, bias in zip(rest[1::2], rest[2::2], strict=True):
            activations = np.maximum(activations, 0) @ kernel + bias
        assert run.data.metrics["held_out_errors"] == (activations.argmax(axis=1) != test_images[1]).sum()
        checked += 1
    assert checked == 2  # the baseline after one epoch and after two, which share a training
    report = (tmp_path / "out" / "small" / "report.html").read_text()
    assert "of the 10,000 held-out images are wrong on average" in report
    assert "mean held-out errors" in report
    assert "held_out_errors" in (tmp_path / "out" / "small" / "runs.csv").read_text().splitlines()[0]
    assert (
        "MNIST's 10,000 test images"
        in client.get_run(runs[0].data.tags["mlflow.parentRunId"]).data.tags["mlflow.note.content"]
    )


@pytest.mark.slow
def test_a_search_may_minimize_them_and_says_that_they_are_no_longer_unseen(
    harness: Harness, mnist: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text(SMALL_SEARCH.replace('["errors", "epochs"]', '["held_out_errors"]'))
    first = harness("study", "run", "s.toml", "--data", str(mnist), "--quiet", "--trials", "2")
    assert first.returncode == 0, first.stderr
    # Resumed, so that the sampler reads the recorded values.
    second = harness("study", "run", "s.toml", "--data", str(mnist), "--quiet")
    assert second.returncode == 0, second.stderr
    assert "no longer unseen" in (tmp_path / "out" / "s" / "report.md").read_text()


def test_a_study_that_minimizes_them_is_refused_where_there_are_none(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SMALL_SEARCH.replace('["errors", "epochs"]', '["held_out_errors"]'))
    for command in ("run", "check"):
        done = harness("study", command, "s.toml", "--data", "optdigits")
        assert done.returncode == 2
        assert "study s minimizes held_out_errors: optdigits-5000 has no held-out images" in done.stderr
        assert "Traceback" not in done.stderr


def test_train_and_data_show_them_or_say_why_there_are_none(harness: Harness, mnist: Path, tmp_path: Path) -> None:
    with_them = harness("train", "--epochs", "1", "--quiet", "--data", str(mnist), "--json", "lab.json")
    assert "errors out of 10000 held-out images" in with_them.stdout
    found = json.loads((tmp_path / "lab.json").read_text())["held_out_errors"]
    assert f"{found} errors out of 10000" in with_them.stdout
    without = harness("train", "--epochs", "1", "--quiet", "--data", "optdigits")
    assert "no held-out errors: optdigits-5000 has no held-out images" in without.stdout
    assert "held out     (10000, 400) float64" in harness("data", "--data", str(mnist)).stdout
    assert "held out     none: optdigits-5000" in harness("data", "--data", "optdigits").stdout
