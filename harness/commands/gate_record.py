"""``harness gate record``: records a reference for the gate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from harness.commands import console, gate_inputs, options
from harness.commands.progress import TrainingsProgress
from harness.errors import UsageError
from harness.files import check_destinations
from harness.workers.local import default_count

if TYPE_CHECKING:
    from harness.gate.reference import Reference

# The number of seeds of a new reference: of the project's engines, and of a training function of the user.
_SEEDS, _SEEDS_OF_FUNCTION = 1024, 256
# A gate needs two seeds, and a quarter of the reference's seeds.
_FEWEST_SEEDS = 8
# Below this median first zero epoch, one epoch is more than 5%.
_FEW_EPOCHS = 20


@click.command("record")
@gate_inputs.train
@click.option(
    "--seeds",
    type=click.IntRange(min=_FEWEST_SEEDS),
    help=f"The number of trainings. Default: {_SEEDS}, and {_SEEDS_OF_FUNCTION} with --train.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="With --train: epochs of each training.  [default: 100]")
@click.option(
    "--early-epoch", type=click.IntRange(min=1), help="With --train: the epoch of the early errors.  [default: 40]"
)
@click.option(
    "--zero-errors",
    type=click.IntRange(min=0),
    metavar="COUNT",
    help="With --train: the largest error count that counts as zero errors.  [default: 0]",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, min_open=True),
    help="With --train: the slowdown that PASS must exclude.  [default: 0.1]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write. Default: the package's own reference for these images, and "
    f"{gate_inputs.OWN_REFERENCE} with --train.",
)
@click.option("--reason", help="Why the existing reference is replaced. The reason is stored in the file.")
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
    """Record a reference for the gate: many trainings with different seeds."""
    from harness.gate import record, reference

    asked = {"epochs": epochs, "errors_at": early_epoch, "reached_at": zero_errors, "margin": margin}
    settings: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    gate_inputs.subject(None, function)
    if function is None and settings:
        raise UsageError("--epochs, --early-epoch, --zero-errors and --margin need --train", "Give the function.")
    if margin is not None and math.isnan(margin):
        raise UsageError("nan is not in the range 0<x<=1", "Give the margin as a fraction, such as 0.1.")
    subject = record.Subject(function or record.ENGINE, **settings)
    if subject.errors_at > subject.epochs:
        cause = f"the early epoch, {subject.errors_at}, is after the last one, {subject.epochs}"
        raise UsageError(cause, "Give a smaller one to --early-epoch.")
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
    """Print what was recorded, what gates with the new reference find, and warnings."""
    repeats, sample = made.repeats, made.repeats.sample()
    n, n_gate = sample.n, made.n_gate_seeds
    click.echo(
        f"{sample.n_reached} of {n} trainings reach {made.goal}, on average after {sample.epochs.mean():.1f} of "
        f"{repeats.budget} epochs; {sample.errors.mean():.1f} errors at epoch {repeats.errors_at}"
    )
    if made.detectable is None:
        click.echo(f"a gate trains {n_gate} seeds by default, too few to find a slowdown of 50% 9 times in 10")
    else:
        found = f"{made.detectable:.0%}"
        click.echo(f"a gate trains {n_gate} seeds by default, and finds a slowdown of {found} 9 times in 10")
    if n < _SEEDS_OF_FUNCTION:
        gate_inputs.warn(
            f"{n} seeds may differ from the true training by chance, and every later gate compares with them. With 64 "
            f"seeds, one reference in 20 has more than 2% false alarms. Record {_SEEDS_OF_FUNCTION} seeds or more"
        )
    if len({*zip(repeats.first_zero, repeats.errors, repeats.final_errors, strict=True)}) == 1:
        gate_inputs.warn("all trainings have the same error counts. The training must depend on its seed")
    if sample.n_reached < 0.9 * n:
        gate_inputs.warn(
            f"only {sample.n_reached} of {n} trainings reach {made.goal}. A larger --zero-errors or more --epochs make "
            "the gate finer"
        )
    median = float(np.median(sample.ranked))
    if median < _FEW_EPOCHS:
        gate_inputs.warn(
            f"the median first epoch with {made.goal} is {median:g}, so one epoch is {1 / median:.0%}. A smaller "
            "learning rate or larger batches make the gate finer"
        )
