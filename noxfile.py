"""Every task of the project, in an environment that is made once from the lock: ``nox -s study``, ``nox -s tests``."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import sys
from itertools import count
from pathlib import Path
from types import FrameType

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
VENV, RIVALS = ROOT / ".venv", ROOT / ".venv-rivals"
LOCKS = ROOT / "requirements"
LOCKED = ("cluster", "dev")  # the groups with a lock of their own, beside the runtime: docs/cluster.md, and .venv
PYTHONS = ((3, 11), (3, 13))
OLDEST_MINOR = 16  # of TensorFlow 2, the first with Keras 3

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_external_run = False


def _bin(name: str, environment: Path = VENV) -> str:
    folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    return str(environment / folder / f"{name}{suffix}")


def _fingerprint() -> list[str]:
    """What the environment was made by, this Python in this folder, and from: the lock and the project's metadata."""
    made_by = f"{sys.version} {sys.base_prefix} {ROOT}"
    made_from = (LOCKS / "dev.txt").read_text() + (ROOT / "pyproject.toml").read_text()
    return [hashlib.sha256(text.encode()).hexdigest() for text in (made_by, made_from)]


def _uv(session: nox.Session) -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        session.error('uv is missing: python -m pip install "nox[uv]"')
    return found


def _prepare(session: nox.Session) -> None:
    """Make the environment if it is not there or was made from something else; else return at once."""
    stamp = VENV / "made-from"
    made = stamp.read_text().split() if stamp.is_file() else []
    if made == _fingerprint():
        return
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        session.error(f"nox runs on Python {sys.version.split()[0]}; the project takes 3.11 to 3.13: use one of these")
    uv = _uv(session)
    environment = {"UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": str(VENV)}
    stamp.unlink(missing_ok=True)
    if made[:1] != _fingerprint()[:1]:
        session.run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV), env=environment)
    # Compiled at once: workers start together, and each would compile TensorFlow's thousands of modules for itself.
    session.run(uv, "pip", "sync", "--require-hashes", "--compile-bytecode", str(LOCKS / "dev.txt"), env=environment)
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    session.run(uv, *install, env=environment)
    stamp.write_text("\n".join(_fingerprint()))


def _interrupted(number: int, _frame: FrameType | None) -> None:
    """Leave Ctrl-C to the command, which the terminal sends it to as well; pass on what came to nox alone."""
    if number == signal.SIGTERM or not sys.stdin.isatty():
        raise KeyboardInterrupt


def _run(session: nox.Session, *command: str, **environment: str) -> None:
    """Run a command of the environment, and wait for it however long it takes to end well when it is interrupted."""
    _prepare(session)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    # nox passes an interrupt on by SIGTERM, at once, and then waits without a limit.
    session.run(_bin(command[0]), *command[1:], env=environment, interrupt_timeout=0, terminate_timeout=None)


