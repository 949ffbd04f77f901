"""Errors that the user can correct. Each error has a cause, a remedy and an exit status for the command."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit statuses of the commands."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    INCONCLUSIVE = 3
    GATE_NOT_RUN = 4
    ENVIRONMENT = 5
    BUG = 70
    INTERRUPTED = 130
    NOT_READ = 141
    TERMINATED = 143


class HarnessError(Exception):
    """An error that the user can correct. The command prints its message without a traceback.

    Args:
        cause: What is wrong, and where.
        remedy: What the user can do about it.
    """

    exit_status = ExitStatus.USAGE

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause}\n  {self.remedy}"


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's message, or the name of the error's class if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class UsageError(HarnessError):
    """The user gave a name, option or value that the command does not accept."""


class DataError(HarnessError):
    """Images, labels or records are missing, unreadable or invalid."""


class StudyFileError(HarnessError):
    """A study file cannot be read or is not valid."""


class StoppedError(HarnessError):
    """The command cannot continue, because of a problem with the machine, a disk, a database or a server."""

    exit_status = ExitStatus.ENVIRONMENT
