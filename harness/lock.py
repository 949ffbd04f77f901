"""One runner a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import StoppedError


@contextmanager
def sole_runner(folder: Path) -> Iterator[None]:
    """Keep others from running the study of this folder; the system lets go of it however this process ends.

    Raises:
        StoppedError: another process is running the study, or the folder cannot be written.
    """
    path = folder / "run.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(blocking=False)
    except Timeout:
        cause = f"the study is being run by another process, which holds {path}"
        raise StoppedError(cause, "Wait until it ends, or stop it.") from None
    except OSError as error:
        raise StoppedError(f"{path}: cannot be written ({error.strerror})", "Make the folder writable.") from error
    try:
        yield
    finally:
        lock.release()
