"""Reads images and labels from files. It never unpickles the content of a file."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.data.held_out import N_HELD_OUT
from harness.data.imresize import imresize
from harness.errors import DataError

_IMAGES_A_DIGIT = 500
_MNIST_SIDE = 28
_MNIST_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_UNSIGNED_BYTES = 8
_REMEDY = (
    "Give auto, lab or optdigits; or an mnist.npz in Keras' format, a folder with MNIST's IDX files or with X.npy and "
    "y.npy, or an ex3data1.mat."
)

Arrays = tuple[NDArray[np.generic], NDArray[np.generic]]
# The files of the cache with the held-out images and their labels.
HELD_OUT_FILES = ("X_held_out.npy", "y_held_out.npy")


class Found(NamedTuple):
    """Images and labels as they are in files, and those of the held-out images, if there are any."""

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    held_out: Arrays | None = None


def read(path: Path) -> Found:
    """Read ``X`` and ``y``, and held-out images, from a folder or a file.

    Args:
        path: Path of a folder with MNIST's IDX files or with ``X.npy`` and ``y.npy``, of an ``mnist.npz``, or of an
            ``ex3data1.mat``.

    Returns:
        The arrays as they are in the files, with two exceptions. MNIST is converted to the lab's ``(5000, 400)`` and
        ``(5000,)``. MATLAB's label 10 becomes the digit 0.

    Raises:
        DataError: The path does not exist, cannot be read, or has another format.
    """
    try:
        if path.is_dir():
            if (idx := _idx_files(path, "train")) is not None:
                return _lab_images(_idx(idx[0]), _idx(idx[1]), str(path), _test_of(path))
            return Found(_npy(path / "X.npy"), _npy(path / "y.npy"), _cached_held_out(path))
        if not path.exists():
            raise DataError(f"{path}: no such file or folder", _REMEDY)
        kind = path.suffix.lower()
        if kind == ".npz":
            return _mnist(path)
        if kind == ".mat":
            return Found(*_mat(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", _REMEDY) from error
    raise DataError(f"{path}: neither a folder nor a .npz or .mat file", f"Convert it. {_REMEDY}")


def unroll(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unroll upright images, ``(n, 20, 20)``, column by column to the lab's layout, ``(n, 400)``."""
    return images.transpose(0, 2, 1).reshape(len(images), -1)


def _npy(path: Path) -> NDArray[np.generic]:
    if not path.is_file():
        raise DataError(f"{path}: no such file", _REMEDY)
    try:
        # The file is memory-mapped: if its header promises more than it contains, this fails before allocating memory.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        raise DataError(f"{path}: truncated, pickled, or not an .npy file ({error})", _REMEDY) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: an archive, not an .npy file", _REMEDY)
    return np.array(array)


def _cached_held_out(folder: Path) -> Arrays | None:
    """The held-out images of a cache folder; None if there are none, as in a folder of the user, or if damaged."""
    paths = [folder / name for name in HELD_OUT_FILES]
    try:
        return (_npy(paths[0]), _npy(paths[1])) if all(path.is_file() for path in paths) else None
    except DataError:
        return None


def _test_of(folder: Path) -> Arrays | None:
    """MNIST's test images and labels from IDX files; None if they are missing."""
    idx = _idx_files(folder, "t10k")
    return None if idx is None else (_idx(idx[0]), _idx(idx[1]))


def _mnist(path: Path) -> Found:
    content = _archive(path)
    if not {"x_train", "y_train"} <= content.keys():
        raise DataError(f"{path}: has no x_train and y_train, so it is not MNIST in Keras' format", _REMEDY)
    test = (content["x_test"], content["y_test"]) if {"x_test", "y_test"} <= content.keys() else None
    return _lab_images(content["x_train"], content["y_train"], str(path), test)


def _lab_images(images: NDArray[np.generic], labels: NDArray[np.generic], where: str, test: Arrays | None) -> Found:
    """Return the lab's 5000 images and labels, with images resized from MNIST's training images.

    MNIST's test images, if they have the right form, become the held-out images.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (_MNIST_SIDE, _MNIST_SIDE) or labels.shape != images.shape[:1]:
        cause = f"{where}: the images are {images.dtype} {images.shape} and the labels {labels.shape}, not MNIST's"
        raise DataError(cause, _REMEDY)
    first = [np.flatnonzero(labels == digit)[:_IMAGES_A_DIGIT] for digit in range(10)]
    if any(len(indices) < _IMAGES_A_DIGIT for indices in first):
        raise DataError(f"{where}: has fewer than {_IMAGES_A_DIGIT} training images of a digit", _REMEDY)
    chosen = np.concatenate(first)
    held_out = None
    if test is not None and test[0].shape == (N_HELD_OUT, _MNIST_SIDE, _MNIST_SIDE) and test[0].dtype == np.uint8:
        held_out = _resized(test[0]), test[1]
    return Found(_resized(images[chosen]), labels[chosen], held_out)


def _resized(images: NDArray[np.generic]) -> NDArray[np.float64]:
    return unroll(imresize(images.astype(np.float64) / 255.0))


def _idx_files(folder: Path, part: str) -> tuple[Path, Path] | None:
    """Return the IDX files of images and labels of MNIST's part ``train`` or ``t10k``; None if they are missing.

    The files may be compressed, and may be in the subfolders that torch uses.
    """
    for raw in (folder, folder / "raw", folder / "MNIST" / "raw"):
        images, labels = _idx_file(raw, f"{part}-images", "idx3-ubyte"), _idx_file(raw, f"{part}-labels", "idx1-ubyte")
        if images is not None and labels is not None:
            return images, labels
    return None


def _idx_file(folder: Path, name: str, kind: str) -> Path | None:
    paths = (folder / f"{name}{dot}{kind}{end}" for dot in "-." for end in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _idx(path: Path) -> NDArray[np.generic]:
    """Read the array of an IDX file: a header with the length of each dimension, followed by unsigned bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, n_dimensions = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{n_dimensions}I", content[4 : 4 + 4 * n_dimensions])
        if zero or kind != _UNSIGNED_BYTES:
            raise DataError(f"{path}: not an IDX file of bytes", _REMEDY)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)
    except (struct.error, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: truncated, or not an IDX file ({error})", _REMEDY) from error


def _archive(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read MNIST's arrays from an .npz file; arrays that the file does not contain are left out."""
    with path.open("rb") as stream:
        try:
            archive = np.load(stream, allow_pickle=False)
            return {name: archive[name] for name in _MNIST_ARRAYS if name in archive.files}
        except Exception as error:
            raise DataError(f"{path}: truncated, pickled, or not an .npz file ({error})", _REMEDY) from error


def _mat(path: Path) -> Arrays:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:
        raise DataError(f"{path}: truncated, or not a MATLAB 5 file ({error})", _REMEDY) from error
    if not {"X", "y"} <= content.keys():
        raise DataError(f"{path}: has no X and y", _REMEDY)
    for name in ("X", "y"):
        if type(content[name]) is not np.ndarray or content[name].dtype.kind not in "fiu":
            raise DataError(f"{path}: {name} is not a table of numbers", _REMEDY)
    x, y = content["X"], content["y"]  # MATLAB counts from 1, so the course uses 10 for the digit 0
    return x, np.where(y == 10, 0, y)
