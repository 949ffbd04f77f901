"""Keeps the code that XLA compiles, so that later processes load it instead of compiling again.

TensorFlow trusts the files in its own cache: a damaged file makes every training fail. So each process that imports
TensorFlow gets a folder of its own, with links to the kept files whose hashes are right.
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
# A compiled function has half a megabyte. The newest are kept.
_MOST_FILES = 16
_LEAST_FREE_BYTES = 64 * 2**20
_OWN = "running-"
# Folders of killed processes are deleted after this time.
_OLD_S = 24 * 3600

# The folder that TensorFlow in this process uses, or None.
_own: Path | None = None
# The names of the files in it that are kept.
_kept: set[str] = set()


def use() -> None:
    """Set TensorFlow's flag for the cache. Call this function before TensorFlow is imported.

    Nothing happens if the user has set the flag, or if the folder of the cache cannot be used.
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
    """Remove the flag from the environment, which processes inherit. Call this function when TensorFlow has read it."""
    if _own is None:
        return
    flags = [flag for flag in os.environ.get("TF_XLA_FLAGS", "").split() if flag != f"{_FLAG}={_own}"]
    if flags:
        os.environ["TF_XLA_FLAGS"] = " ".join(flags)
    else:
        os.environ.pop("TF_XLA_FLAGS", None)


def keep() -> None:
    """Keep the code that this process has compiled. An error is ignored, because the cache is optional."""
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
    """The folder of this processor, these versions and settings, and this build of TensorFlow.

    Code that is compiled for another processor may crash.
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
    """Link the kept files into a process's folder, under TensorFlow's names. Delete a file whose hash is wrong."""
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
    """Delete the folders of processes that were killed long ago."""
    for folder in kept.glob(f"{_OWN}*"):
        if time.time() - folder.stat().st_mtime > _OLD_S:
            shutil.rmtree(folder, ignore_errors=True)


def _end(own: Path, process: int) -> None:
    """Delete the folder of this process. Processes that were forked from it leave it alone."""
    if os.getpid() == process:
        shutil.rmtree(own, ignore_errors=True)
