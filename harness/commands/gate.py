"""``harness gate``: is training as good as it was?"""

from __future__ import annotations

import click

from harness import engines
from harness.commands import console, options
from harness.errors import ExitStatus
from harness.variant import BASELINE


@click.group()
def gate() -> None:
    """Check that training is as good as it was."""


@gate.command("run")
@options.data
@options.quiet
def gate_run(data: str, quiet: bool) -> int:
    """Check that the baseline still reaches zero errors, with every engine; a line a check."""
    from harness import gate as gate_module

    digits = console.load(data)
    checks = []
    for name in engines.NAMES:
        if not quiet:
            console.err.print(f"training the baseline with {name}, {BASELINE.epochs} epochs")
        for check in gate_module.check_engine(engines.make(name, digits), digits):
            click.echo(str(check))
            checks.append(check)
    good = bool(checks) and all(check.passed is not False for check in checks)
    click.echo("PASS" if good else "FAIL")
    return ExitStatus.OK if good else ExitStatus.NEGATIVE
