"""The lab's page of runs that are not as one would like them, made up without a training."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from click.testing import CliRunner

from harness.commands.main import cli
from harness.data.digits import LAB_NAME, Digits
from harness.data.held_out import why_none
from harness.engines import registry
from harness.engines.history import Snapshot, TrainingHistory, wrong_images
from harness.errors import StoppedError
from harness.lab import results as lab_module
from harness.lab.results import Lab, NetworkState, Softmaxes
from harness.network.softmax import WAYS, Floats, my_softmax_stable
from harness.network.variant import Variant
from harness.reporting import lab_page

FIGURES = {
    *("grid", "activations", "softmax", "training", "two", "predictions"),
    *("errors-40", "errors-100"),
}


def made_up(digits: Digits, errors: Sequence[int], loss: float = 0.5) -> Lab:
    """A run with these errors after each of its epochs; a loss that is not finite comes with such logits."""
    weights = []
    for fan_in, units in pairwise((400, 25, 15, 10)):
        weights += [np.zeros((fan_in, units), np.float32), np.zeros(units, np.float32)]
    snapshots = {}
    for epoch, count in enumerate(errors, start=1):
        logits = np.zeros((5000, 10), np.float32)
        logits[range(5000), digits.labels] = 5
        logits[range(count), (digits.labels[:count] + 1) % 10] = 9
        snapshots[epoch] = Snapshot(tuple(weights), logits if np.isfinite(loss) else logits * np.float32(np.nan))
    losses = np.full(len(errors), loss)
    history = TrainingHistory(Variant(epochs=len(errors)), losses, np.array(errors), snapshots, 1.0)
    early, late = (state(digits, history, epochs) for epochs in (40, 100))
    softmaxes = tuple(softmax(name, np.array(z)) for name, z in lab_module.VECTORS.items())
    return Lab(digits, "graph", history, (early, late), softmaxes, "the summary")


def state(digits: Digits, history: TrainingHistory, epochs: int) -> NetworkState:
    logits = history.snapshots[epochs].logits
    predicted = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)
    two = logits[1015]
    return NetworkState(epochs, 0.5, two, my_softmax_stable(two), predicted, wrong_images(logits, digits.labels))


def softmax(name: str, z: Floats) -> Softmaxes:
    with np.errstate(over="ignore", invalid="ignore"):
        return Softmaxes(name, z, {way: function(z) for way, function in WAYS.items()}, my_softmax_stable(z))


def text(path: Path) -> str:
    """The words of a page, as a person reads them."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", path.read_text(), flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)))


NONE_AT_FIRST = "no error after 40 epochs and no error after 100 epochs, and none for the first time after epoch 1"
FALLING = [*range(100, 60, -1), *([7] * 20), *([0] * 40)]


