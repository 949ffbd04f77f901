"""The held-out images: where they come from, what proves them, and which images have none."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from harness.data import digits as digits_module
from harness.data import held_out
from tests.support import ROOT


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def sha256(array: np.ndarray) -> str:
    stream = io.BytesIO()
    np.save(stream, array)
    return hashlib.sha256(stream.getvalue()).hexdigest()


def changed(mnist: Path, to: Path, **arrays: np.ndarray) -> Path:
    """A copy of MNIST with other arrays; an empty array is left out."""
    content = {**np.load(mnist), **arrays}
    np.savez(to, **{name: array for name, array in content.items() if len(array)})
    return to


def test_mnists_test_images_are_resized_to_the_bits_that_the_hashes_prove(mnist: Path) -> None:
    found = digits_module.load(str(mnist)).held_out
    assert found is not None
    assert found.x.shape == (10_000, 400)
    assert sha256(found.x) == held_out.SHA256_X
    assert sha256(found.y) == held_out.SHA256_Y
    assert found.labels.tolist() == np.load(mnist)["y_test"].tolist()
    assert found.features.dtype == np.float32


def test_the_hashes_stand_in_the_documentation() -> None:
    text = (ROOT / "docs" / "images.md").read_text()
    assert held_out.SHA256_X in text
    assert held_out.SHA256_Y in text


def test_they_are_cached_beside_the_training_images(mnist: Path, tmp_path: Path) -> None:
    copy = shutil.copy(mnist, tmp_path / "mnist.npz")
    first = digits_module.load(str(copy)).held_out
    Path(copy).unlink()
    again = digits_module.load("lab").held_out
    assert first is not None
    assert again is not None
    assert np.array_equal(first.x, again.x)
    assert np.array_equal(first.labels, again.labels)


def test_an_old_cache_has_none_until_mnist_is_found_again(mnist: Path, tmp_path: Path) -> None:
    digits_module.load(str(mnist))
    for path in digits_module.cache_folder().glob("*/*_held_out.npy"):
        path.unlink()
    assert digits_module.load("lab").held_out is None
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    shutil.copy(mnist, tmp_path / "keras" / "datasets" / "mnist.npz")
    assert digits_module.load("lab").held_out is not None


@pytest.mark.parametrize("kind", ["missing", "damaged"])
def test_without_mnists_test_images_the_labs_images_have_none(
    kind: str, mnist: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    test = np.load(mnist)["x_test"]
    test = test[:0] if kind == "missing" else np.where(test == 255, np.uint8(254), test)
    with caplog.at_level(logging.WARNING):
        found = digits_module.load(str(changed(mnist, tmp_path / "other.npz", x_test=test)))
    assert found.name == "lab-5000"
    assert found.held_out is None
    assert ("not MNIST's test images" in caplog.text) == (kind == "damaged")
    assert "give a copy of MNIST" in held_out.why_none(found.name)


def test_idx_files_have_them_if_the_test_files_are_there(mnist: Path, tmp_path: Path) -> None:
    content = np.load(mnist)
    for part, name in (("train", "train"), ("test", "t10k")):
        for kind, array in (("images-idx3", content[f"x_{part}"]), ("labels-idx1", content[f"y_{part}"])):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (tmp_path / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    found = digits_module.load(str(tmp_path))
    assert found.name == "lab-5000"
    assert found.held_out is not None


def test_the_embedded_images_and_files_of_ones_own_have_none(optdigits: digits_module.Digits, tmp_path: Path) -> None:
    assert optdigits.held_out is None
    assert "all 1797 original images are training images" in held_out.why_none(optdigits.name)
    np.save(tmp_path / "X.npy", optdigits.x + 0.25)
    np.save(tmp_path / "y.npy", optdigits.y)
    own = digits_module.load(str(tmp_path))
    assert own.held_out is None
    assert held_out.why_none(own.name) == f"{own.name} has no held-out images"


@pytest.mark.parametrize("choice", ["lab", "auto"])
def test_an_old_cache_stays_in_use_if_keras_mnist_is_damaged(choice: str, mnist: Path, tmp_path: Path) -> None:
    digits_module.load(str(mnist))
    for path in digits_module.cache_folder().glob("*/*_held_out.npy"):
        path.unlink()
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    (tmp_path / "keras" / "datasets" / "mnist.npz").write_text("damaged")
    found = digits_module.load(choice)
    assert (found.name, found.held_out) == ("lab-5000", None)


def test_a_damaged_held_out_part_leaves_the_images(mnist: Path) -> None:
    digits_module.load(str(mnist))
    [path] = digits_module.cache_folder().glob("*/X_held_out.npy")
    path.write_text("damaged")
    found = digits_module.load("lab")
    assert (found.name, found.held_out) == ("lab-5000", None)
