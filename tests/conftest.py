"""What tests share: the images, engines, and a machine that is only theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from harness.data import digits as digits_module
from harness.data.digits import Digits
from harness.engines import registry, tensorflow_setup
from harness.engines.contract import Engine
from tests import warm
from tests.browser import chromium
from tests.change import draw_nothing
from tests.services import mlflow_server
from tests.shared import Shared, run_folder
from tests.support import SMALL_STUDY, STANDIN, STANDIN_PATH, Harness, Started
from tests.torture import Doomed

MNIST = "HARNESS_TEST_MNIST"


@pytest.fixture(scope="session", autouse=True)
def _own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No cache, setting or network of this machine: every test starts as a new user without a network does."""
    shared = run_folder(tmp_path_factory)
    patch = pytest.MonkeyPatch()
    for name in ("HARNESS_DATA", "MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE"):
        patch.delenv(name, raising=False)
    patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    patch.setenv("KERAS_HOME", str(shared / "keras"))
    # Nobody listens there, so whatever would go out fails at once, here and in every process that a test starts.
    for name in ("http_proxy", "https_proxy"):
        patch.setenv(name, "http://127.0.0.1:9")
    patch.setenv("no_proxy", "127.0.0.1,localhost")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def tensorflow() -> None:
    """TensorFlow as engines start it, for tests that use it before an engine does."""
    tensorflow_setup.start()


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The path of real MNIST."""
    named = os.environ.get(MNIST)
    if not named:
        pytest.skip(f"needs the lab's images: {MNIST} does not name an mnist.npz")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def lab(mnist: Path) -> Digits:
    """The lab's images."""
    return digits_module.load(str(mnist))


@pytest.fixture(scope="session")
def optdigits() -> Digits:
    """The embedded default."""
    return digits_module.load(digits_module.OPTDIGITS)


@pytest.fixture(scope="session")
def digits() -> Digits:
    """The lab's images where they can be had, else the embedded default."""
    return digits_module.load(os.environ.get(MNIST) or digits_module.OPTDIGITS)


@pytest.fixture(scope="session")
def chosen(digits: Digits, shared: Shared) -> tuple[str, str]:
    """The option that asks for the images of the fixture ``digits``, from files that are read in no time."""

    def make(folder: Path) -> None:
        np.save(folder / "X.npy", digits.x)
        np.save(folder / "y.npy", digits.y)

    return "--data", str(shared.folder("images", make))


@pytest.fixture(scope="session", params=registry.NAMES)
def engine(request: pytest.FixtureRequest, digits: Digits) -> Engine:
    """Each engine in turn."""
    return registry.make(request.param, digits)


@pytest.fixture(scope="session")
def graph(digits: Digits) -> Engine:
    """The reference engine."""
    return registry.make("graph", digits)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server, with a database and artifacts of its own."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Makes a folder once for all processes of this run."""
    return Shared(run_folder(tmp_path_factory))


@pytest.fixture(scope="session")
def whole_grid(shared: Shared) -> Doomed:
    """A grid that was run to its end by the stand-in engine. Read it, or copy it."""
    return shared.doomed("grid")


@pytest.fixture(scope="session")
def whole_search(shared: Shared) -> Doomed:
    """A search that was run to its end by the stand-in engine. Read it, or copy it."""
    return shared.doomed("sampled")


@pytest.fixture(scope="session")
def whole_study(shared: Shared) -> Path:
    """A folder in which the small study was run to its end by real workers. Read it, or copy it."""

    def make(folder: Path) -> None:
        (folder / "small.toml").write_text(SMALL_STUDY)
        arguments = ["study", "run", "small.toml", "--workers", "2", "--data", "optdigits"]
        done = warm.run(arguments, folder, os.environ, folder)
        assert done.returncode == 0, done.stderr

    return shared.folder("study", make)


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that the test starts find the engine that stands in for a real one."""
    monkeypatch.setenv("PYTHONPATH", STANDIN_PATH)
    # Workers that this process starts take its path; last, so that its TensorFlow is the real one all the same.
    monkeypatch.setattr(sys, "path", [*sys.path, str(STANDIN)])


@pytest.fixture
def started(standin: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:  # noqa: ARG001 - its engine
    """Knows which processes have begun a training with the stand-in engine."""
    path = tmp_path / "started"
    monkeypatch.setenv("STANDIN_STARTED", str(path))
    return Started(path)


@pytest.fixture
def harness(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Run the command ``harness`` in a folder of the test's own, as a user does. Its figures are empty by default."""

    def run(
        *arguments: str, cwd: Path = tmp_path, draws: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        change = None if draws else draw_nothing
        return warm.run(arguments, cwd, {**os.environ, **environment}, tmp_path_factory.mktemp("printed"), change)

    return run
