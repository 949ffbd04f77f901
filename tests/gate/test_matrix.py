"""The gate as it is typed: what can be wrong, what it comes to, and that nothing of it is green."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from junitparser import Error, Failure, JUnitXml

from harness.gate import reference
from harness.gate.reference import Reference
from harness.tracking.store import Store
from tests.support import ROOT, Harness

FOLDER = Path("out", "gate")
ONE = ("--against", "none", "--workers", "1")  # of few seconds: a second worker takes longer to start
ALONE = (*ONE, "--untracked")
OVER_SEEDS = ("epochs to zero errors", "seeds that reach zero errors", "errors at epoch 40")

Gate = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def gate(harness: Harness, chosen: Sequence[str], tmp_path: Path) -> Gate:
    """Run a gate; its status, what it left as JSON, and what it said."""

    def run(*arguments: str, **options: Any) -> tuple[int, dict[str, Any], str]:
        images = () if "--data" in arguments else chosen
        done = harness("gate", "run", "--quiet", *ALONE, *images, *arguments, **options)
        assert "Traceback" not in done.stderr + done.stdout
        written: dict[str, Any] = json.loads((tmp_path / FOLDER / "gate.json").read_text())
        return done.returncode, written, done.stdout + done.stderr

    return run


def verdicts(written: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in written["checks"]}


def suite(folder: Path) -> list[tuple[str, type | None]]:
    """The test cases of the JUnit file: name, and the kind of what is not well."""
    [found] = JUnitXml.fromfile(str(folder / FOLDER / "junit.xml"))
    return [(case.name, type(case.result[0]) if case.result else None) for case in found]


@pytest.mark.usefixtures("subjects")
def test_a_training_that_is_as_recorded_passes(gate: Gate, tmp_path: Path) -> None:
    status, written, said = gate("--engine", "replay", draws=True)
    assert status == 0
    assert written["verdict"] == "PASS"
    expected = ["data", "softmax", "trace replay", *OVER_SEEDS]
    assert verdicts(written) == dict.fromkeys(expected, "PASS")
    assert suite(tmp_path) == [(name, None) for name in expected]
    assert said.startswith("PASS: zero errors come as early as in the reference (less than ")
    assert f"Repeat this gate: {written['command']}" in said
    assert written["command"].endswith("--seeds 63 --first-seed 200000")
    assert (len(written["seeds"]), written["packages"]["numpy"]) == (63, written["versions"]["numpy"])
    assert written["date"][:2] == "20"
    figures = {path.name: path.read_bytes()[:4] for path in (tmp_path / FOLDER / "figures").iterdir()}
    assert figures == dict.fromkeys(["survival.png", "errors.png", "trace.png"], b"\x89PNG")


@pytest.mark.usefixtures("subjects")
@pytest.mark.parametrize(
    ("engine", "verdict", "status", "reason"),
    [
        ("late", "FAIL", 1, "FAIL: zero errors come "),
        ("raises", "FAIL", 1, "the coffee is cold"),
        pytest.param("leaves", "FAIL", 1, "SystemExit: 0", marks=pytest.mark.slow),
        pytest.param("rates", "FAIL", 1, "not integers from 0 to 5000", marks=pytest.mark.slow),
        pytest.param("nothing", "FAIL", 1, "returned NoneType", marks=pytest.mark.slow),
        pytest.param("too-few", "FAIL", 1, "the engine received ", marks=pytest.mark.slow),
        ("lies", "FAIL", 1, "but its logits have 3"),
        ("nan", "FAIL", 1, "0 of 63 seeds"),
        ("dies", "NOT RUN", 4, "killed (signal 9"),
        ("unmade", "NOT RUN", 4, "ImportError: no module of the driver"),
    ],
)
def test_an_engine_that_something_is_wrong_with_is_not_green(
    engine: str, verdict: str, status: int, reason: str, gate: Gate, tmp_path: Path
) -> None:
    found, written, said = gate("--engine", engine)
    assert (found, written["verdict"]) == (status, verdict)
    assert reason in said
    assert {"trainings", "epochs to zero errors"} & {
        name for name, found in verdicts(written).items() if found == verdict
    }
    kinds = {kind for _, kind in suite(tmp_path)}
    assert (Failure if verdict == "FAIL" else Error) in kinds
    assert verdict in (tmp_path / FOLDER / "summary.md").read_text().splitlines()[0]


@pytest.mark.usefixtures("subjects")
def test_training_that_became_better_is_said_and_fails_only_where_that_was_asked_for(gate: Gate) -> None:
    status, written, said = gate("--engine", "early")
    assert (status, verdicts(written)["epochs to zero errors"]) == (0, "CHANGED")
    assert said.startswith("PASS: CHANGED, zero errors come ")
    assert "sooner (95% interval" in said
    status, written, _ = gate("--engine", "early", "--strict")
    assert (status, written["verdict"]) == (1, "FAIL")


@pytest.mark.usefixtures("subjects")
def test_too_few_seeds_are_inconclusive_and_none_are_not_run(gate: Gate, tmp_path: Path) -> None:
    status, written, _ = gate("--engine", "replay", "--seeds", "4")
    assert (status, written["verdict"]) == (3, "INCONCLUSIVE")
    assert ("epochs to zero errors", Error) in suite(tmp_path)
    status, written, _ = gate("--engine", "replay", "--seeds", "0")
    assert (status, written["verdict"]) == (4, "NOT RUN")
    assert verdicts(written)["trainings"] == "NOT RUN"


def test_without_images_nothing_is_run(gate: Gate, tmp_path: Path) -> None:
    status, written, said = gate("--data", str(tmp_path / "none.npz"))
    assert (status, written["verdict"]) == (4, "NOT RUN")
    assert verdicts(written) == {"data": "NOT RUN"}
    assert "none.npz" in said
    assert suite(tmp_path) == [("data", Error)]


def test_images_that_are_not_the_references_fail(gate: Gate) -> None:
    status, written, _ = gate("--data", "optdigits", "--reference", str(reference.path_of("lab-5000")))
    assert (status, verdicts(written)) == (1, {"data": "FAIL"})


@pytest.fixture
def saved(recorded: Reference, tmp_path: Path) -> Callable[..., str]:
    """Save the reference with something changed; its path."""

    def save(**changes: Any) -> str:
        path = tmp_path / "reference.json"
        reference.save(recorded.model_copy(update=changes), path)
        return str(path)

    return save


@pytest.mark.parametrize("kind", ["missing", "old", "newer", "edited", "of another trace", "empty"])
def test_a_reference_that_cannot_be_trusted_is_not_run(kind: str, gate: Gate, saved: Callable[..., str]) -> None:
    path = Path(saved())
    content = json.loads(path.read_text())
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_text("")
    elif kind == "of another trace":
        saved(trace=99)
    elif kind == "edited":
        path.write_text(json.dumps({**content, "alike": {}}))
    else:
        path.write_text(json.dumps({**content, "schema": {"old": 0, "newer": 3}[kind]}))
    status, written, said = gate("--reference", str(path))
    assert (status, verdicts(written)) == (4, {"reference": "NOT RUN"})
    assert str(path) in said


def test_a_tensorflow_that_does_not_load_is_not_run(gate: Gate, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "tensorflow"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libtensorflow_framework.so.2: no such file')\n")
    status, written, said = gate(PYTHONPATH=f"{broken.parent}:{ROOT}")
    assert (status, written["verdict"]) == (4, "NOT RUN")
    assert "libtensorflow_framework.so.2: no such file" in said


@pytest.mark.usefixtures("subjects")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "unheard"), "no engine is called 'unheard'"),
        (("--train", "tests/x.py:train"), "--engine and --train cannot be used together"),
        (("--first-seed", "100500"), "the reference contains seed 100500"),
        (("--first-seed", "2147483640"), "exceed"),
        (("--first-seed", "5", "--fresh-seeds"), "cannot be used together"),
        (("--against", "jax"), "'jax' is not one of"),
    ],
)
def test_wrong_usage_is_no_verdict(
    arguments: Sequence[str], said: str, harness: Harness, chosen: Sequence[str], tmp_path: Path
) -> None:
    done = harness("gate", "run", "--quiet", *ALONE, *chosen, "--engine", "replay", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / FOLDER / "gate.json").exists()


@pytest.mark.usefixtures("subjects")
def test_more_than_a_quarter_of_the_references_seeds_is_warned_of(gate: Gate) -> None:
    status, written, said = gate("--engine", "replay", "--seeds", "300")
    assert (status, len(written["seeds"])) == (0, 300)
    assert "300 seeds are more than a quarter of the 1024 seeds of the reference" in said


@pytest.mark.slow
@pytest.mark.usefixtures("subjects")
def test_fresh_seeds_are_no_published_ones_and_can_be_trained_again(gate: Gate) -> None:
    _, first, _ = gate("--engine", "replay", "--fresh-seeds", "--seeds", "4")
    assert min(first["seeds"]) >= 1_000_000
    _, again, said = gate("--engine", "replay", "--first-seed", str(first["seeds"][0]), "--seeds", "4")
    assert (again["seeds"], again["first_zero"]) == (first["seeds"], first["first_zero"])
    # The trace is looked at with the recorded seeds all the same.
    assert "16 of 16 seeds match exactly" in said


@pytest.mark.usefixtures("subjects")
def test_what_an_earlier_gate_left_is_not_taken_for_this_ones(
    harness: Harness, chosen: Sequence[str], tmp_path: Path
) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    for name in ("gate.json", "junit.xml", "summary.md", "gate.html"):
        (tmp_path / FOLDER / name).write_text("PASS")
    done = harness("gate", "run", "--quiet", *ALONE, *chosen, "--engine", "replay", "--first-seed", "100000")
    assert done.returncode == 2
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_file_that_no_gate_left_is_in_no_table(harness: Harness, tmp_path: Path) -> None:
    for content in ("", "[]", '{"verdict": "PASS"}'):
        (tmp_path / "odd.json").write_text(content)
        done = harness("gate", "table", "odd.json")
        assert done.returncode == 2
        assert "odd.json: this is not a gate.json file" in done.stderr


@pytest.mark.usefixtures("subjects")
def test_a_summary_is_added_where_the_ci_asks_for_it(gate: Gate, tmp_path: Path) -> None:
    step = tmp_path / "step.md"
    step.write_text("before\n")
    gate("--engine", "replay", GITHUB_STEP_SUMMARY=str(step))
    assert step.read_text() == "before\n" + (tmp_path / FOLDER / "summary.md").read_text()


@pytest.mark.usefixtures("subjects")
@pytest.mark.parametrize(("engine", "status"), [("replay", 5), ("late", 1)])
def test_what_cannot_be_written_is_said_and_is_not_green_and_the_rest_is_written(
    engine: str, status: int, gate: Gate, tmp_path: Path
) -> None:
    found, written, said = gate("--engine", engine, "--json", "more.json", GITHUB_STEP_SUMMARY="/proc/step.md")
    assert found == status
    assert "/proc/step.md is not written" in said
    assert json.loads((tmp_path / "more.json").read_text()) == written


@pytest.mark.usefixtures("subjects")
@pytest.mark.parametrize("engine", ["no-width", "unloaded"])
def test_an_engine_whose_package_is_broken_is_wrong_usage(engine: str, harness: Harness, chosen: Sequence[str]) -> None:
    done = harness("gate", "run", "--quiet", *ALONE, *chosen, "--engine", engine)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("subjects")
def test_a_gate_is_recorded_in_mlflow(
    harness: Harness, chosen: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = harness("gate", "run", "--quiet", "--engine", "late", *ONE, *chosen)
    assert done.returncode == 1
    monkeypatch.chdir(tmp_path)
    client = Store(create=False).client
    [run] = client.search_runs([client.get_experiment_by_name("zero-errors").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["harness.verdict"] == "FAIL"
    assert run.data.tags["harness.role"] == "gate"
    assert run.data.metrics["mean_first_zero"] > 65
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert kept == {"gate.json", "junit.xml", "summary.md", "gate.html", "figures"}
    assert {file.path for file in client.list_artifacts(run.info.run_id, "figures")} == {
        "figures/errors.png",
        "figures/survival.png",
        "figures/trace.png",
    }


@pytest.mark.usefixtures("subjects")
def test_a_gate_that_cannot_be_recorded_says_so_and_is_not_green(
    harness: Harness, chosen: Sequence[str], tmp_path: Path
) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database")
    for engine, status in (("replay", 5), ("late", 1)):
        done = harness("gate", "run", "--quiet", "--engine", engine, *ONE, *chosen)
        assert done.returncode == status
        assert "the gate is not recorded in MLflow" in done.stderr
        assert json.loads((tmp_path / FOLDER / "gate.json").read_text())["verdict"] in {"PASS", "FAIL"}


@pytest.mark.slow
@pytest.mark.usefixtures("subjects_of_tensorflow")
def test_half_of_the_learning_rate_is_noticed_by_trace_and_seeds(gate: Gate) -> None:
    status, written, said = gate("--engine", "halved", "--conformance")
    assert status == 1
    found = verdicts(written)
    assert found["trace halved"] == found["epochs to zero errors"] == found["conformance halved"] == "FAIL"
    assert "0 of 16 seeds match;" in said
    assert said.startswith("FAIL: zero errors come ")


@pytest.mark.slow
def test_the_gate_of_the_fast_engine_passes_with_all_that_it_has_to_agree_with(
    harness: Harness, chosen: Sequence[str], tmp_path: Path
) -> None:
    done = harness("gate", "run", "--untracked", *chosen)
    assert done.returncode == 0, done.stdout
    written = json.loads((tmp_path / FOLDER / "gate.json").read_text())
    assert list(verdicts(written)) == [
        *("data", "softmax", "trace xla", *OVER_SEEDS),
        *("trace graph", "trace keras"),
    ]
    assert set(verdicts(written).values()) == {"PASS"}
    assert "trainings are done; until" in done.stderr
