"""Creates the jobs of a sampled design. Optuna proposes the trials, and each trial is trained with every seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from harness.network.variant import Variant
from harness.search.jobs import Job, Trial, trials_per_job
from harness.search.optuna_study import OptunaSampler
from harness.search.records import RecordedTrial, StudyTrials, TrialState, values
from harness.search.result import Costs
from harness.study.config import Point, Sampled, StudyConfig
from harness.tracking.run_writer import RunWriter

Keys = tuple[str, ...]


class SampledJobs:
    """The job source of a sampled design, in which Optuna proposes the trials.

    The MLflow run of a trial is created before the training starts, so that an interrupted trial can resume. If Optuna
    proposes parameter values that are already recorded or in training, the new trial is not trained. Its run names the
    trial that it repeats, and it gets the objective values of that trial.

    Args:
        config: Configuration of the study.
        design: Design of the study: the sampler, the seeds and the number of trials.
        recorded: Recorded trials of the study. The recorder must add each new training to ``recorded.trainings``.
        writer: Writer of the study's runs.
        costs: Adds up the time spent in Optuna and MLflow.
        on_repeat: Callback for each trial that repeats a complete trial.

    Attributes:
        n_done: Number of trials that were already complete.
    """

    def __init__(
        self,
        config: StudyConfig,
        design: Sampled,
        recorded: StudyTrials,
        writer: RunWriter,
        costs: Costs,
        on_repeat: Callable[[], None],
    ) -> None:
        self._config, self._design, self._recorded = config, design, recorded
        self._writer, self._costs, self._on_repeat = writer, costs, on_repeat
        trials = [self._completed(trial) for trial in recorded.trials]
        self.n_done = sum(trial.state is TrialState.COMPLETE for trial in trials)
        self._n_left = max(0, design.trials - self.n_done)
        unfinished = [trial for trial in trials if trial.state is TrialState.UNFINISHED]
        self.resumed = unfinished[: self._n_left]
        not_needed = {trial.number for trial in unfinished[self._n_left :]}
        trials = [replace(one, state=TrialState.FAILED) if one.number in not_needed else one for one in trials]
        self._optuna = OptunaSampler(config, design, trials, recorded.next_number)
        # The trials in training, by their variant keys: the number of each trial, and the trials that repeat it.
        self._active: dict[Keys, tuple[int, list[Trial]]] = {}

    def _completed(self, trial: RecordedTrial) -> RecordedTrial:
        """Return the trial with the state that follows from its recorded trainings.

        The trial is complete if all its trainings are recorded, and unfinished if one is missing. A failed trial does
        not change. If an interruption left the run of a complete trial open, the run is closed.
        """
        if trial.state is TrialState.FAILED:
            return trial
        variants = self._variants(trial.point, trial.seeds)
        if self._missing(variants):
            return replace(trial, state=TrialState.UNFINISHED, values=())
        if trial.state is not TrialState.COMPLETE and trial.run_id:
            self._writer.end_trial(trial.run_id, self._named_values(variants))
        return replace(trial, state=TrialState.COMPLETE, values=self._values(variants))

    def most_jobs(self, n_workers: int) -> int:
        """Return the number of workers plus 1. Only one job waits: its proposal cannot use later results."""
        return n_workers + 1

    def jobs(self, n_workers: int) -> Iterator[Job]:
        """Yield the jobs of unfinished trials, then the jobs of new trials, which Optuna proposes."""
        seeds = len(self._design.seeds)
        size = trials_per_job(self._config.engine, len(self.resumed), seeds, n_workers)
        for first in range(0, len(self.resumed), size):
            yield from self._job([self._resume(trial) for trial in self.resumed[first : first + size]])
        n_left = self._n_left - len(self.resumed)
        size = trials_per_job(self._config.engine, n_left, seeds, n_workers)
        while n_left > 0:
            proposed = [self._propose() for _ in range(min(size, n_left))]
            n_left -= len(proposed)
            yield from self._job(proposed)

    def _job(self, trials: Sequence[Trial | None]) -> Iterator[Job]:
        """Yield one job, or no job if there is nothing to train."""
        new = tuple(trial for trial in trials if trial is not None)
        if new:
            yield Job(new, tuple(variant for trial in new for variant in self._missing(trial.variants)))

    def _resume(self, trial: RecordedTrial) -> Trial | None:
        variants = self._variants(trial.point, trial.seeds)
        run_id = trial.run_id
        if run_id:
            self._writer.reopen_trial(run_id, variants)
        else:
            run_id = self._writer.begin_trial(trial.number, trial.point, variants)
        return self._started(Trial(trial.number, variants, run_id))

    def _propose(self) -> Trial | None:
        with self._costs.of("optuna"):
            number, point = self._optuna.propose()
        variants = self._variants(point, self._design.seeds)
        with self._costs.of("mlflow"):
            run_id = self._writer.begin_trial(number, point, variants, same_as=self._original(variants))
        return self._started(Trial(number, variants, run_id))

    def _original(self, variants: Sequence[Variant]) -> int | None:
        """Return the number of the trial that trains or has trained these variants, or None if they are new."""
        if (active := self._active.get(_keys(variants))) is not None:
            return active[0]
        return None if self._missing(variants) else self._recorded.trainings[variants[0].key].trial

    def _started(self, trial: Trial) -> Trial | None:
        """Return the trial if it has to be trained, or None if it repeats another trial."""
        keys = _keys(trial.variants)
        if keys in self._active:
            self._active[keys][1].append(trial)
        elif self._missing(trial.variants):
            self._active[keys] = (trial.number, [])
            return trial
        else:
            self._end(trial)
            self._on_repeat()
        return None

    def finish(self, trial: Trial) -> int:
        """Complete a trial whose trainings are recorded, and all trials that repeat it. Return how many these are."""
        ended = [trial, *self._active.pop(_keys(trial.variants))[1]]
        for one in ended:
            self._end(one)
        return len(ended)

    def _end(self, trial: Trial) -> None:
        with self._costs.of("mlflow"):
            self._writer.end_trial(trial.parent_id, self._named_values(trial.variants))
        with self._costs.of("optuna"):
            self._optuna.tell(trial.number, self._values(trial.variants))

    def fail(self, trial: Trial) -> int:
        """Record a trial, and all trials that repeat it, as failed. Return how many these are."""
        ended = [trial, *self._active.pop(_keys(trial.variants))[1]]
        for one in ended:
            self._writer.end_trial(one.parent_id, {}, "FAILED")
            self._optuna.fail(one.number)
        return len(ended)

    def _variants(self, point: Point, seeds: Sequence[int]) -> tuple[Variant, ...]:
        return tuple(self._config.variant({**point, "seed": seed}) for seed in seeds or self._design.seeds)

    def _missing(self, variants: Sequence[Variant]) -> list[Variant]:
        return [variant for variant in variants if variant.key not in self._recorded.trainings]

    def _values(self, variants: Sequence[Variant]) -> tuple[float, ...]:
        """Return the values of the objectives, which are means over the trainings of these variants."""
        return values([self._recorded.trainings[variant.key] for variant in variants], self._config.objectives)

    def _named_values(self, variants: Sequence[Variant]) -> dict[str, float]:
        """Return the values of the objectives, by objective name."""
        return dict(zip(self._config.objectives, self._values(variants), strict=True))


def _keys(variants: Sequence[Variant]) -> Keys:
    return tuple(variant.key for variant in variants)
