"""A learner's own ``my_softmax``: each usual mistake gets the sentence that is meant for it, and no right one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.lab import softmax_check
from tests.support import Harness

RIGHT = {
    "stable": """
import numpy as np
def my_softmax(z):
    e = np.exp(np.asarray(z) - np.max(z))
    return e / e.sum()
""",
    "loops": """
import math
def my_softmax(z):
    largest, total = max(z), 0
    for k in range(len(z)):
        total += math.exp(z[k] - largest)
    return [math.exp(entry - largest) / total for entry in z]
""",
    "scipy": """
from scipy.special import softmax as my_softmax
""",
}

WRONG = {
    "no return": ("    a = np.exp(z) / np.exp(z).sum()", "returns nothing"),
    "no sum": ("    return np.exp(z)", "not divided by their sum"),
    "no exponential": ("    return np.array(z) / sum(z)", "The entries are divided by their sum"),
    "largest": ("    return np.exp(z) / np.exp(z).max()", "divided by the largest exponential"),
    "sum of entries": ("    return np.exp(z) / np.sum(z)", "divided by the sum of the entries"),
    "base 2": ("    return 2.0 ** np.array(z) / (2.0 ** np.array(z)).sum()", "The base of the power is 2"),
    "early division": (
        (
            "    a, total = np.zeros(len(z)), 0\n"
            "    for k in range(len(z)):\n"
            "        total += np.exp(z[k])\n"
            "        a[k] = np.exp(z[k]) / total\n"
            "    return a"
        ),
        "divides before the sum is complete",
    ),
    "last entry": (
        (
            "    a, total = np.zeros(len(z)), np.exp(z).sum()\n"
            "    for k in range(len(z) - 1):\n"
            "        a[k] = np.exp(z[k]) / total\n"
            "    return a"
        ),
        "The last entry of the result is zero",
    ),
    "whole numbers": (
        (
            "    a = np.zeros(len(z), dtype=int)\n"
            "    for k in range(len(z)):\n"
            "        a[k] = np.exp(z[k]) / np.exp(z).sum()\n"
            "    return a"
        ),
        "All results are zero",
    ),
    "four": (
        (
            "    a, total = np.zeros(len(z)), 0\n"
            "    for k in range(4):\n"
            "        total += np.exp(z[k])\n"
            "    for k in range(4):\n"
            "        a[k] = np.exp(z[k]) / total\n"
            "    return a"
        ),
        "wrong for ten entries",
    ),
    "nan": (
        "    e = np.exp(z)\n    a = e / e.sum()\n    a[2] = np.nan\n    return a",
        "entry 2 is nan",
    ),
    "no numbers": ("    return [2 ** 20000] * len(z)", "It must return four numbers"),
    "sigmoid": ("    return 1 / (1 + np.exp(-np.array(z)))", "The result is the sigmoid"),
    "one number": ("    return np.exp(z[0]) / np.exp(z).sum()", "of shape () for four entries"),
    "changed": (
        "    z -= np.max(z)\n    return np.exp(z) / np.exp(z).sum()",
        "changes its argument",
    ),
    "list": (
        "    e = np.exp(z - z.max())\n    return e / e.sum()",
        "does not work for a list",
    ),
    "overflow": ("    return np.exp(z) / np.exp(z).sum()", "overflows at z = 1000"),
    "error": ("    return np.exp(z) / np.exp(y).sum()", "NameError: name 'y' is not defined"),
    "rounded": ("    e = np.exp(z)\n    return np.round(e / e.sum(), 2)", "The results are rounded"),
    "shift": (
        "    e = np.exp(np.clip(z, 0, 10))\n    return e / e.sum()",
        "if the same number is added to every entry",
    ),
}


def written(code: str, folder: Path) -> str:
    (folder / "mine.py").write_text(code)
    return f"{folder}/mine.py:my_softmax"


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_function_has_no_mistake(name: str, tmp_path: Path) -> None:
    assert softmax_check.check(written(RIGHT[name], tmp_path)) == []


@pytest.mark.parametrize("name", WRONG)
def test_each_usual_mistake_is_named(name: str, tmp_path: Path) -> None:
    body, sentence = WRONG[name]
    found = softmax_check.check(written(f"import numpy as np\n\ndef my_softmax(z):\n{body}\n", tmp_path))
    assert any(sentence in mistake.sentence for mistake in found), found
    assert all(mistake.hint for mistake in found)


def test_a_loop_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax_check, "TIME_LIMIT_S", 3.0)
    [found] = softmax_check.check(written("def my_softmax(z):\n    while True:\n        pass\n", tmp_path))
    assert "does not return within 3 s" in found.sentence


def test_what_the_file_prints_or_patches_does_not_reach_the_check(tmp_path: Path) -> None:
    code = """
import atexit, json, sys
import numpy as np
np.allclose = lambda *_, **__: True
print(json.dumps({"the lab's vector": 1}))
atexit.register(lambda: print("late"))
def my_softmax(z):
    print("inside", z)
    return np.exp(z)
"""
    [found] = softmax_check.check(written(code, tmp_path))
    assert "not divided by their sum" in found.sentence


def test_the_command_says_what_is_wrong_by_its_exit_status(harness: Harness, tmp_path: Path) -> None:
    right = harness("lab", "--softmax", written(RIGHT["stable"], tmp_path))
    assert (right.returncode, right.stdout) == (
        0,
        "my_softmax is correct: it passes the lab's tests and all further tests, even for z = 1000.\n",
    )
    wrong = harness(
        "lab", "--softmax", written("import numpy as np\ndef my_softmax(z):\n    return np.exp(z)\n", tmp_path)
    )
    assert wrong.returncode == 1
    assert "Hint: The results of softmax are probabilities. What is the sum of all probabilities?" in wrong.stdout
    for given, said in (("none.py:f", "there is no such file"), ("mine.py", "does not name a training function")):
        refused = harness("lab", "--softmax", given)
        assert refused.returncode == 2
        assert said in refused.stderr


def test_files_of_the_current_folder_replace_nothing(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('mine')\n")
    (tmp_path / "harness").mkdir()
    done = harness("lab", "--softmax", written(RIGHT["stable"], tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "code", ["def my_softmax(z:\n", "import nothing_like_this\n", "raise SystemExit(3)\n", "x = 1\n"]
)
def test_a_file_that_cannot_be_loaded_is_one_clear_error(code: str, harness: Harness, tmp_path: Path) -> None:
    done = harness("lab", "--softmax", written(code, tmp_path))
    assert done.returncode in {1, 5}
    assert "Traceback" not in done.stderr + done.stdout
    assert "cannot be run" in done.stderr
