"""The command ``harness``."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import click
from rich.console import Console
from rich.logging import RichHandler

from harness import digits as digits_module
from harness import engines, machine
from harness.digits import Digits
from harness.errors import ExitStatus, HarnessError, UsageError
from harness.output import check_destination, masked, write_bytes, write_json
from harness.variant import BASELINE, AdamKind, SoftmaxPlace, Variant

if TYPE_CHECKING:
    from harness.cluster import Cluster, Tls
    from harness.plan import Plan
    from harness.tracking import Tracker
    from harness.workers import Workers

OUT = Path("out")
DEFAULT_STUDY = "variants"
BENCH_PARTS = ("speed", "study", "growth")

# By which choice images are had again that need no file.
_CHOICES = {digits_module.LAB_NAME: digits_module.LAB, digits_module.OPTDIGITS_NAME: digits_module.OPTDIGITS}

_err = Console(stderr=True, highlight=False, soft_wrap=True)


class _TerminatedError(BaseException):
    """SIGTERM or SIGHUP: unwinds like Ctrl-C, so that everything is closed on the way out."""


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _TerminatedError


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
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_engine = click.option(
    "--engine", type=click.Choice(engines.NAMES), default="graph", show_default=True, help="What trains."
)


def main() -> None:
    """Run the command line; every way out has its exit status."""
    handler = RichHandler(console=_err, show_time=False, show_path=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminate)  # the terminal was closed, and nohup did not say to go on
    sys.exit(_run())


def _run() -> int:
    is_study = sys.argv[1:3] == ["study", "run"]
    kept = "What was recorded is kept; the same command goes on from there." if is_study else ""
    try:
        return int(cli(standalone_mode=False) or ExitStatus.OK)
    except HarnessError as error:
        _err.print(f"error: {error}", markup=False)
        return error.exit_status
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _err.print(f"error: {where}{error.strerror or error}\n  {kept}".rstrip(), markup=False)
        return ExitStatus.ENVIRONMENT
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _err.print(f"interrupted. {kept}".rstrip())
        return ExitStatus.INTERRUPTED
    except _TerminatedError:
        _err.print(f"terminated. {kept}".rstrip())
        return ExitStatus.TERMINATED


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
    """Run studies."""


@study.command("run")
@click.argument("name", default=DEFAULT_STUDY, metavar="[NAME|FILE]")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that train; by default one a core.")
@click.option("--cluster", metavar="ADDRESS", help="Train on the Dask cluster of the scheduler at this address.")
@click.option("--tls-ca", type=_FILE, help="For a cluster with TLS: the authority's certificate, a PEM file.")
@click.option("--tls-cert", type=_FILE, help="The certificate of this machine.")
@click.option("--tls-key", type=_FILE, help="The key of that certificate.")
@click.option("--storage", metavar="URL", help="Optuna's storage; by default a journal file beside the report.")
@_data
@_json
@_quiet
def study_run(
    name: str,
    workers: int | None,
    storage: str | None,
    data: str,
    json_to: str | None,
    quiet: bool,
    **cluster: Any,  # noqa: ANN401 - click's
) -> int:
    """Run a study, or go on with it, and write its report.

    Studies that come with the project: variants (the default) and search; or the path of a study file.
    """
    from studies import schema

    plan = schema.load(name)
    if not quiet:
        _err.print(f"study: {plan.name}, {plan.n_trials} trials, engine {plan.engine}", markup=False)
    # Only now: these take seconds to load, and a mistake in a name or a file should not cost them. What the workers
    # load takes longer still, so they begin before MLflow and Optuna are loaded here.
    from harness.lock import sole_runner
    from harness.progress import StudyProgress

    if json_to is not None:
        check_destination(json_to)
    folder = OUT / plan.name
    started_s = time.monotonic()
    with sole_runner(folder), _trainers(plan, folder, workers, **cluster) as pool:
        from harness.search import Search, open_storage
        from harness.tracking import Tracker

        tracker = Tracker()
        began_with = _as_it_began(tracker, plan.name, data)
        digits = _load(began_with or data, began_with and "with which the study began")
        pool.load(digits)
        # The report's own packages are loaded while the workers train.
        Thread(target=import_module, args=("reports.page",), daemon=True).start()
        with StudyProgress(_err, quiet=quiet) as progress:
            search = Search(plan, digits, tracker, open_storage(storage, folder / "optuna.journal"), progress)
            result = search.run(pool)
    if not result.trained and not result.failed:
        _err.print(f"nothing to train: all {result.before} trials are done")
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


def _trainers(
    plan: Plan, folder: Path, workers: int | None, cluster: str | None, **tls: Path | None
) -> Workers | Cluster:
    """What trains a study: processes of this machine, or those of a cluster."""
    if cluster is None:
        from harness.workers import Workers, default_count

        if any(tls.values()):
            raise UsageError("--tls-ca, --tls-cert and --tls-key are for a cluster", "Name it by --cluster.")
        return Workers(workers or default_count(), plan.engine, folder, plan.shape)
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


def _as_it_began(tracker: Tracker, name: str, data: str) -> str | None:
    """Where it is left open which images to take, those that the study of this name was last run with."""
    last = tracker.newest_study(name) if data in {"", digits_module.AUTO} else None
    if last is None:
        return None
    began_with = last.tags["harness.dataset"]
    if began_with not in _CHOICES:
        remedy = f"Go on with them, or begin anew with others, by --data; {digits_module.OPTDIGITS} is always there."
        raise UsageError(f"the study {name} began with the images {began_with}", remedy)
    return _CHOICES[began_with]


def _report(tracker: Tracker, name: str | None, folder: Path | None) -> Path:
    from reports import page

    record = tracker.study(name)
    return page.write(record, folder or OUT / record.parent.tags["harness.study"]).absolute()


@cli.command()
@click.argument("name", required=False, metavar="[STUDY]")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="The folder; by default out/<study>.")
def report(name: str | None, folder: Path | None) -> None:
    """Write a study's report from MLflow's records alone; where none is named, that of the study run last."""
    from harness.tracking import Tracker

    click.echo(f"report: {_report(Tracker(create=False), name, folder)}")


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
    from harness import tracking
    from harness import ui as ui_module

    chosen = ui_module.free_port() if port is None else port
    uri = tracking.tracking_uri()
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
