from __future__ import annotations

import re
import subprocess
from pathlib import Path

from harness import machine


def test_versions_are_those_that_are_installed() -> None:
    versions = machine.versions()
    assert re.fullmatch(r"3\.\d+\.\d+\S*", versions["python"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions["tensorflow"])
    assert "not installed" not in versions.values()


def test_the_processor_has_a_name() -> None:
    assert machine.processor()


def test_the_commit_is_that_of_the_checkout() -> None:
    root = Path(machine.__file__).resolve().parent.parent
    commit = machine.commit()
    if not (root / ".git").exists():
        assert commit is None
        return
    assert commit is not None
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert commit.revision == head.stdout.strip()
