"""Writes the lab's page: the numbers of this run beside the published ones, figures, and interactive parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import provenance
from harness.data.digits import Digits
from harness.data.held_out import N_HELD_OUT, why_none
from harness.engines.training import LAB_IMAGE_OF_TWO
from harness.files import write_bytes, write_text
from harness.lab.results import EPOCHS, PUBLISHED_LOGITS, PUBLISHED_PROBABILITIES, VECTORS, Lab, NetworkState, Number
from harness.network.softmax import my_softmax
from harness.reporting import display, lab_play
from harness.reporting.figure_files import INK, Picture, in_default_style, picture
from harness.reporting.templating import render
from harness.text import plural

PAGE = "lab.html"


@in_default_style
def write(lab: Lab, folder: Path) -> Path:
    """Write ``lab.html`` and ``figures/`` into ``folder``, and return the page's path. Equal runs give equal bytes.

    Raises:
        StoppedError: A file cannot be written.
    """
    pictures = _pictures(lab)
    for one in pictures.values():
        write_bytes(folder / "figures" / f"{one.name}.png", one.png)
    page = folder / PAGE
    write_text(page, render(PAGE, _content(lab, pictures)))
    return page


@in_default_style
def grid(digits: Digits) -> Figure:
    """The lab's grid of 8 by 8 random images, each with its label."""
    figure, axes = _figure(5.2, 7.1)
    chosen = display.sample()
    display.display_grid(digits.x[chosen], digits.labels[chosen], axes=axes)
    return figure


def _content(lab: Lab, pictures: dict[str, Picture]) -> dict[str, Any]:
    digits, history = lab.digits, lab.history
    published = [number for number in lab.numbers if number.same is not None]
    confusion = lab_play.Confusion.of(lab)
    return {
        "pictures": pictures,
        "play": json.dumps(lab_play.data(lab, confusion), separators=(",", ":")),
        "confused": confusion.content(),
        "facts": digits.facts(),
        "numbers": {**_by_part(lab), "prediction": _by_name(lab)},
        "published": published,
        "compared": _compared(published),
        "log": _log(lab),
        "first_element": np.array2string(digits.x[0], precision=2, max_line_width=80, threshold=digits.x.shape[1]),
        "softmaxes": lab.softmaxes,
        "sliders": [_slider(place, z) for place, z in enumerate(VECTORS["the lab's"])],
        "summary": lab.summary,
        "states": lab.states,
        "two": LAB_IMAGE_OF_TWO,
        "two_label": digits.labels[LAB_IMAGE_OF_TWO],
        "stops": sorted({1, EPOCHS, history.first_zero_epoch or EPOCHS, len(history.losses)}),
        "why": _why(lab) if published else {},
        "answer": _answer(lab),
        "story": _story(lab),
        "engine": lab.engine,
        "adam": history.variant.adam,
        "seed": history.variant.seed,
        "versions": ", ".join(f"{name} {version}" for name, version in provenance.versions().items()),
        "processor": provenance.processor(),
    }


def _by_part(lab: Lab) -> dict[str, list[Number]]:
    parts: dict[str, list[Number]] = {}
    for number in lab.numbers:
        parts.setdefault(number.part, []).append(number)
    return parts


def _by_name(lab: Lab) -> dict[str, list[Number]]:
    """The predictions for the lab's image of a two, after 40 and 100 epochs, by a name such as ``logits``."""
    names: dict[str, list[Number]] = {}
    for number in _by_part(lab)["prediction"]:
        names.setdefault(number.name.partition(",")[0], []).append(number)
    return names


def _log(lab: Lab) -> list[dict[str, Any]]:
    """The loss and error count of each epoch."""
    both = zip(lab.history.losses.tolist(), lab.history.errors.tolist(), strict=True)
    return [{"epoch": epoch, "loss": loss, "errors": errors} for epoch, (loss, errors) in enumerate(both, start=1)]


def _slider(place: int, z: float) -> dict[str, Any]:
    """The initial state of the slider for one entry of the lab's vector: its value, and its probability."""
    vector = np.array(VECTORS["the lab's"])
    probability = float(my_softmax(vector)[place])
    return {"place": place, "z": z, "probability": probability}


