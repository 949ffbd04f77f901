"""What tests of reports share: recorded studies, and their reports as a user finds them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.reports import rows
from tests.support import COMMAND, STANDIN_PATH


def _studied(folder: Path, name: str, text: str) -> Path:
    """A study with the engine that stands in, run in a folder of its own as a user runs it."""
    (folder / f"{name}.toml").write_text(text)
    command = [COMMAND, "study", "run", f"{name}.toml", "--data", "optdigits", "--workers", "1", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": STANDIN_PATH}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study some of whose trainings reach zero and some of which do not stay."""
    return _studied(tmp_path_factory.mktemp("numbers"), "many", rows.STUDY)


@pytest.fixture(scope="session")
def runs(folder: Path) -> list[rows.Row]:
    """All its trainings, in the order of their trials."""
    found = rows.read(folder)
    assert len(found) == 72
    return found


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 16 trials over three seeds."""
    return _studied(tmp_path_factory.mktemp("searched"), "found", rows.SEARCH)
