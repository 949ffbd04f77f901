"""Loads the 5000 training images and identifies them by their SHA-256 hashes."""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from harness.data import mnist, optdigits, readers
from harness.data.held_out import SHA256_X, SHA256_Y, HeldOut, Images
from harness.errors import DataError, StoppedError
from harness.files import write_bytes
from harness.network.variant import N_FEATURES, N_IMAGES

AUTO, LAB, OPTDIGITS = "auto", "lab", "optdigits"
LAB_NAME, OPTDIGITS_NAME = "lab-5000", "optdigits-5000"

_PROOFS = {
    LAB_NAME: (
        "27adf83cada24c7a592643af0b82770a085b8a4f25852110b04e557979e7c297",
        "46b65167b56f911d86b1d154461977422b8fa5431ea8fd5931ec1ec9b4cc6802",
    ),
    OPTDIGITS_NAME: (
        "1df638f67c0977783f4bf5d97754feef6ce67d5cb1c35bcf31a521de9f76a8ad",
        "46b65167b56f911d86b1d154461977422b8fa5431ea8fd5931ec1ec9b4cc6802",
    ),
}

_HOW_TO_GET_THE_LABS_IMAGES = (
    "To use the lab's images, give a copy of MNIST once (--data mnist.npz), or run once with network access. The "
    "images are then cached. To use the embedded images, give --data optdigits."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Digits(Images):
    """The 5000 training images and their labels.

    Attributes:
        x: Images, ``(5000, 400)``, ``float64``, Fortran order. A row lists the pixels of one image column by column.
            ``x[i].reshape(20, 20).T`` is the upright image.
        y: Labels, ``(5000, 1)``, ``uint8``, 0 to 9.
        name: ``lab-5000`` or ``optdigits-5000`` if the hashes of both arrays match that dataset. For other images,
            ``file-`` and 12 hex digits that depend on both hashes.
        source: Description of where the images come from.
        sha256_x: SHA-256 of the bytes that ``np.save`` writes for ``x``.
        sha256_y: SHA-256 of the bytes that ``np.save`` writes for ``y``.
        held_out: Held-out images of ``lab-5000``. None for other datasets, and if MNIST's test images are missing.
    """

    name: str
    source: str
    sha256_x: str
    sha256_y: str
    held_out: HeldOut | None = None

    def facts(self) -> dict[str, Any]:
        """Return a summary of the images as JSON values. ``counts`` lists the number of images of each digit."""
        return {
            "name": self.name,
            "source": self.source,
            "shape": list(self.x.shape),
            "dtype": str(self.x.dtype),
            "min": float(self.x.min()),
            "max": float(self.x.max()),
            "counts": np.bincount(self.labels, minlength=10).tolist(),
            "first_label": int(self.y[0, 0]),
            "last_label": int(self.y[-1, 0]),
            "sha256_x": self.sha256_x,
            "sha256_y": self.sha256_y,
            "held_out": 0 if self.held_out is None else len(self.held_out.labels),
        }

    def image(self, index: int) -> NDArray[np.float64]:
        """Return the upright image at ``index`` (from 0), ``(20, 20)``."""
        upright: NDArray[np.float64] = self.x[index].reshape(20, 20).T
        return upright


def load(choice: str = AUTO) -> Digits:
    """Load the images that the user chose.

    Args:
        choice: One of these values:

            - ``lab``: the lab's images, from the cache or from Keras' MNIST.
            - ``optdigits``: the embedded images, made from scikit-learn's digits.
            - ``auto``: the lab's images if they are available, else the embedded images.
            - The path of an ``mnist.npz`` or of an ``ex3data1.mat``.
            - The path of a folder with MNIST's IDX files, or with ``X.npy`` and ``y.npy``.

    Raises:
        DataError: The file or folder is missing, truncated or in another format. Or its content is not 5000 images
            with finite pixels and labels from 0 to 9. Or ``choice`` is ``lab`` and the lab's images are not available.
    """
    if choice == OPTDIGITS:
        return _embedded()
    if choice in {AUTO, LAB}:
        return _lab_or_default(required=choice == LAB)
    try:
        path = Path(choice).expanduser()
    except RuntimeError as error:
        raise DataError(f"{choice}: {error}", "Give the absolute path of the file.") from None
    digits = from_file(path, str(path))
    if digits.name == LAB_NAME:
        _write_cache(digits)
    return digits


def from_file(path: Path, source: str) -> Digits:
    """Read images from a file or folder. Nothing is written to the cache.

    Args:
        path: Path in a format of :func:`load`.
        source: Description of where the images come from.

    Raises:
        DataError: The path is missing or in another format, or its content is not 5000 labelled images.
    """
    found = readers.read(path)
    return with_held_out(canonical(found.x, found.y, source=source, where=source), found.held_out)


def _lab_or_default(*, required: bool) -> Digits:
    cached = from_cache(LAB_NAME)
    if cached is not None and (cached.held_out is not None or not mnist.keras_cache().is_file()):
        return cached
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = mnist.find(Path(folder))
            digits = from_file(path, "Keras' MNIST")
    except DataError as error:
        if cached is not None:
            return cached
        if required:
            raise
        _log.warning(
            "the lab's images are not available (%s); using the embedded images (%s) instead. %s",
            error.cause,
            OPTDIGITS_NAME,
            _HOW_TO_GET_THE_LABS_IMAGES,
        )
        return _embedded()
    if digits.name == LAB_NAME:
        _write_cache(digits)
    elif cached is not None:
        return cached
    elif required:
        cause = f"the images made from Keras' MNIST are not the lab's images (sha256 of X: {digits.sha256_x})"
        raise DataError(cause, _HOW_TO_GET_THE_LABS_IMAGES)
    return digits


def _embedded() -> Digits:
    cached = from_cache(OPTDIGITS_NAME)
    if cached is not None:
        return cached
    images, labels = optdigits.build()
    source = "embedded (scikit-learn's load_digits)"
    digits = canonical(readers.unroll(images), labels, source=source, where="the embedded images")
    if digits.name != OPTDIGITS_NAME:
        expected = _PROOFS[OPTDIGITS_NAME][0]
        cause = f"the embedded images have the wrong hash: expected sha256 {expected}, got {digits.sha256_x}"
        raise DataError(cause, "The data of scikit-learn's load_digits have changed. Reinstall scikit-learn.")
    _write_cache(digits)
    return digits


def with_held_out(digits: Digits, held_out: readers.Arrays | None) -> Digits:
    """Return the lab's images with their held-out images added.

    Other datasets are returned unchanged. Held-out images with the wrong hashes are ignored, with a warning.
    """
    if held_out is None or digits.name != LAB_NAME:
        return digits
    x = np.asfortranarray(held_out[0], dtype=np.float64)
    y = held_out[1].reshape(-1, 1).astype(np.uint8)
    if (_sha256(x), _sha256(y)) != (SHA256_X, SHA256_Y):
        _log.warning("ignoring the held-out images: they are not MNIST's test images (sha256 of X: %s)", _sha256(x))
        return digits
    return replace(digits, held_out=HeldOut(x, y))


def canonical(x: NDArray[np.generic], y: NDArray[np.generic], *, source: str, where: str) -> Digits:
    """Check the shapes and values of both arrays, and return the arrays as :class:`Digits`.

    Args:
        x: Images, ``(5000, 400)``, any real dtype.
        y: Digits, ``(5000, 1)`` or ``(5000,)``, any real dtype.
        source: Origin of the images, for the attribute of this name.
        where: Origin of the images, for error messages, such as a path.

    Raises:
        DataError: A shape, a dtype or a value is wrong.
    """
    remedy = "Give an mnist.npz, a folder with X.npy (5000, 400) and y.npy (5000, 1), or an ex3data1.mat."
    if x.shape != (N_IMAGES, N_FEATURES):
        raise DataError(f"{where}: X has shape {x.shape}, not {(N_IMAGES, N_FEATURES)}", remedy)
    if y.shape not in {(N_IMAGES,), (N_IMAGES, 1)}:
        raise DataError(f"{where}: y has shape {y.shape}, not {(N_IMAGES, 1)}", remedy)
    for name, array in (("X", x), ("y", y)):
        if array.dtype.kind not in "fiu":
            raise DataError(f"{where}: {name} holds {array.dtype} values, not real numbers", remedy)
        if not np.isfinite(array).all():
            bad = int(np.argwhere(~np.isfinite(array))[0][0])
            raise DataError(f"{where}: {name} holds NaN or infinity, first in row {bad}", "Correct that row.")
    wrong = np.flatnonzero(~np.isin(y.ravel(), range(10)))
    if len(wrong):
        cause = f"{where}: y holds {y.ravel()[wrong[0]]} in row {wrong[0]}, which is not a digit from 0 to 9"
        raise DataError(cause, "Label each image with its digit, 0 to 9.")
    canonical_x = np.asfortranarray(x, dtype=np.float64)
    canonical_y = y.reshape(N_IMAGES, 1).astype(np.uint8)
    hashes = _sha256(canonical_x), _sha256(canonical_y)
    own_name = "file-" + hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]
    proved = next((known for known, proof in _PROOFS.items() if proof == hashes), own_name)
    return Digits(canonical_x, canonical_y, proved, source, *hashes)


