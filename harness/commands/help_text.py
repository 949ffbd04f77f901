"""The layout of help texts: options in groups by purpose, then examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

# The groups of options in the order of the help texts. An option is named by the argument that receives its value. It
# is in the same group in every command.
GROUPS = {
    "Study": ("trials", "new_name", "fresh"),
    "Training": (
        *("engine", "epochs", "learning_rate", "seed", "seeds", "first_seed", "fresh_seeds", "layers", "batch_size"),
        *("softmax", "adam", "beta_1", "beta_2", "epsilon"),
    ),
    "Your own code": ("function",),
    "Images": ("data",),
    "Verdict": (
        *("across", "share", "errors", "early_epoch", "zero_errors", "margin", "path", "against", "conformance"),
        "strict",
    ),
    "Workers": ("workers", "cluster", "tls_ca", "tls_cert", "tls_key"),
    "Server": ("host", "port"),
    "Output": ("out", "folder", "json_to", "figure", "storage", "reason", "untracked", "quiet"),
    "Help": ("version", "help"),
}
_WIDEST_OPTION = 30


class Command(click.Command):
    """A command whose help text has its options in groups, and examples at the end.

    Args:
        arguments: Positional arguments of :class:`click.Command`.
        examples: Command lines of the help text, each with a sentence that says what it does.
        named: Other arguments of :class:`click.Command`.
    """

    def __init__(self, *arguments: Any, examples: Mapping[str, str] | None = None, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        self.examples = dict(examples or {})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups. The explanations of all groups begin in the same column."""
        named = {"help" if one is self.get_help_option(ctx) else one.name: one for one in self.get_params(ctx)}
        records = {name: found for name, one in named.items() if (found := one.get_help_record(ctx))}
        width = min(_WIDEST_OPTION, max((len(names) for names, _ in records.values()), default=0))
        for title, members in GROUPS.items():
            rows = [(names.ljust(width), text) for key, (names, text) in records.items() if key in members]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=_WIDEST_OPTION)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.example_lines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")

    def example_lines(self) -> list[str]:
        """Return the examples as lines for a shell: a comment before each command."""
        return [line for command, what in self.examples.items() for line in (f"# {what}", command)]


class Group(Command, click.Group):
    """A group of commands with this layout. It lists its commands before its options."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their first sentences, then the options."""
        commands = {name: self.commands[name] for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=1000)) for name, one in commands.items()])
        super().format_options(ctx, formatter)
