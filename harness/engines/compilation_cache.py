"""Caches the code that XLA compiles, so that later processes load this code instead of compiling it again.

TensorFlow does not check the files in its own cache, and a damaged file makes every training fail. So the harness
stores each compiled file with its hash. Each process that imports TensorFlow gets its own folder, which contains links
to the stored files whose hashes match.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from harness import fingerprint
from harness.data.digits import cache_folder
from harness.errors import StoppedError
from harness.files import write_bytes

_FLAG = "--tf_xla_persistent_cache_directory"
# The largest number of compiled files in the cache, of about half a megabyte each. The newest files are kept.
_MOST_FILES = 16
_LEAST_FREE_BYTES = 64 * 2**20
_OWN = "running-"
# Folders that killed processes left behind are deleted after this time, in seconds.
_OLD_S = 24 * 3600

# The cache folder that TensorFlow uses in this process; None if it uses none.
_own: Path | None = None
# The names of the compiled files in this process's folder that are already in the shared cache.
_kept: set[str] = set()


def use() -> None:
    """Make TensorFlow use the cache, by a flag in ``TF_XLA_FLAGS``. Call this function before importing TensorFlow.

    The function does nothing if the user has set the flag, if the cache folder cannot be used, or if the disk is
    nearly full.
    """
    global _own  # noqa: PLW0603 - TensorFlow reads its flags once for the whole process
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if _own is not None or _FLAG in flags:
        return
    kept = _kept_folder()
    with suppress(OSError):
        kept.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(kept).free > _LEAST_FREE_BYTES:
            _delete_old(kept)
            _own = Path(tempfile.mkdtemp(prefix=_OWN, dir=kept))
            atexit.register(_end, _own, os.getpid())
            _link_to(_own, kept)
            os.environ["TF_XLA_FLAGS"] = f"{flags} {_FLAG}={_own}".strip()


def restore_flags() -> None:
    """Remove the flag of the cache from the environment, so that child processes do not inherit it.

    Call this function after TensorFlow has read the flag.
    """
    if _own is None:
        return
    flags = [flag for flag in os.environ.get("TF_XLA_FLAGS", "").split() if flag != f"{_FLAG}={_own}"]
    if flags:
        os.environ["TF_XLA_FLAGS"] = " ".join(flags)
    else:
        os.environ.pop("TF_XLA_FLAGS", None)


def keep() -> None:
    """Save newly compiled code in the cache. Errors are ignored, because the cache is optional."""
    if _own is None:
        return
    with suppress(OSError, StoppedError):
        new = [path for path in _own.glob("*.pb") if path.stem not in _kept]
        for path in new:
            content = path.read_bytes()
            write_bytes(_own.parent / f"{path.stem}-{_digest(content)}.pb", content)
            _kept.add(path.stem)
        if new:
            newest_first = sorted(_own.parent.glob("*.pb"), key=lambda path: -path.stat().st_mtime)
            for old in newest_first[_MOST_FILES:]:
                old.unlink()


def _kept_folder() -> Path:
    """Return the cache folder for this processor, these library versions and settings, and this TensorFlow build.

    Each kind of processor has its own folder, because code that was compiled for another processor may crash.
    """
    found = find_spec("tensorflow")
    root = Path(found.origin or "").parent if found else Path()
    libraries = [path for folder in (root, root / "python") for path in sorted(folder.glob("*.*")) if _is_library(path)]
    build = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in libraries]
    key = _digest(json.dumps([fingerprint.here(), build]).encode())
    return cache_folder() / "compiled" / key[:16]


def _is_library(path: Path) -> bool:
    return bool({".so", ".dylib", ".dll", ".pyd"}.intersection(path.suffixes))


def _link_to(own: Path, kept: Path) -> None:
    """Link the cached files into the folder of a process, under the names that TensorFlow expects.

    Cached files with a wrong hash are deleted.
    """
    for path in kept.glob("*.pb"):
        if path.stem.endswith(f"-{_digest(path.read_bytes())}"):
            name = path.stem.rpartition("-")[0]
            os.link(path, own / f"{name}.pb")
            _kept.add(name)
        else:
            path.unlink()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _delete_old(kept: Path) -> None:
    """Delete the folders that killed processes left behind more than a day ago."""
    for folder in kept.glob(f"{_OWN}*"):
        if time.time() - folder.stat().st_mtime > _OLD_S:
            shutil.rmtree(folder, ignore_errors=True)


def _end(own: Path, process: int) -> None:
    """Delete the folder of this process when the process ends. Forked child processes do not delete the folder."""
    if os.getpid() == process:
        shutil.rmtree(own, ignore_errors=True)
