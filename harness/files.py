"""Writes files atomically, and writes JSON without NaN."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.errors import StoppedError, UsageError

SCHEMA = 1


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees either the old content or the new content, never a part of it.

    Raises:
        StoppedError: The folder cannot be created or written, or the disk is full.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)  # a pipe or a device: write to it, do not replace it
            return
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            Path(part).chmod(0o644)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        cause = f"{path}: cannot be written ({error.strerror or error})"
        raise StoppedError(cause, "Free some space, or choose another location.") from error


def check_destinations(*destinations: str | Path | None) -> None:
    """Check that result files can be written, before a long computation starts.

    The check creates missing folders. It cannot detect every problem, such as a disk that becomes full later.

    Args:
        destinations: Paths of the files. None and ``-`` (standard output) are ignored.

    Raises:
        StoppedError: A folder cannot be created or written.
        UsageError: A path is a folder.
    """
    for destination in destinations:
        if destination not in {None, "-"}:
            _check_destination(Path(str(destination)))


def _check_destination(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder", "Give the name of a file in this folder.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"{path}: cannot be written ({error.strerror})", "Choose another location.") from error
    if not os.access(path.parent, os.W_OK):
        raise StoppedError(f"{path}: cannot be written: {path.parent} is not writable", "Choose another location.")


def masked(text: str) -> str:
    """Return the text with ``***`` in place of user names, passwords and other secrets in its URLs."""
    text = re.sub(r"://[^\s'\"]+@", "://***@", text)  # match up to the last @: a password may contain / and @
    return re.sub(
        r"([?&][^=&\s]*(?:pass|pwd|secret|token|key)[^=&\s]*=)[^&\s'\"]+", r"\1***", text, flags=re.IGNORECASE
    )


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file atomically; see :func:`write_bytes`."""
    write_bytes(path, content.encode())


def write_json(destination: str, payload: dict[str, Any]) -> None:
    """Write JSON to a file, or to standard output if ``destination`` is ``-``.

    The function adds the key ``schema``, the version of the format. NaN and infinities become ``null``.
    """
    text = json.dumps(_finite({"schema": SCHEMA, **payload}), indent=2, allow_nan=False) + "\n"
    if destination == "-":
        sys.stdout.write(text)
    else:
        write_text(Path(destination), text)


def _finite(value: Any) -> Any:  # noqa: ANN401 - takes and returns any JSON value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
