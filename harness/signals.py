"""Ctrl-C and SIGTERM: the first requests an orderly end, the second ends at once."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import NoReturn, Self

# Who starts a command may pass on a signal that the command got anyway: two within this time are one.
_SAME_S = 0.5


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP: unwinds like Ctrl-C, so that everything is closed on the way out."""


def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal by :class:`TerminatedError`."""
    raise TerminatedError


class Stop:
    """Notes that an orderly end was asked for; use it as a context, in the main thread.

    Attributes:
        asked: the error that stands for how it was asked for; None while it was not.
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
