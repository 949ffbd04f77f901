"""Helpers for all commands: they print messages, name output files, and load images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from harness.data import digits
from harness.errors import UsageError

OUT = Path("out")
REPORT_FILES = ("report.html", "report.md", "runs.csv", "figures")

# For each dataset name, the value of --data that loads the dataset. Images from a user's file have no entry.
CHOICES = {digits.LAB_NAME: digits.LAB, digits.OPTDIGITS_NAME: digits.OPTDIGITS}

err = Console(stderr=True, highlight=False, soft_wrap=True)

# Flags that have taken effect, such as --fresh. The printed command that resumes a study leaves them out.
done: set[str] = set()


@contextmanager
def cluster_packages() -> Iterator[None]:
    """Guard imports that need the optional packages of the extra ``cluster``. Use it as a context manager.

    Raises:
        UsageError: A package is not installed.
    """
    try:
        yield
    except ImportError as error:
        cause = f"the packages for a cluster are not installed ({error})"
        raise UsageError(cause, "Install them: python -m pip install 'zero-errors[cluster]'.") from error


def load(data: str, why: str | None = None) -> digits.Digits:
    """Load the chosen images, and print their name and source."""
    asked = data or digits.AUTO
    found = digits.load(asked)
    err.print(f"data: {found.name} from {found.source} ({why or f'requested: {asked}'})", markup=False)
    return found


def say(text: str, json_to: str | None = None) -> None:
    """Print a line on standard output. If standard output receives JSON, print on standard error instead."""
    click.echo(text, err=json_to == "-")


def say_in_colour(text: str, colours: Mapping[str, str], json_to: str | None = None) -> None:
    """Print a text. If the terminal has colours, each line that begins with a word of ``colours`` shows it in colour.

    Args:
        text: The text, which may have several lines.
        colours: Name of the colour of each word.
        json_to: As for :func:`say`.
    """
    coloured = Text(text)
    for word, colour in colours.items():
        coloured.highlight_regex(rf"(?m)^{word}\b", f"bold {colour}")
    Console(stderr=json_to == "-", highlight=False, soft_wrap=True).print(coloured)
