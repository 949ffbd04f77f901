"""Finds MNIST in Keras' cache, or downloads it from Keras' server and checks its hash."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from harness.errors import DataError, ExitStatus, first_line

# The URL and the SHA-256 of the file that keras.datasets.mnist downloads. Source: keras/src/datasets/mnist.py.
_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
# Timeout, in seconds, of the request that checks whether the server responds.
_PROBE_S = 5.0
_READ_S = 60.0
_REMEDY = "Give a copy of MNIST (--data mnist.npz), or run once with network access."


class NoNetworkError(DataError):
    """MNIST is not on this machine, and its server does not respond."""

    exit_status = ExitStatus.ENVIRONMENT


def keras_cache() -> Path:
    """Return the path where Keras stores MNIST. The file may not exist."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / "mnist.npz"


def find(folder: Path) -> Path:
    """Find MNIST in Keras' cache, or download it to a folder.

    Args:
        folder: Folder that receives the download.

    Returns:
        The path of ``mnist.npz``.

    Raises:
        DataError: The download fails, or the file has another hash.
        NoNetworkError: The server does not respond within five seconds.
    """
    cached = keras_cache()
    if cached.is_file():
        return cached
    if not _origin_answers():
        raise NoNetworkError("MNIST is not on this machine and its server does not respond", _REMEDY)
    # Import these packages only for a download. The imports take 30 ms, and pooch prints a warning in notebooks.
    import pooch  # type: ignore[import-untyped] # pooch has no type hints
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(timeout=_READ_S)
    try:
        found = pooch.retrieve(_ORIGIN, f"sha256:{_SHA256}", "mnist.npz", folder, downloader=downloader)
    except (OSError, ValueError, RequestException) as error:
        raise DataError(f"the download of MNIST failed: {first_line(error)}", _REMEDY) from error
    return Path(found)


def _origin_answers() -> bool:
    """Return whether the server responds in time. A thread sends the request, because DNS look-ups have no timeout."""
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(_ORIGIN, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_PROBE_S):  # noqa: S310
                answers.append(True)
        except (urllib.error.URLError, OSError, HTTPException):
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_S)
    return answers == [True]
