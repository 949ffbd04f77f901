"""Loads MNIST with Keras' loader, in a separate process so that this process does not load TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from harness.errors import DataError, ExitStatus

# Where keras.datasets.mnist fetches its file from (keras/src/datasets/mnist.py): asked only whether it answers, so
# that a machine without network is told at once and not after TensorFlow's import and a download's patience.
_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_PROBE_S = 5.0
_LOADER_S = 180.0
_LOADER = """
import sys
import numpy
from keras.datasets import mnist
(x_train, y_train), _ = mnist.load_data()
numpy.savez(sys.argv[1], x_train=x_train, y_train=y_train)
"""
_REMEDY = "Give a copy of MNIST (--data mnist.npz), or run once with network access."


class NoNetworkError(DataError):
    """MNIST is on another machine, which does not answer."""

    exit_status = ExitStatus.ENVIRONMENT


def keras_mnist(folder: Path) -> Path:
    """Have Keras load MNIST, from its own cache or the network, and leave the training images in ``folder``.

    Returns:
        the path of an ``mnist.npz`` with ``x_train`` and ``y_train``.

    Raises:
        DataError: Keras could not load it; without network this takes at most about five seconds.
    """
    if not _keras_cache().is_file() and not _origin_answers():
        raise NoNetworkError("MNIST is not on this machine and its server does not answer", _REMEDY)
    path = folder / "mnist.npz"
    command = [sys.executable, "-c", _LOADER, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LOADER_S, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"Keras' MNIST loader did not finish within {_LOADER_S:.0f} s", _REMEDY) from None
    if done.returncode != 0 or not path.is_file():
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise DataError(f"Keras' MNIST loader failed: {last[0]}", _REMEDY)
    return path


def _keras_cache() -> Path:
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "datasets" / "mnist.npz"


def _origin_answers() -> bool:
    """Whether the server answers in time; a name look-up knows no time limit, so it waits in a thread of its own."""
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
