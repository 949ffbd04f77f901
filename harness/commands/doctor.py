"""``harness doctor``: prints what a bug report needs, and what is wrong with the installation.

Each part of the examination may fail without ending the command. TensorFlow, MLflow and Optuna are imported in other
processes, because a broken package can end the process that imports it.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import click

from harness import fingerprint, provenance, startup
from harness.commands import console, options
from harness.commands.help_text import Command
from harness.data import digits, mnist
from harness.engines import registry
from harness.errors import ExitStatus, HarnessError, UsageError, first_line
from harness.files import check_destinations, masked, write_json
from harness.text import plural
from harness.workers.local import default_count

_PACKAGES = ("zero-errors", "tensorflow", "keras", "numpy", "mlflow", "optuna")
# The packages that are imported, one group in each process. Packages of one group import each other.
_IMPORTED = (("numpy", "tensorflow", "keras"), ("mlflow", "optuna"))
# A program that prints the name of each package before it imports the package.
_IMPORT = (
    "import importlib, sys\nfor name in sys.argv[1:]:\n    print(name, flush=True)\n    importlib.import_module(name)"
)
_IMPORT_S = 120.0
_STORE_S = 20.0
# The smallest free space that is not a problem, in bytes. A study of the project needs less than a tenth of it.
_LEAST_FREE = 1_000_000_000
_WIDTH, _NAME_WIDTH = 80, 15
# The beginnings of the warnings that are problems, each with its remedy.
_REMEDIES = {
    "left out: ": "Restore the database from a backup, or run the study again: harness study run NAME --fresh.",
    "ignoring a damaged cache: ": "Delete this folder of the cache. The harness makes its images again.",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what the user can do about it."""

    cause: str
    remedy: str

    def __str__(self) -> str:
        cause = " ".join(masked(self.cause).split()).rstrip(".")
        return f"{cause}. {' '.join(masked(self.remedy).split())}"


@dataclass
class Examination:
    """The results of an examination.

    Attributes:
        versions: Versions of Python and of the packages.
        broken: Packages that are not installed or cannot be imported.
        processor: Model name of the processor.
        instructions: Vector instruction sets of the processor; empty if the system does not report them.
        cores: Number of cores that this process may use.
        free_bytes: Free disk space by folder: the working folder and the cache folder.
        settings: Environment variables that may change training results.
        images: Source of each dataset.
        store: Address of the tracking store without secrets, and its state.
        last_study: Status of the study that ran last; None if there is none.
        problems: What is wrong.
    """

    versions: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    processor: str = "unknown"
    instructions: list[str] = field(default_factory=list)
    cores: int = 0
    free_bytes: dict[str, int] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    store: dict[str, str] = field(default_factory=dict)
    last_study: dict[str, Any] | None = None
    problems: list[Problem] = field(default_factory=list)

    def attempt(self, what: str, examine: Callable[[], None]) -> None:
        """Examine a part. If the examination fails, the failure is a problem."""
        try:
            examine()
        except HarnessError as error:
            self.problems.append(Problem(error.cause, error.remedy))
        except Exception as error:  # noqa: BLE001 - a broken package may raise any exception
            cause = f"{what} cannot be examined ({type(error).__name__}: {first_line(error)})"
            self.problems.append(Problem(cause, "If no other line explains this, please report it."))


