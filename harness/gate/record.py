"""Making a reference: the baseline by every engine epoch by epoch, by many seeds, and by rounding alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from contextlib import ExitStack
from datetime import UTC, datetime

import numpy as np

from harness import engines, machine
from harness.digits import Digits
from harness.errors import StoppedError, UsageError
from harness.gate import fingerprint
from harness.gate.convergence import STAGES
from harness.gate.reference import (
    ERRORS_EPOCH,
    FIRST_GATE_SEED,
    FIRST_SEED,
    SCHEMA,
    SEEDS_FOR_EACH,
    Noise,
    Record,
    Reference,
    Repeats,
    Trace,
)
from harness.gate.training import Training, train, train_with_noise
from harness.variant import BASELINE, TRACE_VERSION, Variant
from harness.workers import Batch, WorkerError, WorkerLostError, Workers

ENGINE = "xla"  # what trains the repeats: the fastest by far
NOISE_REPEATS = 16

# Told what of how much is done.
OnDone = Callable[[int, int], None]


def record(
    digits: Digits, seeds: int, workers: int, reason: str, before: Sequence[Record], on_done: OnDone
) -> Reference:
    """Train all that a reference holds.

    Args:
        digits: the images.
        seeds: how many repeats, :data:`FIRST_SEED` and on.
        workers: processes that train the repeats.
        reason: why it is recorded, in words.
        before: what the reference that it replaces was recorded for.
        on_done: told after each batch how many trainings of how many are done.

    Raises:
        StoppedError: a worker failed: there is no reference with a part missing.
    """
    own = {name: [engines.baseline(name)] for name in engines.NAMES}
    repeats = [BASELINE.model_copy(update={"seed": FIRST_SEED + number}) for number in range(seeds)]
    width = engines.width(ENGINE)
    with ExitStack() as stack:

        def pool(name: str, count: int = 1, task: Callable[..., list[Training]] = train) -> Workers[Training]:
            workers_ = stack.enter_context(Workers(count, name, task, BASELINE.shape))
            workers_.load(digits)
            return workers_

        fast = pool(ENGINE, workers)
        traced = {name: (fast if name == ENGINE else pool(name)).submit(own[name]) for name in engines.NAMES}
        many = [fast.submit(repeats[start : start + width]) for start in range(0, seeds, width)]
        noisy = [pool(ENGINE, task=train_with_noise).submit([BASELINE] * NOISE_REPEATS)]
        _wait([*traced.values(), *many, *noisy], on_done, len(own) + seeds + NOISE_REPEATS)
        trained = [training for future in many for training in future.result().outcomes]
        return Reference(
            schema=SCHEMA,
            trace=TRACE_VERSION,
            dataset={"name": digits.name, "sha256_x": digits.sha256_x, "sha256_y": digits.sha256_y},
            records=[*before, _recorded(reason)],
            gate_seeds=gate_seeds(seeds),
            repeats=_repeats(trained),
            traces={name: _trace(future.result().outcomes[0]) for name, future in traced.items()},
            noise=_noise(noisy[0].result().outcomes),
        )


def gate_seeds(seeds: int) -> list[int]:
    """The seeds that a gate trains against a reference of so many.

    Raises:
        UsageError: so few support no comparison.
    """
    most = min(STAGES[-1], seeds // SEEDS_FOR_EACH)
    if most < STAGES[0]:
        raise UsageError(
            f"{seeds} seeds are too few: the gate trains at least {STAGES[0]}, and the reference has "
            f"{SEEDS_FOR_EACH} for each",
            f"Record {STAGES[0] * SEEDS_FOR_EACH} or more.",
        )
    return [FIRST_GATE_SEED + number for number in range(most)]


def _wait(futures: Sequence[Future[Batch[Training]]], on_done: OnDone, total: int) -> None:
    done = 0
    on_done(done, total)
    for future in as_completed(futures):
        try:
            done += len(future.result().outcomes)
        except (WorkerError, WorkerLostError) as error:
            raise StoppedError(f"a training failed: {error}", "Nothing was written; mend the cause.") from error
        on_done(done, total)


def _recorded(reason: str) -> Record:
    commit = machine.commit()
    return Record(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        reason=reason,
        commit="unknown" if commit is None else commit.revision + ("-dirty" if commit.dirty else ""),
        versions=dict(machine.versions()),
        processor=machine.processor(),
    )


def _repeats(trained: Sequence[Training]) -> Repeats:
    return Repeats(
        engine=ENGINE,
        budget=BASELINE.epochs,
        seeds=[training.variant.seed for training in trained],
        first_zero=[training.first_zero_epoch for training in trained],
        errors_at=ERRORS_EPOCH,
        errors=[int(training.errors[ERRORS_EPOCH - 1]) for training in trained],
        final_errors=[int(training.errors[-1]) for training in trained],
        returned=[_returned(training) for training in trained],
    )


def _returned(training: Training) -> int:
    """Epochs after the first without error that had some again."""
    first = training.first_zero_epoch
    return 0 if first is None else int(np.count_nonzero(training.errors[first:]))


def _trace(training: Training) -> Trace:
    return Trace(
        losses=training.losses.tolist(),
        errors=training.errors.tolist(),
        weights=list(training.weights),
        fingerprint=fingerprint.here(),
    )


def _noise(trained: Sequence[Training]) -> Noise:
    return Noise(
        losses=[training.losses[:ERRORS_EPOCH].tolist() for training in trained],
        errors=[training.errors[:ERRORS_EPOCH].tolist() for training in trained],
    )
