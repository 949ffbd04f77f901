"""``harness gate record``: records a reference for the gate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from harness.commands import console, gate_inputs, options
from harness.commands.help_text import Command
from harness.commands.progress import TrainingsProgress
from harness.errors import UsageError
from harness.files import check_destinations
from harness.workers.local import default_count

if TYPE_CHECKING:
    from harness.gate.reference import Reference

# The default number of seeds of a new reference: for the project's engine, and for a user's training function.
_SEEDS, _SEEDS_OF_FUNCTION = 1024, 256
# The smallest number of seeds of a reference. A gate trains a quarter of this number, and needs at least 2 seeds.
_FEWEST_SEEDS = 8
# If the median first zero epoch is smaller than this value, a delay of one epoch is a slowdown of more than 5%.
_FEW_EPOCHS = 20


@click.command(
    "record",
    cls=Command,
    examples={
        "harness gate record --train mine.py:train --data optdigits": "Record your own training code",
        "harness gate record --data lab --reason 'a new trace'": "Replace the package's reference for the lab's images",
    },
)
@gate_inputs.train
@click.option(
    "--seeds",
    type=click.IntRange(min=_FEWEST_SEEDS),
    help=f"The number of trainings, one for each seed. Default: {_SEEDS}, or {_SEEDS_OF_FUNCTION} with --train.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="With --train: the number of epochs of each training.  [default: 100]"
)
@click.option(
    "--early-epoch",
    type=click.IntRange(min=1),
    help="With --train: the epoch at which gates compare error counts.  [default: 40]",
)
@click.option(
    "--zero-errors",
    type=click.IntRange(min=0),
    metavar="COUNT",
    help="With --train: the largest error count that is treated as zero errors.  [default: 0]",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, min_open=True),
    help="With --train: the slowdown, as a fraction, that a gate must rule out to pass.  [default: 0.1]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help=f"The file to write. Default: {gate_inputs.OWN_REFERENCE} with --train, otherwise the package's own reference "
    "for these images.",
)
@click.option("--reason", help="The reason for replacing an existing reference. The new file stores the reason.")
@options.workers
@options.data
@options.quiet
def gate_record(  # noqa: PLR0913 - one argument for each option
    *,
    function: str | None,
    seeds: int | None,
    epochs: int | None,
    early_epoch: int | None,
    zero_errors: int | None,
    margin: float | None,
    out: Path | None,
    reason: str | None,
    workers: int | None,
    data: str,
    quiet: bool,
) -> None:
    """Train with many seeds, and record the results as a reference.

    The gate compares later trainings with this reference.
    """
    from harness.gate import record, reference

    asked = {"epochs": epochs, "errors_at": early_epoch, "reached_at": zero_errors, "margin": margin}
    settings: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    gate_inputs.subject(None, function)
    if function is None and settings:
        raise UsageError(
            "--epochs, --early-epoch, --zero-errors and --margin need --train",
            "Give a function: --train FILE.py:FUNCTION.",
        )
    if margin is not None and math.isnan(margin):
        raise UsageError("--margin: nan is not in the range 0<x<=1", "Give the margin as a fraction, such as 0.1.")
    subject = record.Subject(function or record.ENGINE, **settings)
    if subject.errors_at > subject.epochs:
        cause = f"the early epoch ({subject.errors_at}) is after the last epoch ({subject.epochs})"
        raise UsageError(cause, "Give a smaller --early-epoch.")
    digits = console.load(data)
    path = out or (reference.path_of(digits.name) if function is None else gate_inputs.OWN_REFERENCE)
    check_destinations(path)
    before = []
    if path.exists():
        if not reason:
            raise UsageError(f"{path}: a reference exists", "Give the reason for replacing it: --reason TEXT.")
        before = reference.records_of(path)
    count, why = workers or default_count(), reason or "the first"
    with TrainingsProgress(console.err, quiet=quiet) as progress:
        if function is None:
            made = record.record(digits, seeds or _SEEDS, count, why, before, progress.trained)
        else:
            n = seeds or _SEEDS_OF_FUNCTION
            made = record.record_function(subject, digits, n, count, why, before, progress.trained)
    reference.save(made, path)
    _say_what_it_finds(made)
    click.echo(f"reference: {path.absolute()}")


def _say_what_it_finds(made: Reference) -> None:
    """Print a summary of the new reference, the slowdown that its gates detect, and warnings."""
    repeats, sample = made.repeats, made.repeats.sample()
    n, n_gate = sample.n, made.n_gate_seeds
    click.echo(
        f"{sample.n_reached} of {n} trainings reach {made.goal}, on average after {sample.epochs.mean():.1f} of "
        f"{repeats.budget} epochs. The mean error count is {sample.errors.mean():.1f} at epoch {repeats.errors_at}"
    )
    if made.detectable is None:
        click.echo(
            f"a gate trains {n_gate} seeds by default. With so few seeds, a gate detects a slowdown of 50% in fewer "
            "than 9 of 10 cases"
        )
    else:
        found = f"{made.detectable:.0%}"
        click.echo(f"a gate trains {n_gate} seeds by default. 9 of 10 gates detect a slowdown of {found}")
    if n < _SEEDS_OF_FUNCTION:
        gate_inputs.warn(
            f"with only {n} seeds, the reference may be inaccurate by chance, and every later gate uses it. With 64 "
            f"seeds, 1 in 20 references causes more than 2% false alarms. Record {_SEEDS_OF_FUNCTION} seeds or more"
        )
    if len({*zip(repeats.first_zero, repeats.errors, repeats.final_errors, strict=True)}) == 1:
        gate_inputs.warn("all trainings have the same error counts. The training must depend on its seed")
    if sample.n_reached < 0.9 * n:
        gate_inputs.warn(
            f"only {sample.n_reached} of {n} trainings reach {made.goal}. For a more sensitive gate, increase "
            "--zero-errors or --epochs"
        )
    median = float(np.median(sample.ranked))
    if median < _FEW_EPOCHS:
        gate_inputs.warn(
            f"the median first epoch with {made.goal} is {median:g}, so a delay of one epoch is a slowdown of "
            f"{1 / median:.0%}. For a more sensitive gate, train with a smaller learning rate or larger batches"
        )
