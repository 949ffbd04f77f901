"""What tests of reports share: a recorded study, and its report as a user finds it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import COMMAND, ROOT, STANDIN

STUDY = """
description = "Many numbers."
engine = "standin"
objectives = ["errors"]

[space]
epochs = [20, 60, 100]
learning_rate = [0.001, 0.002, 0.02]
seed = [1234, 1, 2, 3, 4, 5, 6, 7]

[design]
kind = "factorial"
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with the engine that stands in, some of whose trainings reach zero and some of which do not stay."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "many.toml").write_text(STUDY)
    command = [COMMAND, "study", "run", "many.toml", "--data", "optdigits", "--workers", "1", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": f"{STANDIN}{os.pathsep}{ROOT}"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=300)
    return folder
