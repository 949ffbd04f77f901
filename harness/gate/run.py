"""Runs a gate: trains the variants that the checks need, and runs the checks in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from threading import Lock

from harness.data.digits import Digits
from harness.engines import registry
from harness.errors import HarnessError, StoppedError
from harness.gate import checks, convergence
from harness.gate import trace as traces
from harness.gate.environment import Difference, differences
from harness.gate.record import OnDone
from harness.gate.reference import Reference
from harness.gate.rule import Sample, sample
from harness.gate.training import Training, conform, train, train_function
from harness.gate.verdict import Check, Verdict, overall
from harness.network.variant import BASELINE, Variant
from harness.workers.local import Batch, EngineStartError, WorkerError, WorkerLostError, Workers

# The number of seeds with which an engine that is not under test is compared with the recorded losses, if its training
# does not repeat bit for bit.
_SEEDS_OF_OTHERS = 4

# The smallest number of seeds of a gate. A spread needs at least two values.
FEWEST_SEEDS = 2

# The name of the check that replaces the remaining checks if a training of the tested engine fails.
_TRAININGS = "trainings"


@dataclass(frozen=True)
class GateConfig:
    """The configuration of a gate.

    Attributes:
        engine: Name of the engine under test, or the training function as the user gave it.
        seeds: Seeds to train in addition to the baseline's seed, in this order.
        workers: Number of worker processes of the engine under test.
        others: Names of other engines that the gate also trains with. It compares these trainings with the recorded
            ones. The name of the engine under test is ignored.
        strict: Whether the gate also fails if training is better than in the reference.
        conformance: Whether the gate first checks that the engine follows the engine contract.
        command: Command that repeats this gate with the same seeds.
    """

    engine: str
    seeds: tuple[int, ...]
    workers: int
    others: tuple[str, ...] = registry.NAMES
    strict: bool = False
    conformance: bool = False
    command: str = ""


@dataclass(frozen=True)
class GateResult:
    """The result of a gate.

    Attributes:
        checks: Results of the checks.
        verdict: Verdict of all checks together.
        engine: Name of the tested engine, or the training function as the user gave it.
        dataset: Name of the images.
        date: Date and time of the start, in UTC.
        environment: Differences from the environment of the reference.
        command: Command that repeats this gate.
        seeds: Trained seeds, in order, without the baseline's seed.
        first_zero: First zero epoch of each seed, ``(n,)``; None for a seed that never reached zero errors.
        errors: Error count of each seed, ``(n,)``, after the early epoch at which the reference compares errors.
        duration_s: Duration of the gate, in seconds.
    """

    checks: list[Check]
    verdict: Verdict
    engine: str
    dataset: str
    date: str = ""
    environment: list[Difference] = field(default_factory=list)
    command: str = ""
    seeds: list[int] = field(default_factory=list)
    first_zero: list[int | None] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def answer(self) -> str:
        """The verdict and its reason as one sentence."""
        bad = sorted(
            (check for check in self.checks if check.verdict is self._decisive),
            key=lambda check: (check.name != _TRAININGS, check.effect is None),
        )
        if not bad:
            return f"{self.verdict}: training matches the reference"
        more = "" if self.verdict is Verdict.PASS else ", ".join(check.name for check in bad[1:])
        changed = "CHANGED, " if self.verdict is Verdict.PASS and bad[0].verdict is Verdict.CHANGED else ""
        answer = f"{self.verdict}: {changed}{bad[0].said}" + (f"; also {self.verdict}: {more}" if more else "")
        return " ".join(answer.split())

    @property
    def _decisive(self) -> Verdict:
        """The verdict of the checks that :attr:`answer` names."""
        found = {check.verdict for check in self.checks}
        if self.verdict is Verdict.PASS or self.verdict not in found:
            return Verdict.CHANGED if Verdict.CHANGED in found else Verdict.PASS
        return self.verdict


class _FailedError(Exception):
    """A training of the gate failed. ``verdict`` is the verdict of the check that needs the training."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


def _failed(error: WorkerLostError | StoppedError | WorkerError) -> _FailedError:
    """Convert the error of a worker. The verdict is FAIL if the engine raised it after its start, otherwise NOT RUN."""
    is_of_engine = isinstance(error, WorkerError) and not isinstance(error, EngineStartError)
    return _FailedError(Verdict.FAIL if is_of_engine else Verdict.NOT_RUN, str(error))


