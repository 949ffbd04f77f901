"""Composes the content of an MLflow run: its tags, parameters, metrics, dataset and artifacts."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from harness import provenance
from harness.data.digits import Digits
from harness.engines.training import TrainingResult
from harness.files import write_json
from harness.network.variant import TRACE_VERSION, Variant
from harness.study.config import StudyConfig
from harness.tracking.owner import Owner
from harness.tracking.reader import IMAGES, OUTCOME, WEIGHTS
from harness.tracking.tags import Tag

# The lab's implementation of ``my_softmax``. The checks of the other implementations are not recorded as metrics.
SOFTMAX_WAY = "vector"


@dataclass(frozen=True)
class StudyHandle:
    """A study that this process runs: its configuration, key, images and owner.

    Attributes:
        run_id: Id of the study's parent run.
        config: Configuration of the study.
        key: Key of the study, which is a tag of all its runs.
        digits: Images of the study.
        owner: This process, as the owner of the study.
        times: Number of times the study was started, including this time.
    """

    run_id: str
    config: StudyConfig
    key: str
    digits: Digits
    owner: Owner
    times: int


def common_tags(study: StudyHandle, role: str) -> dict[str, str]:
    """The tags of every run of a study: study, role, dataset, engine and origin."""
    tags = {
        Tag.STUDY: study.config.name,
        Tag.STUDY_KEY: study.key,
        Tag.ROLE: role,
        Tag.DATASET: study.digits.name,
        Tag.ENGINE: study.config.engine,
        "mlflow.source.name": f"harness study run {study.config.name}",
    }
    return tags | origin_tags()


def origin_tags() -> dict[str, str]:
    """The tags that describe the origin of a run: trace version, processor, package versions, user and commit.

    The trace version changes whenever training computes other results than before.
    """
    tags = {
        Tag.TRACE: str(TRACE_VERSION),
        Tag.CPU: provenance.processor(),
        Tag.VERSIONS: ", ".join(f"{name} {version}" for name, version in provenance.versions().items()),
        "mlflow.source.type": "PROJECT",
    }
    commit, user = provenance.commit(), provenance.user()
    if user is not None:
        tags["mlflow.user"] = user
    if commit is not None:
        tags[Tag.COMMIT] = tags["mlflow.source.git.commit"] = commit.revision
        tags[Tag.DIRTY] = str(commit.dirty).lower()
    return tags


def done_tags(done: int | None) -> list[RunTag]:
    """The tag with the number of complete trials, as a list of one tag.

    If the number is unknown, the list is empty, so that the recorded tag is not changed.
    """
    return [] if done is None else [RunTag(Tag.DONE, str(done))]


def log_details(artifact_uri: str, result: TrainingResult) -> None:
    """Upload the detailed results of a training as artifacts.

    The details are the wrong images with their predicted digits, all softmax checks, the training history, and the
    weights if they are available. The metrics of the run also contain the training history. Reading the history from
    the metrics takes two slow calls per run.

    The artifact URI is an argument, because MLflow's client would have to fetch the run to find the URI. This call
    would take longer than the rest of this function.
    """
    details = {
        "epoch": result.variant.epochs,
        "losses": result.losses.tolist(),
        "errors": result.errors.tolist(),
        "wrong_images": result.wrong.tolist(),
        "wrong_answers": result.answers.tolist(),
        "softmax": {way: asdict(check) for way, check in result.softmax.items()},
        "softmax_by_size": [asdict(check) for check in result.softmax_by_size],
    }
    with tempfile.TemporaryDirectory() as folder:
        write_json(f"{folder}/{OUTCOME}", details)
        if result.weights is not None:
            np.savez(Path(folder) / WEIGHTS, *result.weights)
        get_artifact_repository(artifact_uri).log_artifacts(folder)


def log_images(artifact_uri: str, digits: Digits) -> None:
    """Upload the images in 256 grey levels. Reports that are written on other machines can then show the images."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / IMAGES
        greys = np.rint(digits.x.clip(0, 1) * 255).astype(np.uint8)
        np.savez_compressed(path, x=np.ascontiguousarray(greys), y=digits.labels)
        get_artifact_repository(artifact_uri).log_artifact(str(path))


def final_metrics(result: TrainingResult) -> dict[str, float]:
    """The metrics that have one value per run, such as the error count after the last epoch."""
    metrics: dict[str, float] = {
        "final_errors": result.final_errors,
        "final_loss": result.final_loss,
        "duration_s": result.duration_s,
        "shared_by": result.shared_by,
    }
    if result.first_zero_epoch is not None:
        metrics["first_zero_epoch"] = result.first_zero_epoch
    if result.held_out_errors is not None:
        metrics["held_out_errors"] = result.held_out_errors
    check = asdict(result.softmax[SOFTMAX_WAY])
    return metrics | {f"softmax_{name}": value for name, value in check.items() if value is not None}


def params_of(variant: Variant, study: StudyHandle) -> list[Param]:
    """The parameters of a run: all settings of the variant, the engine and the dataset."""
    params = {**variant.settings(), "engine": study.config.engine, "dataset": study.digits.name}
    return [Param(name, str(value)) for name, value in params.items()]


def dataset_input(digits: Digits) -> DatasetInput:
    """The dataset of a run, in the form that MLflow's UI displays."""
    hashes = {"sha256_x": digits.sha256_x, "sha256_y": digits.sha256_y}
    # Describe the arrays as table columns, because MLflow's UI shows no details of arrays.
    shapes = {"X": f"float64 {digits.x.shape}", "y": f"uint8 ({len(digits.x)}, 1)"}
    columns = [{"name": name, "type": shape, "required": True} for name, shape in shapes.items()]
    dataset = Dataset(
        name=digits.name,
        digest=digits.sha256_x[:12],
        source_type="local",
        source=json.dumps({"uri": digits.source}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": len(digits.x), **hashes}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
