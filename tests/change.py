"""What tests change in a command's process before it begins: when it dies, how long it waits, what it draws."""

from __future__ import annotations

import os
import signal
import threading
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

ASKING, TRAINING, RECORDING, REPORT = "asking", "training", "recording", "report"


@dataclass(frozen=True)
class Moment:
    """When a process is killed.

    Attributes:
        kind: of the calls that are counted, or of the phase.
        call: the call of that kind at which it dies, from 1; of start-up and of the report there is one.
        when: ``before`` or ``after`` what that call does.
        delay_s: from the start of the process, or of the report.
    """

    kind: str
    call: int = 1
    when: str = "before"
    delay_s: float = 0.0

    def sooner(self) -> Moment:
        """A moment of the same kind that a study reaches sooner."""
        return replace(self, call=(self.call + 1) // 2, delay_s=self.delay_s / 2)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Bomb:
    """Counts moments, and at the last one ends the process."""

    def __init__(self, count: int, when: str) -> None:
        self._left, self._when = count, when

    def arm(self, owner: object, name: str) -> None:
        """Make every call of an attribute of this class or module a moment."""
        original: Callable[..., Any] = getattr(owner, name)

        def moment(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            is_last = self._left == 0
            if is_last and self._when == "before":
                _die()
            result = original(*arguments, **named)
            if is_last:
                _die()
            return result

        setattr(owner, name, moment)


def _in_a_moment(original: Callable[..., Any], delay_s: float) -> Callable[..., Any]:
    """The function, during which the process is killed."""

    def doomed(*arguments: Any, **named: Any) -> Any:
        threading.Timer(delay_s, _die).start()
        return original(*arguments, **named)

    return doomed


# The smallest PNG, of one pixel. An artifact of no bytes is uploaded in chunks, unlike any figure.
_PIXEL = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg==")


def draw_nothing() -> None:
    """Write figures of one pixel. Drawing those of a report takes a second of a core; few tests look at them."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    def savefig(_figure: Figure, stream: Any, *, format: str, **_settings: Any) -> None:  # noqa: A002 - its name
        stream.write(_PIXEL if format == "png" else '<svg width="1pt" height="1pt"></svg>')

    patch = pytest.MonkeyPatch()
    patch.setattr(Figure, "savefig", savefig)
    patch.setattr(ConstrainedLayoutEngine, "execute", lambda _engine, _figure: None)


def shorten_retries(seconds: float) -> None:
    """Wait no longer for what is away."""
    from harness import retry

    retry.RETRY_LIMIT_S = seconds


def be_killed(moment: Moment) -> None:
    """Die as by ``kill -9`` at this moment."""
    from mlflow.tracking import MlflowClient

    from harness.reporting import report
    from harness.search import optuna_study, run
    from harness.tracking import claim, run_writer
    from harness.workers import local

    kind, bomb = moment.kind, _Bomb(moment.call, moment.when)
    if kind != REPORT:
        draw_nothing()
    if kind == ASKING:
        bomb.arm(optuna_study.OptunaSampler, "propose")
        for name in ("begin_trial", "reopen_trial"):
            bomb.arm(run_writer.RunWriter, name)
        bomb.arm(local.Workers, "submit")
    elif kind == TRAINING:
        bomb.arm(run, "wait")
    elif kind == RECORDING:
        for name in ("create_run", "log_batch", "log_inputs", "set_terminated", "set_tag", "update_run", "delete_tag"):
            bomb.arm(MlflowClient, name)
        bomb.arm(claim, "log_images")
        bomb.arm(run_writer, "log_details")
    elif kind == REPORT:
        report.write = _in_a_moment(report.write, moment.delay_s)
    else:
        raise ValueError(kind)
