"""Records a reference: one training per engine, many seeds, and trainings with rounding noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from harness import fingerprint, provenance
from harness.data.digits import Digits
from harness.engines import registry
from harness.errors import StoppedError, UsageError
from harness.gate.convergence import STAGES, detectable, stages_of
from harness.gate.reference import (
    ERRORS_EPOCH,
    FIRST_GATE_SEED,
    FIRST_SEED,
    SCHEMA,
    SEEDS_FOR_EACH,
    Early,
    Record,
    Reference,
    Repeats,
    Trace,
)
from harness.gate.trace import EARLY_EPOCHS, printed_alike, votes
from harness.gate.training import Training, train, train_with_noise
from harness.network.variant import BASELINE, TRACE_VERSION, Variant
from harness.workers.local import Batch, WorkerError, WorkerLostError, Workers

ENGINE = "xla"  # the engine that trains the repeats, which is the fastest by far
EARLY_SEEDS = STAGES[0] + 1  # the baseline's own seed, and the seeds of the gate's first stage
NOISY_SEEDS = 64
ALIKE_EPOCHS = 40  # the number of epochs of the lab

# A callback that receives the number of finished trainings and the total number.
OnDone = Callable[[int, int], None]


@dataclass(frozen=True)
class _Trained:
    """The trainings from which a reference is made.

    Attributes:
        own: Training of the baseline by each engine.
        repeats: Trainings of other seeds, to the baseline's last epoch.
        early: First epochs of several seeds, the baseline's own first, by engine and name of the Adam.
        noisy: The same with the engine of the repeats, on images with noise in the last bit.
        with_keras_adam: Training of the baseline by the engine of the repeats, with the Adam of Keras.
    """

    own: dict[str, Training]
    repeats: list[Training]
    early: dict[tuple[str, str], list[Training]]
    noisy: list[Training]
    with_keras_adam: Training


def record(
    digits: Digits, seeds: int, workers: int, reason: str, before: Sequence[Record], on_done: OnDone
) -> Reference:
    """Train and record a reference.

    Args:
        digits: Images.
        seeds: Number of repeats. Their seeds are consecutive, from :data:`FIRST_SEED`.
        workers: Number of processes that train the repeats.
        reason: Reason for recording the reference.
        before: Records of the reference that it replaces.
        on_done: Callback after each batch, with the number of finished trainings and the total number.

    Raises:
        StoppedError: A worker failed. An incomplete reference is not returned.
    """
    trained = _train(digits, seeds, workers, on_done)
    fast = trained.own[ENGINE]
    others = [name for name in registry.NAMES if name != ENGINE]
    theirs = {name: trained.with_keras_adam if name == "keras" else fast for name in others}
    repeats, chosen = _repeats(trained.repeats), gate_seeds(seeds)
    return Reference(
        schema_=SCHEMA,
        trace=TRACE_VERSION,
        dataset={"name": digits.name, "sha256_x": digits.sha256_x, "sha256_y": digits.sha256_y},
        records=[*before, _recorded(reason)],
        gate_seeds=chosen,
        repeats=repeats,
        traces={name: _trace(training) for name, training in trained.own.items()},
        early=_early(trained),
        alike={name: printed_alike(trained.own[name].prefix(ALIKE_EPOCHS), theirs[name]) for name in others},
        detectable=detectable(repeats.sample(), stages_of(len(chosen))),
    )


def _train(digits: Digits, seeds: int, workers: int, on_done: OnDone) -> _Trained:
    own = {name: [registry.baseline(name)] for name in registry.NAMES}
    repeats = [BASELINE.model_copy(update={"seed": FIRST_SEED + number}) for number in range(seeds)]
    begun = BASELINE.with_epochs(EARLY_EPOCHS)
    noisy = [begun, *(begun.model_copy(update={"seed": seed}) for seed in _seeds(NOISY_SEEDS - 1))]
    early = {
        (ENGINE, "tensorflow"): noisy,
        (ENGINE, "keras"): [variant.model_copy(update={"adam": "keras"}) for variant in noisy[:EARLY_SEEDS]],
        ("graph", "tensorflow"): noisy[:EARLY_SEEDS],
        ("keras", "keras"): [variant.model_copy(update={"adam": "keras"}) for variant in noisy[:EARLY_SEEDS]],
    }
    alike = [registry.baseline("keras").with_epochs(ALIKE_EPOCHS)]
    with ExitStack() as stack:

        def pool(name: str, count: int = 1, task: Callable[..., list[Training]] = train) -> _Pool:
            made = stack.enter_context(Workers(count, name, task, BASELINE.shape))
            made.load(digits)
            return _Pool(made, name)

        pools = {name: pool(name, workers if name == ENGINE else 1) for name in registry.NAMES}
        asked_own = {name: pools[name].submit(variants) for name, variants in own.items()}
        asked_early = {key: pools[key[0]].submit(variants) for key, variants in early.items()}
        asked_alike = pools[ENGINE].submit(alike)
        asked_noisy = pool(ENGINE, task=train_with_noise).submit(noisy)
        asked_repeats = pools[ENGINE].submit(repeats)
        total = sum(len(variants) for variants in (*own.values(), *early.values(), alike, noisy, repeats))
        several = [*asked_own.values(), *asked_early.values(), asked_alike, asked_noisy, asked_repeats]
        wait([future for futures in several for future in futures], on_done, total)
    return _Trained(
        own={name: results_of(futures)[0] for name, futures in asked_own.items()},
        repeats=results_of(asked_repeats),
        early={key: results_of(futures) for key, futures in asked_early.items()},
        noisy=results_of(asked_noisy),
        with_keras_adam=results_of(asked_alike)[0],
    )


def results_of(futures: Sequence[Future[Batch[Training]]]) -> list[Training]:
    """The trainings of finished futures, in order."""
    return [training for future in futures for training in future.result().results]


@dataclass(frozen=True)
class _Pool:
    """The workers of an engine."""

    workers: Workers[Training]
    engine: str

    def submit(self, variants: Sequence[Variant]) -> list[Future[Batch[Training]]]:
        """Train variants in batches of the engine's width."""
        return [self.workers.submit(batch) for batch in registry.batches(self.engine, variants)]


