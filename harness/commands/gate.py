"""``harness gate``: the regression gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from harness.commands import console, gate_inputs, options
from harness.commands.gate_record import gate_record
from harness.commands.gate_run import gate_run
from harness.commands.help_text import Group
from harness.errors import UsageError


@click.group(
    cls=Group,
    examples={
        "harness gate run": "Train 63 seeds, and compare them with the reference",
        "harness gate explain": "Print the rule of the gate",
    },
)
def gate() -> None:
    """Compare training with recorded results."""


gate.add_command(gate_run)
gate.add_command(gate_record)


@gate.command(
    "explain",
    examples={
        "harness gate explain": "Explain the gate for the images that are available",
        "harness gate explain --reference gate-reference.json": "Explain the gate with your own reference",
    },
)
@options.reference
@options.data
def gate_explain(path: Path | None, data: str) -> None:
    """Print the rule of the gate, its thresholds and the reference.

    The text names the source of each threshold, and the results of the reference.
    """
    from harness.gate import explain

    click.echo(explain.text(gate_inputs.load_reference(path, console.load(data))))


@gate.command(
    "table",
    examples={
        "harness gate table out/gate/gate.json": "Show one gate",
        "harness gate table tensorflow-2.*/gate.json": "Compare the gates of several versions",
    },
)
@click.argument("files", nargs=-1, required=True, type=options.FILE)
def gate_table(files: tuple[Path, ...]) -> None:
    """Print the results of several gates as one Markdown table.

    FILES are gate.json files.
    """
    from harness.gate import results

    click.echo(results.table([_gate_json(path) for path in files]))


def _gate_json(path: Path) -> dict[str, Any]:
    """Read a gate.json file.

    Raises:
        UsageError: The file is not the result of a gate.
    """
    try:
        content = json.loads(path.read_text())
        if {"verdict", "checks", "versions", "duration_s"} <= content.keys() and all(
            {"name", "verdict", "details"} <= check.keys() for check in content["checks"]
        ):
            return dict(content)
    except (ValueError, AttributeError, TypeError):
        pass
    raise UsageError(f"{path}: this is not a gate.json file", "Give a gate.json file that harness gate run wrote.")
