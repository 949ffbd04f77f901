from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import mnist, readers
from harness.errors import DataError


def file_of_mnist() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x_train=np.zeros((5000, 28, 28), np.uint8), y_train=np.repeat(np.arange(10), 500))
    return stream.getvalue()


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """A server on this machine in place of Keras', and the file that it has."""
    file = file_of_mnist()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(file)))
            self.end_headers()
            self.wfile.write(file)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(mnist, "_ORIGIN", f"http://127.0.0.1:{server.server_port}/mnist.npz")
        yield file
        server.shutdown()
        thread.join()


def test_a_download_is_an_mnist_file(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_SHA256", hashlib.sha256(content).hexdigest())
    found = readers.read(mnist.find(tmp_path))
    assert found.x.shape == (5000, 400)
    assert (np.bincount(found.y) == 500).all()


@pytest.mark.usefixtures("content")
def test_a_download_with_another_hash_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the download of MNIST failed: .*hash"):
        mnist.find(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_keras_own_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    cached = tmp_path / "datasets" / "mnist.npz"
    cached.parent.mkdir()
    cached.write_bytes(file_of_mnist())
    assert mnist.find(tmp_path / "unused") == cached
    assert cached.read_bytes() == file_of_mnist()


def test_a_server_that_goes_away_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_origin_answers", lambda: True)
    monkeypatch.setattr(mnist, "_ORIGIN", "http://127.0.0.1:9/mnist.npz")
    with pytest.raises(DataError, match="the download of MNIST failed"):
        mnist.find(tmp_path)


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(mnist.NoNetworkError):
        mnist.find(tmp_path)
