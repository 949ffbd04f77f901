"""The command behind ``nox -s publish``.

It runs the project's studies and writes their reports to ``reports/``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from harness import provenance
from harness.commands.main import main
from harness.errors import StoppedError
from harness.files import write_json
from harness.network.variant import TRACE_VERSION

REPORTS = Path(__file__).resolve().parent.parent / "reports"
FACTS = "published.json"


@dataclass(frozen=True)
class Published:
    """A published report.

    Attributes:
        folder: Folder of the report in ``reports/``.
        command: Arguments of ``harness`` that write the report.
        out: Output folder of the command.
    """

    folder: str
    command: tuple[str, ...]
    out: str


PUBLISHED = (
    Published("variants-lab-5000", ("study", "run", "variants", "--data", "lab"), "out/variants"),
    Published("variants-optdigits-5000", ("study", "run", "variants", "--data", "optdigits"), "out/variants"),
    Published("gate-lab-5000", ("gate", "run", "--data", "lab"), "out/gate"),
    Published("lab-page", ("lab", "--data", "lab"), "out/lab"),
)


@click.command()
@click.argument("folders", nargs=-1, type=click.Choice([one.folder for one in PUBLISHED]))
def publish(folders: tuple[str, ...]) -> None:
    """Publish the named reports. The default is all reports.

    Each report is written in an empty folder, and replaces the earlier report in reports/.
    """
    for one in PUBLISHED:
        if not folders or one.folder in folders:
            _publish(one)


def _publish(one: Published) -> None:
    command = [str(Path(sys.executable).with_name("harness")), *one.command]
    with tempfile.TemporaryDirectory(prefix="zero-errors-") as folder:
        if subprocess.run(command, cwd=folder, check=False).returncode:
            raise StoppedError(f"harness {' '.join(one.command)} failed", "The earlier report is kept.")
        commit = provenance.commit()
        facts = {
            "command": f"harness {' '.join(one.command)}",
            "trace": TRACE_VERSION,
            "date": datetime.now(UTC).date().isoformat(),
            "commit": None if commit is None else commit.revision + ("-dirty" if commit.dirty else ""),
            "versions": provenance.versions(),
            "processor": provenance.processor(),
        }
        write_json(str(Path(folder) / one.out / FACTS), facts)
        shutil.rmtree(REPORTS / one.folder, ignore_errors=True)
        ignored = shutil.ignore_patterns("*.lock", "*.journal")
        shutil.copytree(Path(folder) / one.out, REPORTS / one.folder, ignore=ignored)
        _hide_paths(REPORTS / one.folder, {folder: "", str(Path.home()): "~"})


def _hide_paths(folder: Path, paths: dict[str, str]) -> None:
    """Replace local paths, such as the home folder, in the text files of a report."""
    for file in folder.rglob("*"):
        if file.suffix in {".html", ".md", ".json", ".xml", ".csv"}:
            text = file.read_text(encoding="utf-8")
            for path, replacement in paths.items():
                text = text.replace(path, replacement)
            file.write_text(text, encoding="utf-8")


def facts_of(folder: Path) -> dict[str, object]:
    """Read the facts of a published report: command, trace version, date, commit, versions and processor."""
    found: dict[str, object] = json.loads((folder / FACTS).read_text())
    return found


if __name__ == "__main__":
    main(publish)
