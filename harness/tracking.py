"""Every run in MLflow: the only module that imports it."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

# Read when MLflow is imported: nothing about a user's runs leaves the machine, no advice for agents is printed, and
# neither a bar for each small artifact nor a line for each run.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_DISABLE_AGENT_HINT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# A server that is away for half a minute is waited for; MLflow's own default is several minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")

import numpy as np
import sqlalchemy
from alembic.util.exc import CommandError
from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from harness import machine
from harness.digits import Digits
from harness.errors import StoppedError, UsageError
from harness.output import masked, write_json
from harness.plan import NAME_PATTERN, Plan
from harness.trials import Outcome
from harness.variant import TRACE_VERSION, Variant

EXPERIMENT = "zero-errors"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
OUTCOME = "outcome.json"
SOFTMAX_WAY = "vector"  # the lab's own form of my_softmax: the one whose figures are metrics

STUDY, TRIAL, TRAINING = "study", "trial", "training"

_PAGE = 1000
_LAST_RUN = "harness.last_run_ms"
_RUN_ONE = "Run a study (harness study run), in the folder or with the MLFLOW_TRACKING_URI that you ask in."


def tracking_uri() -> str:
    """Where runs are kept: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(DATABASE).absolute()}"


def database_path(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what storage and network throw into one clear error."""
    try:
        yield
    except (
        *(MlflowException, SQLAlchemyError, CommandError, RequestException),
        *(OSError, sqlite3.Error, ImportError),
    ) as error:
        lines = str(error).strip().splitlines()
        first = lines[0] if lines else type(error).__name__
        cause = masked(f"the tracking store {tracking_uri()} failed: {first}")
        remedy = "What was recorded is kept. Mend the store, or name another by MLFLOW_TRACKING_URI; then run again."
        raise StoppedError(cause, remedy) from error


@dataclass(frozen=True)
class RunRecord:
    """A run as MLflow has it; the histories hold one value an epoch, from epoch 1, or nothing where not read."""

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started_ms: int
    losses: tuple[float, ...] = ()
    errors: tuple[int, ...] = ()
    wrong_images: tuple[int, ...] = ()
    softmax: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRecord:
    """A study as MLflow has it: its parent run and the runs of its trainings, in the order of their trials."""

    parent: RunRecord
    trainings: tuple[RunRecord, ...]
    tracking_uri: str = field(default_factory=lambda: masked(tracking_uri()))


class Tracker:
    """Writes and reads the runs of studies, each by its explicit run id.

    Args:
        create: make the database if there is none; a reader does not.

    Raises:
        StoppedError: here and in every method: the store cannot be reached, read or written.
        UsageError: there is no database, and none was to be made.
    """

    def __init__(self, *, create: bool = True) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        uri = tracking_uri()
        path = database_path(uri)
        if not create and path is not None and not path.is_file():
            raise UsageError(f"nothing was recorded yet: {path} does not exist", _RUN_ONE)
        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _tune_sqlite)
        with _failures(), _alone(path), _whole(path):
            if path is not None and path.is_file():
                _check_database(path)
            self._client = MlflowClient(uri)
            self._experiment_id = self._experiment(local=path is not None)

    def _experiment(self, *, local: bool) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                cause = f"the MLflow experiment {EXPERIMENT!r} was deleted"
                raise StoppedError(cause, "Restore it (mlflow experiments restore), or use another database.")
            return str(found.experiment_id)
        location = Path(ARTIFACTS).absolute().as_uri() if local else None
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=location))

    # Writing

    def begin_study(self, plan: Plan, digits: Digits, key: str) -> str:
        """Create the parent run of a study, or take up the one that it began with; return its id."""
        with _failures():
            filter_string = f"tags.`harness.study_key` = '{key}' and tags.`harness.role` = '{STUDY}'"
            found = self._client.search_runs([self._experiment_id], filter_string, max_results=1)
            now_ms = int(time.time() * 1000)
            if found:
                run_id = str(found[0].info.run_id)
                self._client.update_run(run_id, status="RUNNING")
                self._client.set_tag(run_id, _LAST_RUN, str(now_ms))
                return run_id
            tags = {
                _LAST_RUN: str(now_ms),
                **self._common_tags(plan.name, key, plan.engine, digits, STUDY),
                "mlflow.runName": f"{plan.name} on {digits.name}",
                "mlflow.note.content": _study_note(plan, digits),
                "mlflow.source.name": f"harness study run {plan.name}",
                "mlflow.source.type": "PROJECT",
            }
            run = self._client.create_run(self._experiment_id, tags=tags)
            run_id = str(run.info.run_id)
            params = {"engine": plan.engine, "dataset": digits.name, "design": plan.design.kind}
            params |= {f"space.{name}": _brief(values) for name, values in plan.space.parameters().items()}
            self._client.log_batch(run_id, params=[Param(name, value) for name, value in params.items()])
            self._client.log_inputs(run_id, [_dataset_input(digits)])
            return run_id

    def end_study(self, run_id: str, status: str, counts: Mapping[str, int]) -> None:
        """Close a study's parent run with how many of its trials ended how."""
        with _failures():
            now_ms = int(time.time() * 1000)
            metrics = [Metric(f"trials_{name}", value, now_ms, 0) for name, value in counts.items()]
            self._client.log_batch(run_id, metrics=metrics)
            self._client.set_terminated(run_id, status)

    def close_orphans(self, key: str) -> None:
        """Close the runs of trials that a process left half written when it was killed."""
        with _failures():
            runs = self._search(f"tags.`harness.study_key` = '{key}' and tags.`harness.role` != '{STUDY}'")
            for run in runs:
                if run.info.status == "RUNNING":
                    self._client.set_terminated(run.info.run_id, "KILLED")

    def begin_trial(self, study: StudyHandle, number: int, variant: Variant, values: Mapping[str, float]) -> str:
        """Record a trial of several trainings as a run of its own, the parent of theirs; return its id."""
        with _failures():
            tags = {
                **self._common_tags(study.name, study.key, study.engine, study.digits, TRIAL),
                "mlflow.parentRunId": study.run_id,
                "mlflow.runName": f"trial {number}: lr {variant.learning_rate:.3g}, {variant.epochs} epochs",
                "harness.trial": str(number),
            }
            run = self._client.create_run(self._experiment_id, tags=tags)
            run_id = str(run.info.run_id)
            now_ms = int(time.time() * 1000)
            params = [param for param in _params(variant, study) if param.key != "seed"]
            metrics = [Metric(f"mean_{name}", value, now_ms, 0) for name, value in values.items()]
            self._client.log_batch(run_id, metrics, params)
            self._client.log_inputs(run_id, [_dataset_input(study.digits)])
            return run_id

    def end_trial(self, run_id: str, status: str = "FINISHED") -> None:
        """Close a trial's run."""
        with _failures():
            self._client.set_terminated(run_id, status)

    def log_outcome(self, study: StudyHandle, parent_id: str, number: int, outcome: Outcome) -> str:
        """Record one trained variant whole, in a handful of calls; return its run id."""
        with _failures():
            started_ms = int(outcome.started_s * 1000)
            ended_ms = int((outcome.started_s + outcome.duration_s) * 1000)
            run = self._create_training(study, parent_id, number, outcome.variant, started_ms)
            run_id = str(run.info.run_id)
            metrics = [
                Metric(name, value, ended_ms, step)
                for name, values in (("loss", outcome.losses), ("errors", outcome.errors))
                for step, value in enumerate(values.tolist(), start=1)
            ]
            finals = _final_metrics(outcome)
            metrics += [Metric(name, value, ended_ms, outcome.variant.epochs) for name, value in finals.items()]
            tags = [] if np.isfinite(outcome.losses).all() else [RunTag("harness.diverged", "true")]
            self._client.log_batch(run_id, metrics, _params(outcome.variant, study), tags)
            self._client.log_inputs(run_id, [_dataset_input(study.digits)])
            _log_details(str(run.info.artifact_uri), outcome)
            self._client.set_terminated(run_id, "FINISHED", ended_ms)
            return run_id

    def log_failure(self, study: StudyHandle, parent_id: str, number: int, variant: Variant, reason: str) -> str:
        """Record a variant whose training failed: its reason, and no score; return its run id."""
        with _failures():
            now_ms = int(time.time() * 1000)
            run_id = str(self._create_training(study, parent_id, number, variant, now_ms).info.run_id)
            tags = [RunTag("harness.failure", reason)]
            self._client.log_batch(run_id, params=_params(variant, study), tags=tags)
            self._client.set_terminated(run_id, "FAILED", now_ms)
            return run_id

    def _create_training(
        self, study: StudyHandle, parent_id: str, number: int, variant: Variant, started_ms: int
    ) -> MlflowRun:
        tags = {
            **self._common_tags(study.name, study.key, study.engine, study.digits, TRAINING),
            "mlflow.parentRunId": parent_id,
            "mlflow.runName": f"lr {variant.learning_rate:.3g}, {variant.epochs} epochs, seed {variant.seed}",
            "harness.trial": str(number),
            "harness.variant": variant.key,
        }
        return self._client.create_run(self._experiment_id, started_ms, tags)

    @staticmethod
    def _common_tags(study: str, key: str, engine: str, digits: Digits, role: str) -> dict[str, str]:
        tags = {
            "harness.study": study,
            "harness.study_key": key,
            "harness.role": role,
            "harness.dataset": digits.name,
            "harness.engine": engine,
            "harness.trace": str(TRACE_VERSION),
            "harness.cpu": machine.processor(),
            "harness.versions": ", ".join(f"{name} {version}" for name, version in machine.versions().items()),
        }
        commit = machine.commit()
        if commit is not None:
            tags["harness.commit"] = commit.revision
            tags["harness.dirty"] = str(commit.dirty).lower()
        return tags

    # Reading

    def finished_trainings(self, key: str) -> dict[str, RunRecord]:
        """The trainings of a study that were recorded whole, by the key of their variant, without histories."""
        with _failures():
            runs = self._search(f"tags.`harness.study_key` = '{key}' and tags.`harness.role` = '{TRAINING}'")
        records = [_record(run) for run in runs if run.info.status == "FINISHED"]
        return {record.tags["harness.variant"]: record for record in records}

    def newest_study(self, name: str | None = None) -> RunRecord | None:
        """The parent run of the study of this name that was run last, or of any; None if there is none."""
        condition = f"tags.`harness.role` = '{STUDY}'"
        if name is not None:
            if not re.fullmatch(NAME_PATTERN, name):
                return None
            condition += f" and tags.`harness.study` = '{name}'"
        with _failures():
            order = [f"tags.`{_LAST_RUN}` DESC"]
            found = self._client.search_runs([self._experiment_id], condition, max_results=1, order_by=order)
        return _record(found[0]) if found else None

    def study(self, name: str | None = None) -> StudyRecord:
        """The study of this name that was run last, or the last of any, with its trainings.

        Of runs that were read off one training only the longest has its histories: the others' are its first epochs,
        and each costs two calls.

        Raises:
            UsageError: no such study was recorded.
        """
        parent = self.newest_study(name)
        if parent is None:
            what = f"no study called {name!r} was recorded" if name else "no study was recorded"
            raise UsageError(f"{what} in {masked(tracking_uri())}", _RUN_ONE)
        key = parent.tags["harness.study_key"]
        with _failures():
            runs = self._search(f"tags.`harness.study_key` = '{key}' and tags.`harness.role` = '{TRAINING}'")
            records = [self._with_details(run) for run in runs]
            finished = sorted((record for record in records if record.status == "FINISHED"), key=_length)
            kept = set({_training(record): record.run_id for record in finished}.values())
            records = [self.with_histories(run) if run.run_id in kept else run for run in records]
        records.sort(key=lambda record: (int(record.tags["harness.trial"]), record.started_ms, record.name))
        return StudyRecord(parent, tuple(records))

    def with_histories(self, record: RunRecord) -> RunRecord:
        """The run with the loss and the errors of each of its epochs; a run that failed has none."""
        if record.status != "FINISHED":
            return record
        with _failures():
            losses, errors = (self._history(record.run_id, name) for name in ("loss", "errors"))
        return replace(record, losses=losses, errors=tuple(int(count) for count in errors))

    def _search(self, condition: str) -> list[MlflowRun]:
        runs: list[MlflowRun] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment_id], condition, max_results=_PAGE, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    @staticmethod
    def _with_details(run: MlflowRun) -> RunRecord:
        """A run with what its artifact says; a run that failed has none."""
        record = _record(run)
        if record.status != "FINISHED":
            return record
        details = _details(str(run.info.artifact_uri))
        return replace(record, wrong_images=tuple(details["wrong_images"]), softmax=details["softmax"])

    def _history(self, run_id: str, name: str) -> tuple[float, ...]:
        history = self._client.get_metric_history(run_id, name)
        return tuple(_unclamped(metric.value) for metric in sorted(history, key=lambda metric: metric.step))