def _answer(lab: Lab) -> str:
    """The number of errors on the images that the network learns from, then on images that it has not seen, as text."""
    early, late = lab.states
    on_training = f"After {late.epochs} epochs, the network has {_errors(late)} on the 5000 images that it learns from."
    before = ""
    if early.held_out_errors is not None:
        before = f" After {early.epochs} epochs, it had {plural(early.held_out_errors, 'error')} on them."
    return f"{on_training} {_unseen(late, lab.digits)}{before}"


def _compared(published: list[Number]) -> str:
    """The comparison with the published numbers, in one line."""
    if not published:
        return "The lab's numbers, computed for these images. The lab's page uses other images, so nothing is compared."
    differ = [number for number in published if not number.same]
    line = f"{len(published) - len(differ)} of {len(published)} numbers equal those that the lab's page prints"
    if not differ:
        return f"{line}."
    names = {"prediction": f"X[{LAB_IMAGE_OF_TWO}]"}
    parts = dict.fromkeys(names.get(number.part, f"the {number.part}") for number in differ)
    return f"{line}; {len(differ)} differ{'s' if len(differ) == 1 else ''}, see {', '.join(parts)}."


def _story(lab: Lab) -> str:
    """The error count after 40 epochs, the first zero epoch, and the number of later epochs with errors, as text."""
    first = lab.history.first_zero_epoch
    early, epochs = lab.states[0], lab.history.variant.epochs
    counts = f"After the lab's {early.epochs} epochs it has {_errors(early)}."
    if first is None:
        return f"{counts} It has errors after each of the {epochs} epochs."
    back = int((lab.history.errors[first:] > 0).sum())
    again = f"; errors return in {back} of the {epochs - first} epochs that follow" if back else ""
    return f"{counts} It first reaches zero errors at epoch {first}{again}."


def _errors(state: NetworkState) -> str:
    return plural(len(state.wrong), "error")


def _unseen(state: NetworkState, digits: Digits) -> str:
    """The number of errors on held-out images, or the reason why there is none, as a sentence."""
    if state.held_out_errors is None:
        return f"No held-out errors: {why_none(digits.name)}."
    share = state.held_out_errors / N_HELD_OUT
    return f"On {N_HELD_OUT:,} images that it has not seen, it has {state.held_out_errors} errors ({share:.1%})."


def _why(lab: Lab) -> dict[str, str]:
    """For each part of the lab with numbers that differ from the published ones: why they differ, as text."""
    differ = {number.part for number in lab.numbers if number.same is False}
    early, late = lab.states
    why: dict[str, str] = {}
    if "training" in differ:
        why["training"] = (
            f"This run was trained by {lab.engine} with Keras' Adam. The lab's log comes from TensorFlow's Adam, which "
            "rounds 1 - 0.9 to 0.10000002. Today's Keras multiplies by 0.1. This difference alone changes the last "
            "digits of the losses of late epochs."
            if lab.history.variant.adam == "keras"
            else "The reason is not known. Another processor or another version of TensorFlow may round differently."
        )
    if "prediction" in differ:
        why["prediction"] = _why_other_logits(lab)
    if "errors" in differ:
        why["errors"] = (
            f"The lab's page prints the log of {EPOCHS} epochs, and reports zero errors. This training has "
            f"{_errors(early)} after {early.epochs} epochs and {_errors(late)} after {late.epochs}."
        )
        if "training" not in differ and len(early.wrong):
            why["errors"] += (
                " Its log equals the published log. So the published log and the published error count are of two "
                "moments of training."
            )
        if not len(late.wrong):
            why["errors"] += " With more epochs, as the lab's page advises, this training reaches zero errors."
    return why


def _why_other_logits(lab: Lab) -> str:
    epoch, distance = lab.nearest()
    errors = int(lab.history.errors[epoch - 1])
    printed, claimed = np.array(PUBLISHED_LOGITS, float), np.array(PUBLISHED_PROBABILITIES, float)
    apart = float(np.abs(my_softmax(printed) / claimed - 1).max())
    away = float(np.abs(lab.states[0].logits - printed).max())
    return (
        "The published logits and probabilities belong together: the softmax of the logits differs from the "
        f"probabilities by at most {apart:.1%}, as rounding to two decimals explains. No epoch of this training has "
        f"these logits. After epoch {EPOCHS}, the last of the published log, a logit differs by up to {away:.2f}. The "
        f"nearest logits are those after epoch {epoch}, which has {plural(errors, 'error')}: they differ by up to "
        f"{distance:.2f}. So the published prediction is not from the end of the published log. It is not known from "
        "which epoch it is."
    )


