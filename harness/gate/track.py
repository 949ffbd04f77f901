"""Records a gate as a run in MLflow."""

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

# The numbers of the checks over seeds that become metrics of the run in MLflow.
_METRICS = (
    *("mean_first_zero", "slowdown", "slowdown_bound", "mean_errors", "reached"),
    *("p_later", "p_more_errors", "p_share"),
)
# The number of environment differences in the second line of a note, and the length of each value. The table below the
# line has the rest.
_MOST_DIFFERENCES, _MOST_CHARACTERS = 3, 40


def record(result: GateResult, digits: Digits | None, paths: Sequence[Path]) -> str:
    """Record a gate and its files as a run in MLflow, and return the id of the run.

    The status of the run is FAILED if the verdict is NOT RUN. For every other verdict, the status is FINISHED.

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
    """The note of a gate's run: the answer, what to look at, and the summary of the gate in Markdown.

    The first two parts take one line each, because MLflow's UI initially shows only three lines of a note.
    """
    answer = f"**{result.verdict}:** {escape_markdown(result.answer.removeprefix(f'{result.verdict}: '))}."
    _, _, summary = results.markdown(result).partition("\n\n")  # without its heading, which is the answer
    return f"{answer}{LINE_BREAK}**Look at:** {escape_markdown(_look(result))}.\n\n{summary}"


def _look(result: GateResult) -> str:
    """The reference, the seeds and the first differences from the environment of the reference, on one line."""
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
