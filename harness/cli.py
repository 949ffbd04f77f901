"""The command ``harness``."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, get_args

import click
from rich.console import Console
from rich.table import Table

from harness import digits as digits_module
from harness import engines, machine
from harness.digits import Digits
from harness.errors import ExitStatus, HarnessError, UsageError
from harness.interrupts import Stop, TerminatedError, terminate
from harness.output import check_destination, masked, write_bytes, write_json
from harness.variant import BASELINE, AdamKind, SoftmaxPlace, Variant

if TYPE_CHECKING:
    from harness.cluster import Cluster, Tls
    from harness.plan import Plan
    from harness.records import Records
    from harness.workers import Workers

OUT = Path("out")
DEFAULT_STUDY = "variants"
REPORT_FILES = ("report.html", "report.md", "runs.csv", "figures")
BENCH_PARTS = ("speed", "study", "growth")

# By which choice images are had again that need no file.
_CHOICES = {digits_module.LAB_NAME: digits_module.LAB, digits_module.OPTDIGITS_NAME: digits_module.OPTDIGITS}

_err = Console(stderr=True, highlight=False, soft_wrap=True)

# Flags that are not to be typed again: what they ask for is done.
_done: set[str] = set()


_data = click.option(
    "--data",
    envvar="HARNESS_DATA",
    default=digits_module.AUTO,
    show_default=True,
    metavar="auto|lab|optdigits|PATH",
    help="The images: the lab's where they can be had, else the embedded default; or a file or folder.",
)
_quiet = click.option("--quiet", is_flag=True, help="Show no progress.")
_json = click.option("--json", "json_to", metavar="FILE", help="Write JSON to a file, or - for standard output.")
_engine = click.option(
    "--engine",
    default="graph",
    show_default=True,
    help=f"What trains: {', '.join(engines.NAMES)}, or an installed one.",
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_study = click.argument("name", default=DEFAULT_STUDY, metavar="[NAME|FILE]")
_storage = click.option("--storage", metavar="URL", help="Optuna's storage; by default a journal beside the report.")
_workers = click.option("--workers", type=click.IntRange(min=1), help="Processes that train; by default one a core.")
_trials = click.option("--trials", type=click.IntRange(min=1), help="Of a search: how many trials in all.")
_new_name = click.option("--new-name", metavar="NAME", help="Run it as a study of this name, beside the old one.")


class _Lines(logging.Handler):
    """Shows what is logged as one line each, above a bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show it."""
        _err.print(f"{record.levelname.lower()}: {self.format(record)}", markup=False)


def main() -> None:
    """Run the command line; every way out has its exit status."""
    handler = _Lines()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    signal.signal(signal.SIGTERM, terminate)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, terminate)  # the terminal was closed, and nohup did not say to go on
    sys.exit(_run())


def _run() -> int:
    try:
        return int(cli(standalone_mode=False) or ExitStatus.OK)
    except HarnessError as error:
        _err.print(f"error: {error}", markup=False)
        return error.exit_status
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _err.print(f"error: {where}{error.strerror or error}\n  {_kept()}".rstrip(), markup=False)
        return ExitStatus.ENVIRONMENT
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _err.print(f"interrupted. {_kept()}".rstrip())
        return ExitStatus.INTERRUPTED
    except TerminatedError:
        _err.print(f"terminated. {_kept()}".rstrip())
        return ExitStatus.TERMINATED


def _kept() -> str:
    """What a person whose study stopped wants to know."""
    return f"What was recorded is kept; go on with: {_again()}" if sys.argv[1:3] == ["study", "run"] else ""


def _again() -> str:
    """The command that was typed, by which a study is gone on with."""
    typed = [word for word in sys.argv[1:] if word not in _done]
    if os.environ.get("NOX_CURRENT_SESSION") == "study":
        return masked(shlex.join(["nox", "-s", "study", *(["--", *typed[2:]] if typed[2:] else [])]))
    return masked(shlex.join(["harness", *typed]))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(machine.versions()["zero-errors"], prog_name="harness")
def cli() -> None:
    """Train, track and compare the network that learns 5000 handwritten digits."""


def _load(data: str, why: str | None = None) -> Digits:
    asked = data or digits_module.AUTO
    digits = digits_module.load(asked)
    _err.print(f"data: {digits.name} from {digits.source} ({why or f'asked for: {asked}'})", markup=False)
    return digits


def _say(text: str, json_to: str | None = None) -> None:
    """Print for a person; where JSON goes to the standard output, the person is told on the other one."""
    click.echo(text, err=json_to == "-")


@cli.command()
@_data
@_json
@click.option("--figure", metavar="FILE", help="Draw 64 images with their labels, as the lab does, into a PNG.")
def data(data: str, json_to: str | None, figure: str | None) -> None:
    """Show where the 5000 images come from, and the proof that they are those."""
    digits = _load(data)
    facts = digits.facts()
    lines = {
        "source": digits.source,
        "name": digits.name,
        "X": f"{digits.x.shape} {digits.x.dtype}, from {facts['min']:.6f} to {facts['max']:.6f}",
        "y": f"{digits.y.shape} {digits.y.dtype}, first {facts['first_label']}, last {facts['last_label']}",
        "images": ", ".join(f"{count} of {digit}" for digit, count in enumerate(facts["counts"])),
        "sha256 of X": digits.sha256_x,
        "sha256 of y": digits.sha256_y,
    }
    for name, line in lines.items():
        _say(f"{name:<12} {line}", json_to)
    if json_to is not None:
        write_json(json_to, facts)
    if figure is not None:
        from reports import charts

        write_bytes(Path(figure), charts.png(charts.image_grid(digits)))
        _say(f"{'figure':<12} {figure}", json_to)


def _layers(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 25,15,10") from None


@cli.command()
@_engine
@click.option("--epochs", type=int, default=BASELINE.epochs, show_default=True)
@click.option("--learning-rate", type=float, default=BASELINE.learning_rate, show_default=True)
@click.option("--seed", type=int, default=BASELINE.seed, show_default=True)
@click.option("--layers", callback=_layers, default="25,15,10", show_default=True, help="Units of each layer.")
@click.option("--batch-size", type=int, default=BASELINE.batch_size, show_default=True)
@click.option(
    "--softmax",
    type=click.Choice(get_args(SoftmaxPlace)),
    default=BASELINE.softmax,
    show_default=True,
    help="In the loss, computed from logits, or a layer of the output.",
)
@click.option("--adam", type=click.Choice(get_args(AdamKind)), help="Whose constants; by default the engine's own.")
@click.option("--beta-1", type=float, default=BASELINE.beta_1, show_default=True)
@click.option("--beta-2", type=float, default=BASELINE.beta_2, show_default=True)
@click.option("--epsilon", type=float, default=BASELINE.epsilon, show_default=True)
@_data
@_json
@_quiet
def train(engine: str, data: str, json_to: str | None, quiet: bool, **fields: Any) -> None:  # noqa: ANN401 - click's
    """Train one variant and print its log, an epoch a line as Keras does."""
    from harness import trials
    from harness.progress import EpochLines

    engines.check(engine)
    fields["adam"] = fields["adam"] or engines.baseline(engine).adam
    variant = Variant.create(**fields)
    if json_to is not None:
        check_destination(json_to)
    digits = _load(data)
    on_epoch = None if quiet else EpochLines(sys.stderr if json_to == "-" else sys.stdout)
    [outcome] = trials.run(engines.make(engine, digits), digits, [variant], on_epoch)
    _say(f"{outcome.final_errors} errors out of {len(digits.labels)} images", json_to)
    first = outcome.first_zero_epoch
    _say(f"first zero epoch: {f'none within {variant.epochs} epochs' if first is None else first}", json_to)
    if json_to is not None:
        dataset = {name: digits.facts()[name] for name in ("name", "sha256_x", "sha256_y")}
        write_json(json_to, {**outcome.as_json(), "dataset": dataset, "versions": machine.versions()})


@cli.group()
def study() -> None:
    """Run studies, and look at them."""


def _plan(name: str, trials: int | None, new_name: str | None) -> Plan:
    from studies import schema

    plan = schema.load(name)
    return schema.changed(plan, trials=trials, name=new_name)


@study.command("run")
@_study
@_workers
@_storage
@_trials
@_new_name
@click.option("--cluster", metavar="ADDRESS", help="Train on the Dask cluster of the scheduler at this address.")
@click.option("--tls-ca", type=_FILE, help="For a cluster with TLS: the authority's certificate, a PEM file.")
@click.option("--tls-cert", type=_FILE, help="The certificate of this machine.")
@click.option("--tls-key", type=_FILE, help="The key of that certificate.")
@click.option("--fresh", is_flag=True, help="Put the study's records aside, deleting none, and begin anew.")
@_data
@_json
@_quiet
def study_run(  # noqa: PLR0913, PLR0917 - an option each
    name: str,
    workers: int | None,
    storage: str | None,
    trials: int | None,
    new_name: str | None,
    fresh: bool,
    data: str,
    json_to: str | None,
    quiet: bool,
    **cluster: Any,  # noqa: ANN401 - click's
) -> int:
    """Run a study, or go on with it, and write its report.

    Studies that come with the project: variants (the default) and search; or the path of a study file. The first
    Ctrl-C records what is being trained and stops, the second stops at once; the same command goes on.
    """
    plan = _plan(name, trials, new_name)
    if not quiet:
        _err.print(f"study: {plan.name}, {plan.n_trials} trials, engine {plan.engine}", markup=False)
    # Only now: these take seconds to load, and a mistake in a name or a file should not cost them. What the workers
    # load takes longer still, so they begin before MLflow and Optuna are loaded here.
    from harness.lock import sole_runner
    from harness.progress import StudyProgress
    from harness.runner import Runner

    if json_to is not None:
        check_destination(json_to)
    me, folder = Runner.me(), OUT / plan.name
    started_s = time.monotonic()
    with sole_runner(folder, me), _pool(plan, workers, **cluster) as pool:
        from harness.ledger import Ledger, default_journal, open_storage
        from harness.search import Search
        from harness.tracking import Tracker

        tracker = Tracker()
        if fresh:
            tracker.archive(plan.name, lambda key: _put_aside(folder, key))
            _done.add("--fresh")
        began_with = _as_it_began(tracker, plan.name, data)
        digits = _load(began_with or data, began_with and "with which the study began")
        pool.load(digits)
        # The report's own packages are loaded while the workers train.
        Thread(target=import_module, args=("reports.page",), daemon=True).start()
        with StudyProgress(_err, quiet=quiet) as progress, Stop() as stop:
            journal = default_journal(folder)
            search = Search(
                plan, digits, tracker, lambda key: Ledger(plan, key, open_storage(storage, journal)), me, progress
            )
            result = search.run(pool, stop)
    if stop.asked is not None and result.before + result.trained + result.failed < result.total:
        _err.print(f"{result.before + result.trained} of {result.total} trials are done")
        raise stop.asked
    if not result.trained and not result.failed:
        more = "" if result.before == result.total else f", {result.total} were asked for"
        _err.print(f"nothing to train: all {result.before} trials are done{more}")
    else:
        _err.print(
            f"{result.trained} trials done, {result.failed} failed, {time.monotonic() - started_s:.0f} s; "
            f"workers busy {result.busy_share:.0%} of the time"
        )
    written = _report(tracker, plan.name, folder)
    _say(f"report: {written}", json_to)
    if json_to is not None:
        write_json(json_to, {"study": plan.name, **asdict(result), "report": str(written)})
    return ExitStatus.NEGATIVE if result.failed else ExitStatus.OK


def _pool(plan: Plan, workers: int | None, cluster: str | None, **tls: Path | None) -> Workers | Cluster:
    """What trains a study: processes of this machine, or those of a cluster."""
    if cluster is None:
        from harness.workers import Workers, default_count

        if any(tls.values()):
            raise UsageError("--tls-ca, --tls-cert and --tls-key are for a cluster", "Name it by --cluster.")
        return Workers(workers or default_count(), plan.engine, plan.shape)
    if workers is not None:
        cause = "--workers is for processes of this machine, and --cluster for those of others"
        raise UsageError(cause, "Give one of them; a cluster has the workers that were started on it.")
    from harness.cluster import Cluster

    return Cluster(cluster, plan.engine, plan.shape, _tls(**tls))


def _tls(tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None) -> Tls | None:
    if tls_ca is None and tls_cert is None and tls_key is None:
        return None
    if tls_ca is None or tls_cert is None or tls_key is None:
        raise UsageError("--tls-ca, --tls-cert and --tls-key go together", "Give all three, or none.")
    from harness.cluster import Tls

    return Tls(tls_ca, tls_cert, tls_key)


def _as_it_began(records: Records, name: str, data: str) -> str | None:
    """Where it is left open which images to take, those that the study of this name was last run with."""
    last = records.newest_study(name) if data in {"", digits_module.AUTO} else None
    if last is None:
        return None
    began_with = last.tags["harness.dataset"]
    if began_with not in _CHOICES:
        remedy = "Go on with them by --data PATH, or begin anew with others by --fresh --data."
        raise UsageError(f"the study {name} began with the images {began_with}", remedy)
    return _CHOICES[began_with]


def _put_aside(folder: Path, key: str) -> None:
    """Keep the report of a study that is put aside: the next one's would take its place."""
    kept = folder / "archive" / key
    for part in REPORT_FILES:
        if (folder / part).exists():
            kept.mkdir(parents=True, exist_ok=True)
            (folder / part).replace(kept / part)


