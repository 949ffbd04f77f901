"""``harness gate run``: compares training with a recorded reference."""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import provenance
from harness.commands import console, gate_inputs, options
from harness.commands.help_text import Command
from harness.commands.progress import TrainingsProgress
from harness.engines import function as functions
from harness.engines import registry
from harness.errors import DataError, ExitStatus, HarnessError, UsageError
from harness.files import check_destinations, write_bytes, write_json, write_text
from harness.text import duration
from harness.workers.local import default_count

if TYPE_CHECKING:
    from harness.data.digits import Digits
    from harness.gate.reference import Reference
    from harness.gate.run import GateConfig, GateResult

_FILES = ("gate.json", "junit.xml", "summary.md", "gate.html")
_FIGURES = "figures"
_NONE = "none"
# The smallest seed that --fresh-seeds draws. Published references and gates have smaller seeds.
_FRESH = 1_000_000
# Seconds per epoch with the engine `graph`, measured while both cores of the README's machine train.
_GRAPH_EPOCH_S = 0.02


@click.command(
    "run",
    cls=Command,
    examples={
        "harness gate run": "Compare the engine xla with the reference",
        "harness gate run --train mine.py:train --data optdigits": "Test your own training code",
    },
)
@click.option("--engine", help="The engine to test: the name of a built-in engine or of an entry point. Default: xla.")
@gate_inputs.train
@click.option(
    "--seeds",
    type=click.IntRange(min=0),
    help="The number of seeds to train. Default: 63 or a quarter of the reference's seeds, whichever is smaller.",
)
@click.option(
    "--first-seed",
    type=click.IntRange(0, 2**31 - 1),
    help="Train consecutive seeds that start with this one. Default: the published seeds.",
)
@click.option("--fresh-seeds", is_flag=True, help="Use new random seeds.")
@click.option(
    "--against",
    type=click.Choice([*registry.NAMES, _NONE]),
    multiple=True,
    help="Check the trace of this engine, too. Repeatable. Default: all other engines.",
)
@click.option("--conformance", is_flag=True, help="Run the conformance tests of the engine contract first.")
@click.option("--strict", is_flag=True, help="Fail also if training is better than the reference.")
@options.reference
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default=console.OUT / "gate",
    show_default=True,
    help="The output folder.",
)
@click.option("--untracked", is_flag=True, help="Do not record the gate in MLflow.")
@options.workers
@options.data
@options.json
@options.quiet
def gate_run(  # noqa: PLR0913 - one argument for each option
    *,
    engine: str | None,
    function: str | None,
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
    """Compare training with the recorded reference.

    Exit status: 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 4 NOT RUN.
    """
    from harness.gate import results, run
    from harness.gate.verdict import STATUSES, Verdict

    subject = gate_inputs.subject(engine, function)
    if function is not None and (conformance or against):
        raise UsageError("--conformance and --against need an engine, not a training function", "Leave them out.")
    if first_seed is not None and fresh_seeds:
        raise UsageError("--first-seed and --fresh-seeds cannot be used together", "Give one of them.")
    check_destinations(json_to, *(folder / name for name in _FILES))
    for name in _FILES:  # delete the files of an earlier gate: a reader could mistake them for new results
        (folder / name).unlink(missing_ok=True)
    others = () if function else tuple(name for name in against or registry.fast_names() if name != _NONE)
    config = run.GateConfig(subject, (), workers or default_count(), others, strict=strict, conformance=conformance)
    choose = partial(_seeds, n=seeds, first=first_seed, fresh=fresh_seeds)
    with TrainingsProgress(console.err, quiet=quiet) as progress:
        result, digits, reference = _run(config, choose, data, path, progress)
    kept = [
        _kept(f"{name} is not written", write) for name, write in _writers(result, reference, folder, strict=strict)
    ]
    if json_to is not None:
        kept.append(_kept(f"{json_to} is not written", lambda: _write_json(result, json_to)))
    if not untracked:
        kept.append(_kept("the gate is not recorded in MLflow", lambda: _track(result, digits, folder)))
    console.say_in_colour(results.terminal(result), _COLOURS, json_to)
    console.say(f"Written: {folder.absolute()} ({result.duration_s:.0f} s)", json_to)
    # A gate passes only if all its results were saved.
    return STATUSES[result.verdict] if all(kept) or result.verdict is not Verdict.PASS else ExitStatus.ENVIRONMENT


def _run(
    config: GateConfig,
    choose: Callable[[Reference], tuple[int, ...]],
    data: str,
    path: Path | None,
    progress: TrainingsProgress,
) -> tuple[GateResult, Digits | None, Reference | None]:
    """Run a gate.

    Args:
        config: Configuration of the gate, without seeds and command.
        choose: Function that receives the reference and returns the seeds to train.
        data: Value of ``--data``.
        path: Path of the reference; None for the default.
        progress: Display of the progress.

    Returns:
        The result, the images and the reference. The images or the reference are None if they cannot be loaded.
    """
    from harness.gate import run

    is_function = functions.is_function(config.engine)
    digits: Digits | None = None
    try:
        digits = console.load(data)
        reference = gate_inputs.load_reference(path or (gate_inputs.OWN_REFERENCE if is_function else None), digits)
    except DataError as error:
        missing = ("data", "images") if digits is None else ("reference", "a reference of these images")
        return run.not_run(*missing, error), digits, None
    _check_kind(reference, is_function=is_function)
    seeds = choose(reference)
    _say_the_time(config, reference, len(seeds))
    config = replace(config, seeds=seeds, command=_command(seeds))
    return run.run(digits, reference, config, progress.trained), digits, reference


# The colours of the verdicts in a terminal.
_COLOURS = {"PASS": "green", "FAIL": "red", "CHANGED": "cyan", "INCONCLUSIVE": "yellow", "NOT RUN": "yellow"}


def _say_the_time(config: GateConfig, reference: Reference, n: int) -> None:
    """Print the expected duration if the installed TensorFlow is too old for the engine ``xla``."""
    if config.engine == registry.fast_names()[0] != registry.NAMES[0]:
        duration_s = n * reference.repeats.budget * _GRAPH_EPOCH_S / config.workers
        version = provenance.versions()["tensorflow"]
        console.err.print(
            f"engine: {config.engine}, because XLA takes seconds per epoch with TensorFlow {version}. The gate "
            f"takes about {duration(duration_s)}",
            markup=False,
        )


def _check_kind(reference: Reference, *, is_function: bool) -> None:
    """Check that the reference and the tested object are of the same kind: an engine or a training function.

    Raises:
        UsageError: Only one of them is an engine.
    """
    if reference.is_of_function and not is_function:
        raise UsageError(
            f"the reference was recorded with the training function {reference.repeats.engine}",
            "Give this function with --train, or another reference with --reference.",
        )
    if is_function and not reference.is_of_function:
        raise UsageError(
            f"the reference was recorded with the engine {reference.repeats.engine}, not with a training function",
            "Record a reference: harness gate record --train FILE.py:FUNCTION.",
        )


def _command(seeds: Sequence[int]) -> str:
    """Return the command that repeats this gate: the options of the user, and these seeds."""
    context = click.get_current_context()
    words = ["harness", "gate", "run"]
    for option in context.command.params:
        given, name = context.params.get(option.name or ""), option.opts[0]
        is_default = context.get_parameter_source(option.name or "") is click.core.ParameterSource.DEFAULT
        if name in {"--seeds", "--first-seed", "--fresh-seeds"} or (is_default or given is None):
            continue
        values = given if option.multiple else [given]
        words += [name] if given is True else [word for value in values for word in (name, str(value))]
    if seeds:
        words += ["--seeds", str(len(seeds)), "--first-seed", str(seeds[0])]
    return shlex.join(words)


def _seeds(reference: Reference, n: int | None, first: int | None, *, fresh: bool) -> tuple[int, ...]:
    """Return the seeds to train.

    Raises:
        UsageError: The reference contains one of the seeds, or a seed is too large.
    """
    from harness.gate.reference import FIRST_GATE_SEED
    from harness.gate.rule import SEEDS_FOR_EACH

    n_reference = len(reference.repeats.seeds)
    n = reference.n_gate_seeds if n is None else n
    if n > n_reference // SEEDS_FOR_EACH:
        gate_inputs.warn(
            f"{n} seeds are more than a quarter of the {n_reference} seeds of the reference. The false-alarm rate "
            "may be higher than documented"
        )
    if fresh:
        first = random.SystemRandom().randrange(_FRESH, 2**31 - n)
    if first is None:
        first = FIRST_GATE_SEED
    if first + n > 2**31:
        raise UsageError(
            f"--first-seed {first}: the last of {n} seeds exceeds 2147483647", "Give a smaller first seed."
        )
    chosen = tuple(range(first, first + n))
    if known := set(chosen) & set(reference.repeats.seeds):
        raise UsageError(f"--first-seed {first}: the reference contains seed {min(known)}", "Give another first seed.")
    return chosen


def _kept(otherwise: str, write: Callable[[], None]) -> bool:
    """Call a function that writes a result. If it fails, print an error and return False."""
    try:
        write()
    except (HarnessError, OSError) as error:
        console.err.print(f"error: {otherwise}: {error}", markup=False)
        return False
    return True


def _writers(
    result: GateResult, reference: Reference | None, folder: Path, *, strict: bool
) -> list[tuple[str, Callable[[], None]]]:
    """Return the path of each result file, with a function that writes the file."""
    from harness.gate import results
    from harness.reporting import gate_page

    record, cases, summary, page = (folder / name for name in _FILES)
    text = results.markdown(result)
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    return [
        (str(record), lambda: _write_json(result, str(record))),
        (str(cases), lambda: write_bytes(cases, results.junit(result, strict=strict))),
        (str(summary), lambda: write_text(summary, text)),
        (str(page), lambda: gate_page.write(result, reference, folder)),
        *([(step, lambda: _append(step, text))] if step else []),
    ]


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as stream:
        stream.write(text)


def _write_json(result: GateResult, destination: str) -> None:
    from harness.gate import results

    write_json(destination, results.as_json(result))


def _track(result: GateResult, digits: Digits | None, folder: Path) -> None:
    from harness.gate import track

    track.record(result, digits, [path for name in (*_FILES, _FIGURES) if (path := folder / name).exists()])
