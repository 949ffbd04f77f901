"""Ask, train, track, tell: the only module that imports Optuna."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from harness import engines
from harness.digits import Digits
from harness.errors import StoppedError
from harness.output import masked
from harness.plan import FloatRange, IntRange, Plan, Sampled, Value
from harness.tracking import StudyHandle, Tracker
from harness.trials import Outcome, by_training
from harness.variant import TRACE_VERSION, SoftmaxPlace, Variant
from harness.workers import Batch, Trainers

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """Is told how a study goes."""

    def begin(self, done: int, total: int) -> None:
        """The study starts with so many of its trials done."""

    def adopted(self) -> None:
        """A trial was found recorded whole and needs no training."""

    def trial(self, variants: Sequence[Variant], outcomes: Sequence[Outcome] | None) -> None:
        """A trial ended; with no outcomes, it failed."""


@dataclass(frozen=True)
class Result:
    """How a study ended.

    Attributes:
        before: trials that were done before.
        trained: trials that were trained now.
        failed: trials that failed now.
        mlflow_s: seconds that recording them in MLflow took this process.
        optuna_s: seconds that asking for them and telling of them took this process.
        busy_share: of the workers' time from the first batch's start to the last one's end, the share in which they
            trained; 0 where nothing was trained.
    """

    before: int
    trained: int
    failed: int
    mlflow_s: float
    optuna_s: float
    busy_share: float


class _Costs:
    """Where the time of a study goes."""

    def __init__(self) -> None:
        self.spent_s = {"mlflow": 0.0, "optuna": 0.0}
        self._batches: list[tuple[float, float]] = []

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time that is spent in this context."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.spent_s[what] += time.perf_counter() - started_s

    def trained(self, batch: Batch) -> None:
        self._batches.append((batch.began_s, batch.ended_s))

    def busy_share(self, n_workers: int) -> float:
        if not self._batches:
            return 0.0
        whole_s = max(ended for _, ended in self._batches) - min(began for began, _ in self._batches)
        return sum(ended - began for began, ended in self._batches) / (n_workers * whole_s)


@dataclass(frozen=True)
class _Trial:
    number: int
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class _Job:
    """The trials that go to a worker together."""

    trials: tuple[_Trial, ...]

    @property
    def variants(self) -> list[Variant]:
        return [variant for trial in self.trials for variant in trial.variants]


def study_key(plan: Plan, digits: Digits) -> str:
    """What must stay the same for two runs of a study to be one study: 12 hex digits.

    The values of the space are not in it, so a study can grow; whatever gives a finished trial another meaning is.
    """
    varied = set(plan.space.parameters())
    design = plan.design.model_dump(exclude={"trials"})
    fixed = plan.variant({}).model_dump(exclude=varied, exclude_defaults=True)
    content = [plan.name, digits.sha256_x, digits.sha256_y, plan.engine, fixed, plan.objectives, design, TRACE_VERSION]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Turn what a storage throws into one clear error."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, SQLAlchemyError, OptunaError) as error:
        lines = str(error).strip().splitlines()
        cause = masked(f"{what}: {lines[0] if lines else type(error).__name__}")
        raise StoppedError(cause, "Give another by --storage, or move what is in the way; then run again.") from error


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """Open Optuna's storage: a database by its URL, else the journal file.

    Raises:
        StoppedError: it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _failures(f"Optuna's storage {url or journal} cannot be opened"):
        if url is not None:
            return optuna.storages.get_storage(url)
        journal.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(journal), _SystemLock(str(journal))))