class _Trainer:
    """The workers of an engine, and the trainings that were submitted to them.

    A longer training also gives the results of its first epochs. So a variant needs no training of its own if an
    earlier submission contains the same variant with at least as many epochs.
    """

    def __init__(self, workers: Workers[Training], name: str, on_done: Callable[[int], None]) -> None:
        self._workers, self._name, self._on_done = workers, name, on_done
        self._futures: dict[Variant, tuple[Future[Batch[Training]], int]] = {}
        self.n = 0

    def submit(self, variants: Sequence[Variant]) -> None:
        """Submit variants in batches. A batch has at most as many variants as the engine trains in one call.

        A variant is left out if an earlier submission contains the same variant with at least as many epochs.
        """
        new = [variant for variant in variants if self._longest(variant) is None]
        for batch in registry.batches(self._name, new):
            future = self._workers.submit(batch)
            future.add_done_callback(partial(self._count, len(batch)))
            self._futures |= {variant: (future, place) for place, variant in enumerate(batch)}
        self.n += len(new)

    def _longest(self, variant: Variant) -> Variant | None:
        """Return the longest submitted variant that equals this one, apart from the number of epochs.

        None if there is no such variant, or if it has fewer epochs than this one.
        """
        same = (given for given in self._futures if given.with_epochs(variant.epochs) == variant)
        found = max(same, key=lambda given: given.epochs, default=variant.with_epochs(0))
        return found if found.epochs >= variant.epochs else None

    def _count(self, n: int, _future: Future[Batch[Training]]) -> None:
        self._on_done(n)

    def result(self, variant: Variant) -> Training:
        """Wait for the training of a variant, and return its result.

        Raises:
            _FailedError: The training failed.
        """
        longest = self._longest(variant)
        if longest is None:
            raise ValueError(f"{variant!r} was not submitted")
        future, place = self._futures[longest]
        try:
            return future.result().results[place].prefix(variant.epochs)
        except (WorkerLostError, StoppedError, WorkerError) as error:
            raise _failed(error) from error


def run(digits: Digits, reference: Reference, config: GateConfig, on_done: OnDone) -> GateResult:
    """Run a gate.

    Args:
        digits: Images.
        reference: Reference to compare with.
        config: Configuration of the gate.
        on_done: Callback after each batch, with the number of finished trainings and the total number of trainings.
    """
    began_s, date = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    found = [checks.data(digits, reference)]
    gate = _Gate(digits, reference, config, on_done)
    if found[0].verdict is Verdict.PASS:
        last_s = began_s
        for check in gate.checks():
            now_s = time.monotonic()
            found.append(replace(check, duration_s=now_s - last_s))
            last_s = now_s
    repeats = reference.repeats
    return GateResult(
        checks=found,
        verdict=overall(found, strict=config.strict),
        engine=config.engine,
        dataset=digits.name,
        date=date,
        environment=differences(reference, config.engine),
        command=config.command,
        seeds=[training.variant.seed for training in gate.trained],
        first_zero=[training.first_reached(repeats.reached_at) for training in gate.trained],
        errors=[training.errors_at(repeats.errors_at) for training in gate.trained],
        duration_s=time.monotonic() - began_s,
    )


def not_run(name: str, expected: str, error: HarnessError) -> GateResult:
    """Return the result of a gate that cannot run because the images or the reference cannot be loaded."""
    check = Check(name, Verdict.NOT_RUN, expected, error.cause, look=error.remedy)
    return GateResult([check], overall([check]), "", "", datetime.now(UTC).isoformat(timespec="seconds"))


