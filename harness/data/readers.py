"""Reads images and labels from files. Pickled content is never loaded."""

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
from harness.suggestions import did_you_mean_path

_IMAGES_A_DIGIT = 500
_MNIST_SIDE = 28
_MNIST_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_UNSIGNED_BYTES = 8
# The words that users may give in place of a path.
_WORDS = ("auto", "lab", "optdigits")
_REMEDY = (
    "Give auto, lab, optdigits or a path. The path may be an mnist.npz in Keras' format, an ex3data1.mat, or a folder "
    "with MNIST's IDX files or with X.npy and y.npy."
)

Arrays = tuple[NDArray[np.generic], NDArray[np.generic]]
# Names of the cache files with the held-out images and with their labels.
HELD_OUT_FILES = ("X_held_out.npy", "y_held_out.npy")


class Found(NamedTuple):
    """Images and labels read from files. ``held_out`` has the held-out images and their labels, or is None."""

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    held_out: Arrays | None = None


def read(path: Path) -> Found:
    """Read images, labels and held-out images from a folder or a file.

    Args:
        path: Path of an ``mnist.npz``, of an ``ex3data1.mat``, or of a folder. The folder contains MNIST's IDX files
            or ``X.npy`` and ``y.npy``.

    Returns:
        The arrays. MNIST is converted to the lab's images, ``(5000, 400)``, and labels, ``(5000,)``. The label 10 in a
        MATLAB file is converted to the digit 0. The arrays in ``.npy`` files are returned unchanged.

    Raises:
        DataError: The path does not exist, cannot be read, or has another format.
    """
    try:
        if path.is_dir():
            if (idx := _idx_files(path, "train")) is not None:
                return _lab_images(_idx(idx[0]), _idx(idx[1]), str(path), _test_of(path))
            return Found(_npy(path / "X.npy"), _npy(path / "y.npy"), _cached_held_out(path))
        if not path.exists():
            raise DataError(f"{path}: no such file or folder", f"{did_you_mean_path(path, _WORDS)}{_REMEDY}")
        kind = path.suffix.lower()
        if kind == ".npz":
            return _mnist(path)
        if kind == ".mat":
            return Found(*_mat(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", _REMEDY) from error
    raise DataError(f"{path}: neither a folder nor a .npz or .mat file", f"Convert the file. {_REMEDY}")


def unroll(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flatten upright images, ``(n, 20, 20)``, column by column to rows of 400 pixels, ``(n, 400)``."""
    return images.transpose(0, 2, 1).reshape(len(images), -1)


def _npy(path: Path) -> NDArray[np.generic]:
    if not path.is_file():
        raise DataError(f"{path}: no such file", _REMEDY)
    try:
        # The header of a damaged file may announce a huge array. With mmap_mode, loading such a file fails before
        # memory is allocated.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        raise DataError(f"{path}: truncated, pickled, or not an .npy file ({error})", _REMEDY) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: this is an archive, not an .npy file", _REMEDY)
    return np.array(array)


def _cached_held_out(folder: Path) -> Arrays | None:
    """Return the held-out images and their labels from a cache folder; None if they are missing or damaged."""
    paths = [folder / name for name in HELD_OUT_FILES]
    try:
        return (_npy(paths[0]), _npy(paths[1])) if all(path.is_file() for path in paths) else None
    except DataError:
        return None


def _test_of(folder: Path) -> Arrays | None:
    """Return MNIST's test images and labels from IDX files; None if the files are missing."""
    idx = _idx_files(folder, "t10k")
    return None if idx is None else (_idx(idx[0]), _idx(idx[1]))


def _mnist(path: Path) -> Found:
    content = _archive(path)
    if not {"x_train", "y_train"} <= content.keys():
        raise DataError(f"{path}: has no x_train and y_train, so it is not MNIST in Keras' format", _REMEDY)
    test = (content["x_test"], content["y_test"]) if {"x_test", "y_test"} <= content.keys() else None
    return _lab_images(content["x_train"], content["y_train"], str(path), test)


def _lab_images(images: NDArray[np.generic], labels: NDArray[np.generic], where: str, test: Arrays | None) -> Found:
    """Build the lab's 5000 images and labels: the first 500 MNIST training images of each digit, resized.

    MNIST's test images become the held-out images if they have the right shape and dtype.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (_MNIST_SIDE, _MNIST_SIDE) or labels.shape != images.shape[:1]:
        cause = f"{where}: the arrays are not MNIST's: images {images.dtype} {images.shape}, labels {labels.shape}"
        raise DataError(cause, _REMEDY)
    first = [np.flatnonzero(labels == digit)[:_IMAGES_A_DIGIT] for digit in range(10)]
    if any(len(indices) < _IMAGES_A_DIGIT for indices in first):
        raise DataError(f"{where}: a digit has fewer than {_IMAGES_A_DIGIT} training images", _REMEDY)
    chosen = np.concatenate(first)
    held_out = None
    if test is not None and test[0].shape == (N_HELD_OUT, _MNIST_SIDE, _MNIST_SIDE) and test[0].dtype == np.uint8:
        held_out = _resized(test[0]), test[1]
    return Found(_resized(images[chosen]), labels[chosen], held_out)


def _resized(images: NDArray[np.generic]) -> NDArray[np.float64]:
    return unroll(imresize(images.astype(np.float64) / 255.0))


def _idx_files(folder: Path, part: str) -> tuple[Path, Path] | None:
    """Return the paths of the IDX files with images and with labels; None if a file is missing.

    ``part`` is ``train`` for MNIST's training images, or ``t10k`` for its test images. The files may be compressed with
    gzip. They may be in the subfolders that torchvision creates.
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
    """Read the array in an IDX file, which is a header with the array's shape, followed by unsigned bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, n_dimensions = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{n_dimensions}I", content[4 : 4 + 4 * n_dimensions])
        if zero or kind != _UNSIGNED_BYTES:
            raise DataError(f"{path}: not an IDX file of unsigned bytes", _REMEDY)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)
    except (struct.error, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: truncated, or not an IDX file ({error})", _REMEDY) from error


def _archive(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of MNIST that an .npz file contains, by name."""
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
        raise DataError(f"{path}: the array X or y is missing", _REMEDY)
    for name in ("X", "y"):
        if type(content[name]) is not np.ndarray or content[name].dtype.kind not in "fiu":
            raise DataError(f"{path}: {name} is not an array of real numbers", _REMEDY)
    x, y = content["X"], content["y"]  # MATLAB indices start at 1, so the label of the digit 0 is 10
    return x, np.where(y == 10, 0, y)
