"""The project's rules, read off its code: who imports whom, how long modules are, what the locks and the wheel hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "harness").rglob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

# A package may import those before it in this list, and nothing after it. The modules of harness itself come first.
ORDER = (
    "harness",
    "network",
    "data",
    "engines",
    "study",
    "workers",
    "lab",
    "tracking",
    "search",
    "gate",
    "reporting",
    "commands",
)
MOST_LINES_OF_A_MODULE, MOST_LINES_OF_A_FUNCTION = 400, 60

# The modules that may import a package that is large, or that only one part of the project needs to know.
IMPORTERS = {
    "mlflow": {
        "harness.tracking.database",
        # Two are processes of their own: one serves MLflow's pages, one writes models in MLflow's format.
        *("harness.tracking.pages", "harness.tracking.model_export"),
        *("harness.tracking.store", "harness.tracking.reader", "harness.tracking.claim", "harness.tracking.models"),
        *("harness.tracking.run_content", "harness.tracking.run_writer", "harness.tracking.report_upload"),
        "harness.gate.track",
    },
    "uvicorn": {"harness.tracking.pages"},
    "optuna": {"harness.search.optuna_study", "harness.search.importance", "harness.search.export"},
    "optuna_dashboard": {"harness.search.dashboard"},
    "psutil": {"harness.tracking.owner"},
    "tenacity": {"harness.retry"},
    "distributed": {"harness.workers.dask", "harness.workers.dask_connection", "harness.workers.dask_local"},
    "dask": {"harness.workers.dask_local"},
    "jinja2": {"harness.reporting.templating"},
    "tensorflow": {
        *("harness.network.random_streams", "harness.network.softmax", "harness.engines.tensorflow_setup"),
        *("harness.engines.graph", "harness.engines.keras", "harness.engines.xla"),
    },
    "keras": {"harness.network.keras_model", "harness.tracking.model_export", "harness.engines.keras"},
}
# Packages that are imported everywhere in one package of the project and nowhere else.
PACKAGE_IMPORTERS = {"click": "harness.commands", "pandas": "harness.reporting", "matplotlib": "harness.reporting"}


def module_name(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")


NAMES = {module_name(path) for path in MODULES}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, at its top and inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (one if one in NAMES else node.module for one in inside)


IMPORTS = {module_name(path): set(imports(path)) - {module_name(path)} for path in MODULES}


def package_of(module: str) -> str:
    """The package of a module of the project, by its name in :data:`ORDER`."""
    if module == "harness.__main__":  # it runs the command
        return "commands"
    first, *rest = module.split(".")
    return rest[0] if rest and rest[0] in ORDER else first


def importers(package: str) -> set[str]:
    return {module for module, used in IMPORTS.items() if package in {one.split(".")[0] for one in used}}


def test_every_package_has_a_place_in_the_order() -> None:
    folders = {path.name for path in (ROOT / "harness").iterdir() if (path / "__init__.py").exists()}
    assert folders == set(ORDER[1:])


@pytest.mark.parametrize("module", sorted(NAMES))
def test_a_module_imports_only_packages_before_its_own(module: str) -> None:
    allowed = ORDER[: ORDER.index(package_of(module)) + 1]
    used = {one for one in IMPORTS[module] if one.split(".")[0] in {"harness", "tests", "benchmarks", "studies"}}
    assert not {one for one in used if package_of(one) not in allowed}


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter({module: used & NAMES for module, used in IMPORTS.items()}).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize(("package", "allowed"), IMPORTERS.items(), ids=list(IMPORTERS))
def test_a_package_is_imported_only_where_it_belongs(package: str, allowed: set[str]) -> None:
    assert importers(package) == allowed


@pytest.mark.parametrize(("package", "allowed"), PACKAGE_IMPORTERS.items(), ids=list(PACKAGE_IMPORTERS))
def test_a_package_is_imported_in_one_package_alone(package: str, allowed: str) -> None:
    found = importers(package)
    assert found
    assert {module for module in found if not module.startswith(f"{allowed}.")} == set()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES_OF_A_MODULE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    assert [(name, lines) for name, lines in lengths if lines > MOST_LINES_OF_A_FUNCTION] == []


def loaded(modules: str, slow: tuple[str, ...]) -> str:
    """Which of the slow packages a process has loaded that imports these modules."""
    code = f"import sys, {modules}; print([name for name in {slow} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_coordinator_does_not_load_tensorflow() -> None:
    modules = (
        *("commands.main", "commands.progress", "workers.dask", "workers.local", "search.run", "tracking.models"),
        *("gate.run", "gate.record", "gate.track", "reporting.gate_page", "reporting.report"),
    )
    assert loaded(", ".join(f"harness.{name}" for name in modules), ("tensorflow", "keras")) == "[]\n"


def test_help_loads_nothing_that_takes_seconds() -> None:
    slow = ("mlflow", "optuna", "pandas", "matplotlib", "sklearn", "distributed")
    assert loaded("harness.commands.main", slow) == "[]\n"


def test_nothing_is_sent_to_those_who_make_mlflow() -> None:
    code = (
        "import harness.search.run; from mlflow.telemetry.client import get_telemetry_client as client; print(client())"
    )
    told = ("CI", "PYTEST", "GITHUB", "MLFLOW", "TOX", "DO_NOT_TRACK")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    pinned = re.findall(r"^[\w.-]+==\S+", text, re.MULTILINE)
    assert len(pinned) > 50
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def asked_for(project: dict[str, Any], group: str) -> list[str]:
    """What a group asks for, with the groups that it includes."""
    entries = project["dependency-groups"][group]
    named = [entry for entry in entries if isinstance(entry, str)]
    return named + [
        one for entry in entries if isinstance(entry, dict) for one in asked_for(project, entry["include-group"])
    ]


def test_every_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {lock.stem for lock in LOCKS} == {"runtime", "cluster", "dev"}
    for lock in LOCKS:
        locked = set(re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE))
        wanted = [] if lock.stem == "runtime" else asked_for(project, lock.stem)
        asked = [*project["project"]["dependencies"], *wanted]
        names = {re.split(r"[<>=!~\[;]", entry)[0].strip() for entry in asked}
        assert names <= locked, f"{lock.name} lacks {names - locked}: nox -s lock"


def test_the_extra_for_clusters_is_what_the_locks_hold() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["optional-dependencies"]["cluster"] == project["dependency-groups"]["cluster"]


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_studies_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("zero_errors-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {entry for entry in archive.namelist() if not entry.split("/")[0].endswith(".dist-info")}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "harness").rglob("*") if path.is_file()}
    studies = {f"harness/study/studies/{path.name}" for path in (ROOT / "studies").glob("*.toml")}
    assert held == {file for file in files if "__pycache__" not in file} | studies
