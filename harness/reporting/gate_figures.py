"""Writes the figures of a gate."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_bytes
from harness.gate.reference import Reference
from harness.gate.run import GateResult
from harness.reporting import figure_files
from harness.reporting.charts import gate as charts
from harness.reporting.figure_files import in_default_style

SURVIVAL, TRACE = "survival.png", "trace.png"


@in_default_style
def write(result: GateResult, reference: Reference | None, folder: Path) -> None:
    """Write the figures of a gate's checks. Figures of checks that did not run are deleted.

    Raises:
        StoppedError: A file cannot be written.
    """
    drawn = {}
    if reference is not None and result.seeds:
        repeats = reference.repeats
        drawn[SURVIVAL] = charts.survival(result.first_zero, repeats.first_zero, repeats.budget)
    traces = {check.name.partition(" ")[2]: check.details for check in result.checks if "losses" in check.details}
    if traces:
        drawn[TRACE] = charts.trace(traces)
    for name in (SURVIVAL, TRACE):
        if name in drawn:
            write_bytes(folder / name, figure_files.png(drawn[name]))
        else:
            (folder / name).unlink(missing_ok=True)
