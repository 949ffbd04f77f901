"""Handles Ctrl-C and SIGTERM: the first signal requests an orderly stop, the second one stops at once."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import NoReturn, Self

# A parent process may forward a signal that the command already received. Two signals within this time count as one.
_SAME_S = 0.5


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP was received. Like ``KeyboardInterrupt``, it unwinds the stack and closes everything."""


def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler that raises :class:`TerminatedError`."""
    raise TerminatedError


class Stop:
    """A request to stop. Use it as a context manager, in the main thread.

    Attributes:
        asked: Exception that the first signal would have raised; None before the first signal.
    """

    def __init__(self) -> None:
        self.asked: BaseException | None = None
        self._asked_s = 0.0
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        error = KeyboardInterrupt() if number == signal.SIGINT else TerminatedError()
        if self.asked is None:
            self.asked, self._asked_s = error, time.monotonic()
        elif time.monotonic() - self._asked_s > _SAME_S:
            raise error
