"""The wheel, installed and used outside the checkout: odd paths, other users, folders that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import Shared
from tests.support import ROOT

pytestmark = pytest.mark.slow

STUDY = """
description = "Two short trainings."
engine = "xla"
objectives = ["errors"]

[space]
epochs = [2]
learning_rate = [0.001]
seed = [1, 2]

[design]
kind = "factorial"
"""
NOBODY = 65534


@pytest.fixture(scope="session")
def installed(shared: Shared) -> Path:
    """A folder that holds the wheel's content, as ``pip install --target`` leaves it (a wheel is an archive)."""

    def make(folder: Path) -> None:
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        [wheel] = (folder / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "packages")

    return shared.folder("installed", make) / "packages"


def harness(
    installed: Path, *words: str, cwd: Path, user: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder."""
    whole = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=cwd,
        env={name: value for name, value in whole.items() if value},
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def nobody() -> int:
    """A user who did not install anything. Only root can become that user, and Python must be open to all."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can become another user")
    try:
        subprocess.run(
            [sys.executable, "-c", "import tensorflow"], user=NOBODY, check=True, capture_output=True, cwd="/"
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"other users cannot run {sys.executable}")
    return NOBODY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder whose path has spaces and letters beyond ASCII."""
    made = tmp_path / "mein Ordner, été 数字"
    made.mkdir()
    (made / "kurz.toml").write_text(STUDY)
    return made


def test_the_package_and_its_studies_come_from_the_installation(installed: Path, folder: Path) -> None:
    code = "import harness, harness.study.files as files; print(harness.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(installed)
    listed = harness(installed, "study", "check", "variants", "--data", "optdigits", cwd=folder)
    assert "160" in listed.stdout + listed.stderr


def test_study_report_compare_train_data_and_lab_work_in_any_folder(installed: Path, folder: Path) -> None:
    data = ("--data", "optdigits")
    for words in (
        ("study", "run", "kurz.toml", *data, "--quiet"),
        ("study", "show", "kurz"),
        ("report", "kurz", "--out", "Bericht über alles"),
        ("compare", "kurz", "out/kurz/runs.csv"),
        ("train", *data, "--epochs", "1", "--quiet"),
        ("data", *data, "--figure", "Zahlen é.png"),
        ("lab", *data, "--quiet", "--out", "Übung"),
        ("gate", "explain", *data),
    ):
        done = harness(installed, *words, cwd=folder)
        assert done.returncode == 0, (words, done.stderr)
    assert not [path for path in folder.parent.iterdir() if path.name != folder.name]  # no folder of a quoted path
    for written in ("out/kurz/report.html", "Bericht über alles/report.html", "Zahlen é.png", "Übung/lab.html"):
        assert (folder / written).stat().st_size > 1000


def test_the_gate_passes(installed: Path, folder: Path) -> None:
    done = harness(installed, "gate", "run", "--data", "optdigits", "--untracked", "--out", "Tor é", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "Tor é" / "gate.html").is_file()


def test_a_home_folder_that_is_missing_or_cannot_be_written_is_not_needed(installed: Path, folder: Path) -> None:
    for home in (str(folder / "missing"), "/proc"):
        done = harness(
            installed,
            *("study", "run", "kurz.toml", "--data", "optdigits", "--quiet"),
            cwd=folder,
            HOME=home,
            XDG_CACHE_HOME="",
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def theirs(installed: Path) -> Iterator[Path]:
    """A folder that every user may read, with a copy of the installation. Other users cannot enter pytest's folders."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        shutil.copytree(installed, folder / "packages")
        (folder / "work").mkdir()
        (folder / "work" / "kurz.toml").write_text(STUDY)
        yield folder


def test_another_user_than_the_one_who_installed_runs_a_study(theirs: Path, nobody: int) -> None:
    os.chown(theirs / "work", nobody, nobody)
    words = ("study", "run", "kurz.toml", "--data", "optdigits", "--quiet")
    home = {"HOME": "/nonexistent", "XDG_CACHE_HOME": ""}
    done = harness(theirs / "packages", *words, cwd=theirs / "work", user=nobody, **home)
    assert done.returncode == 0, done.stderr
    assert (theirs / "work" / "out" / "kurz" / "report.html").is_file()


def test_a_working_folder_that_cannot_be_written_is_one_error(theirs: Path, nobody: int) -> None:
    for words in (
        ("study", "run", "kurz.toml", "--data", "optdigits"),
        ("lab", "--data", "optdigits"),
        ("gate", "run", "--data", "optdigits"),
        ("report",),
    ):
        home = {"HOME": "/nonexistent", "XDG_CACHE_HOME": ""}
        done = harness(theirs / "packages", *words, cwd=theirs / "work", user=nobody, **home)
        assert done.returncode in {2, 5}, (words, done.stdout, done.stderr)
        assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (theirs / "work").iterdir()) == ["kurz.toml"]
