"""Runs a study: proposes trials, trains them, records them, and reports them to Optuna."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.training import TrainingResult, by_training
from harness.errors import StoppedError
from harness.network.variant import Variant
from harness.search.optuna_study import Entry, OptunaStudy, TrialPhase
from harness.search.result import Costs, Progress, StudyResult
from harness.search.resume import RecordedTraining, ResumePlan, UnmatchedTrial, plan_resume, recorded
from harness.signals import Stop
from harness.study.config import Sampled, StudyConfig, Value
from harness.tracking.owner import HEARTBEAT_S, Owner
from harness.tracking.store import StoreError
from harness.tracking.tags import Role, Tag
from harness.tracking.writer import StudyWriter
from harness.workers.local import Batch, Pool

# How long a request to stop may go unnoticed while workers train.
_NOTICED_S = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Trial:
    number: int
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class _Job:
    """The trials that go to a worker together, and what of them is not recorded yet."""

    trials: tuple[_Trial, ...]
    missing: tuple[Variant, ...]


class Search:
    """One study, continued from where its records stand.

    Args:
        config: the study.
        digits: the images.
        writer: where runs are recorded.
        open_optuna_study: opens Optuna's trials of the study whose key it is given.
        me: this process.
        progress: Receives every trial.

    Raises:
        StoppedError: another process runs the study, or a store fails.
        UsageError: the study's finished trials meant something else.
    """

    def __init__(
        self,
        config: StudyConfig,
        digits: Digits,
        writer: StudyWriter,
        open_optuna_study: Callable[[str], OptunaStudy],
        me: Owner,
        progress: Progress,
    ) -> None:
        self._config, self._writer, self._progress = config, writer, progress
        self._handle = writer.begin_study(config, digits, me)
        try:
            self._optuna_study = open_optuna_study(self._handle.key)
            self._recorded = recorded(writer, config, self._handle.key)
            self._trial_runs = {
                int(run.tags[Tag.TRIAL]): run.run_id for run in writer.runs(self._handle.key, Role.TRIAL)
            }
        except BaseException:
            with suppress(StoppedError):
                writer.end_study(self._handle, "KILLED", {})
            raise
        self._followers: dict[tuple[str, ...], list[int]] = {}
        self._adopted = 0
        self._n_done: int | None = None  # not known before the stores agree
        self._heard_s = time.monotonic()
        self._costs = Costs()

    def run(self, pool: Pool, stop: Stop) -> StudyResult:
        """Train what is not trained yet, recording each trial as it ends.

        Args:
            pool: what trains.
            stop: where an orderly end is asked for: what is being trained is recorded, and nothing more begun.

        Raises:
            StoppedError: a store failed; what was recorded is kept.
        """
        counts = {True: 0, False: 0}
        status = "KILLED"
        try:
            resume_plan = self._resume()
            before = self._n_done = len(resume_plan.done) + len(resume_plan.tell)
            self._progress.begin(before, self._config.n_trials)
            for job, future in self._trained(pool, resume_plan, stop):
                for ended_well in self._record(job, future):
                    counts[ended_well] += 1
                    self._n_done = before + counts[True]
            status = "KILLED" if stop.asked else "FINISHED"
        except BaseException as error:
            if not (isinstance(error, StoreError) and error.is_away):  # who is away is not waited for once more
                with suppress(StoppedError):
                    self._end(status, counts[False])
            raise
        self._end(status, counts[False])
        spent_s, busy_share = self._costs.spent_s, self._costs.busy_share(pool.count)
        done = before + self._adopted
        ended = (done, counts[True], counts[False], self._config.n_trials)
        return StudyResult(*ended, spent_s["mlflow"], spent_s["optuna"], busy_share)

    def _end(self, status: str, failed: int) -> None:
        ended = {} if self._n_done is None else {"finished": self._n_done + self._adopted, "failed": failed}
        self._writer.close_orphans(self._handle)  # runs whose making was not answered, and repeated
        self._writer.end_study(self._handle, status, ended)

    def _trained(
        self, pool: Pool, resume_plan: ResumePlan, stop: Stop
    ) -> Iterator[tuple[_Job, Future[Batch[TrainingResult]]]]:
        """Each job with its future, as they are done, while the next ones train.

        More jobs are handed out than there are workers, so that none waits while this process records: of a grid
        one more each, of a sampler one in all, because what waits was proposed without knowing what is recorded now.
        """
        jobs = self._jobs(resume_plan, pool)
        running: dict[Future[Batch[TrainingResult]], _Job] = {}
        is_stopping = False
        while True:
            while not stop.asked and len(running) < self._most(pool) and (job := next(jobs, None)) is not None:
                running[pool.submit(job.missing)] = job
            if stop.asked and not is_stopping:
                is_stopping = True
                self._withdraw(pool, running)
            if not running:
                return
            done, _ = wait(running, timeout=_NOTICED_S, return_when=FIRST_COMPLETED)
            self._heartbeat()
            if done:
                # One at a time, so that the next ones are handed out before another is recorded.
                future = next(iter(done))
                yield running.pop(future), future

    def _most(self, pool: Pool) -> int:
        return pool.count + 1 if isinstance(self._config.design, Sampled) else 2 * pool.count

    def _withdraw(self, pool: Pool, running: dict[Future[Batch[TrainingResult]], _Job]) -> None:
        """Take back what no worker has begun; it waits for the next run of the study."""
        for future in [future for future in running if pool.withdraw(future)]:
            for trial in running.pop(future).trials:
                for number in (trial.number, *self._followers.pop(_keys(trial.variants), ())):
                    self._optuna_study.enqueue(number)
        self._progress.stopping(len(running))

    def _heartbeat(self) -> None:
        if time.monotonic() - self._heard_s > HEARTBEAT_S:
            self._heard_s = time.monotonic()
            self._writer.heartbeat(self._handle, None if self._n_done is None else self._n_done + self._adopted)

    # What an interrupted run left

    def _resume(self) -> ResumePlan:
        """Make Optuna and MLflow agree, and close what was left open."""
        resume_plan = plan_resume(self._config, self._optuna_study.entries(), self._recorded)
        for entry in resume_plan.tell:
            self._adopt(entry.number, entry.variants)
            self._heartbeat()
        for entry in resume_plan.give_up:
            self._optuna_study.fail(entry.number)
            self._heartbeat()
        # Those that the space does not hold any more cannot be entered, and rest.
        resume_plan.unknown = [unknown for unknown in resume_plan.unknown if self._optuna_study.holds(unknown.point)]
        for unknown in resume_plan.unknown:
            self._enter(unknown, resume_plan)
            self._heartbeat()
        closed = self._writer.close_orphans(self._handle)
        lines = resume_plan.lines()
        if closed:
            lines.append(f"{closed} {'run' if closed == 1 else 'runs'} left open in MLflow: closed as KILLED")
        for line in lines:
            self._progress.repaired(line)
        return resume_plan

    def _enter(self, unknown: UnmatchedTrial, resume_plan: ResumePlan) -> None:
        """Add a recorded trial to Optuna: as told if its records are complete, else as unfinished."""
        is_whole = self._is_recorded(unknown.variants)
        if is_whole:
            values = self._recorded_values(unknown.variants)
            number = self._optuna_study.restore(unknown.number, unknown.point, unknown.variants, values)
        else:
            number = self._optuna_study.begin(unknown.point, unknown.variants)
        for key in unknown.variants if number != unknown.number else ():
            if key in self._recorded:
                self._writer.renumber(self._recorded[key].run_id, number)
        if unknown.number in self._trial_runs and number != unknown.number:
            self._trial_runs[number] = self._trial_runs.pop(unknown.number)
            self._writer.renumber(self._trial_runs[number], number)
        entry = Entry(number, TrialPhase.TOLD if is_whole else TrialPhase.OPEN, unknown.point, unknown.variants)
        (resume_plan.done if is_whole else resume_plan.unfinished).append(entry)
        self._finish_trial_run(number, unknown.variants)

    def _is_recorded(self, keys: Sequence[str]) -> bool:
        return all(key in self._recorded for key in keys)

    def _adopt(self, number: int, keys: tuple[str, ...]) -> None:
        """Tell a trial from its records, all of which are there."""
        self._finish_trial_run(number, keys)
        self._optuna_study.tell(number, self._recorded_values(keys))

    def _finish_trial_run(self, number: int, keys: tuple[str, ...]) -> None:
        """Close a trial's own run where it has one and all its trainings are recorded."""
        if number in self._trial_runs and self._is_recorded(keys):
            means = zip(self._config.objectives, self._recorded_values(keys), strict=True)
            self._writer.end_trial(self._trial_runs[number], {str(name): value for name, value in means})

    def _recorded_values(self, keys: Sequence[str]) -> list[float]:
        runs = [self._recorded[key] for key in keys]
        measured = {"errors": sum(run.errors for run in runs) / len(runs), "epochs": float(runs[0].epochs)}
        return [measured[objective] for objective in self._config.objectives]

    # What is left to do

    def _jobs(self, resume_plan: ResumePlan, pool: Pool) -> Iterator[_Job]:
        known = [*resume_plan.again, *resume_plan.unfinished]
        if not isinstance(self._config.design, Sampled):
            return self._grid_jobs(known, {entry.variants for entry in resume_plan.done + resume_plan.tell}, pool)
        n_done = len(resume_plan.done) + len(resume_plan.tell)
        design = self._config.design
        for entry in known:  # so that a point that is proposed once more is not trained once more
            self._followers[entry.variants] = []
        n_left = max(0, design.trials - n_done - len(known))
        return chain(self._known_jobs(known, design.seeds, pool), self._sampled_jobs(design, n_left, pool))

    def _grid_jobs(self, known: list[Entry], done: set[tuple[str, ...]], pool: Pool) -> Iterator[_Job]:
        """A factorial's trials, as many trainings together as the engine takes at once and every worker has some."""
        numbers = {entry.variants: entry.number for entry in known}
        points = {
            variant: point
            for point in self._config.points()
            if ((variant := self._config.variant(point)).key,) not in done
        }
        trainings = by_training(list(points))
        trainings.sort(key=lambda training: training[0].shape)  # one call takes one shape
        together = self._together(len(trainings), 1, pool)
        for first in range(0, len(trainings), together):
            chunk = [variant for training in trainings[first : first + together] for variant in training]
            begun = [self._begun(numbers.get((variant.key,)), variant, points[variant]) for variant in chunk]
            yield self._job(begun)

    def _begun(self, number: int | None, variant: Variant, point: Mapping[str, Value]) -> _Trial:
        with self._costs.of("optuna"):
            if number is None:
                return _Trial(self._optuna_study.begin(point, (variant.key,)), (variant,))
            self._optuna_study.restart(number)
            return _Trial(number, (variant,))

    def _known_jobs(self, known: list[Entry], seeds: Sequence[int], pool: Pool) -> Iterator[_Job]:
        """The trials of a sampled design that were asked for before."""
        together = self._together(len(known), len(seeds), pool)
        for first in range(0, len(known), together):
            chunk = known[first : first + together]
            for entry in chunk:
                self._optuna_study.restart(entry.number)
            yield self._job([_Trial(entry.number, self._variants(entry.point, seeds)) for entry in chunk])

    def _sampled_jobs(self, design: Sampled, n_left: int, pool: Pool) -> Iterator[_Job]:
        """A sampler's trials, each trained with every seed, as many together as the engine takes at once."""
        together = self._together(n_left, len(design.seeds), pool)
        while n_left > 0:
            proposed = [self._propose(design) for _ in range(min(together, n_left))]
            n_left -= len(proposed)
            if trials := [trial for trial in proposed if trial is not None]:
                yield self._job(trials)

    def _propose(self, design: Sampled) -> _Trial | None:
        """A new trial; None if it is one that is recorded or being trained, whose values it then has."""
        with self._costs.of("optuna"):
            asked = self._optuna_study.propose()
            variants = self._variants(asked.point, design.seeds)
            keys = _keys(variants)
            self._optuna_study.enter(asked.number, keys)
            if keys in self._followers:
                self._followers[keys].append(asked.number)
                return None
            if self._is_recorded(keys):
                self._follow(asked.number, keys)
                return None
        self._followers[keys] = []
        return _Trial(asked.number, variants)

    def _follow(self, number: int, keys: tuple[str, ...]) -> None:
        self._optuna_study.tell(number, self._recorded_values(keys))
        self._adopted += 1
        self._progress.adopted()

    def _variants(self, point: Mapping[str, Value], seeds: Sequence[int]) -> tuple[Variant, ...]:
        return tuple(self._config.variant({**point, "seed": seed}) for seed in seeds)

    def _job(self, trials: Sequence[_Trial]) -> _Job:
        missing = (variant for trial in trials for variant in trial.variants)
        return _Job(tuple(trials), tuple(variant for variant in missing if variant.key not in self._recorded))

    def _together(self, n_units: int, trainings_each: int, pool: Pool) -> int:
        """The number of units per batch that keeps the engine and all workers busy."""
        return max(1, min(registry.width(self._config.engine) // trainings_each, -(-n_units // pool.count)))

    # What was done

    def _record(self, job: _Job, future: Future[Batch[TrainingResult]]) -> Iterator[bool]:
        """Record a job's trials in MLflow, then tell Optuna, so that told trials are recorded. Yield how each ended."""
        error = future.exception()
        if isinstance(error, StoppedError):
            raise error
        results: deque[TrainingResult] = deque()
        if error is None:
            batch = future.result()
            self._costs.trained(batch)
            results.extend(batch.results)
        missing = {variant.key for variant in job.missing}
        for trial in job.trials:
            ended = 1
            if error is None:
                own = [results.popleft() for variant in trial.variants if variant.key in missing]
                self._log_trial(trial, own)
                self._progress.trial(trial.variants, own)
            else:
                ended = self._log_failed(trial, missing, _reason(error))
                for _ in range(ended):
                    self._progress.trial(trial.variants, None)
            yield from [error is None] * ended

    def _log_trial(self, trial: _Trial, results: Sequence[TrainingResult]) -> None:
        keys = _keys(trial.variants)
        with self._costs.of("mlflow"):
            parent = self._parent_of(trial)
            for result in results:
                variant = result.variant
                run_id = self._writer.log_outcome(self._handle, parent, trial.number, result)
                errors, epochs = result.final_errors, variant.epochs
                self._recorded[variant.key] = RecordedTraining(run_id, trial.number, {}, errors, epochs)
            self._finish_trial_run(trial.number, keys)
        with self._costs.of("optuna"):
            self._optuna_study.tell(trial.number, self._recorded_values(keys))
        for number in self._followers.pop(keys, ()):
            self._follow(number, keys)

    def _log_failed(self, trial: _Trial, missing: set[str], reason: str) -> int:
        """Record that a trial failed, and those that wait for its values; return how many failed."""
        _log.error("trial %d failed: %s", trial.number, reason)
        parent = self._parent_of(trial)
        for variant in trial.variants:
            if variant.key in missing:
                self._writer.log_failure(self._handle, parent, trial.number, variant, reason)
        if trial.number in self._trial_runs:
            self._writer.end_trial(self._trial_runs[trial.number], {}, "FAILED")
        numbers = (trial.number, *self._followers.pop(_keys(trial.variants), ()))
        for number in numbers:
            self._optuna_study.fail(number)
        return len(numbers)

    def _parent_of(self, trial: _Trial) -> str:
        """The run that a trial's trainings hang under: of its own where it has several, else the study's."""
        if not isinstance(self._config.design, Sampled):
            return self._handle.run_id
        if trial.number in self._trial_runs:
            self._writer.reopen_trial(self._trial_runs[trial.number])
        else:
            run_id = self._writer.begin_trial(self._handle, trial.number, trial.variants[0])
            self._trial_runs[trial.number] = run_id
        return self._trial_runs[trial.number]


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _keys(variants: Sequence[Variant]) -> tuple[str, ...]:
    """What a trial trains, as Optuna keeps it."""
    return tuple(variant.key for variant in variants)
