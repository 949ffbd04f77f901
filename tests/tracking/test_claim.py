"""One runner a study, wherever its records are: who claims it, who is refused, what the dead leave."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from harness.data.digits import Digits
from harness.errors import StoppedError, UsageError
from harness.study import files
from harness.study.config import StudyConfig
from harness.tracking import location, store
from harness.tracking.claim import Claim, archive
from harness.tracking.location import tracking_uri
from harness.tracking.owner import DEAD_AFTER_S, Owner
from harness.tracking.reader import StudyReader
from harness.tracking.run_writer import RunWriter
from harness.tracking.store import Store
from harness.tracking.tags import Tag
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
        Store(create=True)
    store._close()
    return folder / location.DATABASE


@pytest.fixture
def opened(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    shutil.copy(empty, tmp_path)
    (tmp_path / location.ARTIFACTS).mkdir()
    monkeypatch.chdir(tmp_path)
    return Store(create=True)


@pytest.fixture
def claim(opened: Store, config: StudyConfig, optdigits: Digits) -> Callable[..., Claim]:
    """Claims a study for a process, without releasing it."""

    def claimed(owner: Owner | None = None, **changes: str) -> Claim:
        return Claim(opened, config.model_copy(update=changes), optdigits, owner or Owner.me()).__enter__()

    return claimed


@pytest.fixture
def reader(opened: Store) -> StudyReader:
    return StudyReader(opened)


def release(claim: Claim, status: str = "FINISHED") -> None:
    claim.status, claim.n_done = status, 0
    claim.__exit__(None, None, None)


@pytest.fixture
def elsewhere() -> Owner:
    """A process on another machine."""
    return replace(Owner.me(), host="elsewhere", machine_id="another", pid=17)


@pytest.fixture(autouse=True)
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tracking.claim.HEARTBEAT_S", 0.4)


@contextmanager
def beating(run_id: str) -> Iterator[None]:
    """Another machine's process sends heartbeats, by a clock that is far behind."""
    ended = threading.Event()

    def beats() -> None:
        count = 0
        while not ended.wait(0.1):
            count += 1
            MlflowClient(tracking_uri()).set_tag(run_id, Tag.HEARTBEAT, str(count))

    thread = threading.Thread(target=beats)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def beat(run_id: str, ago_s: float) -> None:
    MlflowClient(tracking_uri()).set_tag(run_id, Tag.HEARTBEAT, str(time.time() - ago_s))


def status(run_id: str) -> str:
    return str(MlflowClient(tracking_uri()).get_run(run_id).info.status)


def test_a_study_that_another_machine_runs_is_refused_by_name_whatever_its_clock_says(
    claim: Callable[..., Claim], opened: Store, elsewhere: Owner
) -> None:
    study = claim(elsewhere).study
    running = pytest.raises(StoppedError, match="variants is already running: process 17 on elsewhere, since")
    with beating(study.run_id), running:
        claim()
    beat(study.run_id, 0)
    with pytest.raises(StoppedError, match="process 17 on elsewhere"):
        archive(opened, study.config.name, lambda _: None)
    assert status(study.run_id) == "RUNNING"


