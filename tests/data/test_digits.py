from __future__ import annotations

import gzip
import logging
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from harness.data import digits as digits_module
from harness.data import imresize, readers
from harness.data.digits import Digits
from harness.errors import DataError, ExitStatus

LAB_SHA256_X = "27adf83cada24c7a592643af0b82770a085b8a4f25852110b04e557979e7c297"
LAB_SHA256_Y = "46b65167b56f911d86b1d154461977422b8fa5431ea8fd5931ec1ec9b4cc6802"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save(folder: Path, x: np.ndarray, y: np.ndarray) -> Path:
    folder.mkdir()
    np.save(folder / "X.npy", x)
    np.save(folder / "y.npy", y)
    return folder


# What is taken for what


def test_mnist_gives_the_labs_images_to_the_last_bit(mnist: Path) -> None:
    digits = digits_module.load(str(mnist))
    assert digits.name == "lab-5000"
    assert digits.sha256_x == LAB_SHA256_X
    assert digits.sha256_y == LAB_SHA256_Y
    assert digits.x.flags.f_contiguous
    assert digits.source == str(mnist)


def test_the_labs_first_image_is_the_zero_that_its_page_prints(lab: Digits) -> None:
    assert [f"{value:.2e}" for value in lab.x[0, 67:72]] == [
        "8.56e-06",
        "1.94e-06",
        "-7.37e-04",
        "-8.13e-03",
        "-1.86e-02",
    ]
    assert (lab.y[0, 0], lab.y[-1, 0]) == (0, 9)


def test_the_one_ulp_entry_is_lost_in_float32(mnist: Path, lab: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imresize, "_LAB_ENTRY", (-1, -1))
    plain = digits_module.load(str(mnist))
    assert plain.sha256_x != LAB_SHA256_X
    assert plain.name.startswith("file-")
    assert (plain.features == lab.features).all()


def test_a_folder_with_the_labs_arrays_is_the_labs_data_in_any_order_of_memory(tmp_path: Path, lab: Digits) -> None:
    folder = save(tmp_path / "lab", np.ascontiguousarray(lab.x), lab.y.ravel().astype(np.int32))
    assert digits_module.load(str(folder)).name == "lab-5000"


def test_in_matlabs_file_the_label_10_is_the_digit_0(tmp_path: Path, optdigits: Digits) -> None:
    path = tmp_path / "ex3data1.mat"
    scipy.io.savemat(path, {"X": optdigits.x, "y": np.where(optdigits.y == 0, 10, optdigits.y)})
    assert digits_module.load(str(path)).name == "optdigits-5000"


def test_one_changed_pixel_or_label_is_other_data(tmp_path: Path, optdigits: Digits) -> None:
    x = optdigits.x.copy()
    x[17, 200] = np.nextafter(x[17, 200], 2)
    y = optdigits.y.copy()
    y[4999] = 8
    names = {
        digits_module.load(str(save(tmp_path / "x", x, optdigits.y))).name,
        digits_module.load(str(save(tmp_path / "y", optdigits.x, y))).name,
    }
    assert len(names) == 2
    assert all(name.startswith("file-") and len(name) == len("file-") + 12 for name in names)


def test_images_are_upright(digits: Digits) -> None:
    assert (digits.image(0).ravel(order="F") == digits.x[0]).all()


def test_features_are_what_the_network_is_fed(digits: Digits) -> None:
    assert digits.features.dtype == np.float32
    assert digits.features.flags.c_contiguous
    assert digits.labels.shape == (5000,)


# Which is taken


def test_auto_without_a_network_comes_to_the_embedded_default_in_time(caplog: pytest.LogCaptureFixture) -> None:
    started_s = time.monotonic()
    with caplog.at_level(logging.WARNING):
        digits = digits_module.load("auto")
    assert time.monotonic() - started_s < 15
    assert digits.name == "optdigits-5000"
    assert "--data mnist.npz" in caplog.text


def test_lab_without_a_network_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"--data mnist\.npz") as caught:
        digits_module.load("lab")
    assert caught.value.exit_status == ExitStatus.ENVIRONMENT