def _pictures(lab: Lab) -> dict[str, Picture]:
    digits, states = lab.digits, lab.states
    chosen = display.sample()
    early = states[0]
    right = int((early.predicted[chosen] == digits.labels[chosen]).sum())
    made = [
        picture(
            "grid",
            "64 images",
            f"64 random images of the 5000, each with its label above it. Images: {digits.name}.",
            grid(digits),
        ),
        _drawn(
            "activations",
            "Three activations",
            "Linear returns z. ReLU returns z if z > 0, and 0 otherwise. Sigmoid returns a number between 0 and 1.",
            (5.6, 3.6),
            display.plot_activations,
        ),
        _drawn(
            "softmax",
            "my_softmax of the lab's vector",
            _softmax_caption(VECTORS["the lab's"]),
            (4.4, 3.2),
            lambda axes: display.plot_softmax(VECTORS["the lab's"], axes),
        ),
        _training(lab),
        _drawn(
            "two",
            f"X[{LAB_IMAGE_OF_TWO}]",
            f"X[{LAB_IMAGE_OF_TWO}], whose label is {digits.labels[LAB_IMAGE_OF_TWO]}.",
            (2.2, 2.2),
            lambda axes: display.display_digit(digits.x[LAB_IMAGE_OF_TWO], axes),
        ),
        _drawn(
            "predictions",
            "64 predictions",
            "The same 64 images. Above each image are its label and the digit that the network predicts after "
            f"{early.epochs} epochs. {right} of 64 predictions are right.",
            (5.2, 7.1),
            lambda axes: display.display_grid(digits.x[chosen], digits.labels[chosen], early.predicted[chosen], axes),
        ),
    ]
    made += [_drawn_errors(digits, state) for state in states]
    return {one.name: one for one in made}


def _training(lab: Lab) -> Picture:
    """Two plots, one above the other: the loss and the number of errors of every epoch.

    A vertical line in each plot marks epoch 40, where the lab's log ends. The page moves these lines:
    ``lab_training.js`` finds the lines and the plots by their ids.
    """
    figure = Figure(figsize=(6.6, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    display.plot_loss(lab.history.losses, above)
    display.plot_errors(lab.history.errors, below)
    above.set_xlabel("")
    for name, axes in (("loss", above), ("errors", below)):
        axes.set_xlim(0, lab.history.variant.epochs + 1)
        axes.patch.set_gid(f"panel-{name}")
        axes.axvline(EPOCHS, color=INK, linewidth=1, gid=f"cursor-{name}")
    caption = f"{_loss_caption(lab)} Errors are misclassified images among the 5000 that the network learns from."
    return picture("training", "Loss and errors of every epoch", caption, figure)


def _drawn_errors(digits: Digits, state: NetworkState) -> Picture:
    rows = -(-min(len(state.wrong), 64) // 8)
    size = (5.2, 0.5 + 0.83 * rows) if rows else (4.0, 0.8)
    return _drawn(
        f"errors-{state.epochs}",
        f"The errors after {state.epochs} epochs",
        f"After {state.epochs} epochs: {_errors(state)} on the 5000 images that it was trained on. "
        f"{_unseen(state, digits)}",
        size,
        lambda axes: display.display_errors(digits.x, digits.labels, state.predicted, axes),
    )


def _drawn(name: str, title: str, caption: str, size: tuple[float, float], draw: Any) -> Picture:  # noqa: ANN401
    figure, axes = _figure(*size)
    draw(axes)
    return picture(name, title, caption, figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _softmax_caption(z: tuple[float, ...]) -> str:
    probabilities = my_softmax(np.array(z))
    last, before = probabilities[-1], probabilities[-2]
    listed = ", ".join(f"{one:g}" for one in z)
    return (
        f"An entry of z that is larger by 1 has a probability that is {last / before:.3f} times as large. This factor "
        f"is e. For z = {listed}, the last entry has the probability {last:.1%}."
    )


def _loss_caption(lab: Lab) -> str:
    losses = lab.history.losses
    early, late = lab.states
    if not np.isfinite(losses).all():
        return "The loss of at least one epoch is not finite: the training diverged."
    rises = int((np.diff(losses) > 0).sum())
    return (
        f"The loss falls from {losses[0]:.4f} at epoch 1 to {early.loss:.4f} at epoch {early.epochs} and "
        f"{late.loss:.4f} at epoch {late.epochs}. It rises at {rises} of {len(losses) - 1} epochs."
    )