class _SystemLock(JournalFileOpenLock):
    """A journal's lock that the system lets go of when its holder is killed.

    Optuna's own locks are files that then stay behind: thirty seconds, or with a relative path for ever (5.0.0).
    """

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self._lock = FileLock(f"{journal}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class Search:
    """One study, continued from where its records stand.

    Args:
        plan: the study.
        digits: the images.
        tracker: where runs are recorded.
        storage: where Optuna keeps trials.
        progress: is told of every trial.
    """

    def __init__(self, plan: Plan, digits: Digits, tracker: Tracker, storage: BaseStorage, progress: Progress) -> None:
        self._plan, self._tracker, self._progress = plan, tracker, progress
        key = study_key(plan, digits)
        with _failures("Optuna's storage cannot be used"):
            self._study = optuna.create_study(
                storage=storage,
                study_name=f"{plan.name}-{key}",
                directions=["minimize"] * len(plan.objectives),
                load_if_exists=True,
            )
            # A sampler that began anew with the same seed would propose the same points anew.
            self._study.sampler = _sampler(plan, len(self._study.get_trials(deepcopy=False)))
        self._distributions = _distributions(plan)
        run_id = tracker.begin_study(plan, digits, key)
        self._handle = StudyHandle(run_id, plan.name, key, plan.engine, digits)
        recorded = tracker.finished_trainings(key)
        self._recorded = {
            variant: (run.metrics["final_errors"], int(run.params["epochs"])) for variant, run in recorded.items()
        }
        self._adopted = 0
        self._costs = _Costs()

    def run(self, workers: Trainers) -> Result:
        """Train what is not trained yet, recording each trial as it ends.

        Args:
            workers: what trains.

        Raises:
            StoppedError: a store failed; what was recorded is kept.
        """
        with _failures("Optuna's storage failed"):
            self._settle()
            before = len(self._done())
            self._progress.begin(before, self._plan.n_trials)
            counts = {True: 0, False: 0}
            status = "KILLED"
            try:
                for job, future in self._trained(workers):
                    for ended_well in self._record(job, future):
                        counts[ended_well] += 1
                status = "FINISHED"
            finally:
                before += self._adopted
                ended = {"finished": before + counts[True], "failed": counts[False]}
                self._tracker.end_study(self._handle.run_id, status, ended)
        spent_s, busy_share = self._costs.spent_s, self._costs.busy_share(workers.count)
        return Result(before, counts[True], counts[False], spent_s["mlflow"], spent_s["optuna"], busy_share)

    def _trained(self, workers: Trainers) -> Iterator[tuple[_Job, Future[Batch]]]:
        """Each job with its future, as they are done, while the next ones train.

        More jobs are handed out than there are workers, so that none waits while this process records: of a grid
        one more each, of a sampler one in all, because what waits was proposed without knowing what is recorded now.
        """
        if isinstance(self._plan.design, Sampled):
            jobs, in_flight = self._sampled_jobs(self._plan.design, workers.count), workers.count + 1
        else:
            jobs, in_flight = self._grid_jobs(workers.count), 2 * workers.count
        running: dict[Future[Batch], _Job] = {}
        while True:
            while len(running) < in_flight and (job := next(jobs, None)) is not None:
                running[workers.submit(job.variants)] = job
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            # One at a time, so that the next ones are handed out before another is recorded.
            future = next(iter(done))
            yield running.pop(future), future

    # What is left to do

    def _done(self) -> set[str]:
        """What the trials that are complete, recorded whole, and of this design have trained."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        trained = {str(trial.user_attrs.get("variants", "")) for trial in trials}
        if not isinstance(self._plan.design, Sampled):
            trained &= {self._plan.variant(point).key for point in self._plan.points()}
        return {variants for variants in trained if self._is_recorded(variants)}

    def _is_recorded(self, variants: str) -> bool:
        return bool(variants) and all(key in self._recorded for key in variants.split())

    def _settle(self) -> None:
        """Settle what an interrupted run left: trials that were asked for, and runs that were half written."""
        self._tracker.close_orphans(self._handle.key)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._adopt(trial.number, trial.user_attrs.get("variants", "")):
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _adopt(self, number: int, variants: str) -> bool:
        """Complete a trial from its records, if all that it trains is recorded."""
        if not self._is_recorded(variants):
            return False
        scores = [self._recorded[key] for key in variants.split()]
        self._study.tell(number, self._values([errors for errors, _ in scores], scores[0][1]))
        return True

    def _grid_jobs(self, n_workers: int) -> Iterator[_Job]:
        """A factorial's trials, as many trainings together as the engine takes at once and every worker has some."""
        done = self._done()
        points = {
            variant.key: (variant, point)
            for point in self._plan.points()
            if (variant := self._plan.variant(point)).key not in done
        }
        trainings = by_training([variant for variant, _ in points.values()])
        trainings.sort(key=lambda training: training[0].shape)  # one call takes one shape
        together = self._together(len(trainings), 1, n_workers)
        for first in range(0, len(trainings), together):
            chunk = [variant for training in trainings[first : first + together] for variant in training]
            asked = [self._ask((variant,), points[variant.key][1]) for variant in chunk]
            if trials := tuple(trial for trial in asked if trial is not None):
                yield _Job(trials)

    def _ask(self, variants: tuple[Variant, ...], point: dict[str, Value]) -> _Trial | None:
        """Begin the trial at a point of the space; None if records complete it without training."""
        keys = _keys(variants)
        with self._costs.of("optuna"):
            # Written whole, at once: to enqueue a point, ask for it and name its variant would be six writes.
            begun = optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=dict(point),
                distributions=self._distributions,
                user_attrs={"variants": keys},
            )
            self._study.add_trial(begun)
            mine = (trial for trial in reversed(self._study.get_trials(deepcopy=False)) if _is_begun(trial, keys))
            return self._begun(next(mine).number, variants)

    def _begun(self, number: int, variants: tuple[Variant, ...]) -> _Trial | None:
        """The trial that was begun, unless its records are there already and complete it."""
        if not self._adopt(number, _keys(variants)):
            return _Trial(number, variants)
        self._adopted += 1
        self._progress.adopted()
        return None

    def _sampled_jobs(self, design: Sampled, n_workers: int) -> Iterator[_Job]:
        """A sampler's trials, each trained with every seed, as many together as the engine takes at once."""
        n_left = design.trials - len(self._done())
        together = self._together(n_left, len(design.seeds), n_workers)
        while n_left > 0:
            proposed = [self._propose(design) for _ in range(min(together, n_left))]
            n_left -= len(proposed)
            if trials := tuple(trial for trial in proposed if trial is not None):
                yield _Job(trials)

    def _propose(self, design: Sampled) -> _Trial | None:
        with self._costs.of("optuna"):
            asked = self._study.ask(self._distributions)
            variants = tuple(self._plan.variant({**asked.params, "seed": seed}) for seed in design.seeds)
            asked.set_user_attr("variants", _keys(variants))
            return self._begun(asked.number, variants)

    def _together(self, n_units: int, trainings_each: int, n_workers: int) -> int:
        """How many units of so many trainings go to a worker at a time, so that its engine and all workers are busy."""
        return max(1, min(engines.WIDTHS[self._plan.engine] // trainings_each, -(-n_units // n_workers)))

    # What was done

    def _record(self, job: _Job, future: Future[Batch]) -> Iterator[bool]:
        """Log a job's trials to MLflow, then tell Optuna, so that what is told is logged; yield how each ended."""
        error = future.exception()
        if isinstance(error, StoppedError):
            raise error  # not of the trial: nothing that trains can be reached any more
        outcomes: deque[Outcome] = deque()
        if error is None:
            batch = future.result()
            self._costs.trained(batch)
            outcomes.extend(batch.outcomes)
        for trial in job.trials:
            if error is None:
                own = [outcomes.popleft() for _ in trial.variants]
                self._log_trial(trial, own)
                self._progress.trial(trial.variants, own)
            else:
                self._log_failed(trial, f"{type(error).__name__}: {error}")
                self._progress.trial(trial.variants, None)
            yield error is None

    def _log_trial(self, trial: _Trial, outcomes: Sequence[Outcome]) -> None:
        values = self._values([outcome.final_errors for outcome in outcomes], trial.variants[0].epochs)
        with self._costs.of("mlflow"):
            parent = self._trial_run(trial, dict(zip(self._plan.objectives, values, strict=True)))
            for outcome in outcomes:
                self._tracker.log_outcome(self._handle, parent, trial.number, outcome)
                self._recorded[outcome.variant.key] = (outcome.final_errors, outcome.variant.epochs)
            if parent != self._handle.run_id:
                self._tracker.end_trial(parent)
        with self._costs.of("optuna"):
            self._study.tell(trial.number, values)

    def _log_failed(self, trial: _Trial, reason: str) -> None:
        _log.error("trial %d failed: %s", trial.number, reason)
        parent = self._trial_run(trial, {})
        for variant in trial.variants:
            self._tracker.log_failure(self._handle, parent, trial.number, variant, reason)
        if parent != self._handle.run_id:
            self._tracker.end_trial(parent, "FAILED")
        self._study.tell(trial.number, state=TrialState.FAIL)

    def _trial_run(self, trial: _Trial, values: Mapping[str, float]) -> str:
        """The run that a trial's trainings hang under: of its own where it has several, else the study's."""
        if not isinstance(self._plan.design, Sampled):
            return self._handle.run_id
        return self._tracker.begin_trial(self._handle, trial.number, trial.variants[0], values)

    def _values(self, errors: Sequence[float], epochs: float) -> list[float]:
        measured = {"errors": sum(errors) / len(errors), "epochs": float(epochs)}
        return [measured[objective] for objective in self._plan.objectives]


def _is_begun(trial: optuna.trial.FrozenTrial, keys: str) -> bool:
    """Whether this is the trial that was begun for these variants, should others write to the same storage."""
    return trial.state == TrialState.RUNNING and trial.user_attrs.get("variants") == keys


def _keys(variants: tuple[Variant, ...]) -> str:
    """What a trial trains, as Optuna keeps it."""
    return " ".join(variant.key for variant in variants)


def _sampler(plan: Plan, n_trials: int) -> optuna.samplers.BaseSampler:
    """The sampler of a study that has so many trials; of a factorial, one that is never asked."""
    if not isinstance(plan.design, Sampled):
        return optuna.samplers.RandomSampler()
    seed = int(np.random.SeedSequence([plan.design.sampler_seed, n_trials]).generate_state(1)[0])
    if plan.design.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _distributions(plan: Plan) -> dict[str, BaseDistribution]:
    """The space as numbers wherever it can be: Optuna lets the range of a number grow, but not a set of choices."""
    distributions: dict[str, BaseDistribution] = {}
    for name, values in plan.space.parameters().items():
        if isinstance(values, IntRange):
            distributions[name] = IntDistribution(values.low, values.high, step=values.step, log=values.log)
        elif isinstance(values, FloatRange):
            distributions[name] = FloatDistribution(values.low, values.high, log=values.log)
        elif name == "softmax":  # no number: all the places that there are, so that its choices never change
            distributions[name] = CategoricalDistribution(get_args(SoftmaxPlace))
        elif all(isinstance(value, int) for value in values):
            distributions[name] = IntDistribution(int(min(values)), int(max(values)))
        else:
            distributions[name] = FloatDistribution(float(min(values)), float(max(values)), log=True)
    return distributions
