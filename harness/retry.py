"""Retries calls that fail for a temporary reason, such as a server that restarts or a locked database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.exc import OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential

from harness.errors import first_line
from harness.files import masked

# The time limit for retries. A server that restarts is usually back within this time.
RETRY_LIMIT_S = 120.0

# Words in temporary database errors: the database is locked, or its server is unavailable, starting or stopping.
_PASSING = ("locked", "connect", "server", "terminat", "starting", "shutting")

_log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def database_may_come_back(error: OperationalError) -> bool:
    """Return whether a database error may be temporary. A full disk or a corrupt database file is not temporary."""
    said = str(error.orig).lower()
    return any(word in said for word in _PASSING)


def with_retries(function: Callable[_P, _T], what: str, may_pass: Callable[[BaseException], bool]) -> Callable[_P, _T]:
    """Return a function that calls ``function``, and retries the call while it fails for a temporary reason.

    Args:
        function: Function to call. A second call must be safe, because a failed call may already have had its effect.
        what: Name of the server or database, for the warning.
        may_pass: Function that returns whether an error may be temporary.
    """

    def warn(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            reason = masked(first_line(state.outcome.exception()))
            _log.warning("%s does not respond (%s); retrying for up to %.0f s", what, reason, RETRY_LIMIT_S)

    def trying(*arguments: _P.args, **named: _P.kwargs) -> _T:
        retrying = Retrying(
            stop=stop_after_delay(RETRY_LIMIT_S),
            wait=wait_exponential(multiplier=0.5, max=5),
            retry=retry_if_exception(may_pass),
            before_sleep=warn,
            reraise=True,
        )
        return retrying(function, *arguments, **named)

    return trying


class RetryingProxy:
    """A proxy of an object that retries every method of the object with :func:`with_retries`."""

    def __init__(self, wrapped: Any, what: str, may_pass: Callable[[BaseException], bool]) -> None:  # noqa: ANN401
        self._wrapped, self._what, self._may_pass = wrapped, what, may_pass

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the object
        found = getattr(self._wrapped, name)
        return with_retries(found, self._what, self._may_pass) if callable(found) else found
