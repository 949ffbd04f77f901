"""Collects the environment of a result: package versions, environment variables, processor, commit and user."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGES = ("zero-errors", "tensorflow", "keras", "numpy", "mlflow", "optuna", "pandas", "matplotlib")


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    from importlib import metadata  # imported late, because this takes 25 ms

    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def packages() -> dict[str, str]:
    """Return the version of every installed package, sorted by name."""
    from importlib import metadata

    named = ((one.metadata["Name"], one.version) for one in metadata.distributions())
    found = {name: version for name, version in named if name and version}  # a partly installed package lacks one
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


# Prefixes of the environment variables that change how TensorFlow and its libraries compute. The prefix TF_ alone would
# also match variables of other programs, such as Terraform, and these may hold secrets.
_COMPUTING = (
    *("XLA_", "ONEDNN_", "DNNL_", "TF_XLA_", "TF_ENABLE_", "TF_DISABLE_", "TF_DETERMINISTIC_", "TF_CUDNN_", "TF_NUM_"),
    *("TF_AUTO_MIXED_", "TF_OVERRIDE_", "TF_CONV2D_", "TF_USE_", "TF_GRAPPLER_", "TF2_", "NVIDIA_TF32_"),
)
# Exceptions: these variables only change log output, or the harness or TensorFlow sets them.
_IGNORED = frozenset({"ONEDNN_VERBOSE", "DNNL_VERBOSE", "TF_USE_LEGACY_KERAS", "TF2_BEHAVIOR"})


def computing_settings() -> dict[str, str]:
    """Return the environment variables that are set and may change training results, sorted by name."""
    found = (name for name in os.environ if name.startswith(_COMPUTING) and name not in _IGNORED)
    return {name: os.environ[name] for name in sorted(found)}


@cache
def processor() -> str:
    """Return the processor's model name, or a more general name if the system does not report the model."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Commit:
    """A git commit. ``dirty`` is true if a tracked file has uncommitted changes."""

    revision: str
    dirty: bool

    def __str__(self) -> str:
        return self.revision + ("-dirty" if self.dirty else "")


def checkout() -> Path | None:
    """Return the folder of this project's checkout, or None if the package was installed from a wheel."""
    root = Path(__file__).resolve().parent.parent
    metadata = root / "pyproject.toml"
    is_ours = metadata.is_file() and 'name = "zero-errors"' in metadata.read_text(encoding="utf-8")
    return root if is_ours else None


@cache
def commit() -> Commit | None:
    """Return the commit of this project's checkout, or None if the code does not run from a git checkout."""
    root = checkout()
    return None if root is None or not (root / ".git").exists() else _commit_of(root)


def watched_commit() -> Commit | None:
    """Return the commit of the current folder's git repository, or None without a repository or without git."""
    return _commit_of(Path.cwd())


def _commit_of(root: Path) -> Commit | None:
    try:
        revision = _git(root, "rev-parse", "HEAD")
        return Commit(revision, dirty=bool(_git(root, "status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@cache
def user() -> str | None:
    """Return the user's name, or None if the system has no name for the user, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