def examine() -> Examination:
    """Examine this installation, this folder and the tracking store. Nothing is changed."""
    found = Examination()
    with _warnings() as warnings:
        found.attempt("the machine", lambda: _machine(found))
        found.attempt("the disk", lambda: _disk(found))
        found.attempt("the packages", lambda: _packages(found))
        found.attempt("the settings", lambda: _settings(found))
        found.attempt("the images", lambda: _images(found))
        found.attempt("the tracking store", lambda: _store_in_time(found))
    for text in dict.fromkeys(warnings):
        remedy = next((remedy for start, remedy in _REMEDIES.items() if text.startswith(start)), None)
        if remedy is not None:
            found.problems.append(Problem(text, remedy))
    found.problems = list(dict.fromkeys(found.problems))
    return found


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the warnings of the harness in a list instead of printing them."""
    found: list[str] = []
    handler, log = logging.Handler(), logging.getLogger("harness")
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    propagates, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


def _machine(found: Examination) -> None:
    versions = provenance.versions()
    found.versions = {name: versions[name] for name in ("python", *_PACKAGES)}
    found.processor = provenance.processor() or "unknown"
    found.instructions = fingerprint.here()["instructions"].split()
    found.cores = default_count()


def _disk(found: Examination) -> None:
    """Find the free space of both folders. A missing folder has the free space of its nearest existing parent."""
    here = Path.cwd()
    for folder in (here, digits.cache_folder()):
        free = shutil.disk_usage(next(part for part in (folder, *folder.parents) if part.exists())).free
        found.free_bytes[str(folder)] = free
        if free < _LEAST_FREE:
            found.problems.append(Problem(f"{folder}: only {_size(free)} are free", "Free some space."))
    if not os.access(here, os.W_OK):
        found.problems.append(Problem(f"{here} is not writable", "Change to a folder in which you can write."))


def _packages(found: Examination) -> None:
    """Import the packages in other processes, and add a problem for each package that is missing or broken."""
    missing = [name for name, version in found.versions.items() if version == "not installed"]
    found.broken += missing
    for name in missing:
        found.problems.append(Problem(f"the package {name} is not installed", f"Install it: {_install(name)}."))
    with tempfile.TemporaryDirectory() as folder:
        # Keras and Matplotlib create folders when they are imported.
        folders = {"KERAS_HOME": folder, "MPLCONFIGDIR": folder}
        environment = {**os.environ, **folders, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        groups = [[name for name in group if name not in missing] for group in _IMPORTED]
        started = [
            subprocess.Popen(
                [sys.executable, "-P", "-B", "-c", _IMPORT, *group],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
            for group in groups
        ]
        for process in started:
            _wait(process, found)


def _wait(process: subprocess.Popen[str], found: Examination) -> None:
    """Wait until a process has imported its packages. Add a problem if it failed."""
    try:
        printed, said = process.communicate(timeout=_IMPORT_S)
        reason = (said.strip().splitlines() or ["no message"])[-1]
    except subprocess.TimeoutExpired:
        process.kill()
        printed, _ = process.communicate()
        reason = f"not within {_IMPORT_S:.0f} s"
    status = process.returncode
    if status == 0:
        return
    if status < 0 and not reason.startswith("not within"):
        reason = f"the process was ended by {signal.Signals(-status).name}"
    name = (printed.split() or ["python"])[-1]
    found.broken.append(name)
    cause = f"the package {name} cannot be imported ({reason})"
    found.problems.append(Problem(cause, f"Install it again: {_install(name)}."))


def _install(name: str) -> str:
    return f"python -m pip install --force-reinstall {name}"


def _settings(found: Examination) -> None:
    """Find the settings of TensorFlow, and check that TensorFlow accepts its XLA flags."""
    found.settings = {name: masked(value) for name, value in provenance.computing_settings().items()}
    # The engine's check imports TensorFlow in another process.
    with tempfile.TemporaryDirectory() as folder, startup.environment_variable("KERAS_HOME", folder):
        registry.check_environment(registry.NAMES[0])


def _images(found: Examination) -> None:
    """Find the images on this machine. Nothing is downloaded or cached."""
    for name in (digits.LAB_NAME, digits.OPTDIGITS_NAME):
        cached = digits.from_cache(name)
        found.images[name] = _not_cached(name) if cached is None else cached.source
    asked = os.environ.get("HARNESS_DATA")
    if asked and asked not in {digits.AUTO, digits.LAB, digits.OPTDIGITS}:
        path = Path(asked).expanduser()
        found.images["HARNESS_DATA"] = str(path)
        found.images["HARNESS_DATA"] = f"{digits.from_file(path, str(path)).name} from {path}"


def _not_cached(name: str) -> str:
    if name == digits.OPTDIGITS_NAME:
        return "embedded (scikit-learn's load_digits)"
    kept = mnist.keras_cache()
    return f"Keras' MNIST {kept}" if kept.is_file() else "not on this machine. Give a copy once: --data mnist.npz"


def _store_in_time(found: Examination) -> None:
    """Examine the tracking store in a thread, because a server or a locked database may not answer for minutes."""
    from harness.tracking.location import database_path, tracking_uri

    uri = tracking_uri()
    found.store = {"address": masked(uri), "state": "nothing is recorded yet"}
    path = database_path(uri)
    if path is not None and not path.exists():
        return
    found.store["state"] = "cannot be read"
    if found.broken:  # importing a broken package could end this process
        return
    thread = Thread(target=lambda: found.attempt("the tracking store", lambda: _store(found)), daemon=True)
    thread.start()
    thread.join(_STORE_S)
    if thread.is_alive():
        cause = f"the tracking store {uri} does not answer within {_STORE_S:.0f} s"
        remedy = "Start its server, or set MLFLOW_TRACKING_URI to another store."
        found.problems.append(Problem(cause, remedy))


def _store(found: Examination) -> None:
    """Read the status of the study that ran last."""
    from harness.search import status
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    try:
        reader = StudyReader(Store(create=False))
    except UsageError:
        found.store["state"] = "nothing is recorded yet"
        return
    newest = reader.newest_study()
    found.store["state"] = "readable"
    if newest is None:
        return
    reader.check_children(newest)
    last = status.status(reader, newest)
    found.last_study = asdict(last)
    for reason, count in last.failures.items():
        cause = f"{plural(count, 'run')} of the study {last.name} failed: {reason}"
        remedy = f"Remove the cause, then repeat the failed runs: harness study run {last.name}."
        found.problems.append(Problem(cause, remedy))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def _lines(found: Examination) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each fact."""
    yield from found.versions.items()
    yield "processor", found.processor
    yield "instructions", " ".join(found.instructions) or "unknown"
    yield "cores", str(found.cores)
    for folder, free in found.free_bytes.items():
        yield "free disk", f"{_size(free)} in {folder}"
    for name, value in found.settings.items():
        yield "setting", f"{name}={value}"
    if not found.settings:
        yield "setting", "none that changes training"
    yield from found.images.items()
    if found.store:
        yield "tracking store", f"{found.store['address']} ({found.store['state']})"
    last = found.last_study
    said = "none" if last is None else f"{last['name']}: {last['state']}, {last['finished']} of {last['total']} trials"
    yield "last study", said


