"""Functions that commands share: printing messages, output folders and loading images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from harness.data import digits
from harness.errors import UsageError

OUT = Path("out")
REPORT_FILES = ("report.html", "report.md", "runs.csv", "figures")

# The --data choice that loads a dataset again, for datasets that need no file.
CHOICES = {digits.LAB_NAME: digits.LAB, digits.OPTDIGITS_NAME: digits.OPTDIGITS}

err = Console(stderr=True, highlight=False, soft_wrap=True)

# Flags that the command to resume does not repeat, because their work is done.
done: set[str] = set()


@contextmanager
def cluster_packages() -> Iterator[None]:
    """Import modules that need the packages of the extra ``cluster``.

    Raises:
        UsageError: The packages are not installed.
    """
    try:
        yield
    except ImportError as error:
        cause = f"a cluster needs packages that are not installed here ({error})"
        raise UsageError(cause, "Install them: python -m pip install 'zero-errors[cluster]'.") from error


def load(data: str, why: str | None = None) -> digits.Digits:
    """Load the chosen images, and print which they are."""
    asked = data or digits.AUTO
    found = digits.load(asked)
    err.print(f"data: {found.name} from {found.source} ({why or f'asked for: {asked}'})", markup=False)
    return found


def say(text: str, json_to: str | None = None) -> None:
    """Print a line for people: on standard output, or on standard error if JSON goes to standard output."""
    click.echo(text, err=json_to == "-")
