"""Handles Ctrl-C and SIGTERM: the first signal requests an orderly stop, and the second one stops at once."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import NoReturn, Self

# Two signals within this time count as one: a parent process may forward a signal that this process also received.
_SAME_S = 0.5


class TerminatedError(BaseException):
    """The process received SIGTERM or SIGHUP. Like ``KeyboardInterrupt``, it unwinds the stack: cleanup code runs."""


def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal: raise :class:`TerminatedError`."""
    raise TerminatedError


class Stop:
    """Records that Ctrl-C or SIGTERM requested a stop. Use this class as a context manager, in the main thread.

    Attributes:
        asked: Exception for the first signal: ``KeyboardInterrupt`` or :class:`TerminatedError`. None before it.
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
