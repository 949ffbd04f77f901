"""Registers the models of the baseline and of the best run in MLflow's model registry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.files import masked
from harness.network.variant import SoftmaxPlace
from harness.tracking import model_selection
from harness.tracking.location import EXPERIMENT
from harness.tracking.model_process import ModelProcess
from harness.tracking.model_spec import ModelSpec
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.store import Store, failures, reach
from harness.tracking.tags import Tag

MODEL = EXPERIMENT
BASELINE, BEST = "baseline", "best"
_ABOUT = (
    "The lab's network for handwritten digits, trained by `harness study run`. It computes 10 logits from 400 inputs. "
    "The inputs are images of 20x20 pixels, unrolled column by column. The alias `baseline` marks the model of the "
    "baseline. The alias `best` marks the model of the cheapest variant that reliably reaches zero errors. Each study "
    "sets the aliases for which it has a model."
)


@dataclass(frozen=True)
class _Kept:
    """A run whose model is registered or will be registered.

    Attributes:
        run: Run that trained the model.
        aliases: Aliases of the model version.
        version: Number of the model version if the model is already registered, else an empty string.
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
        process: Process that writes the models.
    """

    def __init__(self, store: Store, record: StudyRecord, digits: Digits, process: ModelProcess) -> None:
        self._process = process
        self._reader, self._record, self._digits = StudyReader(store), record, digits
        self._client: Any = store.client

    @contextmanager
    def keeping(self) -> Iterator[list[str]]:
        """Write the models in the background during the context, and register them when the context ends.

        Yields:
            A list of messages. After the context has ended, each message says that a model was registered, or why no
            model was registered.

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
            lines.append(masked(f"no models registered: the model registry {registry} does not respond ({error})"))
            return
        with failures():
            kept = self._kept(lines)
        specs: dict[str, ModelSpec] = {}
        with failures():
            for one in kept:
                if not one.version:
                    specs[one.run.run_id] = self._begin(one)
        new = list(specs.values())
        if new:
            self._process.send(self._digits, new)
        yield lines
        results = self._process.wait(new) if new else {}
        with failures():
            for one in kept:
                spec = specs.get(one.run.run_id)
                lines.append(self._end(one, spec, results[spec.run_id] if spec else 0))

    def _kept(self, lines: list[str]) -> list[_Kept]:
        """Select the runs whose models are registered. Append a message to `lines` for each alias without a model."""
        trainings, engine = self._record.trainings, self._record.parent.tags[Tag.ENGINE]
        chosen = {BASELINE: model_selection.baseline(trainings, engine), BEST: model_selection.best(trainings)}
        found: dict[str, _Kept] = {}
        for alias, run in chosen.items():
            if run is None:
                why = "no run ended with zero errors" if alias == BEST else "no run of the baseline is finished"
                lines.append(f"no model registered as {alias}: {why}")
            elif run.run_id in found:
                found[run.run_id].aliases.append(alias)
            elif version := self._version(run):
                found[run.run_id] = _Kept(run, [alias], version, ())
            elif weights := self._reader.weights(run.run_id):
                found[run.run_id] = _Kept(run, [alias], "", weights)
            else:
                lines.append(
                    f"no model registered as {alias}: the run {run.name} was recorded without weights (engine {engine})"
                )
        return list(found.values())

    def _version(self, run: RunRecord) -> str:
        """The number of the latest model version of a run, as text. Empty if no version is registered."""
        found = self._client.search_model_versions(f"name = '{MODEL}' and run_id = '{run.run_id}'")
        return max((str(version.version) for version in found), key=int, default="")

    def _begin(self, one: _Kept) -> ModelSpec:
        """Create the logged model of a run in MLflow, and return the specification of the model to write."""
        run, settings = one.run, one.run.settings
        params = {name: settings[name] for name in ("epochs", "learning_rate", "seed")}
        made = self._client.create_logged_model(
            self._record.experiment_id, one.aliases[0], source_run_id=run.run_id, params=params, model_type="keras"
        )
        return ModelSpec(
            layers=tuple(int(units) for units in settings["layers"].split("-")),
            softmax=cast("SoftmaxPlace", settings["softmax"]),
            weights=one.weights,
            run_id=run.run_id,
            model_id=str(made.model_id),
            location=str(made.artifact_location),
            path=self._process.folder / run.run_id,
        )

    def _end(self, one: _Kept, spec: ModelSpec | None, result: int | str) -> str:
        """Register the model if it is new, set its aliases, and return a message for the user.

        Args:
            one: Run that trained the model, with the aliases to set.
            spec: Specification of the new model. None if the model is already registered.
            result: Number of images that the new model classifies incorrectly, or the reason why it was not written.
        """
        named, version, expected = " and ".join(one.aliases), one.version, model_selection.errors(one.run)
        if spec is not None:
            if isinstance(result, int) and result != expected:
                result = f"with the weights of the run, Keras finds {result} errors instead of {expected}"
            if isinstance(result, str):
                self._client.finalize_logged_model(spec.model_id, "FAILED")
                return f"no model registered as {named}: {result}"
            version = self._register(one, spec.model_id, spec.path)
        known = self._aliases(version)
        for alias in one.aliases:
            if alias not in known:
                self._client.set_registered_model_alias(MODEL, alias, version)
        return f"model {MODEL}, version {version}: {named} ({one.run.name}, {expected} errors)"

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
