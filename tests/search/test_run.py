"""Studies as a user runs them: the command, real workers and a real database."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest

from harness.data.digits import Digits
from harness.network.variant import Variant
from harness.search import optuna_study
from harness.tracking.lock import sole_owner
from harness.tracking.owner import Owner
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.store import Store
from tests import warm
from tests.change import draw_nothing
from tests.shared import Shared
from tests.support import COMMAND, SMALL_SEARCH, SMALL_STUDY, STANDIN_PATH, Harness

DATA = ("--data", "optdigits")
# The same where what is trained is not what a test is about.
MADE_UP_STUDY, MADE_UP_SEARCH = (text.replace('"xla"', '"standin"') for text in (SMALL_STUDY, SMALL_SEARCH))


def write_study(folder: Path, text: str = SMALL_STUDY, name: str = "small") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def recorded(folder: Path, name: str = "small") -> StudyRecord:
    """The newest study of this name in a folder's database, with every history."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reader = StudyReader(Store(create=False))
        study = reader.study(name)
        return replace(study, trainings=tuple(reader.with_histories(run) for run in study.trainings))


def numbers(run: RunRecord) -> tuple[object, ...]:
    """What a run says of what was computed: not how long it took, nor how many were read off one training in one go."""
    metrics = {name: value for name, value in run.metrics.items() if name not in {"duration_s", "shared_by"}}
    return run.name, run.params, metrics, run.losses, run.errors, run.wrong_images, run.softmax


def optuna_trials(folder: Path, name: str = "small") -> list[optuna.trial.FrozenTrial]:
    """The trials of the study that Optuna would continue with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reader = StudyReader(Store(create=False))
        return optuna_study.of_record(reader, reader.recorded(name)).trials


@pytest.fixture(scope="session")
def made_up(shared: Shared) -> Path:
    """A folder in which the small study was run with the engine that trains nothing, to be copied."""

    def make(folder: Path) -> None:
        write_study(folder, MADE_UP_STUDY)
        environment = {**os.environ, "PYTHONPATH": STANDIN_PATH}
        command = ["study", "run", "small.toml", "--workers", "1", *DATA]
        done = warm.run(command, folder, environment, folder, draw_nothing)
        assert done.returncode == 0, done.stderr

    return shared.folder("made-up", make)


@pytest.fixture(params=["made_up", pytest.param("whole_study", marks=pytest.mark.slow)])
def whole(request: pytest.FixtureRequest) -> Path:
    """A folder in which the small study was run from end to end, by the engine that trains nothing or by a real one."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.fixture
