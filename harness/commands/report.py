"""``harness report``: a study's report, from its records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import console

if TYPE_CHECKING:
    from harness.records import Records


def write(records: Records, name: str | None, folder: Path | None) -> Path:
    """Write the report of a recorded study, by default the last; return its path."""
    from reports import page

    record = records.study(name)
    return page.write(record, folder or console.OUT / record.parent.tags["harness.study"]).absolute()


@click.command()
@click.argument("name", required=False, metavar="[STUDY]")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="The folder; by default out/<study>.")
def report(name: str | None, folder: Path | None) -> None:
    """Write a study's report from MLflow's records alone; where none is named, that of the study run last."""
    from harness.records import Records

    click.echo(f"report: {write(Records(), name, folder)}")
