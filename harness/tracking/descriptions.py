"""The note of a study's parent run in MLflow, and the names of the study's runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.data.held_out import N_HELD_OUT
from harness.network.variant import N_IMAGES, Variant
from harness.study.config import StudyConfig
from harness.text import markdown_table, plural
from harness.tracking import model_selection
from harness.tracking.run_record import StudyRecord
from harness.tracking.tags import Tag
from harness.tracking.views import address

_SHORT = {"learning_rate": "lr", "batch_size": "batch"}
# The order of the settings in the names of runs.
_ORDER = ("learning_rate", "epochs", "batch_size", "softmax", "seed")
_MOST_ROWS = 40
_BEST_TRIALS = 10
_BEGIN, _END = "<!-- zero-errors: begin -->", "<!-- zero-errors: end -->"


def brief(values: Any) -> str:  # noqa: ANN401 - a list, an integer range or a float range
    """The values of a parameter of the search space, on one line."""
    if isinstance(values, list):
        return ", ".join(str(value) for value in values)
    scale = ", logarithmic" if values.log else ""
    step = getattr(values, "step", 1)
    return f"{values.low} to {values.high}{f' in steps of {step}' if step > 1 else ''}{scale}"


def label(variant: Variant, config: StudyConfig, *, seed: bool = True) -> str:
    """The name of a trial or training: the settings that vary in its study, such as ``lr 0.001, 40 epochs, seed 3``.

    Args:
        variant: Variant of the trial or training.
        config: Configuration of the study.
        seed: Whether the name includes the seed. The name of a trial with several seeds does not include it.
    """
    shown = [name for name in _ORDER if name in config.varied and (seed or name != "seed")]
    return ", ".join(_setting(name, variant.settings()[name]) for name in shown)


def _setting(name: str, value: float | str) -> str:
    if name == "epochs":
        return plural(int(value), "epoch")
    return f"{_SHORT.get(name, name)} {value}"


def merged(note: str, text: str) -> str:
    """A note in which the project's text is replaced, and what a person wrote stays.

    Args:
        note: Present note. The project's text stands between two comments, which MLflow's UI does not show.
        text: New text of the project.
    """
    own = f"{_BEGIN}\n{text}\n{_END}"
    before, begin, rest = note.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        return before + own + after
    if not note.strip() or note.startswith("**Results.**"):  # as earlier versions wrote it
        return own
    return f"{note.rstrip()}\n\n{own}"


def begun(config: StudyConfig, dataset: str, command: str = "") -> str:
    """The note of a study that is running or was stopped."""
    space = [[name, brief(values)] for name, values in config.space.parameters().items()]
    if config.design.seeds:
        space.append(["seed", f"{brief(config.design.seeds)}: each trial is trained with all of them"])
    about = f"{_what(config.description)} {config.n_trials} trials, engine `{config.engine}`, images `{dataset}`"
    return (
        "**Results.** The study is running or was stopped. Its results are written here when it ends.\n\n"
        f"**What.** {about}:\n\n{markdown_table(['varies', 'over'], space, n_left=2)}\n\n{_again(config.name, command)}"
    )


def ended(record: StudyRecord) -> str:
    """The note of a study that has ended, with the results first."""
    tags, params = record.parent.tags, record.parent.params
    cells = model_selection.cells(record.trainings)
    varied = [name for name in _ORDER if name != "seed" and len({cell.settings[name] for cell in cells}) > 1]
    space = "\n".join(
        f"| {name.removeprefix('space.')} | {values} |" for name, values in params.items() if name.startswith("space.")
    )
    failed = sum(run.status == "FAILED" for run in record.trainings)
    said = [
        # MLflow's UI first shows only three lines of a note, so the most important facts come first.
        f"**Results.** {_summary(record)}",
        _table(cells, varied, is_search=params.get("design") == "sampled"),
        f"{plural(failed, 'run')} failed. The reason is in the tag `harness.failure`." if failed else "",
        f"**What.** {_what(tags.get(Tag.DESCRIPTION, ''))} {_means(tags)}:",
        f"| varies | over |\n|---|---|\n{space}",
        _look(address(record.experiment_id, tags[Tag.STUDY_KEY])),
        _again(tags[Tag.STUDY], tags.get(Tag.COMMAND, "")),
    ]
    return "\n\n".join(part for part in said if part)


def _what(description: str) -> str:
    said = description.strip()
    if said and said[-1] not in ".!?:":
        said += "."
    return said or "The 25/15/10 network, trained on 5000 handwritten digits."


def _means(tags: Mapping[str, str]) -> str:
    return f"Engine `{tags[Tag.ENGINE]}`, images `{tags[Tag.DATASET]}`"


def _summary(record: StudyRecord) -> str:
    done = [run for cell in model_selection.cells(record.trainings) for run in cell.runs]
    if not done:
        return "No run has finished."
    at_zero = sum(model_selection.errors(run) == 0 for run in done)
    said = f"{at_zero} of {len(done)} runs have zero errors after their last epoch."
    own = model_selection.baseline(record.trainings, record.parent.tags[Tag.ENGINE])
    # The rule also counts the seeds whose training failed or diverged.
    best = model_selection.best(record.trainings)
    if own is not None:
        first = own.metrics.get("first_zero_epoch")
        reached = "never reached zero" if first is None else f"first reached zero at epoch {first:.0f}"
        said += f" The baseline has {model_selection.errors(own)} after {own.params['epochs']} epochs and {reached}."
        if "held_out_errors" in own.metrics:
            said += f" It gets {own.metrics['held_out_errors']:.0f} of {N_HELD_OUT:,} held-out images wrong."
    if best is not None:
        said += f" The cheapest variant that reliably reaches zero: {best.name}."
    return said


def _table(cells: list[model_selection.Cell], varied: list[str], *, is_search: bool) -> str:
    """The results over seeds as a table.

    A sampled design shows its best trials. A factorial design shows its variants in the order of the varied settings,
    up to a readable number of rows.
    """
    if not cells:
        return ""
    if is_search:
        shown = sorted(cells, key=lambda cell: (cell.mean_errors, cell.epochs))[:_BEST_TRIALS]
    else:
        shown = sorted(cells, key=lambda cell: [_sortable(cell.settings[name]) for name in varied])[:_MOST_ROWS]
    head = [
        *(name.replace("_", " ") for name in varied),
        "seeds",
        "at zero",
        "mean errors",
        "mean held-out errors",
        "mean loss",
    ]
    rows = [
        [
            *(cell.settings[name] for name in varied),
            *(str(cell.n_seeds), str(cell.at_zero), f"{cell.mean_errors:.1f}"),
            "-" if cell.mean_held_out_errors is None else f"{cell.mean_held_out_errors:.0f}",
            f"{cell.mean_loss:.4f}",
        ]
        for cell in shown
    ]
    left_out = len(cells) - len(shown)
    more = f"\n\nand {left_out} more in the report." if left_out else ""
    return markdown_table(head, rows, n_left=len(varied)) + more


def _sortable(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return 0.0, text


def _look(view: str) -> str:
    return (
        f"**Results in MLflow.** The artifacts include the report (`report.html`). [Loss and errors of every training]"
        f"({view}) is a saved view of the runs, also listed under *Views* above the run table."
    )


def _again(name: str, command: str) -> str:
    return (
        f"**Commands.** `{command or f'harness study run {name}'}` resumes it and trains nothing twice. "
        f"`harness report {name}` writes its report.\n\n"
        f"**Words.** Errors are training errors: images of the {N_IMAGES} that the network learned from and still gets "
        "wrong. `final_errors` counts them after the last epoch; `first_zero_epoch` is the first epoch after which "
        "there was none, absent if there was no such epoch. They are two numbers because errors come back. "
        f"`held_out_errors` counts wrong images among MNIST's {N_HELD_OUT:,} test images, from which the network does "
        "not learn; it is absent if the images have no held-out part."
    )