def test_the_labs_images_are_remembered_once_named(mnist: Path) -> None:
    digits_module.load(str(mnist))
    again = digits_module.load("auto")
    assert again.name == "lab-5000"
    assert again.source.startswith("cache ")
    assert digits_module.load("lab").sha256_x == LAB_SHA256_X


def test_other_files_are_not_remembered(tmp_path: Path, optdigits: Digits) -> None:
    digits_module.load(str(save(tmp_path / "other", optdigits.x + 0.5, optdigits.y)))
    assert not digits_module.cache_folder().exists()


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
def test_a_damaged_cache_is_passed_over_and_mended(damage: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    digits_module.load("optdigits")
    file = digits_module.cache_folder() / "optdigits-5000" / "X.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-8] + np.float64(0.5).tobytes() if damage is None else damage)
    assert digits_module.load("optdigits").source.startswith("embedded")
    assert "damaged cache" in caplog.text
    assert file.read_bytes() == content
    assert [part.name for part in sorted(file.parent.iterdir())] == ["X.npy", "y.npy"]


def test_a_cache_that_cannot_be_written_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    assert digits_module.load("optdigits").name == "optdigits-5000"


# What is refused


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def pickled_npy(folder: Path) -> Path:
    folder.mkdir()
    np.save(folder / "X.npy", np.array([Bomb(folder / "exploded")]), allow_pickle=True)
    np.save(folder / "y.npy", np.zeros(5000))
    return folder


def bare_pickle(folder: Path) -> Path:
    folder.mkdir()
    (folder / "X.npy").write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    np.save(folder / "y.npy", np.zeros(5000))
    return folder


def pickled_npz(folder: Path) -> Path:
    folder.mkdir()
    bomb = np.array([Bomb(folder / "exploded")])
    np.savez(folder / "mnist.npz", x_train=bomb, y_train=bomb)
    return folder / "mnist.npz"


@pytest.mark.parametrize("make", [pickled_npy, bare_pickle, pickled_npz])
def test_nothing_is_unpickled(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "data")
    with pytest.raises(DataError, match="pickled"):
        digits_module.load(str(path))
    assert not (tmp_path / "data" / "exploded").exists()


def test_a_truncated_array_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    folder = save(tmp_path / "data", np.zeros(1), np.zeros(5000))
    with (folder / "X.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**15, 400)})
    with pytest.raises(DataError, match=r"X\.npy: truncated"):
        digits_module.load(str(folder))


def test_a_truncated_mnist_is_refused(tmp_path: Path, mnist: Path) -> None:
    path = tmp_path / "mnist.npz"
    path.write_bytes(mnist.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"mnist\.npz: truncated"):
        digits_module.load(str(path))


def test_an_mnist_with_a_flipped_byte_is_refused(tmp_path: Path, mnist: Path) -> None:
    content = bytearray(mnist.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated"):
        digits_module.load(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": np.zeros(3)}, "no x_train"),
        ({"x_train": np.zeros((9, 28, 28)), "y_train": np.zeros(9)}, "not MNIST's"),
        ({"x_train": np.zeros((9, 20, 20), np.uint8), "y_train": np.zeros(9)}, "not MNIST's"),
        ({"x_train": np.zeros((9, 28, 28), np.uint8), "y_train": np.zeros(8)}, "not MNIST's"),
        ({"x_train": np.zeros((9, 28, 28), np.uint8), "y_train": np.zeros(9)}, "fewer than 500"),
    ],
)
def test_a_foreign_archive_is_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "foreign.npz", **content)
    with pytest.raises(DataError, match=message):
        digits_module.load(str(tmp_path / "foreign.npz"))


def test_an_array_that_calls_itself_an_archive_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "mnist.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(DataError, match=r"not an \.npz file"):
        digits_module.load(str(tmp_path / "mnist.npz"))


def test_a_foreign_or_truncated_matlab_file_is_refused(tmp_path: Path, optdigits: Digits) -> None:
    scipy.io.savemat(tmp_path / "other.mat", {"theta": np.zeros(3)})
    with pytest.raises(DataError, match="the array X or y is missing"):
        digits_module.load(str(tmp_path / "other.mat"))
    scipy.io.savemat(tmp_path / "short.mat", {"X": optdigits.x, "y": optdigits.y})
    content = (tmp_path / "short.mat").read_bytes()
    for size in (0, 50, 200, len(content) // 2):
        (tmp_path / "short.mat").write_bytes(content[:size])
        with pytest.raises(DataError, match=r"short\.mat: truncated"):
            digits_module.load(str(tmp_path / "short.mat"))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((4999, 400)), np.zeros(5000), r"X has shape \(4999, 400\)"),
        (np.zeros((5000, 20, 20)), np.zeros(5000), "X has shape"),
        (np.zeros((5000, 400)), np.zeros((5000, 2)), r"y has shape \(5000, 2\)"),
        (np.zeros((5000, 400), complex), np.zeros(5000), "X holds complex128"),
        (np.zeros((5000, 400), "S1"), np.zeros(5000), r"X holds \|S1"),
        (np.full((5000, 400), np.nan), np.zeros(5000), "X holds NaN or infinity, first in row 0"),
        (np.full((5000, 400), np.inf), np.zeros(5000), "X holds NaN or infinity"),
        (np.zeros((5000, 400)), np.full(5000, np.nan), "y holds NaN"),
        (np.zeros((5000, 400)), np.full(5000, 10), "y holds 10 in row 0"),
        (np.zeros((5000, 400)), np.full(5000, -1), "y holds -1 in row 0"),
        (np.zeros((5000, 400)), np.full(5000, 2.5), "y holds 2.5 in row 0"),
    ],
)
def test_arrays_that_are_not_5000_labelled_images_are_refused(
    tmp_path: Path, x: np.ndarray, y: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        digits_module.load(str(save(tmp_path / "data", x, y)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no such file"),
        ("nowhere.npz", "no such file"),
        ("notes.txt", "neither"),
        ("empty", r"X\.npy: no such"),
    ],
)
def test_a_path_that_holds_no_images_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "notes.txt").write_text("five thousand digits")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        digits_module.load(str(tmp_path / name))