@nox.session
def study(session: nox.Session) -> None:
    """Run the default study, or another (-- search), and write its report."""
    _run(session, "harness", "study", "run", *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """Write the report of a recorded study, the last one by default."""
    _run(session, "harness", "report", *session.posargs)


@nox.session
def regression(session: nox.Session) -> None:
    """Check that the baseline still reaches zero errors."""
    _run(session, "harness", "gate", "run", *session.posargs)


@nox.session(name="gate-power")
def gate_power(session: nox.Session) -> None:
    """Measure how often the gate is red, with and without faults, and write docs/gate-power.md; half an hour."""
    page = [] if session.posargs else ["--page", "docs/gate-power.md"]
    _run(session, "python", "-m", "benchmarks.gate_power", *page, *session.posargs)


@nox.session(name="regression-matrix")
def regression_matrix(session: nox.Session) -> None:
    """Run the gate with pinned packages (-- "tensorflow==2.18.*"), or with every TensorFlow from 2.16 on; network."""
    _prepare(session)
    pinned = [word for word in session.posargs if not word.startswith("-") and "==" in word]
    options = [word for word in session.posargs if word not in pinned]
    tables, bad = list[str](), list[str]()
    for minor in (0,) if pinned else count(OLDEST_MINOR):
        pins = pinned or [f"tensorflow==2.{minor}.*"]
        name = " ".join(pins)
        out = ROOT / "out" / "gate" / "matrix" / re.sub(r"[^\w.]+", "-", name).strip("-")
        try:
            harness = _installed(session, pins, ROOT / ".venv-matrix" / out.name)
        except CommandFailed:
            session.warn(f"{name} does not install here; the reason is printed above")
            if minor > _locked_minor():
                break
            bad.append(name)
            continue
        try:
            session.run(harness, "gate", "run", "--untracked", "--out", str(out), *options)
        except CommandFailed:
            bad.append(name)
        if (out / "gate.json").is_file():  # the gate removes an older one when it begins
            tables.append(str(out / "gate.json"))
    if tables:
        session.run(_bin("harness"), "gate", "table", *tables)
    if bad:
        session.error(f"not PASS, or without a result: {', '.join(bad)}")


def _installed(session: nox.Session, pins: list[str], folder: Path) -> str:
    """Install the package beside other packages, as a user does, and return the path of its command."""
    uv = _uv(session)
    session.run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    install = (uv, "pip", "install", "--quiet", "--python", _bin("python", folder))
    session.run(*install, *pins)
    session.run(*install, str(ROOT))
    return _bin("harness", folder)


def _locked_minor() -> int:
    [minor] = re.findall(r"^tensorflow==2\.(\d+)", (LOCKS / "dev.txt").read_text(), re.MULTILINE)
    return int(minor)


@nox.session
def ui(session: nox.Session) -> None:
    """Browse the recorded runs in MLflow."""
    _run(session, "harness", "ui", *session.posargs)


@nox.session
def dashboard(session: nox.Session) -> None:
    """Browse the trials of a study in Optuna's dashboard, those of the default study if none is named."""
    _run(session, "harness", "dashboard", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory against what a user would do instead; ten minutes and more."""
    python = _bin("python", RIVALS)
    rivals = ["--rivals", python] if Path(python).exists() else []
    _run(session, "python", "-m", "benchmarks.bench", *rivals, *session.posargs)


@nox.session
def publish(session: nox.Session) -> None:
    """Run the default study on both datasets, a gate and the lab, and write their reports into reports/."""
    _run(session, "python", "-m", "benchmarks.publish", *session.posargs)


@nox.session
def rivals(session: nox.Session) -> None:
    """Install JAX, PyTorch and the package into an environment of their own, for benchmarks and tests; network."""
    uv = _uv(session)
    session.run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(RIVALS))
    install = (uv, "pip", "install", "--python", _bin("python", RIVALS))
    session.run(*install, "--group", f"{ROOT / 'pyproject.toml'}:rivals", str(ROOT), *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests that every change runs, in minutes: all but those marked slow."""
    _pytest(session, "-m", "not slow")


@nox.session(name="tests-all")
def tests_all(session: nox.Session) -> None:
    """Run every test; -- -m slow runs those that nox -s tests leaves out."""
    _pytest(session)


def _pytest(session: nox.Session, *options: str) -> None:
    # Where Python may not write bytecode, each process of pytest compiles all tests again.
    _run(session, "pytest", *options, *session.posargs, PYTHONDONTWRITEBYTECODE="")


@nox.session
def scale(session: nox.Session) -> None:
    """Measure a study of 10,000 trials that trains nothing, and write docs/scale.md; ten minutes."""
    _run(session, "python", "-m", "benchmarks.scale", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """Kill studies some hundred times, check that nothing is lost or done twice, write docs/torture.md; long."""
    _run(session, "python", "-m", "tests.torture", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting; -- --fix fixes what can be fixed."""
    _run(session, "ruff", "check", *session.posargs)
    _run(session, "ruff", "format", *([] if "--fix" in session.posargs else ["--check"]))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    _run(session, "mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Write docs/commands.md and build the documentation into out/docs; a warning is an error."""
    _run(session, "python", "-m", "benchmarks.commands_page")
    site = ROOT / "out" / "docs"
    # Without -E and -a, Sphinx would not repeat the warnings of pages that have not changed.
    options = ("--fail-on-warning", "--keep-going", "--quiet", "-E", "-a", "-d", str(site / ".doctrees"))
    _run(session, "sphinx-build", *options, *session.posargs, str(ROOT / "docs"), str(site))
    session.log(f"site: {site / 'index.html'}")


@nox.session
def lock(session: nox.Session) -> None:
    """Write the locks again from pyproject.toml; needs the network."""
    uv = _uv(session)
    for group in ("runtime", *LOCKED):
        chosen = ["--group", group] if group != "runtime" else []
        session.run(
            *(uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
            *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "nox -s lock"),
            *chosen,
            *(str(ROOT / "pyproject.toml"), "--output-file", str(LOCKS / f"{group}.txt"), *session.posargs),
        )