@study.command("list")
@_json
def study_list(json_to: str | None) -> None:
    """List the recorded studies, and how each stands."""
    from harness import overview
    from harness.records import Records

    found = overview.standings(Records())
    table = Table("study", "state", "trials", "failed", "images", "engine", "last run", box=None, pad_edge=False)
    for one in found:
        state = f"running ({one.runner})" if one.runner else one.state
        trials = f"{one.finished} of {one.total}"
        table.add_row(one.name, state, trials, str(one.failed), one.dataset, one.engine, one.last_run)
    Console(stderr=json_to == "-", highlight=False).print(table if found else "no study was recorded")
    if json_to is not None:
        write_json(json_to, {"studies": [asdict(one) for one in found]})


@study.command("show")
@click.argument("name")
@_json
def study_show(name: str, json_to: str | None) -> None:
    """Show how the recorded study of a name stands, and what failed in it and why."""
    from harness import overview
    from harness.records import Records

    found = overview.standings(Records(), name)
    if not found:
        raise UsageError(f"no study called {name!r} was recorded", "harness study list shows those that were.")
    for one in found:
        _say(f"{one.name}: {one.state}, last run {one.last_run}", json_to)
        _say(f"  trials: {one.finished} of {one.total} recorded; {one.failed} runs failed", json_to)
        _say(f"  images {one.dataset}, engine {one.engine}", json_to)
        if one.runner:
            _say(f"  run by {one.runner}", json_to)
        for reason, count in one.failures.items():
            _say(f"  {count} failed: {reason}", json_to)
        report = OUT / one.name / REPORT_FILES[0]
        if one.state != "archived" and report.is_file():
            _say(f"  report: {report.absolute()}", json_to)
    if json_to is not None:
        write_json(json_to, {"studies": [asdict(one) for one in found]})


