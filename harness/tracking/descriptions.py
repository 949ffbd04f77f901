"""Composes the texts that MLflow's UI shows for a study: the note of its parent run, and the names of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.held_out import N_HELD_OUT
from harness.network.variant import N_IMAGES, Variant
from harness.selection import RULE
from harness.study.config import StudyConfig
from harness.text import markdown_table, plural
from harness.tracking import model_selection
from harness.tracking.run_record import StudyRecord
from harness.tracking.study_results import StudyResults
from harness.tracking.tags import Tag
from harness.tracking.views import address

_SHORT = {"learning_rate": "lr", "batch_size": "batch"}
# The order of the settings in the names of runs and in the table of results.
_ORDER = ("learning_rate", "epochs", "batch_size", "softmax", "seed")
_MOST_ROWS = 40
_BEST_TRIALS = 10
# A line break within a paragraph of Markdown.
LINE_BREAK = "  \n"
_BEGIN, _END = "<!-- zero-errors: begin -->", "<!-- zero-errors: end -->"


def brief(values: Any) -> str:  # noqa: ANN401 - a list, an integer range or a float range
    """Describe the values of a search parameter on one line, such as ``8, 16, 32`` or ``1 to 100 in steps of 5``."""
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
        seed: Whether the name includes the seed. Pass false for a trial with several seeds.
    """
    shown = [name for name in _ORDER if name in config.varied and (seed or name != "seed")]
    return ", ".join(_setting(name, variant.settings()[name]) for name in shown)


def _setting(name: str, value: float | str) -> str:
    if name == "epochs":
        return plural(int(value), "epoch")
    return f"{_SHORT.get(name, name)} {value}"


def merged(note: str, text: str) -> str:
    """Replace the generated part of a note, and keep the text that users wrote.

    Args:
        note: Current note. Its generated part is between two HTML comments, which MLflow's UI does not show.
        text: New content of the generated part.
    """
    own = f"{_BEGIN}\n{text}\n{_END}"
    before, begin, rest = note.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        return before + own + after
    # Earlier versions of this project wrote the generated part without the two HTML comments.
    if not note.strip() or note.startswith("**Results.**"):
        return own
    return f"{note.rstrip()}\n\n{own}"


def begun(config: StudyConfig, dataset: str, command: str = "") -> str:
    """The note of a study that is running or was stopped."""
    space = [[name, brief(values)] for name, values in config.space.parameters().items()]
    if config.design.seeds:
        space.append(["seed", f"{brief(config.design.seeds)} (every trial uses all seeds)"])
    about = f"{_what(config.description)} {config.n_trials} trials, engine `{config.engine}`, images `{dataset}`"
    return (
        "**Results.** The study is running or was stopped. The results will appear here when the study ends.\n\n"
        f"**Study.** {about}:\n\n{markdown_table(['parameter', 'values'], space, n_left=2)}\n\n"
        f"{_again(config.name, command)}"
    )


def ended(record: StudyRecord) -> str:
    """The note of a study that has ended, with the results first."""
    tags, params = record.parent.tags, record.parent.params
    results = StudyResults.of(record)
    cells, failed = results.cells, results.n_failed
    varied = [name for name in _ORDER if name != "seed" and len({cell.settings[name] for cell in cells}) > 1]
    space = "\n".join(
        f"| {name.removeprefix('space.')} | {values} |" for name, values in params.items() if name.startswith("space.")
    )
    said = [
        # MLflow's UI initially shows only three lines of a note, so the most important facts come first.
        f"**Recommended:** {results.recommended_line}.{LINE_BREAK}**Baseline:** {results.baseline_line}.",
        f"{_count(cells)} {RULE}" if cells else "",
        _table(cells, varied, is_search=params.get("design") == "sampled"),
        f"{plural(failed, 'run')} failed. The reason is in the tag `harness.failure`." if failed else "",
        f"**Study.** {_what(tags.get(Tag.DESCRIPTION, ''))} {_means(tags)}:",
        f"| parameter | values |\n|---|---|\n{space}",
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


def _count(cells: Sequence[model_selection.Cell]) -> str:
    at_zero, n = sum(cell.at_zero for cell in cells), sum(len(cell.runs) for cell in cells)
    return f"{at_zero} of {plural(n, 'run')} ended with zero errors."


def _table(cells: Sequence[model_selection.Cell], varied: list[str], *, is_search: bool) -> str:
    """A Markdown table of the results. Each row summarizes the runs that differ only in the seed.

    If Optuna chose the settings of the trials (a sampled design), the table shows the `_BEST_TRIALS` rows with the
    lowest mean error count. If the study has a trial for every combination of settings (a factorial design), the table
    shows at most `_MOST_ROWS` rows, sorted by the settings.
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
    more = f"\n\nThe report shows {left_out} more." if left_out else ""
    return markdown_table(head, rows, n_left=len(varied)) + more


def _sortable(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return 0.0, text


def _look(view: str) -> str:
    return (
        "**Results in MLflow.** The artifacts include the report (`report.html`). The saved view "
        f"[Loss and errors of every training]({view}) shows the runs. It is also in the menu *Views* above the run "
        "table."
    )


def _again(name: str, command: str) -> str:
    return (
        f"**Commands.** `{command or f'harness study run {name}'}` resumes the study and trains only what is missing. "
        f"`harness report {name}` writes the report.\n\n"
        f"**Terms.** An error is one of the {N_IMAGES} training images that the network gets wrong. `final_errors` is "
        "the number of errors after the last epoch. `first_zero_epoch` is the first epoch with zero errors. A run that "
        "never reaches zero does not have this metric. Errors can return after the first zero epoch. "
        f"`held_out_errors` is the number of MNIST's {N_HELD_OUT:,} test images that the network gets wrong. "
        "The network does not learn from the test images. The metric is missing if the dataset has no held-out images."
    )
