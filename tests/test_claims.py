"""One runner a study, wherever its records are: who claims it, who is refused, what the dead leave."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from harness.data.digits import Digits
from harness.errors import StoppedError, UsageError
from harness.study import files
from harness.study.config import StudyConfig
from harness.tracking import location, store
from harness.tracking.location import tracking_uri
from harness.tracking.owner import DEAD_AFTER_S, Owner
from harness.tracking.tags import Tag
from harness.tracking.writer import StudyWriter
from tests.torture import Doomed, race


@pytest.fixture
def config() -> StudyConfig:
    return files.load("variants")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that holds nothing yet; MLflow takes a second to make one."""
    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        StudyWriter()
    store._close()
    return folder / location.DATABASE


@pytest.fixture
def writer(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyWriter:
    shutil.copy(empty, tmp_path)
    monkeypatch.chdir(tmp_path)
    return StudyWriter()


@pytest.fixture
def elsewhere() -> Owner:
    """A process on another machine."""
    return replace(Owner.me(), host="elsewhere", pid=17)


def beat(run_id: str, ago_s: float) -> None:
    MlflowClient(tracking_uri()).set_tag(run_id, Tag.HEARTBEAT, str(time.time() - ago_s))


def status(run_id: str) -> str:
    return str(MlflowClient(tracking_uri()).get_run(run_id).info.status)


def test_a_study_that_another_machine_runs_is_refused_by_name(
    writer: StudyWriter, config: StudyConfig, optdigits: Digits, elsewhere: Owner
) -> None:
    study = writer.begin_study(config, optdigits, elsewhere)
    with pytest.raises(StoppedError, match="variants is already running: process 17 on elsewhere, since"):
        writer.begin_study(config, optdigits, Owner.me())
    with pytest.raises(StoppedError, match="process 17 on elsewhere"):
        writer.archive(config.name, lambda _: None)
    assert status(study.run_id) == "RUNNING"


def test_a_study_whose_runner_was_not_heard_of_for_long_is_taken_over_and_the_late_one_stops(
    writer: StudyWriter, config: StudyConfig, optdigits: Digits, elsewhere: Owner
) -> None:
    late = writer.begin_study(config, optdigits, elsewhere)
    beat(late.run_id, 2 * DEAD_AFTER_S)
    now = writer.begin_study(config, optdigits, Owner.me())
    assert (now.run_id, now.key, now.times) == (late.run_id, late.key, 2)
    with pytest.raises(StoppedError, match="another process has taken over the study variants"):
        writer.heartbeat(late, 0)
    # Nor does it end, on its way out, what is another's.
    writer.end_study(late, "KILLED", {"finished": 0, "failed": 0})
    assert status(now.run_id) == "RUNNING"
    writer.heartbeat(now, 7)
    [parent] = writer.studies()
    assert parent.owner == now.owner
    assert parent.tags[Tag.DONE] == "7"


def test_the_runs_of_the_dead_are_closed_and_those_of_the_living_are_not(
    writer: StudyWriter, config: StudyConfig, optdigits: Digits, elsewhere: Owner
) -> None:
    def begun(name: str, owner: Owner) -> tuple[str, str]:
        study = writer.begin_study(config.model_copy(update={"name": name}), optdigits, owner)
        return study.run_id, writer.begin_trial(study, 0, config.variant({}))

    child = subprocess.Popen(["true"])
    dead = replace(Owner.me(), pid=child.pid)
    child.wait()
    of_the_dead = begun("dead", dead)
    of_the_silent = begun("silent", elsewhere)
    beat(of_the_silent[0], 2 * DEAD_AFTER_S)
    of_the_living = begun("living", replace(elsewhere, host="yonder"))
    mine = writer.begin_study(config, optdigits, Owner.me())
    left = writer.begin_trial(mine, 3, config.variant({}))
    assert writer.close_orphans(mine) == 5
    assert [status(run) for run in (*of_the_dead, *of_the_silent, left)] == ["KILLED"] * 5
    assert [status(run) for run in (*of_the_living, mine.run_id)] == ["RUNNING"] * 3
    assert writer.close_orphans(mine) == 0


def test_a_run_that_is_none_of_the_harness_is_left_alone(
    writer: StudyWriter, config: StudyConfig, optdigits: Digits
) -> None:
    mine = writer.begin_study(config, optdigits, Owner.me())
    foreign = MlflowClient(tracking_uri()).create_run(writer._store.experiment_id).info.run_id
    assert writer.close_orphans(mine) == 0
    assert status(foreign) == "RUNNING"


def test_of_several_that_ask_at_once_the_first_by_its_id_gets_the_study(
    writer: StudyWriter, config: StudyConfig, optdigits: Digits, elsewhere: Owner
) -> None:
    study = writer.begin_study(config, optdigits, Owner.me())
    writer.end_study(study, "FINISHED", {"finished": 0, "failed": 0})
    client = MlflowClient(tracking_uri())
    asking = replace(elsewhere, since_s=time.time())
    client.set_tag(study.run_id, f"{Tag.REQUEST}0", asking.text())
    with pytest.raises(StoppedError, match="is being started by another process"):
        writer.begin_study(config, optdigits, Owner.me())
    client.delete_tag(study.run_id, f"{Tag.REQUEST}0")
    # One that comes after by its id gives way, or has it already: until that is known it is waited for.
    client.set_tag(study.run_id, f"{Tag.REQUEST}z", asking.text())
    threading.Timer(1, client.delete_tag, (study.run_id, f"{Tag.REQUEST}z")).start()
    assert writer.begin_study(config, optdigits, Owner.me()).times == 2
    left = [name for name in writer.studies()[0].tags if name.startswith(Tag.REQUEST)]
    assert left == []


def test_twins_of_a_study_are_put_aside(writer: StudyWriter, config: StudyConfig, optdigits: Digits) -> None:
    study = writer.begin_study(config, optdigits, Owner.me())
    writer.end_study(study, "FINISHED", {"finished": 0, "failed": 0})
    tags = MlflowClient(tracking_uri()).get_run(study.run_id).data.tags
    twin = MlflowClient(tracking_uri()).create_run(writer._store.experiment_id, tags=tags).info.run_id
    assert writer.begin_study(config, optdigits, Owner.me()).run_id == study.run_id
    assert status(twin) == "KILLED"
    assert [Tag.ARCHIVED in run.tags for run in writer.studies()] == [False, True]


def test_who_has_ended_a_study_runs_it_no_more(writer: StudyWriter, config: StudyConfig, optdigits: Digits) -> None:
    study = writer.begin_study(config, optdigits, Owner.me())
    writer.end_study(study, "FINISHED", {"finished": 0, "failed": 0})
    [parent] = writer.studies()
    assert parent.owner is None
    assert Tag.OWNER not in parent.tags


def test_what_was_put_aside_stays_and_the_next_study_has_a_key_of_its_own(
    writer: StudyWriter, config: StudyConfig, optdigits: Digits
) -> None:
    kept: list[str] = []
    assert not writer.archive(config.name, kept.append)
    old = writer.begin_study(config, optdigits, Owner.me())
    writer.end_study(old, "FINISHED", {"finished": 0, "failed": 0})
    assert writer.archive(config.name, kept.append)
    assert kept == [old.key]
    assert writer.newest_study(config.name) is None
    new = writer.begin_study(config, optdigits, Owner.me())
    assert new.key != old.key
    assert {run.run_id: Tag.ARCHIVED in run.tags for run in writer.studies()} == {old.run_id: True, new.run_id: False}


def test_a_change_of_what_trials_meant_is_refused_with_the_way_out(
    writer: StudyWriter, config: StudyConfig, optdigits: Digits
) -> None:
    study = writer.begin_study(config, optdigits, Owner.me())
    writer.end_study(study, "FINISHED", {"finished": 0, "failed": 0})
    other = config.model_copy(update={"engine": "graph"})
    with pytest.raises(UsageError, match="engine: xla before, graph now") as refused:
        writer.begin_study(other, optdigits, Owner.me())
    assert "--new-name" in refused.value.remedy
    assert "--fresh" in refused.value.remedy
    assert len(writer.studies()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("standin")
def test_of_two_that_start_together_in_one_folder_one_runs(tmp_path: Path) -> None:
    reference = Doomed(tmp_path / "whole", "grid", "standin")
    reference.run()
    assert race(tmp_path / "fresh", reference, 2, is_fresh=True).wrong == []


@pytest.mark.slow
@pytest.mark.usefixtures("standin")
def test_of_two_that_start_together_in_two_folders_on_one_store_one_runs(tmp_path: Path) -> None:
    two = [Doomed(tmp_path / name, "grid", "standin", pause_s=2) for name in ("a", "b")]
    for doomed in two:
        doomed.environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"
    processes = [doomed.start() for doomed in two]
    statuses = [process.wait(120) for process in processes]
    told = [(doomed.folder / "log").read_text() for doomed in two]
    assert sorted(statuses) == [0, 5], told
    winner = processes[statuses.index(0)]
    assert f"is already running: process {winner.pid} on " in told[statuses.index(5)]
    doomed = Doomed(tmp_path, "grid", "standin")
    assert len(doomed.trainings()) == 20
    assert not doomed._rows("select 1 from runs where status = 'RUNNING'")