@dataclass(frozen=True)
class StudyHandle:
    """What every run of a study is tagged with."""

    run_id: str
    name: str
    key: str
    engine: str
    digits: Digits


@contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """Let one process at a time open, and so perhaps make, the database of an SQLite store."""
    if path is None:
        yield
        return
    with FileLock(f"{path}.lock"):
        yield


@contextmanager
def _whole(path: Path | None) -> Iterator[None]:
    """Make a new database whole or not at all: one that a process was stopped in the making of is made anew.

    MLflow brings a new database to its schema in some hundred steps, and would refuse what only some have reached.
    Nothing is recorded before they are done.
    """
    if path is None:
        yield
        return
    making = path.with_name(f"{path.name}.making")
    if making.exists():
        for part in ("", "-wal", "-shm"):
            path.with_name(path.name + part).unlink(missing_ok=True)
    is_new = not path.is_file()
    if is_new:
        making.touch()
    yield
    if is_new:
        making.unlink()


def _check_database(path: Path) -> None:
    """Fail at once on a file that is no database: MLflow would try it again for a minute and a half."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def _tune_sqlite(connection: object, _record: object) -> None:
    """Let readers read while a study writes, and let a commit wait for no disk.

    In the write-ahead log a commit survives the death of the process without a sync; only a power failure can take
    the last ones, and never harms the database.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def _log_details(artifact_uri: str, outcome: Outcome) -> None:
    """Leave what is no single number as an artifact: the images that are wrong, and every softmax check.

    The client would first fetch the run, to learn where its artifacts go, which costs more than the rest of this.
    """
    details = {
        "epoch": outcome.variant.epochs,
        "wrong_images": outcome.wrong.tolist(),
        "softmax": {way: asdict(check) for way, check in outcome.softmax.items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / OUTCOME
        write_json(str(path), details)
        get_artifact_repository(artifact_uri).log_artifact(str(path))


def _details(artifact_uri: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = get_artifact_repository(artifact_uri).download_artifacts(OUTCOME, folder)
        details: dict[str, Any] = json.loads(Path(path).read_text())
        return details


def _final_metrics(outcome: Outcome) -> dict[str, float]:
    metrics: dict[str, float] = {
        "final_errors": outcome.final_errors,
        "final_loss": outcome.final_loss,
        "duration_s": outcome.duration_s,
        "shared_by": outcome.shared_by,
    }
    if outcome.first_zero_epoch is not None:
        metrics["first_zero_epoch"] = outcome.first_zero_epoch
    check = asdict(outcome.softmax[SOFTMAX_WAY])
    return metrics | {f"softmax_{name}": value for name, value in check.items() if value is not None}


def _params(variant: Variant, study: StudyHandle) -> list[Param]:
    params = {**variant.settings(), "engine": study.engine, "dataset": study.digits.name}
    return [Param(name, str(value)) for name, value in params.items()]


def _dataset_input(digits: Digits) -> DatasetInput:
    hashes = {"sha256_x": digits.sha256_x, "sha256_y": digits.sha256_y}
    dataset = Dataset(
        name=digits.name,
        digest=digits.sha256_x[:12],
        source_type="local",
        source=json.dumps({"source": digits.source}),
        schema=json.dumps({"x": "(5000, 400) float64", "y": "(5000, 1) uint8"}),
        profile=json.dumps({"num_rows": len(digits.x), **hashes}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _brief(values: Any) -> str:  # noqa: ANN401 - a list or one of two kinds of range
    return str(values) if isinstance(values, list) else " ".join(f"{k}={v}" for k, v in values.model_dump().items())


def _study_note(plan: Plan, digits: Digits) -> str:
    space = "\n".join(f"- {name}: {_brief(values)}" for name, values in plan.space.parameters().items())
    return (
        f"**{plan.name}** on `{digits.name}`\n\n{plan.description.strip()}\n\n"
        f"{plan.n_trials} trials, {plan.design.kind}, engine `{plan.engine}`:\n\n{space}\n\n"
        "Each child run is a trial. Its errors are training errors: images of the 5000 that the network learned from "
        "and still gets wrong. `final_errors` is the count after the last epoch, `first_zero_epoch` the first epoch "
        "after which there was none (absent if there was no such epoch): two numbers, because errors come back.\n\n"
        f"Again: `harness study run {plan.name}`. The report: `harness report {plan.name}`."
    )


def _unclamped(value: float) -> float:
    """The value that was recorded: MLflow's SQL store keeps an infinity as the largest number there is."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _length(record: RunRecord) -> tuple[int, int]:
    """What the longest of several runs is told by: its epochs, and of equals the later trial."""
    return int(record.params["epochs"]), int(record.tags["harness.trial"])


def _training(record: RunRecord) -> frozenset[tuple[str, str]]:
    """What runs that were read off one training have in common."""
    return frozenset((name, value) for name, value in record.params.items() if name != "epochs")


def _record(run: MlflowRun) -> RunRecord:
    return RunRecord(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        status=str(run.info.status),
        params=dict(run.data.params),
        metrics={name: _unclamped(value) for name, value in run.data.metrics.items()},
        tags=dict(run.data.tags),
        started_ms=int(run.info.start_time),
    )
