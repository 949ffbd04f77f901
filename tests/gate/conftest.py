"""What tests of the gate share: the images' reference, and engines that something is wrong with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.digits import Digits
from harness.gate import reference
from harness.gate.reference import Reference
from tests.support import ROOT

SUBJECTS = Path(__file__).with_name("subjects")


@pytest.fixture(scope="session")
def recorded(digits: Digits) -> Reference:
    """The package's reference of the images."""
    return reference.load(reference.path_of(digits.name))


@pytest.fixture
def subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that the test starts find the engines of :mod:`subjects`."""
    monkeypatch.setenv("PYTHONPATH", f"{SUBJECTS}{os.pathsep}{ROOT}")
    monkeypatch.setattr(sys, "path", [*sys.path, str(SUBJECTS)])
