"""Records a reference: one training per engine, trainings of many seeds, and trainings on images with slight noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from harness import fingerprint, provenance
from harness.data.digits import Digits
from harness.engines import registry
from harness.errors import StoppedError
from harness.gate.reference import (
    ERRORS_EPOCH,
    FIRST_SEED,
    SCHEMA,
    Early,
    Record,
    Reference,
    Repeats,
    Trace,
    gate_seeds,
)
from harness.gate.rule import MARGIN, detectable, seeds_for
from harness.gate.trace import EARLY_EPOCHS, votes
from harness.gate.training import Training, train, train_function, train_with_noise
from harness.network.variant import BASELINE, TRACE_VERSION, Variant
from harness.workers.local import Batch, WorkerError, WorkerLostError, Workers

# The engine that trains the many seeds of a reference. It is by far the fastest.
ENGINE = "xla"

# The number of seeds whose first losses are recorded: the baseline's seed and the first 15 seeds of the gate.
EARLY_SEEDS = 16

# The number of seeds that are also trained on images with noise in the last bit.
NOISY_SEEDS = 64

# A callback that receives the number of finished trainings and the total number of trainings.
OnDone = Callable[[int, int], None]


@dataclass(frozen=True)
class _Trained:
    """The trainings that a reference records.

    Attributes:
        own: Training of the baseline with each engine, by the name of the engine.
        repeats: Trainings of the baseline with other seeds, over all epochs.
        early: Short trainings of several seeds, by engine and kind of Adam. The baseline's seed comes first.
        noisy: Short trainings with :data:`ENGINE` on images with noise in the last bit.
    """

    own: dict[str, Training]
    repeats: list[Training]
    early: dict[tuple[str, str], list[Training]]
    noisy: list[Training]


@dataclass(frozen=True)
class Subject:
    """The engine or training function of a reference, and the settings with which a gate judges the trainings.

    Attributes:
        name: Name of the engine, or training function as ``FILE.py:function`` or ``module:function``.
        epochs: Number of epochs of each training.
        errors_at: Early epoch after which a gate compares error counts.
        reached_at: Largest error count that is accepted as zero errors.
        margin: Slowdown that a gate must rule out to pass, as a fraction.
    """

    name: str = ENGINE
    epochs: int = BASELINE.epochs
    errors_at: int = ERRORS_EPOCH
    reached_at: int = 0
    margin: float = MARGIN


def record(
    digits: Digits, seeds: int, workers: int, reason: str, before: Sequence[Record], on_done: OnDone
) -> Reference:
    """Train and record a reference.

    Args:
        digits: Images.
        seeds: Number of seeds to train. They are consecutive, from :data:`FIRST_SEED`.
        workers: Number of worker processes that train these seeds.
        reason: Reason for recording the reference.
        before: Dates, reasons and environments of the earlier recordings. The new reference keeps them.
        on_done: Callback after each batch, with the number of finished trainings and the total number of trainings.

    Raises:
        StoppedError: A training failed. No incomplete reference is returned.
    """
    trained = _train(digits, seeds, workers, on_done)
    repeats = _repeats(trained.repeats, Subject(epochs=BASELINE.epochs, errors_at=ERRORS_EPOCH))
    return Reference(
        schema_=SCHEMA,
        trace=TRACE_VERSION,
        dataset=_dataset(digits),
        records=[*before, _recorded(reason, provenance.commit())],
        repeats=repeats,
        traces={name: _trace(training) for name, training in trained.own.items()},
        early=_early(trained),
        detectable=detectable(repeats.sample(), seeds_for(seeds)),
    )


def record_function(
    subject: Subject,
    digits: Digits,
    seeds: int,
    workers: int,
    reason: str,
    before: Sequence[Record],
    on_done: OnDone,
) -> Reference:
    """Train and record a reference for a training function of the user; see :func:`record`.

    Args:
        subject: Training function and its settings.
        digits: Images.
        seeds: Number of seeds to train. They are consecutive, from :data:`FIRST_SEED`.
        workers: Number of worker processes.
        reason: Reason for recording the reference.
        before: Dates, reasons and environments of the earlier recordings. The new reference keeps them.
        on_done: Callback after each training, with the number of finished trainings and the total number of trainings.

    Raises:
        StoppedError: A training failed, or the trainings use different data, or every training has more than
            ``subject.reached_at`` errors after every epoch.
    """
    variants = [
        BASELINE.model_copy(update={"seed": FIRST_SEED + number, "epochs": subject.epochs}) for number in range(seeds)
    ]
    with Workers(workers, subject.name, train_function) as pool:
        pool.load(digits)
        futures = _Pool(pool, subject.name).submit(variants)
        wait(futures, on_done, seeds)
    trained = results_of(futures)
    own_data = {training.data for training in trained}
    if len(own_data) > 1:
        raise StoppedError(
            f"{subject.name} used different data for different seeds",
            "Return one hash that covers all data of the function.",
        )
    [own] = own_data
    repeats = _repeats(trained, subject)
    if not any(repeats.first_zero):
        counts = [int(training.errors.min()) for training in trained]
        raise StoppedError(
            f"no training gets down to {subject.reached_at} errors or fewer within {subject.epochs} epochs (the lowest "
            f"error count of a training was {min(counts)} in the best and {max(counts)} in the worst)",
            "Increase --zero-errors or --epochs.",
        )
    return Reference(
        schema_=SCHEMA,
        trace=None,
        dataset=_dataset(digits) | ({"sha256_own": own} if own else {}),
        records=[*before, _recorded(reason, provenance.watched_commit())],
        repeats=repeats,
        traces={},
        early=None,
        margin=subject.margin,
        detectable=detectable(repeats.sample(), seeds_for(seeds)),
    )


def _train(digits: Digits, seeds: int, workers: int, on_done: OnDone) -> _Trained:
    own = {name: [registry.baseline(name)] for name in registry.NAMES}
    repeats = [BASELINE.model_copy(update={"seed": FIRST_SEED + number}) for number in range(seeds)]
    begun = BASELINE.with_epochs(EARLY_EPOCHS)
    noisy = [begun, *(begun.model_copy(update={"seed": seed}) for seed in gate_seeds(NOISY_SEEDS - 1))]
    early = {
        (ENGINE, "tensorflow"): noisy,
        (ENGINE, "keras"): [variant.model_copy(update={"adam": "keras"}) for variant in noisy[:EARLY_SEEDS]],
        ("graph", "tensorflow"): noisy[:EARLY_SEEDS],
        ("keras", "keras"): [variant.model_copy(update={"adam": "keras"}) for variant in noisy[:EARLY_SEEDS]],
    }
    with ExitStack() as stack:

        def pool(name: str, count: int = 1, task: Callable[..., list[Training]] = train) -> _Pool:
            made = stack.enter_context(Workers(count, name, task, BASELINE.shape))
            made.load(digits)
            return _Pool(made, name)

        pools = {name: pool(name, workers if name == ENGINE else 1) for name in registry.NAMES}
        asked_own = {name: pools[name].submit(variants) for name, variants in own.items()}
        asked_early = {key: pools[key[0]].submit(variants) for key, variants in early.items()}
        asked_noisy = pool(ENGINE, task=train_with_noise).submit(noisy)
        asked_repeats = pools[ENGINE].submit(repeats)
        total = sum(len(variants) for variants in (*own.values(), *early.values(), noisy, repeats))
        several = [*asked_own.values(), *asked_early.values(), asked_noisy, asked_repeats]
        wait([future for futures in several for future in futures], on_done, total)
    return _Trained(
        own={name: results_of(futures)[0] for name, futures in asked_own.items()},
        repeats=results_of(asked_repeats),
        early={key: results_of(futures) for key, futures in asked_early.items()},
        noisy=results_of(asked_noisy),
    )


def results_of(futures: Sequence[Future[Batch[Training]]]) -> list[Training]:
    """Return the trainings of finished futures, in order."""
    return [training for future in futures for training in future.result().results]


@dataclass(frozen=True)
class _Pool:
    """The workers of an engine."""

    workers: Workers[Training]
    engine: str

    def submit(self, variants: Sequence[Variant]) -> list[Future[Batch[Training]]]:
        """Submit variants in batches of at most the number of variants that the engine trains in one call."""
        return [self.workers.submit(batch) for batch in registry.batches(self.engine, variants)]


def wait(futures: Sequence[Future[Batch[Training]]], on_done: OnDone, total: int) -> None:
    """Wait for all futures. Each time a future finishes, report the number of finished trainings.

    Raises:
        StoppedError: A training failed.
    """
    done = 0
    on_done(done, total)
    for future in as_completed(futures):
        try:
            done += len(future.result().results)
        except (WorkerError, WorkerLostError) as error:
            raise StoppedError(f"a training failed: {error}", "Fix the cause and run again.") from error
        on_done(done, total)


def _dataset(digits: Digits) -> dict[str, str]:
    return {"name": digits.name, "sha256_x": digits.sha256_x, "sha256_y": digits.sha256_y}


def _recorded(reason: str, commit: provenance.Commit | None) -> Record:
    return Record(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        reason=reason,
        commit="unknown" if commit is None else str(commit),
        versions=dict(provenance.versions()),
        processor=provenance.processor(),
        packages=provenance.packages(),
    )


def _repeats(trained: Sequence[Training], subject: Subject) -> Repeats:
    return Repeats(
        engine=subject.name,
        budget=subject.epochs,
        reached_at=subject.reached_at,
        seeds=[training.variant.seed for training in trained],
        first_zero=[training.first_reached(subject.reached_at) for training in trained],
        errors_at=subject.errors_at,
        errors=[training.errors_at(subject.errors_at) for training in trained],
        final_errors=[int(training.errors[-1]) for training in trained],
        returned=[training.returned(subject.reached_at) for training in trained],
    )


def _trace(training: Training) -> Trace:
    return Trace(
        losses=training.losses.tolist(),
        errors=training.errors.tolist(),
        weights=list(training.weights),
        fingerprint=fingerprint.here(),
    )


def _early(trained: _Trained) -> Early:
    clean = {adam: trained.early[ENGINE, adam] for adam in ("tensorflow", "keras")}
    tried = diverged = 0
    for adam, others in (
        ("tensorflow", trained.noisy),
        ("tensorflow", trained.early["graph", "tensorflow"]),
        ("keras", trained.early["keras", "keras"]),
    ):
        found = votes(others, [training.losses for training in clean[adam][: len(others)]])
        tried, diverged = tried + found.n, diverged + len(found.diverged)
    return Early(
        seeds=[training.variant.seed for training in clean["keras"]],
        losses={adam: [one.losses.tolist() for one in found[:EARLY_SEEDS]] for adam, found in clean.items()},
        tried=tried,
        left=diverged,
    )
