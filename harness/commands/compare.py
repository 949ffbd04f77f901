"""``harness compare``: compares two studies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import console, options
from harness.commands.help_text import Command
from harness.errors import UsageError
from harness.files import check_destinations, write_json, write_text
from harness.network.variant import TRAINING_SETTINGS

if TYPE_CHECKING:
    from harness.reporting.comparison_inputs import Side

_SETTINGS = [name for name in TRAINING_SETTINGS if name != "seed"]


def _percent(_context: click.Context, _option: click.Parameter, value: str) -> float:
    """Convert a percentage such as ``10%`` to a fraction.

    Raises:
        UsageError: The text is not a percentage above 0%.
    """
    number, sign, rest = value.strip().partition("%")
    try:
        share = float(number) / 100 if sign and not rest else math.nan
    except ValueError:
        share = math.nan
    if not 0 < share < math.inf:
        raise UsageError(f"--margin {value}: this is not a percentage above 0%", "Give a percentage, such as 10%.")
    return share


def _errors(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Check a number of errors.

    Raises:
        UsageError: The number is not above 0.
    """
    if not 0 < value < math.inf:
        raise UsageError(f"--margin-errors {value:g}: this is not a number above 0", "Give a number, such as 1.")
    return value


@click.command(
    cls=Command,
    examples={
        "harness compare before/runs.csv variants": "Compare a study with the report of an earlier one",
        "harness compare batch-32 batch-64 --across batch_size": "Compare studies that differ in a setting",
    },
)
@click.argument("a")
@click.argument("b")
@click.option(
    "--across",
    multiple=True,
    type=click.Choice(_SETTINGS),
    metavar="SETTING",
    help=f"A setting in which the studies differ on purpose; repeatable. One of: {', '.join(_SETTINGS)}.",
)
@click.option(
    "--margin",
    "share",
    default="10%",
    show_default=True,
    metavar="PERCENT",
    callback=_percent,
    help="The delay of zero errors that must be excluded, in percent of A's first zero epoch.",
)
@click.option(
    "--margin-errors",
    "errors",
    type=float,
    default=1,
    show_default=True,
    metavar="NUMBER",
    callback=_errors,
    help="The number of additional errors at the last epoch that must be excluded, as a mean over seeds and variants.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the comparison to a file: a page if its name ends in .html, otherwise Markdown.",
)
@options.json
def compare(
    a: str, b: str, *, across: tuple[str, ...], share: float, errors: float, out: Path | None, json_to: str | None
) -> int:
    """Decide whether study B is worse than study A, for example after an upgrade.

    A and B are studies. Give the name of a study, the run ID of a study (archived or not), or the runs.csv file of a
    report.

    Exit status: 0 if B is not worse: the seeds exclude harm of the margins, or every number is equal. 1 if B has more
    errors, or later first zero epochs. 3 if neither is shown, or if there are too few seeds.
    """
    from harness.reporting import comparison, comparison_text
    from harness.reporting.comparison_verdict import Margins

    check_destinations(json_to, out)
    found = comparison.compare(_side(a), _side(b), Margins(share, errors), tuple(dict.fromkeys(across)))
    text = comparison_text.markdown(found)
    console.say(f"{text}\nverdict: {found.verdict}", json_to)
    if out is not None:
        write_text(out, comparison_text.html(found) if out.suffix.lower() in {".html", ".htm"} else text)
    if json_to is not None:
        write_json(json_to, found.as_json())
    return found.verdict.exit_status


def _side(asked: str) -> Side:
    """Read a study from a CSV file if the name is an existing file or ends in ``.csv``. Otherwise read from MLflow."""
    from harness.reporting import comparison_inputs

    path = Path(asked)
    if path.is_file() or path.suffix.lower() == ".csv":
        return comparison_inputs.of_csv(path)
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    return comparison_inputs.of_record(StudyReader(Store(create=False)).named_or_run(asked))
