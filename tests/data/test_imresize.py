from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from harness.data.imresize import imresize

# A sum of 64 products of numbers up to about 1, each rounded to float64, and the one weight that is an ulp off.
TOLERANCE = 1e-13

images = npst.arrays(np.float64, (1, 28, 28), elements=st.floats(0, 1, width=32))


def test_a_blank_page_stays_as_bright_as_it_was() -> None:
    page = np.full((1, 28, 28), 0.25)
    assert np.abs(imresize(page) - 0.25).max() < TOLERANCE


@given(images)
def test_turning_a_page_upside_down_turns_its_picture_upside_down(page: NDArray[np.float64]) -> None:
    assert np.abs(imresize(page[:, ::-1]) - imresize(page)[:, ::-1]).max() < TOLERANCE
    assert np.abs(imresize(page[:, :, ::-1]) - imresize(page)[:, :, ::-1]).max() < TOLERANCE


@given(images, images)
def test_resizing_is_linear(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    together = imresize(first + second)
    assert np.abs(together - imresize(first) - imresize(second)).max() < TOLERANCE


def test_a_bright_pixel_stays_where_it_was() -> None:
    page = np.zeros((1, 28, 28))
    page[0, 7, 21] = 1.0
    small = imresize(page)[0]
    assert np.unravel_index(small.argmax(), small.shape) == (5, 15)


def test_an_image_does_not_depend_on_the_others() -> None:
    pages = np.random.default_rng(0).random((3, 28, 28))
    assert (imresize(pages)[1] == imresize(pages[1:2])[0]).all()
