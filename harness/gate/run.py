"""Runs a gate: what it trains, in which order, and when it stops."""

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

# For how many epochs the first of the early seeds are trained by another engine and by this one, to be compared; few
# by the slow one.
_PAIRS = {"xla": (40, 40, 40, 40), "graph": (40, 40, 40, 40), "keras": (40, 40, 10, 10)}

# With fewer there is no spread to compare with.
FEWEST_SEEDS = 2


class GateProgress(Protocol):
    """Receives the progress of a gate."""

    def trained(self, done: int, total: int) -> None:
        """So many of what will be trained at most are done."""

    def check(self, check: Check) -> None:
        """A check is done."""


@dataclass(frozen=True)
class Asked:
    """What is put to the gate.

    Attributes:
        engine: the engine under test.
        seeds: what it trains beside the baseline's own, in this order.
        workers: processes that train it.
        against: the engines that it has to agree with; it itself is passed over.
        strict: whether training that became better fails.
        conformance: whether the engine is put to the conformance suite first.
    """

    engine: str
    seeds: tuple[int, ...]
    workers: int
    against: tuple[str, ...] = registry.NAMES
    strict: bool = False
    conformance: bool = False

    @property
    def stages(self) -> tuple[int, ...]:
        """After how many seeds the gate looks."""
        return stages_of(len(self.seeds))


@dataclass(frozen=True)
class GateResult:
    """What a gate came to.

    Attributes:
        checks: a line each.
        verdict: of all together.
        engine: that was tested.
        dataset: the name of the images.
        seeds: that were trained, in order.
        first_zero: ``(n,)``, their first epochs without error; None where there was none.
        errors: ``(n,)``, their errors at the early epoch.
        duration_s: of all.
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
        """What it comes to, in a sentence."""
        bad = ", ".join(check.name for check in self.checks if check.verdict not in {Verdict.PASS, Verdict.CHANGED})
        better = ", ".join(check.name for check in self.checks if check.verdict is Verdict.CHANGED)
        return {
            Verdict.PASS: "the baseline still reaches zero errors, as soon as it did"
            + (f"; better than it was: {better}" if better else ""),
            Verdict.FAIL: f"training is not what it was: {bad or better}",
            Verdict.INCONCLUSIVE: f"what was seen is too little to tell: {bad}",
            Verdict.NOT_RUN: f"no answer, because these checks have no result: {bad}",
        }[self.verdict]


class _FailedError(Exception):
    """A training that the gate needs and that was not had; with the verdict that it comes to."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


def _failed(error: WorkerLostError | StoppedError | WorkerError) -> _FailedError:
    """What comes of a worker that gave nothing: FAIL where the engine itself said so."""
    is_of_engine = isinstance(error, WorkerError) and not isinstance(error, EngineStartError)
    return _FailedError(Verdict.FAIL if is_of_engine else Verdict.NOT_RUN, str(error))


class _Trainer:
    """An engine's workers, and what they were given: what is a part of a longer training is read off that."""

    def __init__(self, workers: Workers[Training], name: str, on_done: Callable[[int], None]) -> None:
        self._workers, self._name, self._on_done = workers, name, on_done
        self._futures: dict[Variant, tuple[Future[Batch[Training]], int]] = {}
        self.n = 0

    def submit(self, variants: Sequence[Variant]) -> None:
        """Train these, in batches of the engine's width, without those that were given before."""
        new = [variant for variant in variants if self._longest(variant) is None]
        for batch in registry.batches(self._name, new):
            future = self._workers.submit(batch)
            future.add_done_callback(partial(self._count, len(batch)))
            self._futures |= {variant: (future, place) for place, variant in enumerate(batch)}
        self.n += len(new)

    def _longest(self, variant: Variant) -> Variant | None:
        """What was given that this one is the beginning of, or the whole."""
        same = (given for given in self._futures if given.with_epochs(variant.epochs) == variant)
        found = max(same, key=lambda given: given.epochs, default=variant.with_epochs(0))
        return found if found.epochs >= variant.epochs else None

    def _count(self, n: int, _future: Future[Batch[Training]]) -> None:
        self._on_done(n)

    def result(self, variant: Variant) -> Training:
        """Wait for a training.

        Raises:
            _FailedError: there is none.
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
    """Put an engine to the gate.

    Args:
        digits: the images.
        reference: what is compared with.
        asked: what is tested, and with which seeds.
        progress: Receives the finished trainings and each check.
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
    """What a gate comes to that has no images, or no reference."""
    check = Check(name, Verdict.NOT_RUN, expected, error.cause, look=error.remedy)
    return GateResult([check], overall([check]), "", "")


class _Gate:
    """The trainings of one gate, and the checks that are made of them."""

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
        """The checks, the cheapest first."""
        with ExitStack() as stack:
            try:
                self._start(stack)
            except StoppedError as error:
                yield Check("workers", Verdict.NOT_RUN, "processes that train", error.cause, look=error.remedy)
                return
            yield from self._all()

    def _start(self, stack: ExitStack) -> None:
        """Start all processes, and give them what is trained in any case."""
        # One process for each other engine: it is done long before the engine under test, which has far more seeds.
        counts = {self._engine: self._asked.workers} | dict.fromkeys(self._others, 1)
        for name, count in counts.items():
            # A worker that dies is a finding, so that nothing is tried twice.
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
        """What both this engine and another train, with the Adam of Keras where one of them is Keras."""
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
            look = f"the same by hand: harness train --engine {name.partition(' ')[2] or self._engine}"
            return Check(name, error.verdict, "that it is trained", str(error), look=look)

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
            seen = f"{stages[-1]} seeds, of which nothing can be said"
            return Check("convergence", Verdict.NOT_RUN, f"at least {FEWEST_SEEDS} seeds", seen, look="--seeds")
        theirs = self._reference.repeats.sample()
        subject = self._trainers[self._engine]
        power = self._reference.detectable_in(stages)
        for stage, n in enumerate(stages):
            # None that is well ends at the first look, so nobody waits for it before the second's are trained.
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