class _Gate:
    """The trainings of one gate, and the checks that use them."""

    def __init__(self, digits: Digits, reference: Reference, config: GateConfig, on_done: OnDone) -> None:
        self._digits, self._reference, self._config, self._on_done = digits, reference, config, on_done
        self._counting, self._done = Lock(), 0
        self._trainers: dict[str, _Trainer] = {}
        self._engine = config.engine
        self._others = [] if reference.is_of_function else [name for name in config.others if name != self._engine]
        self._own = registry.baseline(self._engine)
        longest = self._own.with_epochs(reference.repeats.budget)
        self._variants = [longest.model_copy(update={"seed": seed}) for seed in config.seeds]
        self.trained: list[Training] = []

    def checks(self) -> Iterator[Check]:
        """Run the checks, the cheapest first."""
        with ExitStack() as stack:
            try:
                self._start(stack)
            except StoppedError as error:
                yield Check("workers", Verdict.NOT_RUN, "worker processes start", error.cause, look=error.remedy)
                return
            try:
                if not self._reference.is_of_function:
                    yield from self._of_engine()
                yield from self._over_seeds()
            except _FailedError as error:
                look = (
                    "the training function"
                    if self._reference.is_of_function
                    else f"harness train --engine {self._engine}"
                )
                yield Check(
                    _TRAININGS, error.verdict, "all trainings succeed", str(error), look=look, answer=str(error)
                )
            for name in self._others:
                yield self._other_trace(name)

    def _start(self, stack: ExitStack) -> None:
        """Start all processes, and submit all trainings."""
        # One process suffices for an engine that is not under test. The engine under test trains far more seeds and
        # ends last.
        counts = {self._engine: self._config.workers} | dict.fromkeys(self._others, 1)
        is_function = self._reference.is_of_function
        for name, count in counts.items():
            # No retries: if a worker dies, the gate must report it.
            task, shape = (train_function, None) if is_function else (train, BASELINE.shape)
            workers = stack.enter_context(Workers(count, name, task, shape, retries=0))
            workers.load(self._digits)
            self._trainers[name] = _Trainer(workers, name, self._count)
        if not is_function:
            for name in counts:
                own, early = self._traced(name)
                self._trainers[name].submit([own, *early])
        self._trainers[self._engine].submit(self._variants)

    def _count(self, n: int) -> None:
        with self._counting:
            self._done += n
            self._on_done(self._done, sum(trainer.n for trainer in self._trainers.values()))

    def _traced(self, name: str) -> tuple[Variant, list[Variant]]:
        """Return the variants that an engine trains for the comparison with the recorded training.

        These are the baseline, and short trainings of several seeds whose first losses are recorded. If training must
        repeat bit for bit, the baseline suffices.
        """
        own, early = registry.baseline(name), self._reference.early
        if early is None or traces.is_exact(self._reference.traces.get(name)):
            return own, []
        begun = own.with_epochs(traces.EARLY_EPOCHS)
        seeds = early.seeds if name == self._engine else early.seeds[:_SEEDS_OF_OTHERS]
        return own if name == self._engine else begun, [begun.model_copy(update={"seed": seed}) for seed in seeds]

    def _of_engine(self) -> Iterator[Check]:
        subject = self._trainers[self._engine]
        if self._config.conformance:
            yield self._conformance()
        yield checks.softmax(subject.result(self._own))
        yield self._trace(self._engine)

    def _conformance(self) -> Check:
        try:
            with Workers(1, self._engine, conform, retries=0) as workers:
                workers.load(self._digits)
                [broken] = workers.submit([]).result().results
        except (WorkerLostError, StoppedError, WorkerError) as error:
            raise _failed(error) from error
        return checks.conformance(self._engine, broken)

    def _trace(self, name: str) -> Check:
        trainer, (own, early) = self._trainers[name], self._traced(name)
        return checks.trace(name, trainer.result(own), list(map(trainer.result, early)), self._reference)

    def _other_trace(self, name: str) -> Check:
        """Compare the training of an engine that is not under test with the recorded training.

        If its training fails, only this check fails.
        """
        try:
            return self._trace(name)
        except _FailedError as error:
            look = f"harness train --engine {name}"
            return Check(f"trace {name}", error.verdict, "its trainings succeed", str(error), look=look)

    def _over_seeds(self) -> Iterator[Check]:
        """Run the checks that compare many seeds with the seeds of the reference."""
        n, subject = len(self._variants), self._trainers[self._engine]
        if n < FEWEST_SEEDS:
            expected = f"at least {FEWEST_SEEDS} seeds"
            yield Check(_TRAININGS, Verdict.NOT_RUN, expected, f"{n} seeds, too few for a test", look="--seeds")
            return
        self.trained = [subject.result(variant) for variant in self._variants]
        if "sha256_own" in self._reference.dataset or any(training.data for training in self.trained):
            yield checks.own_data(self.trained, self._reference)
        yield from convergence.checks(self._sample(), self._reference)

    def _sample(self) -> Sample:
        repeats = self._reference.repeats
        return sample(
            [training.first_reached(repeats.reached_at) for training in self.trained],
            [training.errors_at(repeats.errors_at) for training in self.trained],
            repeats.budget,
        )