def test_a_study_whose_owner_sends_no_heartbeat_is_taken_over_and_the_late_one_stops(
    claim: Callable[..., Claim], reader: StudyReader, elsewhere: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    late = claim(elsewhere)
    beat(late.study.run_id, -3600)  # its clock is ahead
    now = claim()
    assert "waiting up to 1 s for its next heartbeat" in caplog.text
    assert (now.study.run_id, now.study.key, now.study.times) == (late.study.run_id, late.study.key, 2)
    with pytest.raises(StoppedError, match="another process has taken over the study variants"):
        late.heartbeat()
    # Nor does it end, on its way out, what is another's.
    late.end()
    assert status(now.study.run_id) == "RUNNING"
    now.n_done = 7
    now.heartbeat()
    [parent] = reader.studies()
    assert parent.owner == now.study.owner
    assert parent.tags[Tag.DONE] == "7"


def test_the_runs_of_the_dead_are_closed_and_those_of_the_living_are_not(
    claim: Callable[..., Claim], config: StudyConfig, elsewhere: Owner
) -> None:
    def trial_of(claim: Claim) -> str:
        return RunWriter(claim.store, claim.study).begin_trial(0, {"epochs": 20}, [config.variant({})])

    def begun(name: str, owner: Owner) -> tuple[str, str]:
        claimed = claim(owner, name=name)
        return claimed.study.run_id, trial_of(claimed)

    child = subprocess.Popen(["true"])
    dead = replace(Owner.me(), pid=child.pid)
    child.wait()
    of_the_dead = begun("dead", dead)
    of_the_silent = begun("silent", elsewhere)
    beat(of_the_silent[0], 2 * DEAD_AFTER_S)  # or its clock is behind
    of_the_living = begun("living", replace(elsewhere, host="yonder", machine_id="a third"))
    mine = claim()
    left = trial_of(mine)
    assert mine.close_orphans() == 3
    assert [status(run) for run in (*of_the_dead, left)] == ["KILLED"] * 3
    assert [status(run) for run in (*of_the_silent, *of_the_living, mine.study.run_id)] == ["RUNNING"] * 5
    assert mine.close_orphans() == 0


def test_a_run_that_is_none_of_the_harness_is_left_alone(claim: Callable[..., Claim], opened: Store) -> None:
    mine = claim()
    foreign = MlflowClient(tracking_uri()).create_run(opened.experiment_id).info.run_id
    assert mine.close_orphans() == 0
    assert status(foreign) == "RUNNING"


def test_of_several_that_ask_at_once_the_first_by_its_id_gets_the_study(
    claim: Callable[..., Claim], reader: StudyReader, elsewhere: Owner
) -> None:
    first = claim()
    release(first)
    run_id, client = first.study.run_id, MlflowClient(tracking_uri())
    asking = replace(elsewhere, since_s=time.time())
    client.set_tag(run_id, f"{Tag.REQUEST}0", asking.text())
    with pytest.raises(StoppedError, match="is being started by another process"):
        claim()
    client.delete_tag(run_id, f"{Tag.REQUEST}0")
    # One that comes after by its id gives way, or has it already: until that is known it is waited for.
    client.set_tag(run_id, f"{Tag.REQUEST}z", asking.text())
    threading.Timer(1, client.delete_tag, (run_id, f"{Tag.REQUEST}z")).start()
    assert claim().study.times == 2
    left = [name for name in reader.studies()[0].tags if name.startswith(Tag.REQUEST)]
    assert left == []


def test_duplicates_of_a_study_are_archived(claim: Callable[..., Claim], opened: Store, reader: StudyReader) -> None:
    first = claim()
    release(first)
    tags = MlflowClient(tracking_uri()).get_run(first.study.run_id).data.tags
    duplicate = MlflowClient(tracking_uri()).create_run(opened.experiment_id, tags=tags).info.run_id
    assert claim().study.run_id == first.study.run_id
    assert status(duplicate) == "KILLED"
    assert [Tag.ARCHIVED in run.tags for run in reader.studies()] == [False, True]


def test_the_end_of_a_claim_releases_the_study(claim: Callable[..., Claim], reader: StudyReader) -> None:
    release(claim())
    [parent] = reader.studies()
    assert parent.status == "FINISHED"
    assert parent.owner is None
    assert Tag.OWNER not in parent.tags


def test_an_ended_study_keeps_its_owner_until_its_report_is_written(
    claim: Callable[..., Claim], reader: StudyReader, elsewhere: Owner
) -> None:
    mine = claim()
    mine.status, mine.n_done = "FINISHED", 0
    mine.end()
    [parent] = reader.studies()
    assert (parent.status, parent.owner) == ("FINISHED", mine.study.owner)
    with pytest.raises(StoppedError, match="is already running"):
        claim(elsewhere)
    mine.__exit__(None, None, None)
    assert reader.studies()[0].owner is None
    assert claim(elsewhere).study.times == 2


def test_an_error_in_a_claim_leaves_the_study_killed_and_released(
    opened: Store, config: StudyConfig, optdigits: Digits, reader: StudyReader
) -> None:
    with pytest.raises(ZeroDivisionError), Claim(opened, config, optdigits, Owner.me()):
        raise ZeroDivisionError
    [parent] = reader.studies()
    assert parent.status == "KILLED"
    assert parent.owner is None


def test_archived_records_stay_and_the_next_study_has_a_key_of_its_own(
    claim: Callable[..., Claim], config: StudyConfig, opened: Store, reader: StudyReader
) -> None:
    kept: list[str] = []
    assert not archive(opened, config.name, kept.append)
    old = claim()
    release(old)
    assert archive(opened, config.name, kept.append)
    assert kept == [old.study.key]
    assert reader.newest_study(config.name) is None
    new = claim()
    assert new.study.key != old.study.key
    archived = {run.run_id: Tag.ARCHIVED in run.tags for run in reader.studies()}
    assert archived == {old.study.run_id: True, new.study.run_id: False}


def test_a_changed_meaning_of_trials_is_refused_with_the_way_out(
    claim: Callable[..., Claim], reader: StudyReader
) -> None:
    release(claim())
    with pytest.raises(UsageError, match="engine: xla before, graph now") as refused:
        claim(engine="graph")
    assert "--new-name" in refused.value.remedy
    assert "--fresh" in refused.value.remedy
    assert len(reader.studies()) == 1


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