@pytest.fixture(scope="module")
def page(optdigits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose errors fall to zero, of images that are not the lab's, from a file of an odd name."""
    return lab_page.write(
        made_up(replace(optdigits, source="<b>here</b>.npz"), FALLING), tmp_path_factory.mktemp("lab")
    )


def test_a_page_and_its_figures_are_written(page: Path) -> None:
    assert page.name == "lab.html"
    assert {path.name for path in (page.parent / "figures").iterdir()} == {f"{name}.png" for name in FIGURES}
    content = page.read_text()
    assert {name for name in FIGURES if f'<figure id="{name}">' in content} == {"grid", "activations", "training"}
    # Names of things that SVG needs stand in it, and are never asked for.
    assert set(re.findall(r"https?://[^\"'\s]+", content)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert len(re.findall(r'\bid="([^"]+)"', content)) == len(set(re.findall(r'\bid="([^"]+)"', content)))


def test_the_same_run_gives_the_same_bytes_and_changes_nothing_of_matplotlib(
    page: Path, optdigits: Digits, tmp_path: Path
) -> None:
    before = dict(mpl.rcParams)
    lab_page.write(made_up(replace(optdigits, source="<b>here</b>.npz"), FALLING), tmp_path)
    assert dict(mpl.rcParams) == before
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1 + len(FIGURES)
    for path in files:
        assert path.read_bytes() == (page.parent / path.relative_to(tmp_path)).read_bytes()


def test_of_other_images_than_the_labs_nothing_is_ticked(page: Path) -> None:
    words = text(page)
    assert "so nothing is compared" in words
    assert "✓" not in words
    assert "✗" not in words
    assert "the lab's page " not in words


def test_on_the_labs_images_every_number_stands_beside_the_published_one(optdigits: Digits, tmp_path: Path) -> None:
    run = made_up(replace(optdigits, name=LAB_NAME), FALLING)
    words = text(lab_page.write(run, tmp_path))
    same, every = sum(number.same is True for number in run.numbers), len(lab_module.PLACES)
    differ = f"{every - same} differ, see the images, the training, X[1015], the errors."
    assert f"{same} of {every} numbers equal those that the lab's page prints; {differ}" in words
    assert "loss of epoch 1 ✗ by 1.21 0.5000 1.7094" in words
    assert "parameters in all ✓ the same 10575 10575" in words
    assert "errors on the 5000 images, after 40 epochs ✗ by 61 61 0" in words
    assert "errors on the 5000 images, after 100 epochs ✓ the same 0 0" in words
    assert "This training has 61 errors after 40 epochs and 0 errors after 100" in words
    # It does not print the log, so nothing follows from it for the published page.
    assert "of two moments of training" not in words


@pytest.mark.parametrize(
    ("errors", "story"),
    [
        (FALLING, "After the lab's 40 epochs it has 61 errors. It first reaches zero errors at epoch 61."),
        ([9] * 100, "After the lab's 40 epochs it has 9 errors. It has errors after each of the 100 epochs."),
        (
            [*([0] * 60), 1, *([0] * 39)],
            (
                "After the lab's 40 epochs it has 0 errors. It first reaches zero errors at epoch 1; errors return in "
                "1 of the 99 epochs that follow."
            ),
        ),
        ([*([1] * 99), 0], "After the lab's 40 epochs it has 1 error. It first reaches zero errors at epoch 100."),
    ],
    ids=["falling", "never", "again", "last"],
)
def test_when_there_were_errors_is_said_in_words(optdigits: Digits, errors: list[int], story: str) -> None:
    assert lab_page._story(made_up(optdigits, errors)) == story


def test_the_answer_is_followed_by_the_held_out_errors_or_the_reason_for_none(optdigits: Digits) -> None:
    run = made_up(optdigits, FALLING)
    first = "After 100 epochs, the network has 0 errors on the 5000 images that it learns from."
    assert lab_page._answer(run) == f"{first} No held-out errors: {why_none(optdigits.name)}."
    states = (run.states[0], replace(run.states[1], held_out_errors=720))
    unseen = "On 10,000 images that it has not seen, it has 720 errors (7.2%)."
    assert lab_page._answer(replace(run, states=states)) == f"{first} {unseen}"


def test_where_there_is_no_error_the_page_says_so(optdigits: Digits, tmp_path: Path) -> None:
    words = text(lab_page.write(made_up(optdigits, [0] * 100), tmp_path))
    assert "On the 5000 images that it learns from, the network confuses no digits after 40 epochs." in words


def test_without_held_out_images_the_confused_digits_are_those_of_the_labs_epochs(
    optdigits: Digits, tmp_path: Path
) -> None:
    # The first 61 images of a made-up run are read as the next digit.
    labels = optdigits.labels[:61]
    count = int(np.bincount(labels).max())
    words = text(lab_page.write(made_up(optdigits, FALLING), tmp_path))
    assert "On the 5000 images that it learns from, it gets 61 wrong after 40 epochs." in words
    assert "It confuses these digits most often: " in words
    assert f"({count})" in words


def test_a_training_that_diverged_has_a_page(optdigits: Digits, tmp_path: Path) -> None:
    run = made_up(replace(optdigits, name=LAB_NAME), [5000] * 100, loss=np.nan)
    words = text(lab_page.write(run, tmp_path))
    assert "the training diverged" in words
    assert "After 100 epochs, the network has 5000 errors on the 5000 images that it learns from." in words
    assert "the network gives no answer, because its logits are not finite, after 40 epochs." in words
    assert "loss of epoch 1 ✗" in words


def test_the_command_can_be_quiet_and_write_elsewhere(
    optdigits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "make", lambda *_: None)
    reports: list[object] = []

    def run(_: object, digits: Digits, on_epoch: object) -> Lab:
        reports.append(on_epoch)
        return made_up(digits, FALLING)

    monkeypatch.setattr(lab_module, "run", run)
    command = ["lab", "--data", "optdigits", "--quiet", "--out", str(tmp_path / "here")]
    done = CliRunner().invoke(cli, command)
    assert done.stdout.splitlines() == [
        "61 errors out of 5000 images after 40 epochs",
        "0 errors out of 5000 images after 100 epochs",
        f"page: {tmp_path / 'here' / 'lab.html'}",
    ]
    assert reports == [None]
    assert optdigits.name in (tmp_path / "here" / "lab.html").read_text()


def test_a_folder_that_cannot_be_made_is_found_out_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(cli, ["lab", "--data", "optdigits", "--out", str(tmp_path / "file" / "folder")])
    assert isinstance(done.exception, StoppedError)
    assert "cannot be written" in done.exception.cause


def test_a_path_with_angle_brackets_is_shown_as_it_is(page: Path) -> None:
    assert "&lt;b&gt;here&lt;/b&gt;.npz" in page.read_text()
