"""The process that writes models: what it writes, and the reasons when it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.data.digits import Digits
from harness.engines.contract import Engine
from harness.network.variant import BASELINE
from harness.tracking.model_process import ModelProcess
from harness.tracking.model_spec import ModelSpec
from tests.support import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ModelProcess]:
    with ModelProcess(tmp_path) as started:
        yield started
    assert list(tmp_path.iterdir()) == []


def spec(process: ModelProcess, run_id: str) -> ModelSpec:
    weights = [np.zeros(shape, np.float32) for shape in ((400, 25), (25,), (25, 15), (15,), (15, 10), (10,))]
    return ModelSpec((25, 15, 10), "logits", tuple(weights), run_id, "m-1", "file:///models", process.folder / run_id)


def test_models_have_the_errors_of_their_weights(process: ModelProcess, digits: Digits, graph: Engine) -> None:
    [history] = graph.train([BASELINE.with_epochs(2)])
    trained = replace(spec(process, "trained"), weights=history.final.weights)
    broken = replace(spec(process, "broken"), weights=history.final.weights[::-1])
    process.start()
    process.send(digits, [trained, broken])
    found = process.wait([trained, broken])
    assert found["trained"] == history.errors[-1]
    assert (trained.path / "MLmodel").is_file()
    assert str(found["broken"]).startswith("ValueError: ")


def test_a_process_that_is_killed_is_the_reason(process: ModelProcess, digits: Digits) -> None:
    process.start()
    wait_until((process.folder / "log").is_file)
    one = spec(process, "one")
    process.send(digits, [one])
    [child] = [child for child in psutil.Process().children(recursive=True) if str(process.folder) in open_files(child)]
    child.kill()
    assert process.wait([one]) == {"one": "the process that writes the models ended"}


def open_files(process: psutil.Process) -> str:
    return " ".join(str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in (1, 2))


def test_a_folder_that_cannot_be_made_is_the_reason(tmp_path: Path, digits: Digits) -> None:
    (tmp_path / "file").write_text("")
    process = ModelProcess(tmp_path / "file")
    one = spec(process, "one")
    process.send(digits, [one])
    assert "the process that writes the models cannot be started: " in str(process.wait([one])["one"])
