"""``harness compare``: compares two studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import console, options
from harness.files import check_destinations, write_json, write_text

if TYPE_CHECKING:
    from harness.reporting.comparison_inputs import Side


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the comparison to a Markdown file.")
@options.json
def compare(a: str, b: str, out: Path | None, json_to: str | None) -> int:
    """Decide whether study B is worse than study A, for example after an upgrade.

    A and B are studies. Give the name of a study, the run ID of a study (archived or not), or the runs.csv file of a
    report.

    Exit status: 0 if B is not worse. 1 if B has more errors, or later first zero epochs. 2 if there are too few seeds
    to decide.
    """
    from harness.reporting import comparison, comparison_text

    check_destinations(json_to, out)
    found = comparison.compare(_side(a), _side(b))
    text = comparison_text.markdown(found)
    console.say(f"{text}\nverdict: {found.verdict}", json_to)
    if out is not None:
        write_text(out, text)
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
