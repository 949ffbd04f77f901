"""Specifies a Keras model that is to be written in MLflow's format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.network.variant import SoftmaxPlace


@dataclass(frozen=True)
class ModelSpec:
    """A Keras model to write in MLflow's format.

    Attributes:
        layers: Number of units in each layer.
        softmax: Position of the softmax; see :class:`harness.network.variant.Variant`.
        weights: Kernel and bias of each layer.
        run_id: Id of the run that trained the model.
        model_id: Id of the logged model in MLflow.
        location: Artifact location of the logged model in MLflow.
        path: Folder to which the model is written.
    """

    layers: tuple[int, ...]
    softmax: SoftmaxPlace
    weights: tuple[NDArray[np.float32], ...]
    run_id: str
    model_id: str
    location: str
    path: Path
