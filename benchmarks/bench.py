"""The command behind ``nox -s bench``.

It compares the speed and memory of this project with other libraries and with a naive study.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click
from rich.console import Console

from benchmarks import table
from harness.commands import console, options
from harness.commands.main import main
from harness.files import check_destinations, write_json

BENCH_PARTS = ("speed", "study", "growth")


@click.command()
@click.option(
    "--part",
    "parts",
    type=click.Choice(BENCH_PARTS),
    multiple=True,
    help="The part to measure. speed: training on one core. study: the default study. growth: studies with an "
    "increasing number of trials. Repeatable. Default: all parts.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="The number of rounds. Each round measures every engine and every other library once.",
)
@click.option(
    "--rivals",
    metavar="PYTHON",
    default=sys.executable,
    help="The path of a Python interpreter that has JAX and PyTorch.",
)
@options.data
@options.json
def bench(parts: tuple[str, ...], rounds: int, rivals: str, data: str, json_to: str | None) -> None:
    """Compare the speed and memory of this project with other libraries and with a naive study.

    The comparison takes at least ten minutes on an idle machine.
    """
    check_destinations(json_to)
    digits = console.load(data)
    rivals = shutil.which(rivals) or rivals
    chosen = console.CHOICES.get(digits.name) or str(Path(data).absolute())
    results = table.measure(digits, chosen, parts or BENCH_PARTS, rounds, rivals, console.err.print)
    table.show(results, Console(stderr=json_to == "-", highlight=False))
    if json_to is not None:
        write_json(json_to, results)


if __name__ == "__main__":
    main(bench)
