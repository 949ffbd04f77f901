"""What tests of reports share: recorded studies, and their reports as a user finds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import warm
from tests.reporting import rows
from tests.shared import Shared
from tests.support import STANDIN_PATH


def _studied(shared: Shared, name: str, text: str) -> Path:
    """A folder in which a study with the engine that stands in was run as a user runs it. Read it, or copy it."""

    def make(folder: Path) -> None:
        (folder / f"{name}.toml").write_text(text)
        command = ["study", "run", f"{name}.toml", "--data", "optdigits", "--workers", "1", "--quiet"]
        done = warm.run(command, folder, {**os.environ, "PYTHONPATH": STANDIN_PATH}, folder)
        assert done.returncode == 0, done.stderr

    return shared.folder(name, make)


@pytest.fixture(scope="session")
def folder(shared: Shared) -> Path:
    """A study some of whose trainings reach zero and some of which do not stay."""
    return _studied(shared, "many", rows.STUDY)


@pytest.fixture(scope="session")
def runs(folder: Path) -> list[rows.Row]:
    """All its trainings, in the order of their trials."""
    found = rows.read(folder)
    assert len(found) == 72
    return found


@pytest.fixture(scope="session")
def searched(shared: Shared) -> Path:
    """A search of 16 trials over three seeds."""
    return _studied(shared, "found", rows.SEARCH)
