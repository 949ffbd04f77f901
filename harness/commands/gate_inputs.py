"""What the commands of the gate share: the option for a training function, the reference, and warnings."""

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

# The reference of a training function, if no other is given.
OWN_REFERENCE = Path("gate-reference.json")

train = click.option(
    "--train",
    "function",
    metavar="FILE.py:FUNCTION",
    help="A training function train(x, y, seed, epochs) that yields the error count after each epoch, instead of an "
    "engine. module:function is possible, too.",
)


def subject(engine: str | None, function: str | None) -> str:
    """What the gate tests: an engine, or a training function.

    Raises:
        UsageError: Both are given, or what is given does not exist.
    """
    if function is None:
        name = engine or registry.fast_names()[0]
        registry.check(name)
        registry.check_environment(name)
        return name
    if engine is not None:
        raise UsageError("--engine and --train contradict each other", "Give one of them.")
    functions.check(function)
    return function


def load_reference(path: Path | None, digits: Digits) -> Reference:
    """The reference in this file, or the package's own reference for these images.

    Raises:
        DataError: The file is missing, edited, unreadable, or of another version.
    """
    from harness.gate import reference

    return reference.load(path or reference.path_of(digits.name))


def warn(text: str) -> None:
    """Print a warning on standard error."""
    console.err.print(f"warning: {text}", markup=False)
