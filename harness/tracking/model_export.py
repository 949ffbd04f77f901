"""Writes Keras models with recorded weights in MLflow's format.

It runs as a separate process: ``python -m harness.tracking.model_export FOLDER``. The process that runs a study does
not load TensorFlow, and its workers have ended before the best runs are known.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

from harness import startup

startup.reduce_garbage_collection()

# Configuring the garbage collector before these imports saves a fifth of the time.
import keras  # noqa: E402 - as above
import mlflow.keras  # noqa: E402
import numpy as np  # noqa: E402
from mlflow.models import Model, ModelSignature  # noqa: E402
from mlflow.types import Schema, TensorSpec  # noqa: E402

from harness.engines.history import wrong_images  # noqa: E402
from harness.network.keras_model import build  # noqa: E402
from harness.network.variant import N_CLASSES, N_FEATURES  # noqa: E402

# The names of the files and folders in the folder that `main` receives.
IMAGES, ASKED, WEIGHTS, MODEL, WRONG = "images.npz", "asked.json", "weights.npz", "model", "wrong.json"
_EXAMPLES = 3
_NEEDED = ("mlflow", "keras", "tensorflow", "numpy")


def main(folder: Path) -> None:
    """Save a Keras model for each folder in ``folder`` that describes one.

    Args:
        folder: Folder with ``images.npz`` (arrays ``features`` and ``labels``) and one folder for each model. The
            folder of a model contains ``weights.npz`` and ``asked.json``, which holds the layers, the place of the
            softmax, the ids of the model and its run in MLflow, and the location of the artifacts. This function adds
            ``model``, the saved model, and ``wrong.json``, the number of images that the model classifies wrongly.
    """
    with np.load(folder / IMAGES) as images:
        features, labels = images["features"], images["labels"]
    for path in sorted(folder.glob(f"*/{ASKED}")):
        asked = json.loads(path.read_text())
        model = build(tuple(asked["layers"]), asked["softmax"])
        with np.load(path.with_name(WEIGHTS)) as weights:
            model.set_weights([weights[name] for name in weights.files])
        wrong = wrong_images(np.asarray(model(features, training=False)), labels)
        _save(model, path.with_name(MODEL), asked, features[:_EXAMPLES])
        path.with_name(WRONG).write_text(json.dumps(len(wrong)))


def _save(model: keras.Model, path: Path, asked: dict[str, str], examples: np.ndarray) -> None:
    described = Model(artifact_path=asked["location"], run_id=asked["run_id"], model_id=asked["model_id"])
    path.mkdir()  # MLflow writes the input example to this folder before it creates the folder
    mlflow.keras.save_model(
        model,
        str(path),
        mlflow_model=described,
        signature=ModelSignature(_tensor(N_FEATURES), _tensor(N_CLASSES)),
        input_example=examples,
        # Without this list, MLflow loads the model in another process to find the requirements. That takes six seconds.
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in _NEEDED],
    )


def _tensor(width: int) -> Schema:
    return Schema([TensorSpec(np.dtype(np.float32), (-1, width))])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
