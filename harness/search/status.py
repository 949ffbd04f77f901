"""Reports the status of recorded studies, and forecasts what ``study run`` would do. This module only reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from harness.data.digits import Digits
from harness.engines.training import by_training
from harness.network.variant import N_IMAGES, Variant
from harness.search import records
from harness.search.records import TrialState
from harness.study import signature
from harness.study.config import StudyConfig
from harness.tracking.reader import StudyReader
from harness.tracking.recorded_signature import changes, new_key
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Role, Tag

# Seconds per optimizer step of each engine, from a table in the README. Used if no training is recorded.
_README = "the README's machine"
_STEP_S = {"xla": 25e-6, "graph": 77e-6, "keras": 167e-6}


@dataclass(frozen=True)
class StudyStatus:
    """The status of a recorded study.

    Attributes:
        name: Name of the study.
        state: ``running``, ``complete``, ``stopped`` or ``archived``.
        finished: Number of complete trials. The process that runs the study updates it every 30 s and at the end.
        failed: Number of failed trainings.
        total: Number of trials that the study has when it is complete.
        dataset: Name of the data set.
        engine: Name of the engine.
        last_run_s: Time when the study was last started, in seconds since 1970.
        owner: Description of the process that runs the study; empty if the study is not running.
        failures: Number of failed trainings for each reason of failure.
    """

    name: str
    state: str
    finished: int
    failed: int
    total: int
    dataset: str
    engine: str
    last_run_s: float
    owner: str
    failures: dict[str, int]

    @property
    def last_run(self) -> str:
        """The local time when the study was last started, such as ``2024-05-31 14:05``."""
        return f"{datetime.fromtimestamp(self.last_run_s, UTC).astimezone():%Y-%m-%d %H:%M}"


def statuses(reader: StudyReader, name: str | None = None) -> list[StudyStatus]:
    """Return the status of all recorded studies, or of all with this name. The last started study comes first."""
    found = [status(reader, run) for run in reader.studies(name)]
    return sorted(found, key=lambda standing: -standing.last_run_s)


def status(reader: StudyReader, parent: RunRecord) -> StudyStatus:
    """Return the status of the study with this parent run."""
    tags = parent.tags
    finished = int(tags.get(Tag.DONE, "0"))
    runs = reader.runs(tags[Tag.STUDY_KEY], Role.TRAINING)
    failures = Counter(run.tags.get(Tag.FAILURE, "") for run in runs if run.status == "FAILED")
    total = int(tags.get(Tag.TOTAL, "0"))
    state = "complete" if finished >= total else "stopped"
    if Tag.ARCHIVED in tags:
        state = "archived"
    elif parent.owner is not None:
        state = "running"
    return StudyStatus(
        name=tags[Tag.STUDY],
        state=state,
        finished=finished,
        failed=failures.total(),
        total=total,
        dataset=tags[Tag.DATASET],
        engine=tags[Tag.ENGINE],
        last_run_s=int(tags.get(Tag.LAST_RUN, "0")) / 1000,
        owner=_owner(parent),
        failures=dict(failures),
    )


def _owner(parent: RunRecord) -> str:
    """Describe the process that runs a study. For a process on another machine, add the age of its last heartbeat."""
    owner = parent.owner
    if owner is None or owner.is_near():
        return str(owner or "")
    ago_s = time.time() - float(parent.tags.get(Tag.HEARTBEAT, "0"))
    return f"{owner}, last heartbeat {ago_s:.0f} s ago by the clock of that machine"


@dataclass(frozen=True)
class Forecast:
    """A forecast of what ``study run`` would do now.

    Attributes:
        refused: Reasons why the command would refuse to run the study; empty if it would run.
        resumed: Number of unfinished trials that would be resumed.
        done: Number of complete trials.
        total: Number of trials that the study has when it is complete.
        trainings: Number of trainings that would be run.
        epochs: Total number of epochs of these trainings.
        duration_s: Estimated duration with the requested number of workers, in seconds.
        estimated_from: Source of the estimated duration, as text.
    """

    refused: list[str]
    resumed: int
    done: int
    total: int
    trainings: int
    epochs: int
    duration_s: float
    estimated_from: str


def forecast(config: StudyConfig, digits: Digits, reader: StudyReader | None, workers: int) -> Forecast:
    """Determine what ``study run`` would do now, and estimate its duration. This function only reads.

    Args:
        config: Configuration of the study.
        digits: Images and labels of the study.
        reader: Reader of the tracking store; None if there is no store yet.
        workers: Number of workers.

    Raises:
        DamagedRecordError: A run of the study is damaged.
        StoppedError: The store cannot be read.
    """
    if reader is None:
        left = _new_trainings(config, set(), config.n_trials)
        return _forecast(config, [], 0, 0, left, _step_s(reader, config.engine), workers)
    refused, now = [], signature.of(config, digits)
    parent = reader.newest_study(config.name)
    if parent is None:  # the parent run may have been deleted permanently, while runs of trials remain
        key = new_key(config.name, reader.studies(config.name), now)
    else:
        reader.check_children(parent)
        refused, key = changes(parent, now), parent.tags[Tag.STUDY_KEY]
        if parent.owner is not None:
            refused.append(f"it is running: {parent.owner}")
    is_grid = config.design.seeds is None
    found = records.of_config(reader, key, config)
    states = Counter(trial.state for trial in found.trials)
    points = [config.variant(point).key for point in config.points()]
    done = sum(point in found.trainings for point in points) if is_grid else states[TrialState.COMPLETE]
    left = _new_trainings(config, set(found.trainings), config.n_trials - done)
    resumed = min(states[TrialState.UNFINISHED], config.n_trials - done)
    return _forecast(config, refused, max(0, resumed), done, left, _step_s(reader, config.engine), workers)


def _new_trainings(config: StudyConfig, known: set[str], n_trials: int) -> list[Variant]:
    """Return one variant for each missing training. If several variants need it, it is the one with the most epochs.

    In a sampled design, the parameter values of new trials are unknown. So the largest value of every parameter is
    assumed.
    """
    if config.design.seeds:
        largest = config.variant(config.corners()[-1])
        return [largest] * (max(0, n_trials) * len(config.design.seeds))
    variants = [variant for point in config.points() if (variant := config.variant(point)).key not in known]
    return [max(training, key=lambda variant: variant.epochs) for training in by_training(variants)]


def _forecast(
    config: StudyConfig,
    refused: list[str],
    resumed: int,
    done: int,
    left: Sequence[Variant],
    step: tuple[float, str],
    workers: int,
) -> Forecast:
    steps = sum(variant.epochs * variant.steps_per_epoch for variant in left)
    epochs = sum(variant.epochs for variant in left)
    step_s, estimated_from = step
    return Forecast(
        refused, resumed, done, config.n_trials, len(left), epochs, steps * step_s / workers, estimated_from
    )


def _step_s(reader: StudyReader | None, engine: str) -> tuple[float, str]:
    """Return the estimated seconds per optimizer step with this engine, and the source of the estimate."""
    if reader is None:
        return _STEP_S.get(engine, 0.0), _README
    for parent in reversed(reader.studies()):
        if parent.tags[Tag.ENGINE] == engine and (times := _recorded_steps_s(reader, parent)):
            return median(times), f"{len(times)} trainings of {parent.tags[Tag.STUDY]}"
    return _STEP_S.get(engine, 0.0), _README


def _recorded_steps_s(reader: StudyReader, parent: RunRecord) -> list[float]:
    """Return the seconds per optimizer step of each training of a study.

    Several runs may come from one training. The run with the most epochs has the duration of the training.
    """
    longest: dict[frozenset[tuple[str, str]], RunRecord] = {}
    for run in reader.runs(parent.tags[Tag.STUDY_KEY], Role.TRAINING):
        if run.status == "FINISHED":
            known = longest.setdefault(run.training, run)
            if int(run.params["epochs"]) > int(known.params["epochs"]):
                longest[run.training] = run
    steps = (int(run.params["epochs"]) * -(-N_IMAGES // int(run.settings["batch_size"])) for run in longest.values())
    return [run.metrics["duration_s"] / count for run, count in zip(longest.values(), steps, strict=True)]
