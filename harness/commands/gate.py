"""``harness gate``: the regression gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from harness.commands import console, gate_inputs, options
from harness.commands.gate_record import gate_record
from harness.commands.gate_run import gate_run
from harness.errors import UsageError


@click.group()
def gate() -> None:
    """Check that training still works as recorded."""


gate.add_command(gate_run)
gate.add_command(gate_record)


@gate.command("explain")
@options.reference
@options.data
def gate_explain(path: Path | None, data: str) -> None:
    """Print the rule of the gate, every threshold with its origin, and the results of the reference."""
    from harness.gate import explain

    click.echo(explain.text(gate_inputs.load_reference(path, console.load(data))))


@gate.command("table")
@click.argument("files", nargs=-1, required=True, type=options.FILE)
def gate_table(files: tuple[Path, ...]) -> None:
    """Print the results of several gates, read from their gate.json files, as one table in Markdown."""
    from harness.gate import results

    click.echo(results.table([_gate_json(path) for path in files]))


def _gate_json(path: Path) -> dict[str, Any]:
    """The content of a gate.json file.

    Raises:
        UsageError: The file is not the JSON of a gate.
    """
    try:
        content = json.loads(path.read_text())
        if {"verdict", "checks", "versions", "duration_s"} <= content.keys() and all(
            {"name", "verdict", "details"} <= check.keys() for check in content["checks"]
        ):
            return dict(content)
    except (ValueError, AttributeError, TypeError):
        pass
    raise UsageError(f"{path}: this is not the JSON file of a gate", "Give the gate.json that harness gate run writes.")
