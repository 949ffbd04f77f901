"""Training functions of users under the gate: recorded, compared, and wrong in every way."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support import Harness

# A function that learns in an instant: the error count decreases by a random amount each epoch.
QUICK = """
import random
import helper

def train(x, y, seed, epochs, rate=1.0):
    assert x.shape == (5000, 400) and str(x.dtype) == "float32"
    assert y.shape == (5000,) and str(y.dtype) == "int64"
    print("training", seed)
    from threadpoolctl import threadpool_info
    assert {library["num_threads"] for library in threadpool_info()} <= {1}
    drawn, errors = random.Random(seed), 300.0
    for _ in range(epochs):
        errors -= rate * errors * drawn.uniform(0.05, 0.15)
        yield helper.count(errors)

def slow(x, y, seed, epochs):
    yield from train(x, y, seed, epochs, rate=0.5)

def own_data(x, y, seed, epochs):
    yield from train(x, y, seed, epochs)
    return "a" * 64

def other_data(x, y, seed, epochs):
    return list(train(x, y, seed, epochs)), "b" * 64

def short(x, y, seed, epochs):
    return [5, 4, 3]

def endless(x, y, seed, epochs):
    while True:
        yield 1

def share(x, y, seed, epochs):
    for epoch in range(epochs):
        yield 0.02

def broken(x, y, seed, epochs):
    raise RuntimeError("the driver is missing")

def nothing(x, y, seed, epochs):
    return None

def hopeless(x, y, seed, epochs):
    return [70] * epochs

def alike(x, y, seed, epochs):
    return [100] * 50 + [0] * (epochs - 50)

text = "not a function"
"""

SETTINGS = ("--epochs", "100", "--early-epoch", "20", "--zero-errors", "3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with training code, and a module beside it."""
    code = tmp_path / "my code"
    code.mkdir()
    (code / "quick.py").write_text(QUICK)
    (code / "helper.py").write_text("def count(errors):\n    return int(errors)\n")
    return code


@pytest.fixture
def gate(harness: Harness, chosen: Sequence[str]) -> Callable[..., CompletedProcess[str]]:
    """Run a command of the gate without progress."""

    def run(command: str, *arguments: str) -> CompletedProcess[str]:
        untracked = ("--untracked",) if command == "run" else ()
        return harness("gate", command, "--quiet", "--workers", "1", *untracked, *chosen, *arguments)

    return run


def result(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "out" / "gate" / "gate.json").read_text())
    return found