def test_an_archive_that_calls_itself_an_array_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "data", np.zeros((5000, 400)), np.zeros(5000))
    with (folder / "X.npy").open("wb") as stream:
        np.savez(stream, X=np.zeros((5000, 400)))
    with pytest.raises(DataError, match="an archive"):
        digits_module.load(str(folder))


def idx(array: np.ndarray[Any, Any]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize(
    ("folder", "dot", "end"), [("", "-", ""), ("raw", "-", ".gz"), ("MNIST/raw", "-", ""), ("", ".", ".gz")]
)
def test_idx_files_give_the_images_of_the_archive(tmp_path: Path, folder: str, dot: str, end: str) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (5000, 28, 28), np.uint8), np.repeat(np.arange(10, dtype=np.uint8), 500)
    np.savez(tmp_path / "MNIST.NPZ", x_train=images, y_train=labels)
    (tmp_path / "MNIST.NPZ.npz").rename(tmp_path / "MNIST.NPZ")
    place = tmp_path / "idx" / folder
    place.mkdir(parents=True)
    for name, kind, array in (("images", "idx3", images), ("labels", "idx1", labels)):
        content = idx(array)
        (place / f"train-{name}{dot}{kind}-ubyte{end}").write_bytes(gzip.compress(content) if end else content)
    one, other = readers.read(tmp_path / "idx"), readers.read(tmp_path / "MNIST.NPZ")
    assert np.array_equal(one.x, other.x)
    assert np.array_equal(one.y, other.y)
    assert one.held_out is None


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0", b"\0\0\x0d\x01\0\0\0\x01abcd", b"text"])
def test_a_damaged_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    for name, kind in (("images", "idx3"), ("labels", "idx1")):
        (tmp_path / f"train-{name}-{kind}-ubyte").write_bytes(content)
    with pytest.raises(DataError, match="IDX file"):
        readers.read(tmp_path)


def test_other_kinds_of_files_are_refused_with_what_to_convert_them_to(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("1,2,3")
    with pytest.raises(DataError, match=r"neither a folder nor a \.npz or \.mat file") as refused:
        readers.read(tmp_path / "images.csv")
    assert "Convert the file." in refused.value.remedy
