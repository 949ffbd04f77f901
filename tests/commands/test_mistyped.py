"""What a command suggests for a mistyped name."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import Harness


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working folder with a study file, a report, a gate and images. All are empty."""
    for name in (
        "my-study.toml",
        "mnist.npz",
        "mine.py",
        "my-reference.json",
        "out/small/runs.csv",
        "out/gate/gate.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        ("gates", "'gate'"),
        ("study rum", "'run'"),
        ("study run --frsh", "'--fresh'"),
        ("study run varaints", "variants"),
        ("study check my-studdy.toml", "my-study.toml"),
        ("study run my-study", "my-study.toml"),
        ("train --engine graf", "graph"),
        ("gate run --engine xlaa", "xla"),
        ("lab --engine kears", "keras"),
        ("data --data optdigit", "optdigits"),
        ("data --data mnits.npz", "mnist.npz"),
        ("compare out/smal/run.csv out/small/runs.csv", "out/small/runs.csv"),
        ("gate table out/gates/gate.json", "out/gate/gate.json"),
        ("gate run --train mines.py:train", "mine.py"),
        ("lab --softmax mines.py:my_softmax", "mine.py"),
        ("gate explain --data optdigits --reference my-referense.json", "my-reference.json"),
        ("study run --tls-ca my-study.tml", "my-study.toml"),
    ],
)
def test_the_nearest_existing_name_is_suggested(harness: Harness, work: Path, arguments: str, suggested: str) -> None:
    done = harness(*arguments.split(), cwd=work)
    assert done.returncode == 2
    assert f"Did you mean {suggested}?" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_run_id_is_suggested_for_its_beginning_and_for_one_with_a_wrong_character(
    harness: Harness, tmp_path: Path, whole_study: Path
) -> None:
    shutil.copytree(whole_study, tmp_path, dirs_exist_ok=True)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        condition = "key = 'harness.role' and value = 'study'"
        [(run_id,)] = connection.execute(f"select run_uuid from tags where {condition}").fetchall()  # noqa: S608
    wrong = run_id[:10] + ("0" if run_id[10] != "0" else "1") + run_id[11:]
    for mistyped in (run_id[:8], wrong):
        done = harness("compare", mistyped, "small")
        assert done.returncode == 2
        assert f"Did you mean {run_id}?" in done.stderr
    assert "Did you mean small?" in harness("compare", "smal", "small").stderr