@study.command("check")
@_study
@_workers
@_storage
@_trials
@_new_name
@_data
@_json
def study_check(
    name: str,
    workers: int | None,
    storage: str | None,
    trials: int | None,
    new_name: str | None,
    data: str,
    json_to: str | None,
) -> int:
    """Say what `study run` would do now, and about how long it would take, without doing any of it."""
    from harness import overview
    from harness.ledger import default_journal
    from harness.records import Records
    from harness.store import database_path, tracking_uri
    from harness.workers import default_count

    plan = _plan(name, trials, new_name)
    path = database_path(tracking_uri())
    records = Records() if path is None or path.is_file() else None
    began_with = None if records is None else _as_it_began(records, plan.name, data)
    digits = _load(began_with or data, began_with and "with which the study began")
    where = (storage, default_journal(OUT / plan.name))
    found = overview.forecast(plan, digits, records, where, workers or default_count())
    for line in found.refused:
        _say(f"would be refused: {line}", json_to)
    for line in found.settled:
        _say(f"would be put right: {line}", json_to)
    _say(f"{plan.name}: {found.done} of {found.total} trials are done", json_to)
    if found.trainings:
        _say(f"to train: {found.trainings} trainings, {found.epochs} epochs in all", json_to)
        about = timedelta(seconds=round(found.duration_s))
        _say(f"about {about} of training, told by {found.told_by}", json_to)
    else:
        _say("nothing to train", json_to)
    if json_to is not None:
        write_json(json_to, {"study": plan.name, **asdict(found)})
    return ExitStatus.USAGE if found.refused else ExitStatus.OK


