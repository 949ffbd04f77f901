"""Writes the lab's page: its numbers beside the published ones, pictures, and an interactive softmax."""

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
    """The predictions for the lab's image of a two, after the lab's epochs and after more."""
    names: dict[str, list[Number]] = {}
    for number in _by_part(lab)["prediction"]:
        names.setdefault(number.name.partition(",")[0], []).append(number)
    return names


def _log(lab: Lab) -> list[dict[str, Any]]:
    """The loss and error count of each epoch, as text."""
    both = zip(lab.history.losses.tolist(), lab.history.errors.tolist(), strict=True)
    return [{"epoch": epoch, "loss": loss, "errors": errors} for epoch, (loss, errors) in enumerate(both, start=1)]


def _slider(place: int, z: float) -> dict[str, Any]:
    """The initial state of a slider."""
    vector = np.array(VECTORS["the lab's"])
    probability = float(my_softmax(vector)[place])
    return {"place": place, "z": z, "probability": probability}


def _answer(lab: Lab) -> str:
    """The errors on the images that the network learns from, followed by those on images that it has not seen."""
    early, late = lab.states
    on_training = f"After {late.epochs} epochs, the network has {_errors(late)} on the 5000 images that it learns from."
    before = "" if early.held_out_errors is None else f" After {early.epochs} epochs it had {early.held_out_errors}."
    return f"{on_training} {_unseen(late, lab.digits)}{before}"


def _compared(published: list[Number]) -> str:
    """The comparison with the published numbers, in one line."""
    if not published:
        return "All numbers of the lab, for these images. The lab's page has other images, so nothing is compared."
    differ = [number for number in published if not number.same]
    line = f"{len(published) - len(differ)} of {len(published)} numbers equal those that the lab's page prints"
    if not differ:
        return f"{line}."
    names = {"prediction": f"X[{LAB_IMAGE_OF_TWO}]"}
    parts = dict.fromkeys(names.get(number.part, f"the {number.part}") for number in differ)
    return f"{line}; {len(differ)} differ{'s' if len(differ) == 1 else ''}, see {', '.join(parts)}."


def _story(lab: Lab) -> str:
    """The epochs with and without errors of this training, in words."""
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
    """What the network gets wrong on held-out images, or why that is unknown, as a sentence."""
    if state.held_out_errors is None:
        return f"No held-out errors: {why_none(digits.name)}."
    share = state.held_out_errors / N_HELD_OUT
    return f"On {N_HELD_OUT:,} images that it has not seen, it has {state.held_out_errors} errors ({share:.1%})."


def _why(lab: Lab) -> dict[str, str]:
    """The measured reasons for the differences from the published numbers, for each part of the lab that differs."""
    differ = {number.part for number in lab.numbers if number.same is False}
    early, late = lab.states
    why: dict[str, str] = {}
    if "training" in differ:
        why["training"] = (
            f"This was trained by {lab.engine} with Keras' Adam. The lab's log is printed by TensorFlow's, which "
            "rounds 1 - 0.9 to 0.10000002; Keras multiplies by 0.1 today, and that alone moves the last digits of the "
            "late epochs."
            if lab.history.variant.adam == "keras"
            else "Why is not known: another processor or another version of TensorFlow may round differently."
        )
    if "prediction" in differ:
        why["prediction"] = _why_other_logits(lab)
    if "errors" in differ:
        why["errors"] = (
            f"The lab's page has a log of {EPOCHS} epochs and no errors. This training has {_errors(early)} after "
            f"{early.epochs} epochs and {_errors(late)} after {late.epochs}."
        )
        if "training" not in differ and len(early.wrong):
            why["errors"] += (
                " It prints that log, so the page's log and its error count are of two moments of training."
            )
        if not len(late.wrong):
            why["errors"] += " The page's advice to train longer is right."
    return why


def _why_other_logits(lab: Lab) -> str:
    epoch, distance = lab.nearest()
    errors = int(lab.history.errors[epoch - 1])
    printed, claimed = np.array(PUBLISHED_LOGITS, float), np.array(PUBLISHED_PROBABILITIES, float)
    apart = float(np.abs(my_softmax(printed) / claimed - 1).max())
    away = float(np.abs(lab.states[0].logits - printed).max())
    return (
        f"The published probabilities are the softmax of the published logits to {apart:.1%}, as near as two decimals "
        f"say, so these belong together. No epoch of this training has these logits. Those of epoch {EPOCHS}, with "
        f"which the published log ends, are up to {away:.2f} away; the nearest, up to {distance:.2f} away, those of "
        f"epoch {epoch}, at which {errors or 'no'} image{' is' if errors == 1 else 's are'} wrong. The page shows the "
        "prediction of another state of the network than its log ends with; which one is not known."
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
            f"64 of the 5000 images, drawn at random, each under its label. From {digits.name}.",
            grid(digits),
        ),
        _drawn(
            "activations",
            "Three activations",
            "Linear leaves z as it is, ReLU makes zero of what is negative, sigmoid brings all of it between 0 and 1.",
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
            f"The same 64 images, each under its label and what the network takes it for after {early.epochs} epochs: "
            f"{right} of 64 are right.",
            (5.2, 7.1),
            lambda axes: display.display_grid(digits.x[chosen], digits.labels[chosen], early.predicted[chosen], axes),
        ),
    ]
    made += [_drawn_errors(digits, state) for state in states]
    return {one.name: one for one in made}


def _training(lab: Lab) -> Picture:
    """The loss and the errors of every epoch, above each other with the same epochs, and a mark at the lab's epochs.

    The page moves the marks: ``lab_training.js`` finds them, and the plots' areas, by their ids.
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
    caption = f"{_loss_caption(lab)} Errors are images of the 5000 that the network learns from and still gets wrong."
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
        f"One more in z makes {last / before:.3f} times the probability, which is e: of {listed} the last "
        f"takes {last:.1%}."
    )


def _loss_caption(lab: Lab) -> str:
    losses = lab.history.losses
    early, late = lab.states
    if not np.isfinite(losses).all():
        return "Not every epoch has a loss that is a number: the training diverged."
    rises = int((np.diff(losses) > 0).sum())
    return (
        f"The loss falls from {losses[0]:.4f} at epoch 1 to {early.loss:.4f} at epoch {early.epochs} and "
        f"{late.loss:.4f} at epoch {late.epochs}. It rises at {rises} of {len(losses) - 1} epochs."
    )
