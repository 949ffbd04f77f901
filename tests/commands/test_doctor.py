"""What the doctor shows of an installation, and what it finds wrong."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.commands import doctor
from harness.commands.doctor import Examination, Problem
from harness.data import digits
from tests.support import COMMAND, ROOT, Harness


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, and a doctor that does not import packages. Importing them takes seconds."""
    monkeypatch.setattr(doctor, "_packages", lambda _found: None)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def causes(found: Examination) -> list[str]:
    return [problem.cause for problem in found.problems]


def files(folder: Path) -> dict[str, bytes | None]:
    """All files and folders in a folder, with the content of each file."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_new_folder_has_nothing_wrong_and_stays_empty(harness: Harness, tmp_path: Path) -> None:
    work, home, cache = (tmp_path / name for name in ("work", "home", "cache"))
    for folder in (work, home):
        folder.mkdir()
    private = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "KERAS_HOME": str(home / "keras")}
    done = harness("doctor", "--json", "-", cwd=work, **private)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path).keys() == {str(work), str(home)}
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["schema"] == 1
    assert facts["versions"].keys() == {"python", "zero-errors", "tensorflow", "keras", "numpy", "mlflow", "optuna"}
    assert facts["cores"] == len(os.sched_getaffinity(0))
    assert facts["free_bytes"].keys() == {str(work), str(cache / "zero-errors")}
    assert facts["images"]["lab-5000"].startswith("not on this machine")
    assert facts["images"]["optdigits-5000"].startswith("embedded")
    assert facts["store"] == {"address": f"sqlite:///{work}/mlflow.db", "state": "nothing is recorded yet"}
    assert (facts["last_study"], facts["problems"]) == (None, [])
    assert "Nothing is wrong." in done.stderr
    assert f"tensorflow      {facts['versions']['tensorflow']}" in done.stderr


def test_the_last_study_is_shown_and_its_database_is_not_changed(
    harness: Harness, tmp_path: Path, whole_study: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(whole_study, work)
    before = files(work)
    done = harness("doctor", "--json", "-", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "last study      small: complete, 8 of 8 trials\n" in done.stderr
    facts = json.loads(done.stdout)
    assert facts["store"]["state"] == "readable"
    assert (facts["last_study"]["name"], facts["last_study"]["failures"]) == ("small", {})
    assert files(work) == before


def test_failed_runs_of_the_last_study_are_a_problem(quick: Path, whole_study: Path) -> None:
    shutil.copytree(whole_study, quick, dirs_exist_ok=True)
    with closing(sqlite3.connect(quick / "mlflow.db")) as connection, connection:
        training = "select run_uuid from tags where key = 'harness.role' and value = 'training' limit 1"
        [(run_id,)] = connection.execute(training).fetchall()
        connection.execute("update runs set status = 'FAILED' where run_uuid = ?", [run_id])
        connection.execute("insert into tags values ('harness.failure', 'out of memory', ?)", [run_id])
    [problem] = doctor.examine().problems
    assert problem.cause == "1 run of the study small failed: out of memory"
    assert "harness study run small" in problem.remedy


@pytest.mark.parametrize("content", [b"not a database at all " * 100, b"SQLite format 3\0" + b"\xff" * 2000])
def test_a_damaged_database_is_one_problem(quick: Path, content: bytes) -> None:
    (quick / "mlflow.db").write_bytes(content)
    found = doctor.examine()
    assert found.store["state"] == "cannot be read"
    [cause] = causes(found)
    assert "mlflow.db" in cause
    assert (quick / "mlflow.db").read_bytes() == content


@pytest.mark.usefixtures("quick")
def test_a_store_that_does_not_answer_is_a_problem_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:secret@127.0.0.1:9")
    monkeypatch.setattr(doctor, "_STORE_S", 0.5)
    found = doctor.examine()
    [problem] = found.problems
    assert "does not answer" in problem.cause
    assert "secret" not in str(problem) + str(found.store)


@pytest.mark.usefixtures("quick")
def test_settings_of_tensorflow_are_shown_and_images_that_are_missing_are_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("HARNESS_DATA", "nowhere.npz")
    found = doctor.examine()
    assert found.settings == {"TF_ENABLE_ONEDNN_OPTS": "0"}
    assert causes(found) == ["nowhere.npz: no such file or folder"]


@pytest.mark.usefixtures("quick")
def test_flags_with_which_tensorflow_does_not_start_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--no_such_flag")
    [cause] = causes(doctor.examine())
    assert "TensorFlow does not start with XLA_FLAGS=--no_such_flag" in cause


def test_images_of_the_user_are_named(quick: Path, optdigits: digits.Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(quick / "X.npy", optdigits.x)
    np.save(quick / "y.npy", optdigits.y)
    monkeypatch.setenv("HARNESS_DATA", str(quick))
    assert doctor.examine().images["HARNESS_DATA"] == f"optdigits-5000 from {quick}"


def test_a_damaged_cache_is_a_problem_with_a_remedy(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(quick / "cache"))
    folder = quick / "cache" / "zero-errors" / digits.OPTDIGITS_NAME
    folder.mkdir(parents=True)
    (folder / "X.npy").write_bytes(b"damaged")
    [problem] = doctor.examine().problems
    assert problem.cause.startswith("ignoring a damaged cache: ")
    assert "Delete this folder" in problem.remedy


@pytest.mark.usefixtures("quick")
def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=10**8))
    assert [cause.endswith("only 0.1 GB are free") for cause in causes(doctor.examine())] == [True, True]


@pytest.mark.usefixtures("quick")
def test_a_part_that_fails_is_a_problem_and_the_others_are_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_found: Examination) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(doctor, "_disk", fail)
    found = doctor.examine()
    assert causes(found) == ["the disk cannot be examined (KeyError: 'a bug')"]
    assert found.images


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("raise ImportError('libfoo.so is missing')", "ImportError: libfoo.so is missing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "the process was ended by SIGILL"),
    ],
)
def test_a_broken_package_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "brokenpackage.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_IMPORTED", (("json", "brokenpackage"), ("csv",)))
    found = Examination()
    doctor._packages(found)
    assert causes(found) == [f"the package brokenpackage cannot be imported ({reason})"]
    assert found.broken == ["brokenpackage"]


def test_a_store_is_not_opened_with_a_broken_package(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (quick / "mlflow.db").touch()
    monkeypatch.setattr(doctor, "_packages", lambda found: found.broken.append("mlflow"))
    monkeypatch.setattr(doctor, "_store", lambda _found: pytest.fail("opened"))
    found = doctor.examine()
    assert found.store["state"] == "cannot be read"
    assert found.problems == []


def test_a_package_that_is_not_installed_is_a_problem_and_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_IMPORTED", (("optuna",),))
    found = Examination(versions={"optuna": "not installed"})
    doctor._packages(found)
    assert causes(found) == ["the package optuna is not installed"]


def test_a_problem_is_one_line_without_secrets() -> None:
    problem = Problem("postgresql://bob:secret@host\n  is away.", "Start it.")
    assert str(problem) == "postgresql://***@host is away. Start it."


def test_a_broken_package_that_every_command_needs_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise RuntimeError('damaged')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([COMMAND, "doctor"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("error: a package cannot be imported (RuntimeError: damaged)\n")
    assert "Traceback" not in done.stderr
