"""A naive version of the default study: an Optuna objective, Keras' ``fit``, and MLflow's callback for Keras.

This script runs in its own process. It runs a few trials, and writes their durations in seconds to a JSON file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def main() -> None:
    """Run the trials.

    The command-line arguments are the NPZ file of the images, the JSON file to write, and the number of epochs of each
    trial.
    """
    import keras
    import mlflow
    import numpy as np
    import optuna

    with np.load(sys.argv[1]) as file:
        features, labels = file["features"], file["labels"]
    all_epochs = [int(epochs) for epochs in sys.argv[3:]]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_experiment("naive")
    durations_s: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        started = time.perf_counter()
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.number)
        learning_rate = trial.suggest_float("learning_rate", 0.0003, 0.01, log=True)
        dense: Any = keras.layers.Dense
        model = keras.Sequential([keras.Input((400,)), dense(25, "relu"), dense(15, "relu"), dense(10, "linear")])
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            optimizer=keras.optimizers.Adam(learning_rate),
        )
        with mlflow.start_run() as run:
            epochs = all_epochs[trial.number]
            mlflow.log_params({"epochs": epochs, "learning_rate": learning_rate})
            callback = mlflow.tensorflow.MlflowCallback(run)
            model.fit(features, labels, epochs=epochs, batch_size=32, verbose=0, callbacks=[callback])
            errors = int((model.predict(features, verbose=0).argmax(1) != labels).sum())
            mlflow.log_metric("errors", errors)
        durations_s.append(time.perf_counter() - started)
        return float(errors)

    study = optuna.create_study(storage="sqlite:///naive.db")
    study.optimize(objective, n_trials=len(all_epochs), catch=())
    Path(sys.argv[2]).write_text(json.dumps(durations_s))


if __name__ == "__main__":
    main()
