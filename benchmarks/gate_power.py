"""The command behind ``nox -s gate-power``.

It measures how often the gate fails, without a fault and with each planted fault.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import faults, power
from harness.commands import console, options
from harness.commands.main import main
from harness.commands.progress import TrainingsProgress
from harness.errors import UsageError
from harness.files import check_destinations, write_json, write_text
from harness.gate import checks
from harness.gate.reference import load, path_of
from harness.gate.verdict import Verdict
from harness.workers.local import default_count


@click.command()
@click.option(
    "--clean",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="The number of trainings without a fault.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="The number of trainings with each fault.",
)
@click.option(
    "--gates",
    type=click.IntRange(min=1),
    default=4000,
    show_default=True,
    help="The number of simulated gates for each fault. Each gate draws its seeds from the finished trainings.",
)
@click.option("--fault", "names", multiple=True, help="The name of a fault. Repeatable. Default: all faults.")
@click.option("--page", type=click.Path(path_type=Path), help="The Markdown page to write.")
@click.option("--out", "folder", type=click.Path(path_type=Path), default=console.OUT / "gate" / "power")
@options.reference
@options.workers
@options.data
@options.json
@options.quiet
def gate_power(  # noqa: PLR0913 - one argument for each option
    *,
    clean: int,
    seeds: int,
    gates: int,
    names: tuple[str, ...],
    page: Path | None,
    folder: Path,
    path: Path | None,
    workers: int | None,
    data: str,
    json_to: str | None,
    quiet: bool,
) -> None:
    """Measure how often the gate fails, without a fault and with each planted fault.

    The measurement takes half an hour. Finished trainings are kept and reused.
    """
    if unknown := set(names) - set(faults.FAULTS):
        raise UsageError(f"no fault is called {min(unknown)!r}", f"Faults: {', '.join(faults.FAULTS)}.")
    check_destinations(json_to, page)
    digits = console.load(data)
    reference = load(path or path_of(digits.name))
    early = reference.early
    if early is None:
        raise UsageError(
            "the reference was recorded with a user's training function, not with an engine",
            "Give a reference that was recorded with an engine: --reference FILE.",
        )
    if checks.data(digits, reference).verdict is not Verdict.PASS:
        raise UsageError(
            f"the reference was recorded for images other than {digits.name}",
            "Give a reference of these images: --reference FILE.",
        )
    count = workers or default_count()
    found = []
    for name in names or faults.FAULTS:
        console.err.print(faults.FAULTS[name].what, markup=False)
        with TrainingsProgress(console.err, quiet=quiet) as progress:
            n = clean if name == power.CLEAN else seeds
            trained = power.train(digits, name, n, count, folder / digits.name, early, progress.trained)
        found.append(power.measure(trained, reference, gates))
    table = power.markdown(found, reference)
    console.say(table, json_to)
    if page is not None:
        write_text(page, power.page(table, digits.name))
    if json_to is not None:
        write_json(json_to, power.as_json(found))


if __name__ == "__main__":
    main(gate_power)
