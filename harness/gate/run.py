"""Runs a gate: trains what the checks need, runs the checks in order, and stops as soon as the answer is clear."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Protocol

from harness.data.digits import Digits
from harness.engines import registry
from harness.errors import HarnessError, StoppedError
from harness.gate import checks
from harness.gate import trace as traces
from harness.gate.convergence import Found, Sample, sample, stages_of
from harness.gate.reference import Reference
from harness.gate.training import Training, conform, train
from harness.gate.verdict import Check, Verdict, overall
from harness.network.variant import BASELINE, Variant
from harness.workers.local import Batch, EngineStartError, WorkerError, WorkerLostError, Workers

# The number of epochs for which both engines train each of the first early seeds, to compare two engines. The slow
# engine trains fewer epochs.
_PAIRS = {"xla": (40, 40, 40, 40), "graph": (40, 40, 40, 40), "keras": (40, 40, 10, 10)}

# A spread needs at least this number of seeds.
FEWEST_SEEDS = 2


class GateProgress(Protocol):
    """Receives the progress of a gate."""

    def trained(self, done: int, total: int) -> None:
        """Receive the number of finished trainings, and the largest number that the gate may need."""

    def check(self, check: Check) -> None:
        """Receive a finished check."""


@dataclass(frozen=True)
class Asked:
    """The configuration of a gate.

    Attributes:
        engine: Name of the engine under test.
        seeds: Seeds that it trains besides the baseline's own, in this order.
        workers: Number of processes that train with it.
        against: Names of the engines that must agree with it. Its own name is ignored.
        strict: Whether better training fails the gate.
        conformance: Whether the conformance suite of engines runs first.
    """

    engine: str
    seeds: tuple[int, ...]
    workers: int
    against: tuple[str, ...] = registry.NAMES
    strict: bool = False
    conformance: bool = False

    @property
    def stages(self) -> tuple[int, ...]:
        """The number of seeds at each stage."""
        return stages_of(len(self.seeds))


@dataclass(frozen=True)
class GateResult:
    """The result of a gate.

    Attributes:
        checks: Results of the checks.
        verdict: Verdict of all checks together.
        engine: Name of the tested engine.
        dataset: Name of the images.
        seeds: Trained seeds, in order.
        first_zero: First zero epoch of each seed, ``(n,)``; None for a seed that never reached zero.
        errors: Error count of each seed at the early epoch, ``(n,)``.
        duration_s: Duration of the gate, in seconds.
    """

    checks: list[Check]
    verdict: Verdict
    engine: str
    dataset: str
    seeds: list[int] = field(default_factory=list)
    first_zero: list[int | None] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def answer(self) -> str:
        """The result as a sentence."""
        bad = ", ".join(check.name for check in self.checks if check.verdict not in {Verdict.PASS, Verdict.CHANGED})
        better = ", ".join(check.name for check in self.checks if check.verdict is Verdict.CHANGED)
        return {
            Verdict.PASS: "the baseline still reaches zero errors, as early as in the reference"
            + (f"; better than the reference: {better}" if better else ""),
            Verdict.FAIL: f"training has changed: {bad or better}",
            Verdict.INCONCLUSIVE: f"too few results to decide: {bad}",
            Verdict.NOT_RUN: f"no answer, because these checks have no result: {bad}",
        }[self.verdict]


class _FailedError(Exception):
    """A training that the gate needs has failed. It has the verdict of the check that needs it."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


def _failed(error: WorkerLostError | StoppedError | WorkerError) -> _FailedError:
    """The failure of a worker: FAIL if the engine raised an error, otherwise NOT RUN."""
    is_of_engine = isinstance(error, WorkerError) and not isinstance(error, EngineStartError)
    return _FailedError(Verdict.FAIL if is_of_engine else Verdict.NOT_RUN, str(error))


