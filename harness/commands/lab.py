"""``harness lab``: runs the lab and writes its page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness import provenance
from harness.commands import console, options
from harness.commands.help_text import Command
from harness.engines import function as functions
from harness.engines import registry
from harness.errors import ExitStatus
from harness.files import check_destinations, write_json


@click.command(
    cls=Command,
    examples={
        "harness lab": "Run the lab, and write its page",
        "harness lab --softmax mine.py:my_softmax": "Check the function my_softmax in your file mine.py",
    },
)
@options.engine
@options.data
@click.option("--out", "folder", type=click.Path(path_type=Path), help="The output folder. Default: out/lab.")
@options.json
@options.quiet
@click.option(
    "--softmax",
    "function",
    metavar="FILE.py:FUNCTION",
    help="Check only your own my_softmax. Exit status: 0 if it is correct, 1 if it has a mistake.",
)
def lab(
    engine: str, data: str, folder: Path | None, json_to: str | None, quiet: bool, function: str | None
) -> ExitStatus:
    """Run the lab, and compare its results with the published results.

    The results are written as a page.
    """
    if function is not None:
        return _check_softmax(function)
    from harness.commands.progress import EpochLines
    from harness.lab import results as lab_module
    from harness.reporting import lab_page as page

    registry.check(engine)
    registry.check_environment(engine)
    folder = folder or console.OUT / "lab"
    check_destinations(folder / page.PAGE, json_to)
    digits = console.load(data)
    on_epoch = None if quiet else EpochLines(sys.stderr if json_to == "-" else sys.stdout)
    found = lab_module.run(registry.make(engine, digits), digits, on_epoch)
    written = page.write(found, folder).absolute()
    for state in found.states:
        console.say(
            f"{len(state.wrong)} errors out of {len(digits.labels)} images after {state.epochs} epochs", json_to
        )
    logged = [number.same for number in found.numbers if number.part == "training"]
    if None not in logged:
        console.say(f"{sum(map(bool, logged))} of the {len(logged)} losses match the lab's log", json_to)
    console.say(f"page: {written}", json_to)
    if json_to is not None:
        write_json(
            json_to,
            {
                **found.as_json(),
                "versions": provenance.versions(),
                "settings": provenance.computing_settings(),
                "page": str(written),
            },
        )
    return ExitStatus.OK


def _check_softmax(function: str) -> ExitStatus:
    """Check a learner's softmax function. Print a sentence and a hint for each mistake."""
    from harness.lab import softmax_check

    functions.check(function)
    mistakes = softmax_check.check(function)
    for mistake in mistakes:
        click.echo(f"{mistake.sentence}\n  Hint: {mistake.hint}")
    if not mistakes:
        click.echo("my_softmax is correct: it passes the lab's tests and all further tests, even for z = 1000.")
    return ExitStatus.NEGATIVE if mistakes else ExitStatus.OK
