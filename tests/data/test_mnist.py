from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import mnist, readers
from harness.errors import DataError

# Stands in for Keras, whose own loader needs the network: the same call, in the same process of its own.
KERAS = """
import numpy, pathlib
def load_data():
    {body}
    train = numpy.zeros((5000, 28, 28), numpy.uint8), numpy.repeat(numpy.arange(10), 500)
    return train, train
"""


class Answers(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        monkeypatch.setattr(mnist, "_ORIGIN", f"http://127.0.0.1:{listening.server_port}/mnist.npz")
        yield
        listening.shutdown()
        thread.join()


def fake_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str = "pass") -> None:
    datasets = tmp_path / "fake" / "keras" / "datasets"
    datasets.mkdir(parents=True)
    (datasets.parent / "__init__.py").touch()
    (datasets / "__init__.py").touch()
    (datasets / "mnist.py").write_text(KERAS.format(body=body))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))


@pytest.mark.usefixtures("server")
def test_what_keras_loads_is_left_as_an_mnist_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_keras(tmp_path, monkeypatch)
    x, y = readers.read(mnist.keras_mnist(tmp_path))
    assert x.shape == (5000, 400)
    assert (np.bincount(y) == 500).all()


def test_a_file_in_keras_own_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_keras(tmp_path, monkeypatch)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "datasets").mkdir(parents=True)
    (tmp_path / "home" / "datasets" / "mnist.npz").touch()
    assert mnist.keras_mnist(tmp_path).is_file()


@pytest.mark.usefixtures("server")
def test_keras_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_keras(tmp_path, monkeypatch, 'raise OSError("the line went dead")')
    with pytest.raises(DataError, match="Keras' MNIST loader failed: OSError: the line went dead"):
        mnist.keras_mnist(tmp_path)


@pytest.mark.usefixtures("server")
def test_a_loader_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_keras(tmp_path, monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(mnist, "_LOADER_S", 1.0)
    with pytest.raises(DataError, match="did not finish within 1 s"):
        mnist.keras_mnist(tmp_path)


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(mnist.NoNetworkError):
        mnist.keras_mnist(tmp_path)
