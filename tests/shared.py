"""Folders that are made once a test run, however many processes run the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.torture import Doomed


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of this run, the same in each of its processes."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@dataclass(frozen=True)
class Shared:
    """Makes a folder once; the processes that ask later wait until it is whole.

    Attributes:
        root: the temporary folder of this run.
    """

    root: Path

    def folder(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of this name, filled by ``make`` unless a process of this run has filled it.

        It stays where it was made: MLflow keeps absolute addresses.
        """
        folder = self.root / f"shared-{name}"
        done = self.root / f"shared-{name}.done"
        with FileLock(self.root / f"shared-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what an attempt that failed has left
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    def doomed(self, design: str) -> Doomed:
        """A study of this design that was run to its end by the stand-in engine."""
        folder = self.folder(design.replace(" ", "-"), lambda folder: Doomed(folder, design, "standin").run())
        return Doomed(folder, design, "standin")
