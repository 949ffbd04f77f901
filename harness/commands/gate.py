"""``harness gate``: the regression gate."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import console, options
from harness.commands.progress import TrainingsProgress
from harness.engines import registry, tensorflow_setup
from harness.errors import DataError, ExitStatus, HarnessError, UsageError
from harness.files import check_destinations, write_bytes, write_json, write_text
from harness.workers.local import default_count

if TYPE_CHECKING:
    from harness.data.digits import Digits
    from harness.gate.reference import Reference
    from harness.gate.run import GateResult
    from harness.gate.verdict import Check

_SEEDS = 1024
_FILES = ("gate.json", "junit.xml", "summary.md")
_FIGURES = "figures"
_NONE = "none"
# The smallest random seed for --fresh-seeds, above the seeds of references and gates.
_FRESH = 1_000_000


@click.group()
def gate() -> None:
    """Check that training still works as recorded."""


@gate.command("run")
@click.option(
    "--engine", default="xla", show_default=True, help="The engine to test: its name, or that of its entry point."
)
@click.option(
    "--seeds",
    type=click.IntRange(min=0),
    help="The largest number of seeds. Default: all seeds that the reference names.",
)
@click.option(
    "--first-seed",
    type=click.IntRange(0, 2**31 - 1),
    help="Use consecutive seeds from this one on, instead of the published ones.",
)
@click.option("--fresh-seeds", is_flag=True, help="Use new random seeds.")
@click.option(
    "--against",
    type=click.Choice([*registry.NAMES, _NONE]),
    multiple=True,
    help="An engine that must agree with the tested one; repeatable. Default: all others.",
)
@click.option("--conformance", is_flag=True, help="Run the conformance tests of the engine contract first.")
@click.option("--strict", is_flag=True, help="Fail also if training became better.")
@options.reference
@click.option("--out", "folder", type=click.Path(path_type=Path), default=console.OUT / "gate", show_default=True)
@click.option("--untracked", is_flag=True, help="Do not record the gate in MLflow.")
@options.workers
@options.data
@options.json
@options.quiet
def gate_run(  # noqa: PLR0913 - an argument an option
    *,
    engine: str,
    seeds: int | None,
    first_seed: int | None,
    against: tuple[str, ...],
    path: Path | None,
    folder: Path,
    workers: int | None,
    data: str,
    json_to: str | None,
    fresh_seeds: bool,
    conformance: bool,
    strict: bool,
    untracked: bool,
    quiet: bool,
) -> ExitStatus:
    """Compare training with the recorded reference. Exit status: 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 4 NOT RUN."""
    from harness.gate import run
    from harness.gate.verdict import STATUSES, Verdict

    registry.check(engine)
    if first_seed is not None and fresh_seeds:
        raise UsageError("--first-seed and --fresh-seeds contradict each other", "Give one of them.")
    tensorflow_setup.check_flags()
    check_destinations(json_to, *(folder / name for name in _FILES))
    for name in _FILES:  # files of an earlier gate must not look like the result of this one
        (folder / name).unlink(missing_ok=True)
    digits: Digits | None = None
    reference: Reference | None = None
    with TrainingsProgress(console.err, quiet=quiet) as progress:
        shown = _ShownProgress(progress, json_to)
        try:
            digits = console.load(data)
            reference = _load(path, digits)
        except DataError as error:
            missing = ("data", "images") if digits is None else ("reference", "a reference of these images")
            result = run.not_run(*missing, error)
            shown.check(result.checks[0])
        else:
            chosen = _seeds(reference, seeds, first_seed, fresh=fresh_seeds)
            others = tuple(name for name in against or registry.NAMES if name != _NONE)
            asked = run.Asked(
                engine, chosen, workers or default_count(), others, strict=strict, conformance=conformance
            )
            result = run.run(digits, reference, asked, shown)
    kept = [
        _kept(f"{name} is not written", write) for name, write in _writers(result, reference, folder, strict=strict)
    ]
    if json_to is not None:
        kept.append(_kept(f"{json_to} is not written", lambda: _write_json(result, json_to)))
    if not untracked:
        kept.append(_kept("the gate is not recorded in MLflow", lambda: _track(result, digits, folder)))
    console.say(_summary(result, folder), json_to)
    # A gate whose results are not saved is not green.
    return STATUSES[result.verdict] if all(kept) or result.verdict is not Verdict.PASS else ExitStatus.ENVIRONMENT


@dataclass(frozen=True)
class _ShownProgress:
    """Shows the progress of the gate."""

    progress: TrainingsProgress
    json_to: str | None

    def trained(self, done: int, total: int) -> None:
        """Show the number of finished trainings."""
        self.progress.trained(done, total)

    def check(self, check: Check) -> None:
        """Print the result of a check."""
        console.say(str(check), self.json_to)


def _load(path: Path | None, digits: Digits) -> Reference:
    from harness.gate import reference

    return reference.load(path or reference.path_of(digits.name))


def _seeds(reference: Reference, n: int | None, first: int | None, *, fresh: bool) -> tuple[int, ...]:
    """The seeds to train.

    Raises:
        UsageError: The reference allows fewer seeds, or contains some of them itself.
    """
    published = reference.gate_seeds
    n = len(published) if n is None else n
    if n > len(published):
        cause = f"{n} seeds are too many: a reference with {len(reference.repeats.seeds)} supports {len(published)}"
        raise UsageError(cause, "Give a smaller number to --seeds, or record a larger reference.")
    if fresh:
        first = random.SystemRandom().randrange(_FRESH, 2**31 - n)
    if first is None:
        return tuple(published[:n])
    if first + n > 2**31:
        raise UsageError(f"--first-seed {first}: {n} seeds from this one exceed 2147483647", "Give a smaller one.")
    chosen = tuple(range(first, first + n))
    if known := set(chosen) & set(reference.repeats.seeds):
        raise UsageError(f"--first-seed {first}: the reference itself has seed {min(known)}", "Give another.")
    return chosen


def _kept(otherwise: str, write: Callable[[], None]) -> bool:
    """Write a result. If it cannot be written, print a warning and continue."""
    try:
        write()
    except (HarnessError, OSError) as error:
        console.err.print(f"error: {otherwise}: {error}", markup=False)
        return False
    return True


def _writers(
    result: GateResult, reference: Reference | None, folder: Path, *, strict: bool
) -> list[tuple[str, Callable[[], None]]]:
    """The files for CI and people, by name, with the functions that write them."""
    from harness.gate import results
    from harness.reporting import gate_figures as pictures

    record, cases, summary = (folder / name for name in _FILES)
    text = results.markdown(result)
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    return [
        (str(record), lambda: _write_json(result, str(record))),
        (str(cases), lambda: write_bytes(cases, results.junit(result, strict=strict))),
        (str(summary), lambda: write_text(summary, text)),
        (str(folder / _FIGURES), lambda: pictures.write(result, reference, folder / _FIGURES)),
        *([(step, lambda: _append(step, text))] if step else []),
    ]


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as stream:
        stream.write(text)


def _write_json(result: GateResult, destination: str) -> None:
    from harness.gate import results

    write_json(destination, results.as_json(result))


def _summary(result: GateResult, folder: Path) -> str:
    lines = [f"{result.verdict}: {result.answer} ({result.duration_s:.0f} s)", f"written: {folder.absolute()}"]
    if result.seeds:
        first, last = result.seeds[0], result.seeds[-1]
        lines.append(f"seeds: {first} to {last}; repeat with --first-seed {first}")
    return "\n".join(lines)


def _track(result: GateResult, digits: Digits | None, folder: Path) -> None:
    from harness.gate import track

    track.record(result, digits, [path for name in (*_FILES, _FIGURES) if (path := folder / name).exists()])


@gate.command("record")
@click.option("--seeds", type=click.IntRange(min=1), default=_SEEDS, show_default=True, help="The number of trainings.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write. Default: the package's own reference for these images.",
)
@click.option("--reason", help="Why the existing reference is replaced. The reason is stored in the file.")
@options.workers
@options.data
@options.quiet
def gate_record(seeds: int, out: Path | None, reason: str | None, workers: int | None, data: str, quiet: bool) -> None:
    """Record a reference for the gate: many trainings of the baseline."""
    from harness.gate import record, reference

    record.gate_seeds(seeds)
    digits = console.load(data)
    path = out or reference.path_of(digits.name)
    tensorflow_setup.check_flags()
    check_destinations(path)
    before = []
    if path.exists():
        if not reason:
            raise UsageError(f"{path}: a reference exists", "Give the reason for replacing it: --reason TEXT.")
        before = reference.records_of(path)
    with TrainingsProgress(console.err, quiet=quiet) as progress:
        count = workers or default_count()
        made = record.record(digits, seeds, count, reason or "the first", before, progress.trained)
    reference.save(made, path)
    click.echo(f"reference: {path.absolute()}")


@gate.command("explain")
@options.reference
@options.data
def gate_explain(path: Path | None, data: str) -> None:
    """Print every threshold of the gate with its origin, and what the reference says about the baseline."""
    from harness.gate import explain

    click.echo(explain.text(_load(path, console.load(data))))


@gate.command("table")
@click.argument("files", nargs=-1, required=True, type=options.FILE)
def gate_table(files: tuple[Path, ...]) -> None:
    """Print the results of several gates, read from their gate.json files, as one table in Markdown."""
    from harness.gate import results

    click.echo(results.table([_gate_json(path) for path in files]))


def _gate_json(path: Path) -> dict[str, Any]:
    """The content of a gate.json file.

    Raises:
        UsageError: The file is not the JSON of a gate.
    """
    try:
        content = json.loads(path.read_text())
        if {"verdict", "checks", "versions", "duration_s"} <= content.keys() and all(
            {"name", "verdict", "details"} <= check.keys() for check in content["checks"]
        ):
            return dict(content)
    except (ValueError, AttributeError, TypeError):
        pass
    raise UsageError(f"{path}: this is not the JSON file of a gate", "Give the gate.json that harness gate run writes.")
