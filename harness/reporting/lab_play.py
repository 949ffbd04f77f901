"""The data of the lab's interactive parts: the trained network, digits to click, and the training epoch by epoch."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import imresize
from harness.data.held_out import Images
from harness.engines.history import wrong_images
from harness.engines.training import LAB_IMAGE_OF_TWO
from harness.lab.results import Lab
from harness.network.forward import forward
from harness.reporting import display
from harness.text import plural

_MNIST_SIDE, _SIDE, _DIGITS = 28, 20, 10
# The largest number of wrong images that the page shows: for one epoch, and for the table of confused digits.
_SHOWN, _CONFUSED = 64, 1000


@dataclass(frozen=True, eq=False)
class Confusion:
    """Which digits the network confuses with which. If the dataset has no held-out images, training images are used.

    Attributes:
        images: Held-out images, or training images.
        logits: Logits of these images, ``(n, 10)``, ``float32``.
        epochs: Number of epochs that the network was trained for.
        unseen: Whether the images are held out.
    """

    images: Images
    logits: NDArray[np.float32]
    epochs: int
    unseen: bool

    @classmethod
    def of(cls, lab: Lab) -> Confusion:
        """Return the confusion of held-out images after 100 epochs; without any, of training images after 40."""
        early, late = (state.epochs for state in lab.states)
        held_out = lab.digits.held_out
        if held_out is None:
            return cls(lab.digits, lab.history.snapshots[early].logits, early, unseen=False)
        with np.errstate(all="ignore"):  # a diverged network has logits that are not finite
            logits = forward(lab.history.snapshots[late].weights, held_out.features)[-1]
        return cls(held_out, logits, late, unseen=True)

    @property
    def wrong(self) -> NDArray[np.intp]:
        """Indices of the wrong images whose logits are finite."""
        wrong = wrong_images(self.logits, self.images.labels)
        return wrong[np.isfinite(self.logits[wrong]).all(axis=1)]

    def counts(self) -> NDArray[np.int64]:
        """The number of wrong images for each label and each predicted digit, ``(10, 10)``."""
        counts = np.zeros((_DIGITS, _DIGITS), np.int64)
        np.add.at(counts, (self.images.labels[self.wrong], self.logits[self.wrong].argmax(axis=1)), 1)
        return counts

    def content(self) -> dict[str, Any]:
        """The table of confused digits for the page, and the sentence above it."""
        counts = self.counts()
        images = (
            f"On {len(self.logits):,} images that the network has not seen"
            if self.unseen
            else f"On the {len(self.logits)} images that it learns from"
        )
        after = f"after {plural(self.epochs, 'epoch')}"
        if not counts.any():
            finite = np.isfinite(self.logits).all()
            what = "confuses no digits" if finite else "gives no answer, because its logits are not finite,"
            return {"sentence": f"{images}, the network {what} {after}.", "counts": []}
        both = np.triu(counts + counts.T)
        order = np.argsort(-both, axis=None, kind="stable")[:3]
        pairs = [(int(at) // _DIGITS, int(at) % _DIGITS) for at in order if both.flat[at]]
        listed = ", ".join(f"{one} and {other} ({both[one, other]})" for one, other in pairs)
        sentence = f"{images}, it gets {counts.sum()} wrong {after}. It confuses these digits most often: {listed}."
        one, other = pairs[0]
        first = (one, other) if counts[one, other] >= counts[other, one] else (other, one)
        return {"sentence": sentence, "counts": counts.tolist(), "most": int(counts.max()), "first": first}


def data(lab: Lab, confusion: Confusion) -> dict[str, Any]:
    """The data as plain values for JSON. Arrays are base64 of little-endian bytes, to keep the page small."""
    chosen = display.sample()
    shown = confusion.wrong[:_CONFUSED]
    final = lab.history.final
    return {
        "layers": [lab.digits.features.shape[1], *lab.history.variant.layers],
        "weights": _floats(np.concatenate([weight.ravel() for weight in final.weights])),
        "resize": _resize(),
        "samples": _digits(lab.digits, chosen, final.logits[chosen]),
        "confused": {**_digits(confusion.images, shown, confusion.logits[shown]), "epochs": confusion.epochs},
        "epochs": _epochs(lab),
    }


def _resize() -> dict[str, Any]:
    """What the page needs to resize a drawing from 28 x 28 to 20 x 20 pixels, as the lab's images were resized.

    Each of the 20 pixels of a resized row is a weighted sum of 8 pixels. The result has the weights and the positions
    of these pixels, ``(20, 8)`` each.
    """
    weights, positions = imresize.weights(_MNIST_SIDE, _SIDE)
    return {"weights": weights.tolist(), "positions": positions.tolist()}


def _epochs(lab: Lab) -> dict[str, Any]:
    """For each epoch: loss, error count, logits of the lab's image of a two, and at most 64 of the wrong images."""
    history, digits = lab.history, lab.digits
    logits = [history.snapshots[epoch].logits for epoch in range(1, history.variant.epochs + 1)]
    wrong = [_spread(wrong_images(one, digits.labels)) for one in logits]
    used = np.unique(np.concatenate(wrong))
    return {
        "losses": history.losses.tolist(),
        "errors": history.errors.tolist(),
        "two": _digits(digits, [LAB_IMAGE_OF_TWO], np.array([one[LAB_IMAGE_OF_TWO] for one in logits])),
        "wrong": [np.searchsorted(used, indices).tolist() for indices in wrong],
        **_digits(digits, used, np.concatenate([one[indices] for one, indices in zip(logits, wrong, strict=True)])),
    }


def _spread(indices: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most 64 of the indices, evenly spaced. Since the images are sorted by digit, all digits are represented."""
    if len(indices) <= _SHOWN:
        return indices
    places = np.linspace(0, len(indices) - 1, _SHOWN).round().astype(np.intp)
    return np.take(indices, places)


def _digits(images: Images, indices: Any, logits: NDArray[np.float32]) -> dict[str, Any]:  # noqa: ANN401 - any index
    """The grey values (0 to 255) and labels of the images at these indices, with the logits that were passed in."""
    greys = np.rint(images.x[indices].clip(0, 1) * 255).astype(np.uint8)
    packed = base64.b64encode(np.ascontiguousarray(greys).tobytes()).decode()
    return {"greys": packed, "labels": images.labels[indices].tolist(), "logits": _floats(logits)}


def _floats(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
