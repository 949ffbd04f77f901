"""What tests share: the images, engines, and a machine that is only theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from harness import digits as digits_module
from harness import engines
from harness.digits import Digits
from harness.engines import runtime
from harness.engines.contract import Engine
from tests import warm
from tests.browser import chromium
from tests.services import mlflow_server
from tests.support import STANDIN, STANDIN_PATH, Harness

MNIST = "HARNESS_TEST_MNIST"

# The files that take longest. They begin first: one that begins last leaves the other cores with nothing to do.
LONGEST = (
    *("test_cluster.py", "test_lab_log.py", "test_torture.py", "test_many_machines.py", "test_search.py"),
    *("test_conformance.py", "test_cli.py", "test_faults.py", "test_overview.py", "test_xla.py", "test_workers.py"),
    *("test_matrix.py", "test_convergence.py", "test_power.py", "test_record.py"),
    *("test_interrupts.py", "test_whole.py", "test_claims.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that take longest begin first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session", autouse=True)
def _own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No cache, setting or network of this machine: every test starts as a new user without a network does."""
    shared = tmp_path_factory.getbasetemp().parent
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
    runtime.start()


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
def chosen() -> tuple[str, str]:
    """The option that asks for the images of the fixture ``digits``."""
    return "--data", os.environ.get(MNIST) or "optdigits"


@pytest.fixture(scope="session", params=engines.NAMES)
def engine(request: pytest.FixtureRequest, digits: Digits) -> Engine:
    """Each engine in turn."""
    return engines.make(request.param, digits)


@pytest.fixture(scope="session")
def graph(digits: Digits) -> Engine:
    """The reference engine."""
    return engines.make("graph", digits)


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


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that the test starts find the engine that stands in for a real one."""
    monkeypatch.setenv("PYTHONPATH", STANDIN_PATH)
    # Workers that this process starts take its path; last, so that its TensorFlow is the real one all the same.
    monkeypatch.setattr(sys, "path", [*sys.path, str(STANDIN)])


@pytest.fixture
def harness(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Run the command ``harness`` in a folder of the test's own, as a user does."""

    def run(*arguments: str, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        return warm.run(arguments, cwd, {**os.environ, **environment}, tmp_path_factory.mktemp("printed"))

    return run