def _report(records: Records, name: str | None, folder: Path | None) -> Path:
    from reports import page

    record = records.study(name)
    return page.write(record, folder or OUT / record.parent.tags["harness.study"]).absolute()


@cli.command()
@click.argument("name", required=False, metavar="[STUDY]")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="The folder; by default out/<study>.")
def report(name: str | None, folder: Path | None) -> None:
    """Write a study's report from MLflow's records alone; where none is named, that of the study run last."""
    from harness.records import Records

    click.echo(f"report: {_report(Records(), name, folder)}")


@cli.group()
def gate() -> None:
    """Check that training is as good as it was."""


@gate.command("run")
@_data
@_quiet
def gate_run(data: str, quiet: bool) -> int:
    """Check that the baseline still reaches zero errors, with every engine; a line a check."""
    from harness import gate as gate_module

    digits = _load(data)
    checks = []
    for name in engines.NAMES:
        if not quiet:
            _err.print(f"training the baseline with {name}, {BASELINE.epochs} epochs")
        for check in gate_module.check_engine(engines.make(name, digits), digits):
            click.echo(str(check))
            checks.append(check)
    good = bool(checks) and all(check.passed is not False for check in checks)
    click.echo("PASS" if good else "FAIL")
    return ExitStatus.OK if good else ExitStatus.NEGATIVE


