"""Writes the Keras models of a study in a separate process.

Neither the main process nor a worker can write the models. The main process does not load TensorFlow. The workers end
before the best runs are known.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

import numpy as np

from harness import startup
from harness.data.digits import Digits
from harness.engines import registry
from harness.tracking.model_spec import ModelSpec
from harness.workers import processes
from harness.workers.processes import Child

_TIME_LIMIT_S = 120
_IMAGES = "images.npz"


class ModelProcess:
    """A process that writes models to a temporary folder.

    At its start, the process loads Keras and MLflow, which takes seconds. Start the process as soon as a core is idle.

    Args:
        folder: Folder in which the temporary folder is created. A temporary folder of a killed process is deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = (folder / ".models").absolute()
        self._starting = Thread(target=self._start, daemon=True)
        self._exchanging = Thread()
        self._child: Child | None = None
        self._results: dict[str, int | str] = {}
        self._failure = f"the model was not written within {_TIME_LIMIT_S} s"

    def start(self) -> None:
        """Start the process in the background, unless it is already started."""
        if self._starting.ident is None:
            self._starting.start()

    def _start(self) -> None:
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self._child = processes.start("keras", _run, self.folder / "log")
        except OSError as error:
            self._failure = f"the process that writes the models cannot be started: {error}"

    def send(self, digits: Digits, specs: list[ModelSpec]) -> None:
        """Send models to the process, which writes them in the background. Call :meth:`wait` to get the results."""
        self.start()
        self._exchanging = Thread(target=self._exchange, args=(digits, specs), daemon=True)
        self._exchanging.start()

    def _exchange(self, digits: Digits, specs: list[ModelSpec]) -> None:
        self._starting.join()
        if self._child is not None:
            try:
                # Pass the images in a file. Sending them through the connection would copy them twice in memory.
                np.savez(self.folder / _IMAGES, features=digits.features, labels=digits.labels)
                self._child.connection.send((self.folder / _IMAGES, specs))
                self._results = self._child.connection.recv()
            except (EOFError, OSError):
                self._failure = _last_line(self.folder / "log")

    def wait(self, specs: list[ModelSpec]) -> dict[str, int | str]:
        """Wait until the process has written the models, for at most `_TIME_LIMIT_S` seconds.

        Returns:
            One result for each run id. It is the number of images that the model classifies incorrectly, or the reason
            why the model was not written.
        """
        self._exchanging.join(_TIME_LIMIT_S)
        return {spec.run_id: self._results.get(spec.run_id, self._failure) for spec in specs}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.end()
        if self._starting.ident is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1] if lines else "the process that writes the models ended"


def _run(connection: Connection, log: Path) -> None:
    """Run the process: load Keras and MLflow, receive the models, write them, and send the results."""
    processes.begin()
    with log.open("wb") as stream:
        for output in (1, 2):
            os.dup2(stream.fileno(), output)
    startup.reduce_garbage_collection()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # Hide the GPU: the models are small, and the workers may use the GPU.
    registry.start("keras")
    from harness.tracking import model_export  # imports Keras, which takes seconds

    with suppress(EOFError):
        path, specs = connection.recv()
        with np.load(path) as images:
            features, labels = images["features"], images["labels"]
        connection.send({spec.run_id: model_export.save(spec, features, labels) for spec in specs})
