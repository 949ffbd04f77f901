"""Formats text for people: plurals, durations and tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 run`` or ``2 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, such as ``90 s``, ``12 min`` or ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def escape_markdown(text: str) -> str:
    """Escape Markdown's special characters in a text, and join its lines into one line."""
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*_|<>\[\]#])", r"\\\1", line)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], n_left: int = 1) -> str:
    """Return a Markdown table whose columns are also aligned in plain text.

    Args:
        head: Titles of the columns.
        rows: Cells of each row, which may contain Markdown. Line breaks become spaces, and ``|`` is escaped.
        n_left: Number of left-aligned columns. The other columns are right-aligned.
    """
    lines = [[_cell(text) for text in line] for line in (head, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width if place < n_left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if place < n_left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))
