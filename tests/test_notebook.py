"""The notebook, run from its first cell to its last by this Python."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from harness.data import digits
from tests.conftest import MNIST
from tests.support import ROOT

NOTEBOOK = ROOT / "notebooks" / "lab.ipynb"
KERNEL = "this-python"  # no machine has another kernel of this name


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call] # it ships no types


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel that is this Python, with all that Jupyter writes in a folder of the test's own."""
    folder = tmp_path / "kernels" / KERNEL
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": KERNEL, "language": "python"}))
    for name in ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("HARNESS_DATA", os.environ.get(MNIST) or digits.OPTDIGITS)
    return KERNEL


def test_the_notebook_stores_no_outputs() -> None:
    for cell in notebook().cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(kernel: str, tmp_path: Path) -> None:
    run = notebook()
    NotebookClient(run, timeout=300, kernel_name=kernel, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in run.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    drawn = re.findall(r"\b(?:plot|display)_\w+\(", "\n".join(cell.source for cell in run.cells))
    assert len(pictures) == len(drawn) == 9
    widgets = [output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert len(widgets) == 3
    assert sum("<iframe" in output.get("data", {}).get("text/html", "") for output in outputs) == 1
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert "(5000, 400) (5000,) 0 9" in printed
    assert "10,575" in printed
    assert "sum 1.000, argmax 2" in printed
    assert re.search(r"\d+ errors after 40 epochs, \d+ after 100", printed)
    if MNIST in os.environ:
        assert "epoch 40: loss 0.0294, 15 errors" in printed
