"""The house's rules, read off the code: who imports whom, what the locks and the wheel hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
WINGS = ("harness", "studies", "reports", "benchmarks")
MODULES = sorted(path for wing in WINGS for path in (ROOT / wing).rglob("*.py"))
# What a user would write instead of the project is written with whatever they would use.
RIVALS = {"benchmarks.contenders", "benchmarks.naive"}
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")


def importers(package: str) -> set[str]:
    found = {name(path) for path in MODULES if any(module.split(".")[0] == package for module in imports(path))}
    return found - RIVALS


def test_imports_between_the_wings_run_one_way() -> None:
    for path in MODULES:
        own = path.relative_to(ROOT).parts[0]
        allowed = {own, "harness"} if own != "harness" else {own}
        if name(path).startswith(("harness.cli", "harness.commands.")):
            allowed = set(WINGS)
        used = {module.split(".")[0] for module in imports(path)} & set(WINGS)
        assert used <= allowed, f"{name(path)} imports {used - allowed}"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        # The last two are processes of their own: one serves MLflow's pages, one writes models in its format.
        (
            "mlflow",
            {
                f"harness.{name}"
                for name in ("store", "records", "tracking", "registry", "pages", "saver", "gate.track")
            },
        ),
        ("uvicorn", {"harness.pages"}),
        ("optuna", {"harness.ledger", "harness.importance"}),
        ("optuna_dashboard", {"harness.dashboard"}),
        ("psutil", {"harness.runner"}),
        ("tenacity", {"harness.patience"}),
        ("distributed", {"harness.cluster"}),
        ("dask", {"harness.cluster"}),
        ("jinja2", {"reports.templating"}),
        (
            "tensorflow",
            {
                *("harness.streams", "harness.softmax", "benchmarks.faults"),
                *("harness.engines.graph", "harness.engines.keras", "harness.engines.xla", "harness.engines.runtime"),
            },
        ),
        ("keras", {"harness.model", "harness.saver", "harness.engines.keras"}),
    ],
)
def test_a_package_is_imported_only_where_it_belongs(package: str, allowed: set[str]) -> None:
    assert importers(package) == allowed


@pytest.mark.parametrize(
    ("package", "wing"),
    [("click", ("harness.cli", "harness.commands.")), ("pandas", ("reports.",)), ("matplotlib", ("reports.",))],
)
def test_a_package_is_imported_in_one_wing_alone(package: str, wing: tuple[str, ...]) -> None:
    found = importers(package)
    assert found
    assert all(module.startswith(wing) for module in found)


def test_the_coordinator_does_not_load_tensorflow() -> None:
    code = "import sys, harness.cli, harness.cluster, harness.search, harness.registry, harness.progress, "
    code += "harness.workers, harness.gate.run, harness.gate.record, harness.gate.track, reports.gate, reports.page; "
    code += "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_loads_nothing_that_takes_seconds() -> None:
    code = "import sys, harness.cli; slow = 'mlflow', 'optuna', 'pandas', 'matplotlib', 'sklearn', 'distributed'; "
    code += "print([name for name in slow if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nothing_is_sent_to_those_who_make_mlflow() -> None:
    code = (
        "import harness.search; from mlflow.telemetry.client import get_telemetry_client; print(get_telemetry_client())"
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


def test_there_is_a_lock_for_each_group_and_it_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups: dict[str, list[Any]] = {"runtime": [], **project["dependency-groups"]}
    for free in ("rivals", "gate"):  # compared with as they are newest, or under any TensorFlow: so never locked
        del groups[free]
    assert {lock.stem for lock in LOCKS} == set(groups)
    for group, wanted in groups.items():
        locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / f"{group}.txt").read_text(), re.MULTILINE))
        asked = [*project["project"]["dependencies"], *(entry for entry in wanted if isinstance(entry, str))]
        names = {re.split(r"[<>=!~\[;]", entry)[0].strip() for entry in asked}
        assert names <= locked, f"{group}.txt lacks {names - locked}: nox -s lock"


def test_the_extra_for_clusters_is_what_the_locks_hold() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["optional-dependencies"]["cluster"] == project["dependency-groups"]["cluster"]


@pytest.mark.slow
def test_the_wheel_holds_the_three_wings_and_what_they_read(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("zero_errors-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    metadata = f"{'-'.join(wheel.stem.split('-')[:2])}.dist-info"
    tracked = {str(path.relative_to(ROOT)) for wing in WINGS for path in (ROOT / wing).rglob("*") if path.is_file()}
    assert {entry for entry in tracked if "__pycache__" not in entry} <= held
    assert {entry.split("/")[0] for entry in held} - set(WINGS) == {metadata}
