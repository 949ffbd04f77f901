from __future__ import annotations

import numpy as np

from harness.data import digits as digits_module
from harness.data import optdigits as embedded
from harness.data import readers
from harness.data.digits import Digits


def test_there_are_500_images_of_each_digit(optdigits: Digits) -> None:
    assert optdigits.x.shape == (5000, 400)
    assert (np.bincount(optdigits.labels) == 500).all()
    assert (optdigits.labels == np.repeat(np.arange(10), 500)).all()


def test_building_gives_the_frozen_bytes() -> None:
    images, labels = embedded.build()
    built = digits_module.canonical(readers.unroll(images), labels, source="", where="")
    assert built.name == "optdigits-5000"
    assert built.sha256_x == "1df638f67c0977783f4bf5d97754feef6ce67d5cb1c35bcf31a521de9f76a8ad"


def test_values_lie_in_the_range_of_the_labs(optdigits: Digits) -> None:
    assert -0.25 < optdigits.x.min() < 0
    assert 1 < optdigits.x.max() < 1.25


def test_no_image_stands_there_twice(optdigits: Digits) -> None:
    assert len(np.unique(optdigits.x, axis=0)) == 5000


def test_the_first_of_each_digit_are_drawn_without_jitter() -> None:
    images, labels = embedded.build()
    first = images[labels == 7][0]
    # Without jitter the map is an even enlargement, and the page's middle is the source's: its mean survives.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    source = bunch.images[bunch.target == 7][0] / 16
    assert abs(first.sum() / (18 / 8) ** 2 - source.sum()) < 0.05 * source.sum()
