"""What tests of the gate share: the images' reference, and engines that something is wrong with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.data.digits import Digits
from harness.gate import reference
from harness.gate.reference import Reference
from tests.support import ROOT, STANDIN

SUBJECTS = Path(__file__).with_name("subjects")


@pytest.fixture(scope="session")
def recorded(digits: Digits) -> Reference:
    """The package's reference of the images."""
    return reference.load(reference.path_of(digits.name))


@pytest.fixture
def subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that the test starts find the engines of :mod:`subjects`, and the stand-in for TensorFlow."""
    _find(monkeypatch, SUBJECTS, STANDIN, ROOT)


@pytest.fixture
def subjects_of_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with the real TensorFlow, which takes seconds to load."""
    _find(monkeypatch, SUBJECTS, ROOT)


def _find(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    monkeypatch.setattr(sys, "path", [*sys.path, str(SUBJECTS)])
