"""Records the result of a gate as a run in MLflow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from textwrap import shorten

from mlflow.entities import Metric, Param, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from harness.data.digits import Digits
from harness.gate import results
from harness.gate.environment import Difference
from harness.gate.run import GateResult
from harness.gate.verdict import Verdict
from harness.text import escape_markdown, plural
from harness.tracking.descriptions import LINE_BREAK
from harness.tracking.run_content import dataset_input, origin_tags
from harness.tracking.store import Store, failures
from harness.tracking.tags import Role, Tag

# The results of the checks over seeds that are recorded as metrics of the gate's run in MLflow.
_METRICS = (
    *("mean_first_zero", "slowdown", "slowdown_bound", "mean_errors", "reached"),
    *("p_later", "p_more_errors", "p_share"),
)
# The second line of a note names at most `_MOST_DIFFERENCES` differences of the environment, and shortens each value to
# `_MOST_CHARACTERS` characters. The table below this line shows more differences, with their whole values.
_MOST_DIFFERENCES, _MOST_CHARACTERS = 3, 40


def record(result: GateResult, digits: Digits | None, paths: Sequence[Path]) -> str:
    """Record the result of a gate as a run in MLflow, and return the id of the run.

    If the verdict is NOT RUN, the run in MLflow gets the status FAILED. For every other verdict, it gets the status
    FINISHED.

    Args:
        result: Result of the gate.
        digits: Images that the gate trained on; None if they could not be read.
        paths: Files and folders that become artifacts of the run, such as the gate's report.

    Raises:
        StoppedError: The tracking store cannot be reached or written.
    """
    store = Store(create=True)
    tags = {
        **origin_tags(),
        Tag.NAME: f"gate: {result.verdict}",
        "mlflow.source.name": "harness gate run",
        Tag.NOTE: note(result),
        Tag.ROLE: Role.GATE,
        Tag.VERDICT: str(result.verdict),
        Tag.ENGINE: result.engine,
        Tag.DATASET: result.dataset,
    }
    with failures():
        began_ms = int((time.time() - result.duration_s) * 1000)
        run = store.client.create_run(store.experiment_id, began_ms, tags)
        run_id = str(run.info.run_id)
        try:
            _fill(store, run, result, digits, paths)
        except BaseException:
            store.client.set_terminated(run_id, "FAILED")
            raise
    return run_id


def note(result: GateResult) -> str:
    """The note of a gate's run in MLflow, as Markdown.

    The first line states the verdict and its reason. The second line says what to look at. These two parts are short
    because MLflow's UI initially shows only three lines of a note. The summary of the gate follows.
    """
    answer = f"**{result.verdict}:** {escape_markdown(result.answer.removeprefix(f'{result.verdict}: '))}."
    _, _, summary = results.markdown(result).partition("\n\n")  # Omit the heading, which repeats the answer.
    return f"{answer}{LINE_BREAK}**Look at:** {escape_markdown(_look(result))}.\n\n{summary}"


def _look(result: GateResult) -> str:
    """What a reader of the note should look at, on one line.

    The line has the number of seeds in the reference, the seeds that the gate trained, and the first differences
    between the current environment and the environment of the reference.
    """
    known = (check.details["n_reference"] for check in result.checks if "n_reference" in check.details)
    reference = "".join(f"reference of {plural(n, 'seed')}; " for n in islice(known, 1))
    seeds = plural(len(result.seeds), "trained seed")
    if result.seeds:
        seeds += f", {min(result.seeds)} to {max(result.seeds)}"
    first = [_difference(one) for one in result.environment[:_MOST_DIFFERENCES]]
    if (rest := len(result.environment) - len(first)) > 0:
        first.append(plural(rest, "more difference"))
    return f"{reference}{seeds}; environment: {', '.join(first) or 'no difference from the reference'}"


def _difference(difference: Difference) -> str:
    before, now = (
        shorten(value, _MOST_CHARACTERS, placeholder=" ...") for value in (difference.reference, difference.now)
    )
    return f"{difference.name} {now}" if before in {"", "-"} else f"{difference.name} {before} -> {now}"


def _fill(store: Store, run: Run, result: GateResult, digits: Digits | None, paths: Sequence[Path]) -> None:
    run_id = str(run.info.run_id)
    details = {name: value for check in result.checks for name, value in check.details.items()}
    found = {name: details[name] for name in _METRICS if name in details and math.isfinite(details[name])}
    ended_ms = int(time.time() * 1000)
    metrics = [Metric(name, float(value), ended_ms, 0) for name, value in found.items()]
    metrics.append(Metric("duration_s", result.duration_s, ended_ms, 0))
    params = {"engine": result.engine, "dataset": result.dataset, "seeds": json.dumps(result.seeds)}
    store.client.log_batch(run_id, metrics=metrics, params=[Param(name, text) for name, text in params.items()])
    if digits is not None:
        store.client.log_inputs(run_id, [dataset_input(digits)])
    repository = get_artifact_repository(str(run.info.artifact_uri))
    for path in paths:
        if path.is_dir():
            repository.log_artifacts(str(path), path.name)
        else:
            repository.log_artifact(str(path))
    store.client.set_terminated(run_id, "FAILED" if result.verdict is Verdict.NOT_RUN else "FINISHED", ended_ms)
