"""Every help text: its first sentence, its groups, its examples and its width."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from harness.commands.help_text import GROUPS, Command, Group
from harness.commands.main import cli
from tests.support import Harness
from tests.test_docs import parse

WIDTH = 80


def contexts(parent: click.Context | None, command: click.Command, name: str) -> Iterator[click.Context]:
    """The context of a command and of each command in it, as if each had been typed in a terminal of 80 columns."""
    settings = command.context_settings if parent is None else {}
    context = click.Context(command, parent, name, terminal_width=WIDTH, **settings)
    yield context
    if isinstance(command, click.Group):
        for part, inner in command.commands.items():
            yield from contexts(context, inner, part)


ALL = {context.command_path: context for context in contexts(None, cli, "harness")}
every_command = pytest.mark.parametrize("path", ALL)


def sections(text: str) -> dict[str, list[str]]:
    """The lines below each heading of a help text. The text before the first heading is below an empty heading."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"(\w[\w ]*):", line):
            title = match[1]
            found[title] = []
        else:
            found[title].append(line)
    return found


def test_all_commands_are_examined() -> None:
    assert {"harness", "harness study run", "harness gate record", "harness doctor", "harness ui"} <= ALL.keys()


@every_command
def test_a_help_text_fits_80_columns(path: str) -> None:
    assert [line for line in ALL[path].get_help().splitlines() if len(line) > WIDTH] == []


@every_command
def test_a_help_text_begins_with_one_sentence(path: str) -> None:
    first = (ALL[path].command.help or "").split("\n\n")[0].strip()
    assert re.fullmatch(r"[A-Z][^.]*\.", " ".join(first.split())), first


@every_command
def test_every_option_is_in_one_group_and_has_an_explanation(path: str) -> None:
    context = ALL[path]
    text = sections(context.get_help())
    assert "Options" not in text
    shown = [line for title in GROUPS for line in text.get(title, []) if line.startswith("  -")]
    for option in context.command.get_params(context):
        if isinstance(option, click.Option) and not option.hidden:
            name = max(option.opts, key=len)
            assert len([line for line in shown if re.search(rf"{name}(?![\w-])", line.split("  ")[1])]) == 1, (
                name,
                shown,
            )
            assert option.help, name


def test_no_option_belongs_to_two_groups() -> None:
    members = [name for group in GROUPS.values() for name in group]
    assert len(members) == len(set(members))


@every_command
def test_a_help_text_ends_with_two_examples_that_can_be_typed(path: str) -> None:
    text = sections(ALL[path].get_help())
    assert list(text)[-1] == "Examples"
    lines = [line.removeprefix("  ") for line in text["Examples"]]
    assert len(lines) == 4
    for comment, command in zip(lines[::2], lines[1::2], strict=True):
        assert comment.startswith("# ")
        words = shlex.split(command)
        assert words[0] == "harness"
        if "--help" not in words:
            parse(words[1:])


@every_command
def test_a_list_of_commands_has_their_whole_first_sentences(path: str) -> None:
    for line in sections(ALL[path].get_help()).get("Commands", []):
        assert not line.endswith("...")


def test_a_command_of_a_group_has_the_layout_of_the_group() -> None:
    @click.group(cls=Group)
    def outer() -> None:
        """Hold commands."""

    @outer.command("inner", examples={"outer inner": "Do nothing"})
    def inner() -> None:
        """Do nothing."""

    assert isinstance(inner, Command)
    assert inner.example_lines() == ["# Do nothing", "outer inner"]


def test_harness_alone_names_three_things_to_do_first(harness: Harness) -> None:
    done = harness()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= WIDTH
    steps = [line.split("  ")[1] for line in lines if line.startswith("  harness ")]
    assert steps == ["harness study run", "harness gate run", "harness lab"]
    assert lines[-1].endswith("harness --help")
