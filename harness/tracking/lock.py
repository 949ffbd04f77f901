"""Locks the folder of a study, so that only one process on this machine runs the study."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import StoppedError
from harness.files import write_text
from harness.tracking.owner import Owner

_LOCK, _HOLDER = "run.lock", "run.json"
_OWNER_RECORDED_S = 2.0


@contextmanager
def sole_owner(folder: Path, me: Owner) -> Iterator[None]:
    """Lock the folder of a study while the context is active.

    The operating system releases the lock even if this process is killed.

    Raises:
        StoppedError: Another process has locked the folder, or the folder is not writable.
    """
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(blocking=False)
    except Timeout:
        who = _named_holder(folder)
        cause = f"the study is already running: {who or 'another process'} (lock file: {path})"
        raise StoppedError(cause, "Wait until the other process ends, or stop it.") from None
    except OSError as error:
        cause = f"the folder {folder} cannot be written ({error.strerror or error})"
        raise StoppedError(cause, "Make the folder writable, or run the command in another folder.") from error
    try:
        write_text(folder / _HOLDER, me.text() + "\n")
        yield
    finally:
        (folder / _HOLDER).unlink(missing_ok=True)
        lock.release()


def holder(folder: Path) -> Owner | None:
    """The owner that is recorded in a study's folder.

    The result is None if no owner is recorded, or if the owner is known to be dead.
    """
    try:
        owner = Owner.parse((folder / _HOLDER).read_text())
    except OSError:
        return None
    return owner if owner is not None and (owner.is_alive(0) or not owner.is_near()) else None


def _named_holder(folder: Path) -> Owner | None:
    """The process that has locked a folder. None if no such process is recorded within two seconds.

    A process records itself as soon as it has the lock.
    """
    deadline_s = time.monotonic() + _OWNER_RECORDED_S
    while (who := holder(folder)) is None and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return who
