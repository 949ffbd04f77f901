"""The command ``harness``: its subcommands, error messages and exit statuses."""

from __future__ import annotations

import io
import logging
import os
import shlex
import signal
import sys
import tempfile
import traceback
import warnings

import click

from harness import provenance, startup
from harness.commands import compare, console, doctor, gate, images, lab, report, serve, study, train
from harness.commands.help_text import Group
from harness.errors import ExitStatus, HarnessError, first_line
from harness.files import masked
from harness.signals import TerminatedError, terminate


class _Lines(logging.Handler):
    """Prints each log record as one line, above the progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        console.err.print(f"{record.levelname.lower()}: {self.format(record)}", markup=False)


def main(command: click.Command | None = None) -> None:
    """Run a command, by default ``harness``, and exit with its status."""
    startup.reduce_garbage_collection()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal's encoding may lack a character
    if sys.warnoptions:
        # PYTHONWARNINGS=error would turn deprecation warnings into errors.
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
    handler = _Lines()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    signal.signal(signal.SIGTERM, terminate)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, terminate)  # SIGHUP: the terminal was closed
    status = _run(command or cli)
    startup.end()
    sys.exit(status)


def _run(command: click.Command) -> int:
    try:
        return int(command(standalone_mode=False) or ExitStatus.OK)
    except (HarnessError, OSError, click.ClickException) as error:
        return _print_error(error)
    except SystemExit:  # click exits with status 1 after a closed pipe, but 1 means a negative result here
        return ExitStatus.NOT_READ
    except (KeyboardInterrupt, click.Abort):
        console.err.print(f"interrupted. {_kept()}".rstrip())
        return ExitStatus.INTERRUPTED
    except TerminatedError:
        console.err.print(f"terminated. {_kept()}".rstrip())
        return ExitStatus.TERMINATED
    except Exception as error:  # noqa: BLE001 - any other error is a bug
        return _report_bug(error)


def _report_bug(error: Exception) -> int:
    """Write the traceback of an unexpected error to a file. Print the error and the path of the file."""
    descriptor, path = tempfile.mkstemp(prefix="harness-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as stream:
        stream.write(masked("".join(traceback.format_exception(error))))
    cause = masked(f"{type(error).__name__}: {first_line(error)}")
    console.err.print(
        f"error: this is a bug in the harness: {cause}\n  Please report it, and attach {path}", markup=False
    )
    return ExitStatus.BUG


def _print_error(error: HarnessError | OSError | click.ClickException) -> int:
    """Print an error, and return the exit status."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, HarnessError):
        console.err.print(f"error: {error}", markup=False)
        return error.exit_status
    where = f"{error.filename}: " if error.filename else ""
    console.err.print(f"error: {where}{error.strerror or error}\n  {_kept()}".rstrip(), markup=False)
    return ExitStatus.ENVIRONMENT


def _kept() -> str:
    """Return a message with the command that resumes a study. Empty for commands other than ``study run``."""
    return f"Recorded results are kept. Resume with: {_again()}" if sys.argv[1:3] == ["study", "run"] else ""


def _again() -> str:
    """Return the command that resumes the study: this command, without --fresh if it has already taken effect."""
    typed = [word for word in sys.argv[1:] if word not in console.done]
    if os.environ.get("NOX_CURRENT_SESSION") == "study":
        return masked(shlex.join(["nox", "-s", "study", *(["--", *typed[2:]] if typed[2:] else [])]))
    return masked(shlex.join(["harness", *typed]))


_FIRST_STEPS = """\
Do these three things first:

  harness study run    Train 160 variants, and report their errors.
  harness gate run     Check that training is as good as recorded (35 s).
  harness lab          Work through the lab, with its numbers beside yours.

Each command prints the path of its page. Add --data optdigits to use the
embedded images. `harness doctor` shows what is wrong with an installation.

All commands: harness --help"""


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples={
        "harness study run --data optdigits": "Train 160 variants with the embedded images",
        "harness study run --help": "Show the options of a command",
    },
)
@click.version_option(provenance.versions()["zero-errors"], prog_name="harness")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train, track and compare the network that learns 5000 digits."""
    if context.invoked_subcommand is None:
        click.echo(_FIRST_STEPS)


for command in (
    *(images.data, train.train, study.study, report.report, compare.compare, gate.gate),
    *(lab.lab, serve.ui, serve.dashboard, serve.cluster, doctor.doctor),
):
    cli.add_command(command)