def _seeds(n: int) -> list[int]:
    return [FIRST_GATE_SEED + number for number in range(n)]


def gate_seeds(seeds: int) -> list[int]:
    """The seeds that a gate trains against a reference of this size.

    Raises:
        UsageError: The reference is too small for a comparison.
    """
    most = min(STAGES[-1], seeds // SEEDS_FOR_EACH)
    if most < STAGES[0]:
        raise UsageError(
            f"{seeds} seeds are too few: the gate trains at least {STAGES[0]}, and the reference has "
            f"{SEEDS_FOR_EACH} for each",
            f"Record {STAGES[0] * SEEDS_FOR_EACH} or more.",
        )
    return _seeds(most)


def wait(futures: Sequence[Future[Batch[Training]]], on_done: OnDone, total: int) -> None:
    """Wait for all futures, and report the number of finished trainings after each.

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


def _recorded(reason: str) -> Record:
    commit = provenance.commit()
    return Record(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        reason=reason,
        commit="unknown" if commit is None else commit.revision + ("-dirty" if commit.dirty else ""),
        versions=dict(provenance.versions()),
        processor=provenance.processor(),
    )


def _repeats(trained: Sequence[Training]) -> Repeats:
    return Repeats(
        engine=ENGINE,
        budget=BASELINE.epochs,
        seeds=[training.variant.seed for training in trained],
        first_zero=[training.first_zero_epoch for training in trained],
        errors_at=ERRORS_EPOCH,
        errors=[training.errors_at(ERRORS_EPOCH) for training in trained],
        final_errors=[int(training.errors[-1]) for training in trained],
        returned=[training.returned for training in trained],
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
    tried = left = 0
    for adam, others in (
        ("tensorflow", trained.noisy),
        ("tensorflow", trained.early["graph", "tensorflow"]),
        ("keras", trained.early["keras", "keras"]),
    ):
        found = votes(others, [training.losses for training in clean[adam][: len(others)]])
        tried, left = tried + found.n, left + len(found.left)
    return Early(
        seeds=[training.variant.seed for training in clean["keras"]],
        losses={adam: [one.losses.tolist() for one in found[:EARLY_SEEDS]] for adam, found in clean.items()},
        tried=tried,
        left=left,
    )
