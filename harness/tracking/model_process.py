"""The process that writes the Keras models of a study.

The process that runs a study does not load TensorFlow, and its workers have ended before the best runs are known.
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
    """A process that writes models in a temporary folder.

    It loads Keras and MLflow when it starts, which takes seconds. So it is started as soon as a core is idle.

    Args:
        folder: Folder in which the temporary folder is created. The files of a killed process are deleted from it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = (folder / ".models").absolute()
        self._starting = Thread(target=self._start, daemon=True)
        self._exchanging = Thread()
        self._child: Child | None = None
        self._results: dict[str, int | str] = {}
        self._failure = f"it was not written within {_TIME_LIMIT_S} s"

    def start(self) -> None:
        """Start the process in the background, if it has not been started."""
        if self._starting.ident is None:
            self._starting.start()

    def _start(self) -> None:
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self._child = processes.start("keras", _run, self.folder / "log")
        except OSError as error:
            self._failure = f"the process that writes it cannot be started: {error}"

    def send(self, digits: Digits, specs: list[ModelSpec]) -> None:
        """Send models to the process, which writes them in the background. Call :meth:`wait` next."""
        self.start()
        self._exchanging = Thread(target=self._exchange, args=(digits, specs), daemon=True)
        self._exchanging.start()

    def _exchange(self, digits: Digits, specs: list[ModelSpec]) -> None:
        self._starting.join()
        if self._child is not None:
            try:
                # A file, because sending the images would copy them twice in memory.
                np.savez(self.folder / _IMAGES, features=digits.features, labels=digits.labels)
                self._child.connection.send((self.folder / _IMAGES, specs))
                self._results = self._child.connection.recv()
            except (EOFError, OSError):
                self._failure = _last_line(self.folder / "log")

    def wait(self, specs: list[ModelSpec]) -> dict[str, int | str]:
        """Wait for the models that were sent.

        Returns:
            For each run id: the number of images that its model misclassifies, or the reason why the model was not
            written.
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
    return lines[-1] if lines else "the process that writes it ended"


def _run(connection: Connection, log: Path) -> None:
    """Run the process: load what takes seconds, receive the models, write them, and send the results."""
    processes.begin()
    with log.open("wb") as stream:
        for output in (1, 2):
            os.dup2(stream.fileno(), output)
    startup.reduce_garbage_collection()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # a model is small, and the workers may use the GPU
    registry.start("keras")
    from harness.tracking import model_export  # it imports Keras

    with suppress(EOFError):
        path, specs = connection.recv()
        with np.load(path) as images:
            features, labels = images["features"], images["labels"]
        connection.send({spec.run_id: model_export.save(spec, features, labels) for spec in specs})
