"""Helpers for the gate's commands: the option ``--train``, loading of the reference, and warnings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import console
from harness.engines import function as functions
from harness.engines import registry
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.data.digits import Digits
    from harness.gate.reference import Reference

# The default path of the reference for a user's training function.
OWN_REFERENCE = Path("gate-reference.json")

train = click.option(
    "--train",
    "function",
    metavar="FILE.py:FUNCTION",
    help="Use this training function instead of an engine. The function is train(x, y, seed, epochs), and yields the "
    "error count after each epoch. MODULE:FUNCTION also works.",
)


def subject(engine: str | None, function: str | None) -> str:
    """Return what the gate tests: the name of an engine, or a training function as ``FILE.py:FUNCTION``.

    Raises:
        UsageError: Both an engine and a function are given, or the engine or function does not exist.
    """
    if function is None:
        name = engine or registry.fast_names()[0]
        registry.check(name)
        registry.check_environment(name)
        return name
    if engine is not None:
        raise UsageError("--engine and --train cannot be used together", "Give one of them.")
    functions.check(function)
    return function


def load_reference(path: Path | None, digits: Digits) -> Reference:
    """Load a reference file. Without a path, load the package's own reference for these images.

    Raises:
        DataError: The file is missing, edited or unreadable, or its format has another version.
    """
    from harness.gate import reference

    return reference.load(path or reference.path_of(digits.name))


def warn(text: str) -> None:
    """Print a warning on standard error."""
    console.err.print(f"warning: {text}", markup=False)
