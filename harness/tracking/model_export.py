"""Writes Keras models in MLflow's format.

This module imports Keras, which takes seconds. Only the process of :mod:`harness.tracking.model_process` imports it.
"""

from __future__ import annotations

from importlib import metadata

import keras
import mlflow.keras
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

from harness.engines.history import wrong_images
from harness.network.keras_model import build
from harness.network.variant import N_CLASSES, N_FEATURES
from harness.tracking.model_spec import ModelSpec

_EXAMPLES = 3
_NEEDED = ("mlflow", "keras", "tensorflow", "numpy")


def save(spec: ModelSpec, features: NDArray[np.float32], labels: NDArray[np.uint8]) -> int | str:
    """Write a Keras model in MLflow's format, and count the images that the model classifies incorrectly.

    Args:
        spec: Model to write.
        features: Images, ``(5000, 400)``.
        labels: Digit of each image, ``(5000,)``.

    Returns:
        The number of images that the model classifies incorrectly. If the model cannot be written, the reason as text.
    """
    try:
        model = build(spec.layers, spec.softmax)
        model.set_weights(list(spec.weights))
        wrong = wrong_images(np.asarray(model(features, training=False)), labels)
        _write(model, spec, features[:_EXAMPLES])
    except Exception as error:  # noqa: BLE001 - a model is optional, so every error is returned as text
        return f"{type(error).__name__}: {error}"
    return len(wrong)


def _write(model: keras.Model, spec: ModelSpec, examples: NDArray[np.float32]) -> None:
    described = Model(artifact_path=spec.location, run_id=spec.run_id, model_id=spec.model_id)
    spec.path.mkdir()  # MLflow expects this folder to exist when it writes the input example.
    mlflow.keras.save_model(
        model,
        str(spec.path),
        mlflow_model=described,
        signature=ModelSignature(_tensor(N_FEATURES), _tensor(N_CLASSES)),
        input_example=examples,
        # Without this list, MLflow loads the model in another process to find the required packages. That takes 6
        # seconds.
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in _NEEDED],
    )


def _tensor(width: int) -> Schema:
    return Schema([TensorSpec(np.dtype(np.float32), (-1, width))])