def copied(made_up: Path, tmp_path: Path, standin: None) -> Path:  # noqa: ARG001 - what goes on with it needs the engine
    """A copy of it, to be worked with."""
    shutil.copytree(made_up, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_study_ends_with_its_two_results_and_its_report(whole: Path) -> None:
    recommended, baseline, report = (whole / "stdout").read_text().splitlines()
    runs = recorded(whole).trainings
    assert min(run.metrics["final_errors"] for run in runs) > 0
    assert recommended.startswith("recommended: none, because no run ended with zero errors; learning rate ")
    assert baseline == "baseline: 0 of 2 seeds reach zero errors within 2 epochs"
    assert report == f"report: {whole / 'out' / 'small' / 'report.html'}"
    note = recorded(whole).parent.tags["mlflow.note.content"].splitlines()
    assert note[1] == f"**Recommended:** {recommended.removeprefix('recommended: ')}.  "
    assert note[2] == f"**Baseline:** {baseline.removeprefix('baseline: ')}."


def results(folder: Path, name: str = "small") -> dict[str, dict[int, float]]:
    """The metrics of a study's parent run: the value of each step. Each step has one value."""
    query = "select key, step, value from metrics where run_uuid = ?"
    found: dict[str, dict[int, float]] = {}
    with sqlite3.connect(folder / "mlflow.db") as connection:
        for key, step, value in connection.execute(query, (recorded(folder, name).parent.run_id,)).fetchall():
            assert step not in found.setdefault(key, {})
            found[key][step] = value
    return found


@pytest.mark.usefixtures("standin")
def test_each_end_of_a_study_records_its_results_once_at_the_next_step(tmp_path: Path, harness: Harness) -> None:
    text = MADE_UP_STUDY.replace("[1, 2]", "[40, 80]")
    command = ("study", "run", "small.toml", "--workers", "1", *DATA)
    write_study(tmp_path, text)
    assert harness(*command).returncode == 0
    first = results(tmp_path)
    assert {step for values in first.values() for step in values} == {1}
    runs = recorded(tmp_path).trainings
    at_zero = Counter(
        (run.params["learning_rate"], run.params["epochs"]) for run in runs if run.metrics["final_errors"] == 0
    )
    # With equal numbers of seeds, the largest share has the best lower bound.
    assert first["share_at_zero"][1] == max(at_zero.values()) / 2
    own = [run for run in runs if (run.params["learning_rate"], run.params["epochs"]) == ("0.001", "80")]
    assert first["mean_first_zero_epoch"][1] == sum(run.metrics.get("first_zero_epoch", 80) for run in own) / 2
    [seed] = [run for run in own if run.params["seed"] == "1234"]
    assert first["baseline_first_zero_epoch"][1] == seed.metrics["first_zero_epoch"]
    assert first["failed_runs"][1] == 0
    assert harness("report").returncode == 0
    assert results(tmp_path) == first
    assert "nothing to train" in harness(*command).stderr
    assert results(tmp_path) == {name: {1: values[1], 2: values[1]} for name, values in first.items()}


def longest(folder: Path) -> set[str]:
    """The names of the runs that the saved view shows."""
    return {run.name for run in recorded(folder).trainings if run.tags.get("harness.longest") == "true"}


def test_the_longest_run_of_each_training_is_marked_also_after_the_study_has_grown(
    copied: Path, harness: Harness
) -> None:
    command = ("study", "run", "small.toml", "--workers", "1", *DATA)
    settings = [(rate, seed) for rate in ("0.001", "0.01") for seed in ("1234", "1")]
    assert longest(copied) == {f"lr {rate}, 2 epochs, seed {seed}" for rate, seed in settings}
    for epochs, most in (("[1, 2, 4]", 4), ("[1, 2, 3, 4]", 4)):
        write_study(copied, MADE_UP_STUDY.replace("[1, 2]", epochs))
        assert harness(*command).returncode == 0
        assert longest(copied) == {f"lr {rate}, {most} epochs, seed {seed}" for rate, seed in settings}


@pytest.mark.usefixtures("standin")
def test_a_study_leaves_one_database(tmp_path: Path, harness: Harness) -> None:
    write_study(tmp_path, MADE_UP_STUDY)
    assert harness("study", "run", "small.toml", "--workers", "1", *DATA).returncode == 0
    assert not list(tmp_path.glob("mlflow.db-*"))  # the write-ahead log is in the database, which is one file again


def test_every_trial_is_a_finished_run_under_one_parent(whole: Path) -> None:
    study = recorded(whole)
    assert study.parent.status == "FINISHED"
    assert study.parent.metrics.items() >= {"trials_finished": 8, "trials_failed": 0, "failed_runs": 0}.items()
    assert "eight trials" in study.parent.tags["mlflow.note.content"].lower()
    assert len(study.trainings) == 8
    for run in study.trainings:
        assert run.status == "FINISHED"
        assert run.tags["mlflow.parentRunId"] == study.parent.run_id
        assert len(run.losses) == len(run.errors) == int(run.params["epochs"])
        assert run.errors[-1] == run.metrics["final_errors"] == len(run.wrong_images)
        assert run.losses[-1] == run.metrics["final_loss"]
        assert run.metrics["shared_by"] == 2
        assert run.metrics["duration_s"] > 0
        assert set(run.softmax) == {"loop", "vector", "stable"}
        assert run.softmax["vector"].max_ulp == run.metrics["softmax_max_ulp"]
        assert run.params.keys() == {*Variant.model_fields, "engine", "dataset"}
        assert run.settings.keys() == Variant.model_fields.keys()
        tags = {"study", "study_key", "role", "trial", "variant", "dataset", "engine", "trace", "cpu", "versions"}
        assert {f"harness.{tag}" for tag in tags} <= run.tags.keys()
        assert (
            run.name == f"lr {run.params['learning_rate']}, {run.params['epochs']} "
            f"epoch{'s' * (run.params['epochs'] != '1')}, seed {run.params['seed']}"
        )


def test_shorter_trials_are_prefixes_of_the_training_they_share(whole: Path) -> None:
    runs = {
        (run.params["learning_rate"], run.params["seed"], run.params["epochs"]): run
        for run in recorded(whole).trainings
    }
    for (rate, seed, epochs), run in runs.items():
        if epochs == "1":
            assert run.losses == runs[rate, seed, "2"].losses[:1]
            assert run.errors == runs[rate, seed, "2"].errors[:1]


def test_optuna_knows_what_mlflow_knows(whole: Path) -> None:
    runs = {int(run.tags["harness.trial"]): run for run in recorded(whole).trainings}
    trials = optuna_trials(whole)
    assert len(trials) == 8
    for trial in trials:
        run = runs[trial.number]
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert trial.value == run.metrics["final_errors"]
        assert {name: str(value) for name, value in trial.params.items()} == {
            name: run.params[name] for name in trial.params
        }


def test_the_dataset_is_an_input_with_its_hashes(whole: Path) -> None:
    with sqlite3.connect(whole / "mlflow.db") as connection:
        rows = connection.execute("select name, dataset_profile from datasets").fetchall()
        inputs = connection.execute("select count(*) from inputs where source_type = 'DATASET'").fetchone()
        journal = connection.execute("pragma journal_mode").fetchone()
    [(name, profile)] = rows
    assert name == "optdigits-5000"
    assert "1df638f67c0977783f4bf5d97754feef6ce67d5cb1c35bcf31a521de9f76a8ad" in profile
    assert inputs == (9,)
    assert journal == ("wal",)


def test_the_report_says_what_plain_pandas_finds_in_mlflow(whole: Path) -> None:
    with sqlite3.connect(whole / "mlflow.db") as connection:
        metrics = pd.read_sql("select run_uuid, key, value from latest_metrics", connection)
        params = pd.read_sql("select run_uuid, key, value from params", connection)
    wide = (part.set_index(["run_uuid", "key"])["value"].unstack() for part in (metrics, params))  # noqa: PD010
    table = pd.concat(wide, axis=1)
    table = table.dropna(subset="seed").astype({"learning_rate": float, "final_errors": int})
    report = (whole / "out" / "small" / "report.md").read_text()
    cells = table.groupby(["learning_rate", "epochs"])["final_errors"]
    for (rate, epochs), errors in cells:
        share = f"{(errors == 0).sum()} of {len(errors)}"
        row = f"| {rate:g} | {epochs} | {errors.mean():.1f} | {errors.min()} to {errors.max()} | {share} |"
        assert row in report
    assert len(cells) == 4
    runs = pd.read_csv(whole / "out" / "small" / "runs.csv").set_index("run_id")
    assert (runs["final_errors"] == table["final_errors"].loc[runs.index]).all()


def test_a_complete_study_trains_nothing_and_still_reports(copied: Path, harness: Harness) -> None:
    before = [numbers(run) for run in recorded(copied).trainings]
    (copied / "out" / "small" / "report.html").unlink()
    again = harness("study", "run", "small.toml", *DATA)
    assert again.returncode == 0
    assert "nothing to train: all 8 trials are done" in again.stderr
    assert (copied / "out" / "small" / "report.html").is_file()
    assert [numbers(run) for run in recorded(copied).trainings] == before


@pytest.mark.slow
@pytest.mark.usefixtures("standin")
def test_a_study_may_vary_where_the_softmax_is(harness: Harness, tmp_path: Path) -> None:
    write_study(tmp_path, MADE_UP_STUDY.replace("seed = [1234, 1]", 'softmax = ["output", "logits"]'))
    assert harness("study", "run", "small.toml", "--workers", "1", *DATA).returncode == 0
    runs = recorded(tmp_path).trainings
    assert Counter(run.params["softmax"] for run in runs) == {"output": 4, "logits": 4}
    assert Counter(trial.params["softmax"] for trial in optuna_trials(tmp_path)) == {"output": 4, "logits": 4}
    # One place more or less is another grid of the same study, not another study.
    write_study(tmp_path, MADE_UP_STUDY.replace("seed = [1234, 1]", 'softmax = ["output"]'))
    assert "nothing to train" in harness("study", "run", "small.toml", "--workers", "1", *DATA).stderr


@pytest.mark.slow
def test_the_number_of_workers_changes_no_number(whole_study: Path, harness: Harness, tmp_path: Path) -> None:
    write_study(tmp_path)
    arguments = ("study", "run", "small.toml", "--workers", "1", "--quiet", "--json", "-", *DATA)
    told = json.loads(harness(*arguments).stdout)
    assert (told["study"], told["before"], told["trained"], told["failed"]) == ("small", 0, 8, 0)
    assert told["mlflow_s"] > 0
    assert told["optuna_s"] == 0  # a grid asks no sampler
    assert 0 < told["busy_share"] <= 1
    assert Path(told["report"]).is_file()
    of_one, of_two = recorded(tmp_path).trainings, recorded(whole_study).trainings
    assert [(str(numbers(run)), run.tags["harness.trial"]) for run in of_one] == [
        (str(numbers(run)), run.tags["harness.trial"]) for run in of_two
    ]
    assert without_names_and_times(tmp_path) == without_names_and_times(whole_study)


def without_names_and_times(folder: Path) -> list[str]:
    """The report and the table of runs, but for what names a run or says when and how long."""
    out = folder / "out" / "small"
    study = recorded(folder)
    text = (out / "report.md").read_text().replace(str(folder), "")
    for number, run in enumerate((study.parent, *study.trainings)):
        text = text.replace(run.run_id, str(number)).replace(run.run_id[:8], str(number))
    table = pd.read_csv(out / "runs.csv").drop(columns=["run_id", "duration_s"])
    return [
        *(
            line
            for line in text.splitlines()
            if not any(part in line for part in ("UTC", "- duration: ", "- commands: "))
        ),
        table.to_csv(),
    ]


def test_a_study_needs_nothing_but_mlflow_to_resume(copied: Path, harness: Harness) -> None:
    before = [numbers(run) for run in recorded(copied).trainings]
    shutil.rmtree(copied / "out")
    again = harness("study", "run", "small.toml", "--workers", "1", *DATA)
    assert again.returncode == 0, again.stderr
    assert "nothing to train" in again.stderr
    assert [numbers(run) for run in recorded(copied).trainings] == before


def test_the_journal_of_an_earlier_version_is_named_and_left_alone(copied: Path, harness: Harness) -> None:
    journal = copied / "out" / "small" / "optuna.journal"
    journal.write_text("anything")
    again = harness("study", "run", "small.toml", "--workers", "1", *DATA)
    assert again.returncode == 0, again.stderr
    assert "optuna.journal is no longer used: MLflow stores the trials" in again.stderr
    assert journal.read_text() == "anything"


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_records_nothing_twice(
    harness: Harness, whole_study: Path, tmp_path: Path
) -> None:
    write_study(tmp_path)
    command = [COMMAND, "study", "run", "small.toml", "--workers", "1", *DATA]
    log = tmp_path / "log"
    with log.open("w") as stream:
        started = subprocess.Popen(command, cwd=tmp_path, stderr=stream, stdout=stream)
    database = tmp_path / "mlflow.db"
    wait_for_runs(database, "FINISHED", "training", 2)
    started.kill()
    started.wait()
    assert 2 <= count_runs(database, "FINISHED", "training") < 8
    again = harness("study", "run", "small.toml", "--workers", "1", *DATA)
    assert again.returncode == 0, again.stderr
    study = recorded(tmp_path)
    finished = [run for run in study.trainings if run.status == "FINISHED"]
    assert Counter(run.status for run in study.trainings).keys() <= {"FINISHED", "KILLED"}
    assert sorted(map(str, map(numbers, finished))) == sorted(map(str, map(numbers, recorded(whole_study).trainings)))
    assert not [trial for trial in optuna_trials(tmp_path) if not trial.state.is_finished()]


def count_runs(database: Path, status: str, role: str) -> int:
    """How many runs of a role have a status, as another process sees it; 0 while there is no database."""
    query = (
        "select count(*) from runs join tags using (run_uuid) where status = ? and key = 'harness.role' and value = ?"
    )
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            found = connection.execute(query, (status, role)).fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(found[0])


def wait_for_runs(database: Path, status: str, role: str, count: int) -> None:
    deadline_s = time.monotonic() + 120
    while count_runs(database, status, role) < count:
        assert time.monotonic() < deadline_s, f"no {count} {role} runs are {status}"
        time.sleep(0.02)


@pytest.mark.slow
def test_studies_of_one_folder_are_kept_apart(copied: Path, harness: Harness) -> None:
    write_study(copied, MADE_UP_STUDY.replace("[1, 2]", "[1]"), "other")
    done = harness("study", "run", "other.toml", "--workers", "1", *DATA)
    assert done.returncode == 0, done.stderr
    assert len(recorded(copied, "other").trainings) == 4
    assert len(recorded(copied, "small").trainings) == 8
    assert "# other on optdigits-5000" in (copied / "out" / "other" / "report.md").read_text()
    # The one that was run last is the one that is meant, be it begun first.
    assert harness("study", "run", "small.toml", *DATA).returncode == 0
    assert "out/small/report.html" in harness("report").stdout


@pytest.mark.parametrize(
    ("change", "told", "runs"),
    [
        (("[1234, 1]", "[1234, 1, 2]"), "8 of 12 trials are done; training 4", 12),
        (("[1234, 1]", "[1]"), "nothing to train: all 4 trials are done", 8),
    ],
)
def test_a_study_may_grow_and_shrink(
    copied: Path, harness: Harness, change: tuple[str, str], told: str, runs: int
) -> None:
    write_study(copied, MADE_UP_STUDY.replace(*change))
    done = harness("study", "run", "small.toml", "--workers", "1", *DATA)
    assert done.returncode == 0, done.stderr
    assert told in done.stderr
    assert len(recorded(copied).trainings) == runs


def test_a_worker_that_cannot_make_its_engine_fails_its_trials_with_the_reason(
    tmp_path: Path, harness: Harness
) -> None:
    write_study(tmp_path)
    (tmp_path / "broken" / "tensorflow").mkdir(parents=True)
    (tmp_path / "broken" / "tensorflow" / "__init__.py").write_text('raise ImportError("no such wheel")')
    done = harness("study", "run", "small.toml", *DATA, PYTHONPATH=str(tmp_path / "broken"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    study = recorded(tmp_path)
    assert [run.status for run in study.trainings] == ["FAILED"] * 8
    assert all("no such wheel" in run.tags["harness.failure"] for run in study.trainings)
    assert all("final_errors" not in run.metrics for run in study.trainings)
    assert "no such wheel" in (tmp_path / "out" / "small" / "report.md").read_text()
    assert {trial.state.name for trial in optuna_trials(tmp_path)} == {"FAIL"}


@pytest.mark.slow
@pytest.mark.usefixtures("standin")
def test_a_search_that_grows_proposes_new_points(tmp_path: Path, harness: Harness) -> None:
    text = MADE_UP_SEARCH.replace("trials = 3", "trials = 2").replace("seeds = [1, 2]", "seeds = [1]")
    write_study(tmp_path, text, "find")
    assert harness("study", "run", "find.toml", "--workers", "1", *DATA).returncode == 0
    write_study(tmp_path, text.replace("trials = 2", "trials = 4"), "find")
    grown = harness("study", "run", "find.toml", "--workers", "1", *DATA)
    assert "2 of 4 trials are done; training 2" in grown.stderr
    assert len({run.params["learning_rate"] for run in recorded(tmp_path, "find").trainings}) == 4


def test_a_second_runner_is_refused(tmp_path: Path, harness: Harness) -> None:
    write_study(tmp_path)
    me = Owner.me()
    with sole_owner(tmp_path / "out" / "small", me):
        refused = harness("study", "run", "small.toml", *DATA)
    assert refused.returncode == 5
    assert f"already running: process {os.getpid()} on {me.host}, since" in refused.stderr


@pytest.mark.slow
def test_a_search_has_its_seeds_as_child_runs_of_its_trials(tmp_path: Path, harness: Harness) -> None:
    write_study(tmp_path, SMALL_SEARCH, "find")
    done = harness("study", "run", "find.toml", "--workers", "1", *DATA)
    assert done.returncode == 0, done.stderr
    study = recorded(tmp_path, "find")
    trials = optuna_trials(tmp_path, "find")
    assert len(trials) == 3
    assert len(study.trainings) == 6
    by_trial: dict[int, list[RunRecord]] = {}
    for run in study.trainings:
        by_trial.setdefault(int(run.tags["harness.trial"]), []).append(run)
    for trial in trials:
        own = by_trial[trial.number]
        assert {run.params["seed"] for run in own} == {"1", "2"}
        assert {run.tags["mlflow.parentRunId"] for run in own} != {study.parent.run_id}
        assert len({run.tags["mlflow.parentRunId"] for run in own}) == 1
        errors = sum(run.metrics["final_errors"] for run in own) / 2
        assert list(trial.values or []) == [errors, trial.params["epochs"]]  # noqa: PD011 - not a frame
    assert "no finished run of the baseline" in (tmp_path / "out" / "find" / "report.md").read_text()


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_storage_of_optuna_is_refused_with_the_new_command(tmp_path: Path, harness: Harness, command: str) -> None:
    write_study(tmp_path, MADE_UP_STUDY)
    refused = harness("study", command, "small.toml", "--storage", "sqlite:///trials.db", *DATA)
    assert refused.returncode == 2
    assert "harness study export STUDY --storage sqlite:///trials.db" in refused.stderr
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.usefixtures("copied")
def test_a_study_goes_on_with_the_images_that_it_began_with(harness: Harness, lab: Digits) -> None:
    assert lab.name == "lab-5000"  # it is remembered now, so that `auto` alone would take it
    again = harness("study", "run", "small.toml")
    assert again.returncode == 0
    assert "optdigits-5000" in again.stderr
    assert "nothing to train" in again.stderr


def test_a_store_that_is_no_store_is_one_error(tmp_path: Path, harness: Harness) -> None:
    write_study(tmp_path)
    database = tmp_path / "mlflow.db"
    database.write_text("This is not a store of any kind, and long enough to look like none.\n" * 50)
    content = database.read_bytes()
    refused = harness("study", "run", "small.toml", *DATA)
    assert refused.returncode == 5
    assert "tracking store" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert database.read_bytes() == content


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize("name", ["grid", "search"])
def test_one_failing_training_fails_alone(tmp_path: Path, harness: Harness, name: str) -> None:
    text = MADE_UP_STUDY.replace("[1234, 1]", "[1, 2, 3, 4]")
    if name == "search":
        text = MADE_UP_SEARCH.replace("learning_rate = { low = 0.0005, high = 0.02, log = true }", "")
        text = text.replace("high = 3", "high = 12").replace("seeds = [1, 2]", "seeds = [1]")
    write_study(tmp_path, text, name)
    fails = "seed=3" if name == "grid" else "epochs=1"
    done = harness("study", "run", f"{name}.toml", "--workers", "1", *DATA, STANDIN_FAILS=fails)
    study = recorded(tmp_path, name)
    failed = [run for run in study.trainings if run.status == "FAILED"]
    for run in study.trainings:
        is_bad = run.params["seed"] == "3" if name == "grid" else run.params["epochs"] == "1"
        assert (run.status == "FAILED") == is_bad
    assert done.returncode == int(bool(failed))
    assert name == "search" or len(failed) == 4


@pytest.mark.usefixtures("standin")
def test_learning_rates_that_differ_in_the_last_digit_have_names_of_their_own(tmp_path: Path, harness: Harness) -> None:
    rates = [0.001, 0.0010000001, 0.0010000000000000002]
    write_study(tmp_path, MADE_UP_STUDY.replace("[0.001, 0.01]", str(rates)))
    assert harness("study", "run", "small.toml", "--workers", "1", *DATA).returncode == 0
    runs = recorded(tmp_path).trainings
    assert len({run.name for run in runs}) == len(runs) == 12
    report = (tmp_path / "out" / "small" / "report.md").read_text()
    assert all(f"| {rate} |" in report for rate in rates)


@pytest.mark.usefixtures("standin")
def test_the_command_of_a_report_resumes_its_study(tmp_path: Path, harness: Harness) -> None:
    write_study(tmp_path, MADE_UP_STUDY)
    assert harness("study", "run", "small.toml", "--fresh", "--workers", "1", *DATA).returncode == 0
    report = (tmp_path / "out" / "small" / "report.md").read_text()
    [command] = re.findall(r"- commands: `harness ([^`]*)`", report)
    assert command == "study run small.toml --workers 1 --data optdigits"
    assert "nothing to train" in harness(*command.split()).stderr
    without = harness("study", "run", "small.toml", HARNESS_DATA="optdigits")
    assert without.returncode == 0
    report = (tmp_path / "out" / "small" / "report.md").read_text()
    assert "- commands: `harness study run small.toml --data optdigits`" in report


@pytest.mark.usefixtures("standin")
def test_modules_in_the_working_folder_are_not_imported(tmp_path: Path, harness: Harness) -> None:
    for name in ("keras", "mlflow", "tensorflow", "optuna"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working folder')")
    write_study(tmp_path, MADE_UP_STUDY)
    done = harness("study", "run", "small.toml", "--workers", "1", *DATA)
    assert done.returncode == 0, done.stderr
    assert "working folder" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["XLA_FLAGS", "TF_XLA_FLAGS"])
def test_a_flag_that_tensorflow_does_not_know_is_one_error_before_anything_is_trained(
    tmp_path: Path, harness: Harness, variable: str
) -> None:
    write_study(tmp_path)
    done = harness("study", "run", "small.toml", *DATA, **{variable: "--xla_no_such_flag=1"})
    assert done.returncode == 5
    assert f"TensorFlow does not start with {variable}=--xla_no_such_flag=1" in done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    trained = harness("train", "--epochs", "1", *DATA, **{variable: "--xla_no_such_flag=1"})
    assert (trained.returncode, trained.stdout) == (5, "")


def test_settings_that_change_the_arithmetic_are_part_of_a_study(copied: Path, harness: Harness) -> None:
    write_study(copied, MADE_UP_STUDY.replace("[1234, 1]", "[1234, 1, 2]"))
    refused = harness("study", "run", "small.toml", *DATA, TF_DETERMINISTIC_OPS="1")
    assert refused.returncode == 2
    assert "settings: none before, TF_DETERMINISTIC_OPS=1 now" in refused.stderr
    assert harness("study", "run", "small.toml", *DATA, TF_CPP_MIN_LOG_LEVEL="0", TF_VAR_x="1").returncode == 0
