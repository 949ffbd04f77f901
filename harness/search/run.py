"""Runs a study: takes jobs from a grid or sampler, trains them in a pool of workers, and records the results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait

from harness.engines.training import TrainingResult
from harness.errors import StoppedError
from harness.search import records
from harness.search.grid import GridJobs
from harness.search.jobs import Job, JobSource
from harness.search.recorder import Recorder
from harness.search.result import Costs, Progress, StudyResult
from harness.search.sampler import SampledJobs
from harness.signals import Stop
from harness.study.config import Sampled
from harness.text import plural
from harness.tracking.claim import Claim
from harness.tracking.owner import HEARTBEAT_S
from harness.tracking.run_writer import RunWriter
from harness.workers.local import Batch, Pool

# While workers train, the seconds between two checks for a request to stop.
_POLL_S = 0.5


class StudyRun:
    """Runs or resumes a study that this process has claimed. Recorded trials are not trained again.

    Args:
        claim: Claim of the study by this process.
        pool: Pool of workers that trains.
        progress: Callbacks for the progress.
        stop: Request to stop. After a request no new job starts, and the jobs in training are recorded.
        on_idle: Callback for when a worker has no job, near the end of the study. It may be called repeatedly.

    Raises:
        StoppedError: The tracking store fails, or the pool cannot train. Recorded results are kept.
    """

    def __init__(
        self, claim: Claim, pool: Pool, progress: Progress, stop: Stop, on_idle: Callable[[], None] | None = None
    ) -> None:
        self._claim, self._pool, self._progress, self._stop, self._on_idle = claim, pool, progress, stop, on_idle
        self._costs = Costs()
        self._alone: deque[Job] = deque()  # jobs of one trial each, which retry a failed job
        self._heartbeat_s = time.monotonic()

    def run(self) -> StudyResult:
        """Train and record all trials that are not recorded yet."""
        config, pool = self._claim.study.config, self._pool
        source, recorder = self._prepared()
        before = self._claim.n_done = source.n_done
        self._progress.begin(before, config.n_trials)
        for job, future in self._trained(source):
            self._record(recorder, job, future)
        self._claim.status = "KILLED" if self._stop.asked else "FINISHED"
        trained, spent_s = (self._claim.n_done or 0) - before, self._costs.spent_s
        busy_share = self._costs.busy_share(pool.count)
        return StudyResult(
            before, trained, self._claim.n_failed, config.n_trials, spent_s["mlflow"], spent_s["optuna"], busy_share
        )

    def _prepared(self) -> tuple[JobSource, Recorder]:
        """Close the runs that a killed process left open, read the records, and create the job source."""
        study, design = self._claim.study, self._claim.study.config.design
        if closed := self._claim.close_orphans():
            self._progress.repaired(f"closed {plural(closed, 'run')} of a stopped process in MLflow")
        found = records.of_config(self._claim.reader, study.key, study.config)
        writer = RunWriter(self._claim.store, study)
        source: JobSource
        if isinstance(design, Sampled):
            source = SampledJobs(study.config, design, found, writer, self._costs, self._repeated)
            if source.resumed:
                self._progress.repaired(f"resumed {plural(len(source.resumed), 'unfinished trial')}")
        else:
            source = GridJobs(study.config, found.trainings, found.next_number, study.run_id)
        return source, Recorder(writer, found.trainings, source, self._costs, self._progress)

    def _trained(self, source: JobSource) -> Iterator[tuple[Job, Future[Batch[TrainingResult]]]]:
        """Yield each job with its completed future as soon as the job is trained. Other jobs continue to train."""
        jobs = source.jobs(self._pool.count)
        running: dict[Future[Batch[TrainingResult]], Job] = {}
        most, is_stopping = source.most_jobs(self._pool.count), False
        while True:
            while not self._stop.asked and len(running) < most and (job := self._next(jobs)) is not None:
                running[self._pool.submit(job.missing)] = job
            if self._stop.asked and not is_stopping:
                is_stopping = True
                for future in [future for future in running if self._pool.withdraw(future)]:
                    del running[future]
                self._progress.stopping(len(running))
            if not running:
                return
            if len(running) < self._pool.count and self._on_idle is not None:
                self._on_idle()
            done, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            self._send_heartbeat()
            if done:
                # Yield only one job: the loop then submits new jobs before the next finished job is recorded.
                future = next(iter(done))
                yield running.pop(future), future

    def _next(self, jobs: Iterator[Job]) -> Job | None:
        return self._alone.popleft() if self._alone else next(jobs, None)

    def _record(self, recorder: Recorder, job: Job, future: Future[Batch[TrainingResult]]) -> None:
        error = future.exception()
        if isinstance(error, StoppedError):
            raise error
        if error is None:
            batch = future.result()
            self._costs.trained(batch)
            for ended in recorder.results(job, batch.results):
                self._claim.count_done(ended)
        elif len(job.trials) > 1:
            for trial in job.trials:
                keys = {variant.key for variant in trial.variants}
                self._alone.append(Job((trial,), tuple(one for one in job.missing if one.key in keys)))
        else:
            for ended in recorder.failure(job, error):
                self._claim.n_failed += ended

    def _repeated(self) -> None:
        """Count a new trial as complete, because it repeats a complete trial."""
        self._claim.count_done(1)
        self._progress.repeated()

    def _send_heartbeat(self) -> None:
        if time.monotonic() - self._heartbeat_s > HEARTBEAT_S:
            self._heartbeat_s = time.monotonic()
            self._claim.heartbeat()
