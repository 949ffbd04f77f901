"""Studies written by hand, and their comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.network.variant import Variant
from harness.reporting import comparison, comparison_inputs
from harness.reporting.comparison import Comparison
from harness.reporting.comparison_verdict import Margins
from harness.tracking.run_record import RunRecord, StudyRecord


def study(runs: Iterable[RunRecord], **tags: str) -> StudyRecord:
    told = {
        "harness.study": "made",
        "harness.dataset": "optdigits-5000",
        "harness.engine": "xla",
        "harness.cpu": "a processor",
        "harness.versions": "python 3.11, tensorflow 2.21.0",
        "harness.commit": "0" * 40,
        "harness.dirty": "false",
        "harness.trace": "1",
    }
    parent = RunRecord("f" * 32, "made", "FINISHED", {}, {}, told | tags, 0)
    return StudyRecord(parent, tuple(runs), tracking_uri="sqlite:///mlflow.db")


def run(
    trial: int, errors: int, zero: int | None, *, seed: int, dataset: str = "optdigits-5000", **values: float
) -> RunRecord:
    """A run as it is recorded; its wrong images are the first ones."""
    variant = Variant(seed=seed, **values)  # type: ignore[arg-type] # checked when it runs
    metrics = {"final_errors": float(errors), "final_loss": 0.1}
    return RunRecord(
        run_id=f"{trial:032x}",
        name=f"run {trial}",
        status="FINISHED",
        params={
            **{name: str(value) for name, value in variant.settings().items()},
            "engine": "xla",
            "dataset": dataset,
        },
        metrics=metrics if zero is None else {**metrics, "first_zero_epoch": float(zero)},
        tags={"harness.trial": str(trial), "harness.variant": variant.key},
        started_ms=0,
        wrong_images=tuple(range(errors)),
    )


def compared(a: StudyRecord, b: StudyRecord, margins: Margins = Margins(), across: tuple[str, ...] = ()) -> Comparison:  # noqa: B008
    return comparison.compare(comparison_inputs.of_record(a), comparison_inputs.of_record(b), margins, across)


def grid(errors: Callable[[int], int], zero: Callable[[int], int | None], seeds: range = range(8)) -> StudyRecord:
    return study(run(seed, errors(seed), zero(seed), seed=seed, epochs=100) for seed in seeds)
