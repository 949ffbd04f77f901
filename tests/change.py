"""What tests change in the process of a command before it begins: when it is killed, and how long it waits."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

ASKING, TRAINING, RECORDING, TELLING, REPORT = "asking", "training", "recording", "telling", "report"


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


def _in_a_moment(original: Callable[..., Any]) -> Callable[..., Any]:
    """The function, during which the process is killed at a random time."""

    def doomed(*arguments: Any, **named: Any) -> Any:
        threading.Timer(random.uniform(0, 2), _die).start()
        return original(*arguments, **named)

    return doomed


def be_impatient(seconds: float) -> None:
    """Wait no longer for what is away."""
    from harness import patience

    patience.PATIENCE_S = seconds


def be_killed(kind: str, count: int, when: str) -> None:
    """Die as by ``kill -9`` at the ``count``-th moment of a kind, ``before`` or ``after`` what is done there."""
    from mlflow.tracking import MlflowClient

    from harness import ledger, search, tracking
    from reports import page

    bomb = _Bomb(count, when)
    if kind == ASKING:
        for name in ("_create", "propose", "enter", "take_up"):
            bomb.arm(ledger.Ledger, name)
    elif kind == TRAINING:
        bomb.arm(search, "wait")
    elif kind == RECORDING:
        for name in ("create_run", "log_batch", "log_inputs", "set_terminated", "set_tag", "update_run", "delete_tag"):
            bomb.arm(MlflowClient, name)
        for name in ("_log_images", "_log_details"):
            bomb.arm(tracking, name)
    elif kind == TELLING:
        bomb.arm(ledger.Ledger, "tell")
    elif kind == REPORT:
        page.write = _in_a_moment(page.write)
    else:
        raise ValueError(kind)
