"""Writes ``docs/commands.md`` from the help texts: ``python -m benchmarks.commands_page``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

import click
import nox.registry

import noxfile  # noqa: F401 - importing the file registers its sessions
from harness.commands import help_text
from harness.commands.main import cli, main
from harness.errors import ExitStatus
from harness.files import write_text
from harness.text import markdown_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
_WIDTH = 120

_ABOUT = """\
# Commands

This page lists every command and every option. `python -m benchmarks.commands_page` writes it from the help texts.

The command `harness` is in the folder `.venv/bin`. Type `.venv/bin/harness lab`, or add that folder to your path.
`python -m harness` is the same command.
`harness COMMAND --help` prints the same text as this page.

A session of nox prepares the environment and then runs a command. Arguments after `--` go to the command:
`nox -s study -- --workers 1` is `harness study run --workers 1`."""

_STATUSES = {
    ExitStatus.OK: "The command is done, and the answer is good.",
    ExitStatus.NEGATIVE: "The command is done, and the answer is bad: the gate says FAIL, B is worse, runs failed, or "
    "`doctor` finds a problem.",
    ExitStatus.USAGE: "An argument or an input is wrong.",
    ExitStatus.INCONCLUSIVE: "Undecided: the gate says INCONCLUSIVE, or `compare` cannot tell.",
    ExitStatus.GATE_NOT_RUN: "The gate did not run.",
    ExitStatus.ENVIRONMENT: "The machine, a disk, a database or a server stopped the command.",
    ExitStatus.BUG: "The harness has a bug. The message names a file with the details.",
    ExitStatus.INTERRUPTED: "Ctrl-C interrupted the command.",
    ExitStatus.NOT_READ: "The reader closed the pipe, for example `| head`.",
    ExitStatus.TERMINATED: "SIGTERM or SIGHUP ended the command.",
}


def page() -> str:
    """Return the page as Markdown: the commands with their options, the exit statuses and the sessions of nox."""
    statuses = [[f"{status:d}", _STATUSES[status]] for status in ExitStatus]
    sections = [
        _ABOUT,
        *(_command(context) for context in _contexts(click.Context(cli, info_name="harness"))),
        f"## Exit statuses\n\n{markdown_table(['status', 'meaning'], statuses, n_left=2)}",
        "nox turns every status but 0 into 1.",
        f"## Sessions of nox\n\n{markdown_table(['session', 'what it does'], _sessions(), n_left=2)}",
    ]
    return "\n\n".join(sections) + "\n"


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command. For a group, yield the contexts of all its commands, in alphabetical order."""
    if not isinstance(context.command, click.Group):
        yield context
        return
    for name, command in sorted(context.command.commands.items()):
        yield from _contexts(click.Context(command, parent=context, info_name=name))


def _command(context: click.Context) -> str:
    """Return the section of one command: its usage, its help text, its options and its examples."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [option for option in command.params if isinstance(option, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    rows = [[f"`{names}`", " ".join(meaning.split())] for names, meaning in records]
    paragraphs = (" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    text = "\n\n".join(fill(part, _WIDTH) for part in paragraphs)
    table = f"\n\n{markdown_table(['option', 'meaning'], rows, n_left=2)}" if rows else ""
    lines = command.example_lines() if isinstance(command, help_text.Command) else []
    examples = "\n\n```console\n{}\n```".format("\n".join(lines)) if lines else ""
    return f"## {context.command_path}\n\n```text\n{usage}\n```\n\n{text}{table}{examples}"


def _sessions() -> list[list[str]]:
    """Return the name and the docstring of each session of nox."""
    sessions = nox.registry.get()
    return [[f"`nox -s {name}`", " ".join((one.__doc__ or "").split())] for name, one in sessions.items()]


@click.command()
@click.option("--page", "path", type=click.Path(path_type=Path), default=PAGE, help="The file to write.")
def write(path: Path) -> None:
    """Write the page about the commands."""
    write_text(path, page())
    click.echo(f"page: {path}")


if __name__ == "__main__":
    main(write)
