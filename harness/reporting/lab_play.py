"""The data of the lab's interactive parts: the trained network, some images, and the training epoch by epoch."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import imresize
from harness.engines.history import wrong_images
from harness.engines.training import LAB_IMAGE_OF_TWO
from harness.lab.results import Lab
from harness.network.softmax import my_softmax_stable
from harness.reporting import display

_MNIST_SIDE, _SIDE = 28, 20
# The number of wrong images that are shown for an epoch.
_SHOWN = 24


def data(lab: Lab) -> dict[str, Any]:
    """The data as plain values for JSON. Arrays are base64 of little-endian bytes, to keep the page small."""
    chosen = display.sample()
    return {
        "layers": [lab.digits.features.shape[1], *lab.history.variant.layers],
        "weights": _floats(np.concatenate([weight.ravel() for weight in lab.history.final.weights])),
        "images": _floats(lab.digits.features[chosen]),
        "labels": lab.digits.labels[chosen].tolist(),
        "resize": _resize(),
        "epochs": _epochs(lab),
    }


def _resize() -> dict[str, Any]:
    """The weights and input pixels that resize a drawing like MNIST's images, ``(20, taps)``."""
    weights, positions = imresize.weights(_MNIST_SIDE, _SIDE)
    return {"weights": weights.tolist(), "positions": positions.tolist()}


def _epochs(lab: Lab) -> dict[str, Any]:
    """Loss, error count, the prediction of the lab's image of a two, and the first wrong images after each epoch."""
    history, labels = lab.history, lab.digits.labels
    logits = [history.snapshots[epoch].logits for epoch in range(1, history.variant.epochs + 1)]
    wrong = [wrong_images(one, labels)[:_SHOWN] for one in logits]
    used = sorted({int(index) for one in wrong for index in one})
    place = {index: number for number, index in enumerate(used)}
    greys = np.rint(lab.digits.x[used].clip(0, 1) * 255).astype(np.uint8)
    two = np.array([one[LAB_IMAGE_OF_TWO] for one in logits], np.float64)
    return {
        "losses": history.losses.tolist(),
        "errors": history.errors.tolist(),
        "two": {"logits": two.tolist(), "probabilities": my_softmax_stable(two).tolist()},
        "greys": base64.b64encode(np.ascontiguousarray(greys).tobytes()).decode(),
        "labels": labels[used].tolist(),
        "wrong": [
            [[place[int(index)], int(one[index].argmax())] for index in indices]
            for one, indices in zip(logits, wrong, strict=True)
        ],
    }


def _floats(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