def test_a_function_is_recorded_passes_with_other_seeds_and_fails_if_it_learns_slower(
    gate: Callable[..., CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    recorded = gate("record", "--train", f"{folder}/quick.py:train", *SETTINGS)
    assert recorded.returncode == 0, recorded.stderr
    assert "a gate trains 63 seeds by default. 9 of 10 gates detect a slowdown of" in recorded.stdout
    assert "warning" not in recorded.stderr
    assert "256 of 256 trainings reach at most 3 errors, on average after " in recorded.stdout
    reference = json.loads((tmp_path / "gate-reference.json").read_text())
    assert (len(reference["repeats"]["seeds"]), reference["repeats"]["reached_at"], reference["trace"]) == (
        256,
        3,
        None,
    )

    passed = gate("run", "--train", f"{folder}/quick.py:train", "--fresh-seeds")
    assert passed.returncode == 0, passed.stdout
    assert passed.stdout.startswith("PASS: at most 3 errors come as early as in the reference")
    assert "training" not in passed.stdout.replace("--train", "").partition("Repeat")[0]
    assert {check["name"] for check in result(tmp_path)["checks"]} == {
        *("data", "epochs to at most 3 errors", "errors at epoch 20", "seeds that reach at most 3 errors")
    }
    without = gate("run", "--reference", "gate-reference.json")
    assert without.returncode == 2
    assert "the reference was recorded with the training function" in without.stderr

    slower = gate("run", "--train", f"{folder}/quick.py:slow")
    assert slower.returncode == 1
    assert slower.stdout.startswith("FAIL: at most 3 errors come ")
    assert "training function" in slower.stdout
    assert (tmp_path / "out" / "gate" / "gate.html").read_text().count("at most 3 errors come")


def test_its_own_data_must_stay_the_same(gate: Callable[..., CompletedProcess[str]], folder: Path) -> None:
    few = (*SETTINGS, "--seeds", "64")
    recorded = gate("record", "--train", f"{folder}/quick.py:own_data", *few)
    assert recorded.returncode == 0, recorded.stderr
    assert "with only 64 seeds, the reference may be inaccurate by chance" in recorded.stderr
    assert gate("run", "--train", f"{folder}/quick.py:own_data").returncode == 0
    changed = gate("run", "--train", f"{folder}/quick.py:other_data")
    assert changed.returncode == 1
    assert changed.stdout.startswith("FAIL: the data of the training function changed since the reference was recorded")


def test_a_median_of_few_epochs_is_warned_of(gate: Callable[..., CompletedProcess[str]], folder: Path) -> None:
    settings = ("--epochs", "60", "--early-epoch", "5", "--zero-errors", "100", "--seeds", "40")
    recorded = gate("record", "--train", f"{folder}/quick.py:train", *settings)
    assert recorded.returncode == 0
    assert "the median first epoch with at most 100 errors is 1" in recorded.stderr
    assert "so a delay of one epoch is a slowdown of" in recorded.stderr


def test_a_function_that_ignores_its_seed_is_warned_of(
    gate: Callable[..., CompletedProcess[str]], folder: Path
) -> None:
    recorded = gate("record", "--train", f"{folder}/quick.py:alike", *SETTINGS, "--seeds", "8")
    assert recorded.returncode == 0
    assert "all trainings have the same error counts" in recorded.stderr
    assert "a gate detects a slowdown of 50% in fewer" in recorded.stdout or "9 of 10 gates detect" in recorded.stdout


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("short", "yielded 3 counts for 100 epochs"),
        ("endless", "yielded more than 100 counts for 100 epochs"),
        ("share", "yielded 0.02, which is not an error count"),
        ("broken", "the driver is missing"),
        ("nothing", "returned NoneType instead of error counts"),
        ("text", "quick has no function text"),
        ("missing", "quick has no function missing"),
        (
            "hopeless",
            (
                "gets down to 3 errors or fewer within 100 epochs (the lowest error count of a training was 70 in the "
                "best and 70 in the worst)"
            ),
        ),
    ],
)
def test_a_wrong_function_is_recorded_by_no_reference(
    function: str, reason: str, gate: Callable[..., CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    done = gate("record", "--train", f"{folder}/quick.py:{function}", *SETTINGS, "--seeds", "8")
    assert done.returncode == 5
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "gate-reference.json").exists()


def test_a_function_that_breaks_is_fail_and_names_the_reason(
    gate: Callable[..., CompletedProcess[str]], folder: Path
) -> None:
    assert gate("record", "--train", f"{folder}/quick.py:train", *SETTINGS, "--seeds", "40").returncode == 0
    broken = gate("run", "--train", f"{folder}/quick.py:broken")
    assert broken.returncode == 1
    assert broken.stdout.startswith("FAIL: RuntimeError: the driver is missing")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("run", "--train", "nothing.py:train"), "nothing.py: there is no such file"),
        (("run", "--train", "train"), "does not name a training function"),
        (("run", "--train", ":train"), "does not name a training function"),
        (("record", "--epochs", "3"), "need --train"),
        (("record", "--seeds", "7"), "7 is not in the range x>=8"),
        (("record", "--margin", "inf"), "inf is not in the range"),
        (("record", "--train", "{}/quick.py:train", "--margin", "nan"), "nan is not in the range"),
        (("run", "--train", "{}/quick.py:train", "--conformance"), "need an engine, not a training function"),
        (("run", "--train", "{}/quick.py:train", "--against", "none"), "need an engine, not a training function"),
        (
            ("record", "--train", "{}/quick.py:train", "--epochs", "3"),
            "the early epoch (40) is after the last epoch (3)",
        ),
    ],
)
def test_wrong_usage_is_one_clear_error(
    arguments: tuple[str, ...], reason: str, gate: Callable[..., CompletedProcess[str]], folder: Path
) -> None:
    done = gate(*(word.format(folder) for word in arguments))
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_reference_the_gate_is_not_run(gate: Callable[..., CompletedProcess[str]], folder: Path) -> None:
    done = gate("run", "--train", f"{folder}/quick.py:train")
    assert done.returncode == 4
    assert "NOT RUN: reference: gate-reference.json: no reference found" in done.stdout
    assert "harness gate record" in done.stdout


def test_a_reference_of_an_engine_does_not_fit_a_function(
    gate: Callable[..., CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    from harness.gate import reference

    found = reference.load(reference.path_of("optdigits-5000"))
    reference.save(found, tmp_path / "engines.json")
    done = gate("run", "--train", f"{folder}/quick.py:train", "--reference", "engines.json")
    assert done.returncode == 2
    assert "the reference was recorded with the engine xla" in done.stderr


def test_a_function_of_a_module_is_found_in_the_current_folder_and_its_reference_is_explained(
    gate: Callable[..., CompletedProcess[str]], harness: Harness, folder: Path, tmp_path: Path
) -> None:
    for name in ("quick.py", "helper.py"):
        (folder / name).rename(tmp_path / name)
    recorded = gate("record", "--train", "quick:train", *SETTINGS, "--seeds", "40")
    assert recorded.returncode == 0, recorded.stderr
    explained = harness("gate", "explain", "--reference", "gate-reference.json")
    assert explained.returncode == 0, explained.stderr
    assert "FAIL: at most 3 errors come at least 1 epoch later" in explained.stdout
    assert "quick:train" in explained.stdout