def _npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _sha256(array: NDArray[np.generic]) -> str:
    return hashlib.sha256(_npy(array)).hexdigest()


def cache_folder() -> Path:
    """Return the cache folder of the harness. Each dataset has a subfolder, and so have other cached files."""
    return platformdirs.user_cache_path("zero-errors", appauthor=False)


def from_cache(name: str) -> Digits | None:
    """Return the dataset of this name from the cache. Return None if it is missing, or damaged (with a warning)."""
    folder = cache_folder() / name
    if not folder.is_dir():
        return None
    try:
        found = readers.read(folder)
        digits = canonical(found.x, found.y, source=f"cache {folder}", where=str(folder))
    except DataError as error:
        _log.warning("ignoring a damaged cache: %s", error.cause)
        return None
    if digits.name != name:
        _log.warning("ignoring a damaged cache: %s does not contain %s", folder, name)
        return None
    return with_held_out(digits, found.held_out)


def _write_cache(digits: Digits) -> None:
    """Write each array to the cache atomically. Errors are only logged, because the cache is optional."""
    folder = cache_folder() / digits.name
    arrays: dict[str, NDArray[np.generic]] = {"X.npy": digits.x, "y.npy": digits.y}
    if digits.held_out is not None:
        arrays |= dict(zip(readers.HELD_OUT_FILES, (digits.held_out.x, digits.held_out.y), strict=True))
    try:
        for file, array in arrays.items():
            write_bytes(folder / file, _npy(array))
    except StoppedError as error:
        _log.info("not cached: %s", error.cause)