@click.command(
    cls=Command,
    examples={
        "harness doctor": "Print what a bug report needs",
        "harness doctor --json doctor.json": "Write the same to a file",
    },
)
@options.json
def doctor(json_to: str | None) -> ExitStatus:
    """Show this installation, and what is wrong with it.

    Paste the output into a bug report: it has no passwords. Nothing is changed.

    Exit status: 0 if nothing is wrong, 1 otherwise.
    """
    check_destinations(json_to)
    found = examine()
    for name, value in _lines(found):
        # Only the long list of instructions is wrapped. A path must stay in one piece.
        width = _WIDTH if name == "instructions" else sys.maxsize
        indent = " " * (_NAME_WIDTH + 1)
        console.say(textwrap.fill(f"{name:<{_NAME_WIDTH}} {value}", width, subsequent_indent=indent), json_to)
    console.say("", json_to)
    for problem in found.problems:
        console.say(f"{click.style('problem', fg='red', bold=True)}: {problem}", json_to)
    if not found.problems:
        console.say(click.style("Nothing is wrong.", fg="green"), json_to)
    if json_to is not None:
        problems = [{"cause": masked(one.cause), "remedy": masked(one.remedy)} for one in found.problems]
        write_json(json_to, {**asdict(found), "problems": problems})
    return ExitStatus.NEGATIVE if found.problems else ExitStatus.OK
