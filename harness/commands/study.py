"""``harness study``: runs studies and inspects them."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from harness.commands import console, options, pools, report
from harness.commands.help_text import Group
from harness.data.digits import AUTO
from harness.engines import registry
from harness.errors import ExitStatus, UsageError
from harness.files import check_destinations, masked, write_json
from harness.signals import Stop
from harness.text import plural
from harness.tracking.tags import Tag

if TYPE_CHECKING:
    from harness.data.digits import Digits
    from harness.engines.training import TrainingResult
    from harness.search.result import StudyResult
    from harness.study.config import StudyConfig
    from harness.tracking.claim import Claim
    from harness.tracking.model_process import ModelProcess
    from harness.tracking.reader import StudyReader
    from harness.tracking.study_results import StudyResults
    from harness.workers.dask import Cluster
    from harness.workers.local import Workers


@click.group(
    cls=Group,
    examples={
        "harness study run": "Run the study `variants`",
        "harness study list": "List the studies that were run in this folder",
    },
)
def study() -> None:
    """Run studies and inspect them."""


def _config(name: str, trials: int | None, new_name: str | None) -> StudyConfig:
    from harness.study import files

    config = files.load(name)
    return files.changed(config, trials=trials, name=new_name)


@study.command(
    "run",
    examples={
        "harness study run --data optdigits": "Run the study `variants` with the embedded images",
        "harness study run my-study.toml --fresh": "Archive the records of your own study, and run it again",
    },
)
@options.study
@options.workers
@options.no_storage
@options.trials
@options.new_name
@click.option("--cluster", metavar="ADDRESS", help="Train on a Dask cluster. ADDRESS is its scheduler.")
@click.option("--tls-ca", type=options.FILE, help="The PEM file of the certificate authority, for a cluster with TLS.")
@click.option("--tls-cert", type=options.FILE, help="The PEM file of this machine's certificate.")
@click.option("--tls-key", type=options.FILE, help="The PEM file of this machine's private key.")
@click.option("--fresh", is_flag=True, help="Archive the study's records, and start again. No record is deleted.")
@options.data
@options.json
@options.quiet
def study_run(  # noqa: PLR0913, PLR0917 - one argument for each option
    name: str,
    workers: int | None,
    trials: int | None,
    new_name: str | None,
    fresh: bool,
    data: str,
    json_to: str | None,
    quiet: bool,
    **cluster: Any,  # noqa: ANN401 - click's
) -> int:
    """Run or resume a study, and write its report.

    NAME is a study of the project: variants (the default) or search. FILE is the path of a study file.

    Exit status: 0 if all trials are done, 1 if a training failed.

    The first Ctrl-C stops the study after the current trainings are recorded. The second Ctrl-C stops it at once. To
    resume the study, run the same command.
    """
    started_s = time.monotonic()
    config = _config(name, trials, new_name)
    if not quiet:
        console.err.print(f"study: {config.name}, {config.n_trials} trials, engine {config.engine}", markup=False)
    # These imports take seconds. They come after the check of the study's name, so that a wrong name is reported at
    # once. Importing MLflow and Optuna waits until the workers start, because the workers import even more.
    from harness.tracking.lock import sole_owner
    from harness.tracking.model_process import ModelProcess
    from harness.tracking.owner import Owner

    check_destinations(json_to)
    registry.check_environment(config.engine)
    me, folder = Owner.me(), console.OUT / config.name
    with sole_owner(folder, me), pools.pool(config, workers, **cluster) as pool, ModelProcess(folder) as models:
        from harness.tracking.claim import Claim, archive
        from harness.tracking.reader import StudyReader
        from harness.tracking.store import Store

        store = Store(create=True)
        if fresh:
            archive(store, config.name, lambda key: _archive(folder, key))
            console.done.add("--fresh")
        began_with = _as_it_began(StudyReader(store), config.name, data)
        digits = console.load(began_with or data, began_with and "those of the study")
        config.check_images(digits)
        pool.load(digits)
        with Claim(store, config, digits, me, _command(data, digits)) as claim:
            result = _trained(claim, pool, models, quiet=quiet)
            results, written = _shown(claim, folder, models)
    _say(result, time.monotonic() - started_s)
    console.say(f"recommended: {results.recommended_line}", json_to)
    console.say(f"baseline: {results.baseline_line}", json_to)
    console.say(f"report: {written}", json_to)
    if json_to is not None:
        write_json(json_to, {"study": config.name, **asdict(result), "report": str(written)})
    return ExitStatus.NEGATIVE if result.failed else ExitStatus.OK


def _command(data: str, digits: Digits) -> str:
    """Return the command that resumes this study with the same images. Run the command in the same folder."""
    words = [word for word in sys.argv[1:] if word != "--fresh"]
    if not any(word.split("=")[0] == "--data" for word in words):
        words += ["--data", console.CHOICES.get(digits.name, data)]
    return masked(shlex.join(["harness", *words]))


def _trained(
    claim: Claim, pool: Workers[TrainingResult] | Cluster, models: ModelProcess, *, quiet: bool
) -> StudyResult:
    """Train and record the missing trials of a study. As soon as a worker is idle, start to create the models.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM requested a stop. The batches in training are recorded.
    """
    from harness.commands.progress import StudyProgress
    from harness.search.run import StudyRun

    Thread(target=_load_report, daemon=True).start()
    journal = console.OUT / claim.study.config.name / "optuna.journal"
    if journal.exists() and not quiet:
        console.err.print(f"{journal} is no longer used: MLflow stores the trials", markup=False)
    # The models are created only for the project's own engines. Other engines return no weights.
    on_idle = models.start if claim.study.config.engine in registry.NAMES else None
    with StudyProgress(console.err, quiet=quiet) as progress, Stop() as stop:
        result = StudyRun(claim, pool, progress, stop, on_idle).run()
    claim.end()
    if stop.asked is not None and result.before + result.trained + result.failed < result.total:
        console.err.print(f"{result.before + result.trained} of {result.total} trials are done")
        raise stop.asked
    return result


def _load_report() -> None:
    """Load what the report needs while the workers train."""
    for module in ("harness.reporting.report", "scipy.stats"):
        import_module(module)
    import_module("harness.reporting.vega").prepare()


def _say(result: StudyResult, duration_s: float) -> None:
    """Print the number of trained and failed trials, and the duration, including the report and the models."""
    if result.trained or result.failed:
        console.err.print(
            f"{result.trained} trials done, {result.failed} failed, {duration_s:.0f} s; "
            f"workers busy {result.busy_share:.0%} of the time"
        )
    else:
        more = "" if result.before == result.total else f", {result.total} were requested"
        console.err.print(f"nothing to train: all {result.before} trials are done{more}")


def _shown(claim: Claim, folder: Path, models: ModelProcess) -> tuple[StudyResults, Path]:
    """Write the report of a study, and record the results in MLflow: report, note, models and metrics.

    Return the results and the path of the report.
    """
    from harness.tracking import report_upload
    from harness.tracking.models import ModelRegistry
    from harness.tracking.reader import StudyReader
    from harness.tracking.study_results import StudyResults

    study = claim.study
    record = StudyReader(claim.store).study(study.config.name)
    with ModelRegistry(claim.store, record, study.digits, models).keeping() as lines:
        written = report.write(record, folder)
        report.publish(claim.store, record, written, study.owner)
    for line in lines:
        console.err.print(line, markup=False)
    results = StudyResults.of(record)
    report_upload.log_results(claim.store, record, results.metrics(), study.times)
    return results, written


def _as_it_began(reader: StudyReader, name: str, data: str) -> str | None:
    """Return the value of ``--data`` that a study was started with.

    Returns None if the study is new, or if the user has chosen images.

    Raises:
        UsageError: The study was started with images from a user's file.
    """
    last = reader.newest_study(name) if data in {"", AUTO} else None
    if last is None:
        return None
    began_with = last.tags[Tag.DATASET]
    if began_with not in console.CHOICES:
        remedy = "Resume with these images (--data PATH), or start again with other images (--fresh --data PATH)."
        raise UsageError(f"the study {name} was started with the images {began_with}", remedy)
    return console.CHOICES[began_with]


def _archive(folder: Path, key: str) -> None:
    """Move the report of an archived study into the folder ``archive``. Otherwise, the next report would replace it."""
    kept = folder / "archive" / key
    for part in console.REPORT_FILES:
        if (folder / part).exists():
            kept.mkdir(parents=True, exist_ok=True)
            (folder / part).replace(kept / part)


@study.command(
    "list",
    examples={
        "harness study list": "List all studies of this folder",
        "harness study list --json studies.json": "Also write the list to a file",
    },
)
@options.json
def study_list(json_to: str | None) -> None:
    """List the recorded studies with their status."""
    from harness.search import status
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    found = status.statuses(StudyReader(Store(create=False)))
    table = Table("study", "state", "trials", "failed", "images", "engine", "last run", box=None, pad_edge=False)
    for one in found:
        state = f"running ({one.owner})" if one.owner else one.state
        trials = f"{one.finished} of {one.total}"
        table.add_row(one.name, state, trials, str(one.failed), one.dataset, one.engine, one.last_run)
    Console(stderr=json_to == "-", highlight=False).print(table if found else "no study was recorded")
    if json_to is not None:
        write_json(json_to, {"studies": [asdict(one) for one in found]})


@study.command(
    "show",
    examples={
        "harness study show variants": "Show how many trials are done, and why runs failed",
        "harness study show variants --json -": "Print the same as JSON",
    },
)
@click.argument("name")
@options.json
def study_show(name: str, json_to: str | None) -> None:
    """Show the status of a recorded study, and the reason for each failure."""
    from harness.search import status
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    reader = StudyReader(Store(create=False))
    found = status.statuses(reader, name)
    if not found:
        remedy = reader.similar(name) or "`harness study list` shows the recorded studies."
        raise UsageError(f"no study called {name!r} was recorded", remedy)
    for one in found:
        console.say(f"{one.name}: {one.state}, last run {one.last_run}", json_to)
        console.say(f"  trials: {one.finished} of {one.total} recorded; {one.failed} runs failed", json_to)
        console.say(f"  images {one.dataset}, engine {one.engine}", json_to)
        if one.owner:
            console.say(f"  owner: {one.owner}", json_to)
        for reason, count in one.failures.items():
            console.say(f"  {count} failed: {reason}", json_to)
        report = console.OUT / one.name / console.REPORT_FILES[0]
        if one.state != "archived" and report.is_file():
            console.say(f"  report: {report.absolute()}", json_to)
    if json_to is not None:
        write_json(json_to, {"studies": [asdict(one) for one in found]})


@study.command(
    "check",
    examples={
        "harness study check my-study.toml": "Check a study file, and estimate the duration",
        "harness study check --workers 8": "Estimate the duration with 8 workers",
    },
)
@options.study
@options.workers
@options.no_storage
@options.trials
@options.new_name
@options.data
@options.json
def study_check(
    name: str,
    workers: int | None,
    trials: int | None,
    new_name: str | None,
    data: str,
    json_to: str | None,
) -> int:
    """Show what `study run` would train, and how long it would take.

    Nothing is trained. Exit status: 0 if the study would run, 2 if it would be refused.
    """
    from harness.search import status
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store
    from harness.workers.local import default_count

    config = _config(name, trials, new_name)
    reader: StudyReader | None
    try:
        reader = StudyReader(Store(create=False))
    except UsageError:  # nothing was recorded yet
        reader = None
    began_with = None if reader is None else _as_it_began(reader, config.name, data)
    digits = console.load(began_with or data, began_with and "those of the study")
    config.check_images(digits)
    found = status.forecast(config, digits, reader, workers or default_count())
    for line in found.refused:
        console.say(f"would be refused: {line}", json_to)
    if found.resumed:
        console.say(f"{plural(found.resumed, 'unfinished trial')} would be resumed", json_to)
    console.say(f"{config.name}: {found.done} of {found.total} trials are done", json_to)
    if found.trainings:
        console.say(f"to train: {found.trainings} trainings, {found.epochs} epochs in total", json_to)
        about = timedelta(seconds=round(found.duration_s))
        console.say(f"training takes about {about}, estimated from {found.estimated_from}", json_to)
    else:
        console.say("nothing to train", json_to)
    if json_to is not None:
        write_json(json_to, {"study": config.name, **asdict(found)})
    return ExitStatus.USAGE if found.refused else ExitStatus.OK


@study.command(
    "export",
    examples={
        "harness study export search --storage trials.journal": "Copy a study to a journal file",
        "harness study export search --storage sqlite:///optuna.db": "Copy a study to a database",
    },
)
@click.argument("name")
@click.option("--storage", required=True, metavar="URL", help="The URL of a database, or the path of a journal file.")
@click.option("--new-name", metavar="NAME", help="The name of the copy. Default: the name of the study.")
def study_export(name: str, storage: str, new_name: str | None) -> None:
    """Copy a recorded study to an Optuna storage: a database or a journal file."""
    from harness.search import export
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    reader = StudyReader(Store(create=False))
    named, count = export.export(reader, reader.recorded(name), storage, new_name)
    console.say(f"{plural(count, 'trial')} copied to {masked(storage)}, study {named}")
