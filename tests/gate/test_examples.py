"""The examples of docs/gate-your-training.md: recorded, PASS with other seeds, FAIL with half the learning rate."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import COMMAND, ROOT

PAGE = ROOT / "docs" / "gate-your-training.md"
RIVALS = ROOT / ".venv-rivals" / ("Scripts" if os.name == "nt" else "bin") / "harness"
# Fewer than the page's 256 seeds, because these tests train for minutes.
SEEDS = ("--seeds", "128")


def blocks(language: str) -> list[str]:
    """The code blocks of the page in a language."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return found


def test_the_page_has_at_most_50_lines_of_code() -> None:
    assert sum(len(block.splitlines()) for block in [*blocks("python"), *blocks("console")]) <= 50


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("library", "command"), [("sklearn", COMMAND), ("torch", str(RIVALS))])
def test_the_example_passes_and_fails_with_half_the_learning_rate(
    library: str, command: str, chosen: Sequence[str], tmp_path: Path
) -> None:
    if not Path(command).exists():
        pytest.skip("needs the environment of nox -s rivals")
    [code] = [block for block in blocks("python") if library in block]
    record, run = (shlex.split(block)[1:] for block in blocks("console"))
    script = tmp_path / "my_training.py"
    script.write_text(code)

    def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [command, *arguments, "--quiet", *chosen]
        return subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, check=False)

    recorded = harness(*record, *SEEDS)
    assert recorded.returncode == 0, recorded.stderr
    assert "the median first epoch" not in recorded.stderr
    passed = harness(*run, "--untracked", "--fresh-seeds")
    assert passed.returncode == 0, passed.stdout
    assert "RATE = 0.001" in code
    script.write_text(code.replace("RATE = 0.001", "RATE = 0.0005"))
    failed = harness(*run, "--untracked", "--fresh-seeds")
    assert failed.returncode == 1, failed.stdout
    assert failed.stdout.startswith("FAIL: at most 100 errors come ")
