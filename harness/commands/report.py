"""``harness report``: writes the report of a study and records it in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import console
from harness.commands.help_text import Command
from harness.tracking.tags import Tag

if TYPE_CHECKING:
    from harness.tracking.owner import Owner
    from harness.tracking.run_record import StudyRecord
    from harness.tracking.store import Store

LAB_PAGE = console.OUT / "lab" / "lab.html"


def write(record: StudyRecord, folder: Path | None) -> Path:
    """Write the report of a recorded study, and return the path of the report."""
    from harness.reporting import report as page

    return page.write(record, folder or console.OUT / record.parent.tags[Tag.STUDY]).absolute()


def publish(store: Store, record: StudyRecord, written: Path, me: Owner | None = None) -> None:
    """Upload a report to the study's run in MLflow, and write the results into the note of the run.

    If the lab's page exists for the same images, upload it, too. If a process other than `me` runs the study, upload
    nothing: that process uploads the report when the study ends.
    """
    from harness.errors import StoppedError
    from harness.tracking import report_upload

    parent = record.parent
    if parent.owner not in {None, me}:
        console.err.print(f"not uploaded to MLflow: the study is running in {parent.owner}", markup=False)
        return
    if store.is_copy:
        console.err.print("not uploaded to MLflow: an older version of MLflow created the database", markup=False)
        return
    try:
        report_upload.describe(store, record)
        files = (written.with_name(name) for name in console.REPORT_FILES)
        report_upload.log_files(store, parent.run_id, [path for path in files if path.exists()])
        if LAB_PAGE.is_file() and parent.tags[Tag.DATASET] in LAB_PAGE.read_text():
            report_upload.log_files(store, parent.run_id, [LAB_PAGE], "lab")
    except StoppedError as error:
        console.err.print(f"warning: the report was not uploaded to MLflow: {error.cause}", markup=False)


@click.command(
    cls=Command,
    examples={
        "harness report": "Write the report of the study that ran last",
        "harness report variants --out my-report": "Write the report of a study to another folder",
    },
)
@click.argument("name", required=False, metavar="[STUDY]")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="The output folder. Default: out/<study>.")
def report(name: str | None, folder: Path | None) -> None:
    """Write the report of a recorded study.

    The default is the study that ran last. The report is also recorded in MLflow.
    """
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    store = Store(create=False)
    record = StudyReader(store).study(name)
    written = write(record, folder)
    click.echo(f"report: {written}")
    publish(store, record, written)