class _Trainer:
    """The workers of an engine, and the trainings that were submitted to them.

    A training that is the beginning of a longer one is read from the longer one.
    """

    def __init__(self, workers: Workers[Training], name: str, on_done: Callable[[int], None]) -> None:
        self._workers, self._name, self._on_done = workers, name, on_done
        self._futures: dict[Variant, tuple[Future[Batch[Training]], int]] = {}
        self.n = 0

    def submit(self, variants: Sequence[Variant]) -> None:
        """Train variants, in batches of the engine's width. Variants that were submitted before are left out."""
        new = [variant for variant in variants if self._longest(variant) is None]
        for batch in registry.batches(self._name, new):
            future = self._workers.submit(batch)
            future.add_done_callback(partial(self._count, len(batch)))
            self._futures |= {variant: (future, place) for place, variant in enumerate(batch)}
        self.n += len(new)

    def _longest(self, variant: Variant) -> Variant | None:
        """The longest submitted variant that includes the training of this one; None if there is none."""
        same = (given for given in self._futures if given.with_epochs(variant.epochs) == variant)
        found = max(same, key=lambda given: given.epochs, default=variant.with_epochs(0))
        return found if found.epochs >= variant.epochs else None

    def _count(self, n: int, _future: Future[Batch[Training]]) -> None:
        self._on_done(n)

    def result(self, variant: Variant) -> Training:
        """Wait for a training.

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


def run(digits: Digits, reference: Reference, asked: Asked, progress: GateProgress) -> GateResult:
    """Run a gate.

    Args:
        digits: Images.
        reference: Reference to compare with.
        asked: Configuration of the gate.
        progress: Receives the number of finished trainings, and each check.
    """
    began_s = time.monotonic()
    found = [checks.data(digits, reference)]
    progress.check(found[0])
    gate = _Gate(digits, reference, asked, progress)
    if found[0].verdict is Verdict.PASS:
        last_s = began_s
        for check in gate.checks():
            now_s = time.monotonic()
            found.append(replace(check, duration_s=now_s - last_s))
            progress.check(found[-1])
            last_s = now_s
    return GateResult(
        checks=found,
        verdict=overall(found, strict=asked.strict),
        engine=asked.engine,
        dataset=digits.name,
        seeds=[training.variant.seed for training in gate.trained],
        first_zero=[training.first_zero_epoch for training in gate.trained],
        errors=[training.errors_at(reference.repeats.errors_at) for training in gate.trained],
        duration_s=time.monotonic() - began_s,
    )


def not_run(name: str, expected: str, error: HarnessError) -> GateResult:
    """The result of a gate that has no images or no reference."""
    check = Check(name, Verdict.NOT_RUN, expected, error.cause, look=error.remedy)
    return GateResult([check], overall([check]), "", "")


class _Gate:
    """The trainings of one gate, and the checks that use them."""

    def __init__(self, digits: Digits, reference: Reference, asked: Asked, progress: GateProgress) -> None:
        self._digits, self._reference, self._asked, self._progress = digits, reference, asked, progress
        self._counting, self._done = Lock(), 0
        self._trainers: dict[str, _Trainer] = {}
        self._engine = asked.engine
        self._others = [name for name in asked.against if name != self._engine]
        self._own = registry.baseline(self._engine)
        self._variants = [self._own.model_copy(update={"seed": seed}) for seed in asked.seeds]
        self.trained: list[Training] = []

    def checks(self) -> Iterator[Check]:
        """Run the checks, the cheapest first."""
        with ExitStack() as stack:
            try:
                self._start(stack)
            except StoppedError as error:
                yield Check("workers", Verdict.NOT_RUN, "worker processes start", error.cause, look=error.remedy)
                return
            yield from self._all()

    def _start(self, stack: ExitStack) -> None:
        """Start all processes, and submit the trainings that every gate needs."""
        # Each other engine has one process. It ends long before the engine under test, which has far more seeds.
        counts = {self._engine: self._asked.workers} | dict.fromkeys(self._others, 1)
        for name, count in counts.items():
            # No retries: a worker that dies is a finding.
            workers = stack.enter_context(Workers(count, name, train, BASELINE.shape, retries=0))
            workers.load(self._digits)
            self._trainers[name] = _Trainer(workers, name, self._count)
        subject = self._trainers[self._engine]
        subject.submit([self._own, *self._variants[: self._asked.stages[0]]])
        for name in self._others:
            self._trainers[name].submit([registry.baseline(name), *self._pairs(name)])
            subject.submit(self._pairs(name))
        subject.submit(self._early(self._own))

    def _count(self, n: int) -> None:
        with self._counting:
            self._done += n
            self._progress.trained(self._done, sum(trainer.n for trainer in self._trainers.values()))

    def _early(self, own: Variant) -> list[Variant]:
        begun = own.with_epochs(traces.EARLY_EPOCHS)
        return [begun.model_copy(update={"seed": seed}) for seed in self._reference.early.seeds]

    def _pairs(self, other: str) -> list[Variant]:
        """The variants that both engines train. They use the Adam of Keras if one of the engines is Keras."""
        adam = "keras" if "keras" in {self._engine, other} else "tensorflow"
        early = self._early(BASELINE.model_copy(update={"adam": adam}))
        return [variant.with_epochs(epochs) for variant, epochs in zip(early, _PAIRS[other], strict=False)]

    def _all(self) -> Iterator[Check]:
        subject = self._trainers[self._engine]
        if self._asked.conformance:
            yield self._check(f"conformance {self._engine}", self._conformance)
        yield self._check("softmax", lambda: checks.softmax(subject.result(self._own)))
        yield self._trace(self._engine, self._early(self._own))
        yield self._check("zero", self._zero)
        yield self._check("convergence", self._convergence)
        for name in self._others:
            yield self._trace(name, self._pairs(name))
            yield self._check(f"agreement {name}", partial(self._agreement, name))

    def _check(self, name: str, make: Callable[[], Check]) -> Check:
        try:
            return make()
        except _FailedError as error:
            look = f"run harness train --engine {name.partition(' ')[2] or self._engine}"
            return Check(name, error.verdict, "the trainings succeed", str(error), look=look)

    def _conformance(self) -> Check:
        try:
            with Workers(1, self._engine, conform, retries=0) as workers:
                workers.load(self._digits)
                [broken] = workers.submit([]).result().results
        except (WorkerLostError, StoppedError, WorkerError) as error:
            raise _failed(error) from error
        return checks.conformance(self._engine, broken)

    def _trace(self, name: str, early: list[Variant]) -> Check:
        def make() -> Check:
            own, trainer = registry.baseline(name), self._trainers[name]
            return checks.trace(name, trainer.result(own), list(map(trainer.result, early)), self._reference)

        return self._check(f"trace {name}", make)

    def _is_exact(self, name: str) -> bool:
        return traces.is_exact(self._reference.traces.get(name))

    def _zero(self) -> Check:
        subject = self._trainers[self._engine]
        others = [subject.result(variant) for variant in self._variants[: self._asked.stages[0]]]
        is_exact = self._is_exact(self._engine)
        return checks.zero(subject.result(self._own), others, self._reference.repeats, is_exact=is_exact)

    def _convergence(self) -> Check:
        stages = self._asked.stages
        if stages[-1] < FEWEST_SEEDS:
            seen = f"{stages[-1]} seeds, which are too few for a test"
            return Check("convergence", Verdict.NOT_RUN, f"at least {FEWEST_SEEDS} seeds", seen, look="--seeds")
        theirs = self._reference.repeats.sample()
        subject = self._trainers[self._engine]
        power = self._reference.detectable_in(stages)
        for stage, n in enumerate(stages):
            # A correct training never passes at the first stage, so submit the seeds of the second stage at once.
            subject.submit(self._variants[: stages[max(stage, min(1, len(stages) - 1))]])
            self.trained = [subject.result(variant) for variant in self._variants[:n]]
            check, found = checks.convergence(self._sample(), theirs, stage, stages, power)
            if found is not Found.UNCLEAR:
                break
        return check

    def _sample(self) -> Sample:
        errors = [training.errors_at(self._reference.repeats.errors_at) for training in self.trained]
        return sample([training.first_zero_epoch for training in self.trained], errors, BASELINE.epochs)

    def _agreement(self, name: str) -> Check:
        mine, theirs = self._trainers[self._engine], self._trainers[name]
        pairs = [(mine.result(variant), theirs.result(variant)) for variant in self._pairs(name)]
        is_exact = self._is_exact(self._engine) and self._is_exact(name)
        return checks.agreement(self._engine, name, pairs, self._reference, is_exact=is_exact)
