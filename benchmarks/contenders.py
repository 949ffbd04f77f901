"""Contenders that train the lab's network: the engines of this project, and other libraries.

This script runs in separate processes, so that libraries do not affect each other and can use different Python
interpreters. It reads the name of a contender from each line of standard input. It then calls the contender once, and
prints one line of JSON: the duration of the call in seconds, or the reason why the contender cannot be measured. The
script imports modules of this project only for contenders that need them.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Call = Callable[[], object]


def engine(name: str, width: int, work: Arrays) -> Call:
    """Return a function that trains ``width`` variants in one call of an engine."""
    from harness.data.digits import Digits
    from harness.engines import registry
    from harness.engines.contract import Engine
    from harness.network.variant import Variant

    digits = Digits(work["x"], work["y"], "benchmark", "benchmark", "", "")
    trained: Engine
    if name == "xla":
        registry.start(name)
        from harness.engines.xla import XlaEngine

        trained = XlaEngine(digits, width)
    else:
        trained = registry.make(name, digits)
    epochs = work["orders"].shape[1]
    variants = [Variant(epochs=epochs, seed=seed, adam=registry.baseline(name).adam) for seed in range(width)]
    return lambda: trained.train(variants)


def fit(work: Arrays) -> Call:
    """Return a function that trains with Keras as in its guides: default ``fit``, and a callback that counts errors."""
    from harness.engines import tensorflow_setup

    tensorflow_setup.start()
    import keras

    features, labels = work["features"], work["labels"]

    class Count(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        """Counts errors after each epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[int] = []

        def on_epoch_end(self, epoch: int, logs: object) -> None:
            """Count the errors. Keras defines the signature."""
            del epoch, logs
            logits = self.model.predict(features, batch_size=len(features), verbose=0)
            self.errors.append(int((logits.argmax(axis=1) != labels).sum()))

    def call() -> list[int]:
        hidden = [keras.layers.Dense(units, activation="relu") for units in (25, 15)]
        model = keras.Sequential([keras.Input((400,)), *hidden, keras.layers.Dense(10)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(loss=loss, optimizer=keras.optimizers.Adam(0.001))
        count, epochs = Count(), work["orders"].shape[1]
        model.fit(features, labels, batch_size=32, epochs=epochs, verbose=0, callbacks=[count])
        return count.errors

    return call


def sklearn(work: Arrays) -> Call:
    """Return a function that trains an ``MLPClassifier`` with the lab's settings.

    scikit-learn cannot count errors after each epoch, so this contender does not count them.
    """
    from sklearn.neural_network import MLPClassifier

    epochs = work["orders"].shape[1]
    settings: dict[str, Any] = {"solver": "adam", "alpha": 0.0, "batch_size": 32, "learning_rate_init": 0.001}
    classifier = MLPClassifier((25, 15), max_iter=epochs, n_iter_no_change=epochs + 1, random_state=1234, **settings)

    def call() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ignore the warning that the training has not converged
            classifier.fit(work["features"], work["labels"])

    return call


def torch(work: Arrays) -> Call:
    """Return a function that trains with PyTorch as in its tutorials, and counts errors after each epoch."""
    import torch as library

    library.set_num_threads(1)
    features, labels = (library.from_numpy(work[name]) for name in ("features", "labels"))
    orders = library.from_numpy(work["orders"][0].astype(np.int64))

    def call() -> list[int]:
        layers = [library.nn.Linear(400, 25), library.nn.ReLU(), library.nn.Linear(25, 15), library.nn.ReLU()]
        model = library.nn.Sequential(*layers, library.nn.Linear(15, 10))
        optimizer = library.optim.Adam(model.parameters(), lr=0.001, eps=1e-7)
        loss_of = library.nn.CrossEntropyLoss()
        errors = []
        for order in orders:
            for batch in order.split(32):
                optimizer.zero_grad()
                loss_of(model(features[batch]), labels[batch]).backward()
                optimizer.step()
            with library.no_grad():
                errors.append(int((model(features).argmax(1) != labels).sum()))
        return errors

    return call


def jax(work: Arrays) -> Call:
    """Return a function that trains eight variants with JAX, and counts errors after each epoch.

    One compiled function trains an epoch: ``scan`` repeats the training step for the full batches, and the smaller last
    batch follows. ``vmap`` applies this function to all variants at once.
    """
    import jax as library
    import jax.numpy as jnp

    features, labels = jnp.array(work["features"]), jnp.array(work["labels"])
    orders = jnp.array(work["orders"][:8])

    def logits_of(weights: list[Any], images: Any) -> Any:  # noqa: ANN401 - an array of JAX
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            images = library.nn.relu(images @ kernel + bias)
        return images @ weights[-2] + weights[-1]

    def loss_of(weights: list[Any], batch: Any) -> Any:  # noqa: ANN401 - an array of JAX
        logarithms = library.nn.log_softmax(logits_of(weights, features[batch]))
        return -jnp.take_along_axis(logarithms, labels[batch][:, None], 1).mean()

    def train_batch(state: Any, batch: Any) -> tuple[Any, Any]:  # noqa: ANN401 - arrays of JAX
        weights, means, squares, step = state
        loss, gradients = library.value_and_grad(loss_of)(weights, batch)
        step += 1
        rate = 0.001 * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        means = [mean + (gradient - mean) * 0.1 for mean, gradient in zip(means, gradients, strict=True)]
        squares = [square + (gradient**2 - square) * 0.001 for square, gradient in zip(squares, gradients, strict=True)]
        moved = zip(weights, means, squares, strict=True)
        weights = [weight - rate * mean / (jnp.sqrt(square) + 1e-7) for weight, mean, square in moved]
        return (weights, means, squares, step), loss

    def train_epoch(state: Any, order: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - arrays of JAX
        state, losses = library.lax.scan(train_batch, state, order[:4992].reshape(156, 32))
        state, last = train_batch(state, order[4992:])
        errors = (logits_of(state[0], features).argmax(1) != labels).sum()
        return state, (losses.sum() * 32 + last * 8) / 5000, errors

    compiled = library.jit(library.vmap(train_epoch))

    def call() -> list[Any]:
        weights = [jnp.array(work[f"weights_{part}"][:8]) for part in range(6)]
        zeros = [jnp.zeros_like(weight) for weight in weights]
        state = (weights, zeros, zeros, jnp.zeros(8))
        counted = []
        for epoch in range(orders.shape[1]):
            state, _, errors = compiled(state, orders[:, epoch])
            counted.append(np.asarray(errors))
        return counted

    return call


def sgemm(_work: Arrays) -> Call:
    """Return a function that multiplies two 1024 x 1024 ``float32`` matrices with NumPy.

    The duration of this product shows how fast the core is at the time of the measurement.
    """
    matrix = np.random.default_rng(1).random((1024, 1024), np.float32)
    return lambda: matrix @ matrix


PREPARE: Mapping[str, Callable[[Arrays], Call]] = {
    "fit": fit,
    "sklearn": sklearn,
    "torch": torch,
    "jax": jax,
    "sgemm": sgemm,
}


def prepare(name: str, work: Arrays) -> Call:
    """Prepare a contender, and call it once, because the first call is slower. Return the function to time."""
    kind, _, width = name.partition(" ")
    call = PREPARE[kind](work) if kind in PREPARE else engine(kind, int(width or 1), work)
    call()
    return call


def main() -> None:
    """Read names of contenders from standard input, and print a line of JSON for each to standard output.

    Everything that libraries print goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        # Run all contenders on the same core, even if a library starts threads.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with np.load(sys.argv[1]) as file:
        work = {key: file[key] for key in file.files}
    ready: dict[str, Call] = {}
    for line in sys.stdin:
        name = line.strip()
        answer: dict[str, object] = {}
        try:
            if name not in ready:
                ready[name] = prepare(name, work)
            started = time.perf_counter()
            ready[name]()
            answer["duration_s"] = time.perf_counter() - started
        except Exception as error:  # noqa: BLE001 - if one library fails, still measure the others
            answer["missing"] = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