@cli.command()
@click.option(
    "--part",
    "parts",
    type=click.Choice(BENCH_PARTS),
    multiple=True,
    help="What to measure, all by default: training, the default study, or how studies grow. May be repeated.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="How often each trains.")
@click.option("--rivals", metavar="PYTHON", default=sys.executable, help="The Python that has JAX and PyTorch.")
@_data
@_json
def bench(parts: tuple[str, ...], rounds: int, rivals: str, data: str, json_to: str | None) -> None:
    """Measure speed and memory against what a user would do instead: ten minutes and more, on an idle machine."""
    from benchmarks import table

    if json_to is not None:
        check_destination(json_to)
    digits = _load(data)
    rivals = shutil.which(rivals) or rivals
    chosen = _CHOICES.get(digits.name) or str(Path(data).absolute())
    results = table.measure(digits, chosen, parts or BENCH_PARTS, rounds, rivals, _err.print)
    table.show(results, Console(stderr=json_to == "-", highlight=False))
    if json_to is not None:
        write_json(json_to, results)


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The port; by default 5000 or the next free one.")
def ui(port: int | None) -> int:
    """Browse the recorded runs in MLflow, served to this machine alone."""
    from harness import store
    from harness import ui as ui_module

    chosen = ui_module.free_port() if port is None else ui_module.asked_port(port)
    uri = store.tracking_uri()
    ui_module.command(uri, chosen)
    _err.print(f"MLflow: http://127.0.0.1:{chosen}/ shows {masked(uri)}; Ctrl-C ends it", markup=False)
    return ui_module.serve(uri, chosen)


@cli.command()
@click.option("--workers", type=click.IntRange(min=1), help="Processes that train; by default one a core.")
@click.option("--port", type=click.IntRange(1, 65535), default=8786, show_default=True, help="The scheduler's port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that it listens at.")
def cluster(workers: int | None, port: int, host: str) -> int:
    """Start a Dask scheduler and workers on this machine, to try what docs/cluster.md describes for many."""
    from harness.cluster import local
    from harness.workers import default_count

    count = workers or default_count()
    try:
        with local(count, host, port) as address:
            _err.print(f"cluster: {count} workers; Ctrl-C ends it. In another terminal:", markup=False)
            _say(f"harness study run --cluster {address}")
            Event().wait()
    except KeyboardInterrupt:
        pass
    return ExitStatus.OK
