"""``harness gate``: is training as good as it was?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands import console, options
from harness.errors import UsageError
from harness.output import check_destinations
from harness.progress import TrainingsProgress
from harness.workers import default_count

_SEEDS = 1024


@click.group()
def gate() -> None:
    """Check that training is as good as it was."""


@gate.command("record")
@click.option("--seeds", type=click.IntRange(min=1), default=_SEEDS, show_default=True, help="How many repeats.")
@click.option("--out", type=click.Path(path_type=Path), help="The file; by default the package's own for these images.")
@click.option("--reason", help="Why a reference that there is should be replaced; it is kept in the file.")
@options.workers
@options.data
@options.quiet
def gate_record(seeds: int, out: Path | None, reason: str | None, workers: int | None, data: str, quiet: bool) -> None:
    """Record what the baseline comes to when all is well, for the gate to compare with."""
    from harness.gate import record, reference

    digits = console.load(data)
    path = out or reference.path_of(digits.name)
    check_destinations(path)
    before = []
    if path.exists():
        if not reason:
            raise UsageError(f"{path}: there is a reference", "Say why it should be replaced: --reason TEXT.")
        before = reference.load(path).records
    record.gate_seeds(seeds)
    with TrainingsProgress(console.err, quiet=quiet) as progress:
        count = workers or default_count()
        made = record.record(digits, seeds, count, reason or "the first", before, progress.trained)
    reference.save(made, path)
    click.echo(f"reference: {path.absolute()}")
