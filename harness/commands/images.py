"""``harness data``: shows the images and their source."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands import console, options
from harness.commands.help_text import Command
from harness.data import held_out
from harness.data.digits import Digits
from harness.files import check_destinations, write_bytes, write_json


def _held_out(digits: Digits) -> str:
    if digits.held_out is None:
        return f"none: {held_out.why_none(digits.name)}"
    x = digits.held_out.x
    return f"{x.shape} {x.dtype}, sha256 of X {held_out.SHA256_X}, of y {held_out.SHA256_Y}"


@click.command(
    cls=Command,
    examples={
        "harness data": "Show which images a study would use now",
        "harness data --data mnist.npz --figure digits.png": "Read the images of MNIST, and draw 64 of them",
    },
)
@options.data
@options.json
@click.option(
    "--figure", metavar="FILE", help="Draw 64 random images in a grid, each with its label, into this PNG file."
)
def data(data: str, json_to: str | None, figure: str | None) -> None:
    """Show the source of the 5000 images, and verify them by their hashes."""
    check_destinations(json_to, figure)
    digits = console.load(data)
    facts = digits.facts()
    lines = {
        "source": digits.source,
        "name": digits.name,
        "X": f"{digits.x.shape} {digits.x.dtype}, from {facts['min']:.6f} to {facts['max']:.6f}",
        "y": f"{digits.y.shape} {digits.y.dtype}, first {facts['first_label']}, last {facts['last_label']}",
        "images": ", ".join(f"{count} of {digit}" for digit, count in enumerate(facts["counts"])),
        "sha256 of X": digits.sha256_x,
        "sha256 of y": digits.sha256_y,
        "held out": _held_out(digits),
    }
    for name, line in lines.items():
        console.say(f"{name:<12} {line}", json_to)
    if json_to is not None:
        write_json(json_to, facts)
    if figure is not None:
        from harness.reporting import figure_files, lab_page

        write_bytes(Path(figure), figure_files.png(lab_page.grid(digits)))
        console.say(f"{'figure':<12} {figure}", json_to)
