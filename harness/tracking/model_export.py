"""Writes Keras models of recorded weights in MLflow's format: the process ``python -m harness.tracking.model_export``.

The process that runs a study does not load TensorFlow, and its workers are gone when it is known which runs are best.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

from harness import startup

startup.reduce_garbage_collection()

# Setting the garbage collector before these imports saves a fifth of the time.
import keras  # noqa: E402 - as above
import mlflow.keras  # noqa: E402
import numpy as np  # noqa: E402
from mlflow.models import Model, ModelSignature  # noqa: E402
from mlflow.types import Schema, TensorSpec  # noqa: E402

from harness.engines.history import wrong_images  # noqa: E402
from harness.network.keras_model import build  # noqa: E402
from harness.network.variant import N_CLASSES, N_FEATURES  # noqa: E402

# By which names the folder that the process is given has things; see `main`.
IMAGES, ASKED, WEIGHTS, MODEL, WRONG = "images.npz", "asked.json", "weights.npz", "model", "wrong.json"
_EXAMPLES = 3
_NEEDED = ("mlflow", "keras", "tensorflow", "numpy")


def main(folder: Path) -> None:
    """Save a model for each folder in ``folder`` that has weights.

    Args:
        folder: has ``images.npz`` (``features`` and ``labels``), and a folder for each model with ``asked.json`` (its
            layers, where the softmax is, its id in MLflow, its run's id and where its artifacts will be) and
            ``weights.npz``. There ``model`` is left, and ``wrong.json``: how many images it has wrong.
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
    path.mkdir()  # MLflow leaves the example in it before it makes it
    mlflow.keras.save_model(
        model,
        str(path),
        mlflow_model=described,
        signature=ModelSignature(_tensor(N_FEATURES), _tensor(N_CLASSES)),
        input_example=examples,
        # Named, because MLflow would find them out by loading the model in another process: six seconds.
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in _NEEDED],
    )


def _tensor(width: int) -> Schema:
    return Schema([TensorSpec(np.dtype(np.float32), (-1, width))])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
