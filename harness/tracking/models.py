"""Registers the models of the baseline and of the best run in MLflow's model registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.files import masked
from harness.tracking import model_selection
from harness.tracking.location import EXPERIMENT
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.store import Store, failures, reach
from harness.tracking.tags import Tag

MODEL = EXPERIMENT
BASELINE, BEST = "baseline", "best"
_ABOUT = (
    "The lab's network for handwritten digits, 400 inputs (images of 20x20, unrolled column by column) to 10 logits, "
    "trained by `harness study run`. `baseline` is the reference variant, `best` the cheapest variant with "
    "zero errors. Both come from the study that ran last."
)
_TIME_LIMIT_S = 120


@dataclass(frozen=True)
class _Kept:
    """A run whose model is kept.

    Attributes:
        run: Run that trained the model.
        aliases: Aliases of the model version.
        version: Version of the model if it is already registered, else an empty string.
        weights: Weights of the run if its model is not registered yet, else an empty tuple.
    """

    run: RunRecord
    aliases: list[str]
    version: str
    weights: tuple[NDArray[np.float32], ...]


class ModelRegistry:
    """Registers the models of a study.

    Args:
        store: Tracking store that holds the study.
        record: Study whose models are registered.
        digits: Images of the study.
        folder: Folder for temporary files. Files of a killed process are deleted from it.
    """

    def __init__(self, store: Store, record: StudyRecord, digits: Digits, folder: Path) -> None:
        self._folder = folder / ".models"
        self._reader, self._record, self._digits = StudyReader(store), record, digits
        self._client: Any = store.client

    @contextmanager
    def keeping(self) -> Iterator[list[str]]:
        """Register the models when the context ends.

        Another process creates the models while the body of the context runs.

        Yields:
            A list of messages. After the context has ended, it has one line for each model that says whether the model
            was registered.

        Raises:
            StoppedError: The store cannot be reached, read or written.
        """
        lines: list[str] = []
        registry = os.environ.get("MLFLOW_REGISTRY_URI")
        try:
            if registry:
                reach(registry, masked(f"the model registry {registry}"))
        except OSError as error:
            yield lines
            lines.append(masked(f"no models: the model registry {registry} does not respond ({error})"))
            return
        with failures():
            kept = self._kept(lines)
        new = [one for one in kept if not one.version]
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        try:
            with failures():
                ids = {one.run.run_id: self._begin(one, self._folder) for one in new}
            process = self._start(self._folder.absolute()) if new else None
            try:
                yield lines
                failure = "" if process is None else _ended(process)
                with failures():
                    lines += [self._end(one, ids.get(one.run.run_id, ""), self._folder, failure) for one in kept]
            finally:
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _kept(self, lines: list[str]) -> list[_Kept]:
        """The runs whose models are kept. For each alias without a run or weights, append a message to `lines`."""
        trainings, engine = self._record.trainings, self._record.parent.tags[Tag.ENGINE]
        chosen = {BASELINE: model_selection.baseline(trainings, engine), BEST: model_selection.best(trainings)}
        found: dict[str, _Kept] = {}
        for alias, run in chosen.items():
            if run is None:
                why = "no run ended with zero errors" if alias == BEST else "the study has no finished run of it"
                lines.append(f"no model {alias}: {why}")
            elif run.run_id in found:
                found[run.run_id].aliases.append(alias)
            elif version := self._version(run):
                found[run.run_id] = _Kept(run, [alias], version, ())
            elif weights := self._reader.weights(run.run_id):
                found[run.run_id] = _Kept(run, [alias], "", weights)
            else:
                lines.append(f"no model {alias}: the run {run.name} was recorded without weights (engine {engine})")
        return list(found.values())

    def _version(self, run: RunRecord) -> str:
        """The latest model version that is registered for a run; empty if there is none."""
        found = self._client.search_model_versions(f"name = '{MODEL}' and run_id = '{run.run_id}'")
        return max((str(version.version) for version in found), key=int, default="")

    def _begin(self, one: _Kept, folder: Path) -> str:
        """Create the logged model of a run, write the input of the export process, and return the model's id."""
        run, settings = one.run, one.run.settings
        params = {name: settings[name] for name in ("epochs", "learning_rate", "seed")}
        made = self._client.create_logged_model(
            self._record.experiment_id, one.aliases[0], source_run_id=run.run_id, params=params, model_type="keras"
        )
        own = folder / run.run_id
        own.mkdir()
        asked = {
            "layers": [int(units) for units in settings["layers"].split("-")],
            "softmax": settings["softmax"],
            "run_id": run.run_id,
            "model_id": made.model_id,
            "location": made.artifact_location,
        }
        np.savez(own / "weights.npz", *one.weights)
        (own / "asked.json").write_text(json.dumps(asked))
        return str(made.model_id)

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        np.savez(folder / "images.npz", features=self._digits.features, labels=self._digits.labels)
        with (folder / "log").open("wb") as log:
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
            environment |= {"KERAS_BACKEND": "tensorflow", "KERAS_NNX_ENABLED": "0"}
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.tracking.model_export", str(folder)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only this process, which then ends the other
            )

    def _end(self, one: _Kept, model_id: str, folder: Path, failure: str) -> str:
        """Register the model that the export process created, and return a message with the result."""
        named, version = " and ".join(one.aliases), one.version
        if not version:
            wrong, expected = folder / one.run.run_id / "wrong.json", model_selection.errors(one.run)
            if not wrong.is_file():
                failure = failure or _last_line(folder / "log")
            elif json.loads(wrong.read_text()) != expected:
                failure = f"Keras finds {wrong.read_text()} errors with the weights of a run that has {expected}"
            if failure:
                self._client.finalize_logged_model(model_id, "FAILED")
                return f"no model {named}: {failure}"
            version = self._register(one, model_id, folder / one.run.run_id / "model")
        known = self._aliases(version)
        for alias in one.aliases:
            if alias not in known:
                self._client.set_registered_model_alias(MODEL, alias, version)
        return f"model {MODEL}, version {version}: {named} ({one.run.name}, {model_selection.errors(one.run)} errors)"

    def _register(self, one: _Kept, model_id: str, path: Path) -> str:
        client, run, tags = self._client, one.run, self._record.parent.tags
        client.log_model_artifacts(model_id, str(path))
        client.finalize_logged_model(model_id, "READY")
        client.log_outputs(run.run_id, [LoggedModelOutput(model_id, int(run.params["epochs"]))])
        try:
            client.create_registered_model(MODEL, description=_ABOUT)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(
            MODEL,
            f"models:/{model_id}",
            run.run_id,
            {Tag.STUDY: tags[Tag.STUDY], Tag.DATASET: tags[Tag.DATASET]},
            description=f"{run.name}: {model_selection.errors(run)} errors on {tags[Tag.DATASET]}, study "
            f"{tags[Tag.STUDY]}, engine {tags[Tag.ENGINE]}.",
            model_id=model_id,
        )
        return str(version.version)

    def _aliases(self, version: str) -> set[str]:
        return set(self._client.get_model_version(MODEL, version).aliases)


def _ended(process: subprocess.Popen[bytes]) -> str:
    """Wait for the export process to end, and kill it after a time limit.

    Returns:
        The reason if the time limit was exceeded, else an empty string.
    """
    try:
        process.wait(_TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"it was not written within {_TIME_LIMIT_S} s"
    return ""


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "the process that writes it ended"
