"""What goes wrong around a study: disks, folders, databases, ports and servers. One error or a wait, nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import requests
from mlflow.tracking import MlflowClient

from tests import change, warm
from tests.support import COMMAND, Harness, wait_until
from tests.torture import NAME, Doomed
from tests.warm import Command

pytestmark = pytest.mark.usefixtures("standin")

RUN = ("study", "run", f"{NAME}.toml", "--data", "optdigits", "--workers", "1")


@pytest.fixture
def finished(whole_grid: Doomed, tmp_path: Path) -> Doomed:
    """A study that was run to its end, to be worked with."""
    shutil.copytree(whole_grid.folder, tmp_path, dirs_exist_ok=True)
    return Doomed(tmp_path, "grid", "standin")


def grow(doomed: Doomed) -> None:
    """Let the study's space hold more than is trained."""
    file = doomed.folder / f"{NAME}.toml"
    file.write_text(file.read_text().replace("[1, 2, 3, 4, 5]", str(list(range(1, 41)))))


def is_one_error(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The command stopped for a reason of the environment, and said so in one error."""
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A file system of so many megabytes."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs a small file system, and only root may mount one")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_error_and_what_was_recorded_is_kept(harness: Harness, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 60) as disk:
        doomed = Doomed(disk, "grid", "standin")
        doomed.run()
        before = doomed.numbers()
        grow(doomed)
        free = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(b"\0" * (free - 3 * 2**20))
        done = harness(*RUN, cwd=disk)
        is_one_error(done)
        # SQLite's words, or the system's: whichever comes to write first.
        assert "full" in done.stderr or "No space left on device" in done.stderr
        assert set(before) <= set(doomed.numbers())
        (disk / "ballast").unlink()
        doomed.run()
        assert len(doomed.trainings()) == 160
        assert doomed.lost() == []
        assert not doomed._rows("select 1 from runs where status = 'RUNNING'")


def test_a_folder_that_may_not_be_written_is_one_error(finished: Doomed, harness: Harness) -> None:
    # Root may write anywhere: somebody else is asked to.
    before = finished.numbers()
    folder = finished.folder
    if os.geteuid() != 0:
        folder.chmod(0o500)
        (folder / "out" / NAME).chmod(0o500)
        done = harness(*RUN, cwd=folder)
        folder.chmod(0o700)
    else:
        for part in (folder, *folder.parents[:2]):
            part.chmod(0o755)
        command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", COMMAND, *RUN]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/nonexistent"}
        )
    is_one_error(done, str(Path("out") / NAME), "Make the folder writable")
    assert finished.numbers() == before


def test_a_database_that_was_replaced_by_text_is_one_error(finished: Doomed, harness: Harness) -> None:
    database = finished.folder / "mlflow.db"
    kept = database.read_bytes()
    for part in ("-wal", "-shm"):
        database.with_name(database.name + part).unlink(missing_ok=True)
    database.write_text("notes, not a database\n" * 100)
    is_one_error(harness(*RUN, cwd=finished.folder), "file is not a database", "MLFLOW_TRACKING_URI")
    assert database.read_text() == "notes, not a database\n" * 100
    database.write_bytes(kept)
    assert "nothing to train" in harness(*RUN, cwd=finished.folder).stderr


def test_a_database_of_a_newer_schema_is_one_error(finished: Doomed, harness: Harness) -> None:
    with closing(sqlite3.connect(finished.folder / "mlflow.db")) as connection, connection:
        [[version]] = connection.execute("select version_num from alembic_version").fetchall()
        connection.execute("update alembic_version set version_num = 'ffffffffffff'")
    is_one_error(harness(*RUN, cwd=finished.folder), "schema")
    with closing(sqlite3.connect(finished.folder / "mlflow.db")) as connection, connection:
        connection.execute("update alembic_version set version_num = ?", (version,))
    assert "nothing to train" in harness(*RUN, cwd=finished.folder).stderr


@pytest.mark.slow
def test_a_database_that_another_holds_for_a_while_is_waited_for(finished: Doomed, harness: Harness) -> None:
    holder = sqlite3.connect(finished.folder / "mlflow.db", isolation_level=None, check_same_thread=False)
    holder.execute("begin immediate")
    threading.Timer(7, holder.rollback).start()  # SQLite's own patience ends after five
    assert harness(*RUN, cwd=finished.folder).returncode == 0


def test_a_port_in_use_is_one_error(finished: Doomed, harness: Harness) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as taken:
        done = harness("ui", "--port", str(taken.server_port), cwd=finished.folder)
    is_one_error(done, str(taken.server_port))


class Doorman(ThreadingHTTPServer):
    """Stands before a server, and for some time answers 500 in its place."""

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = behind
        self.closed_until_s = 0.0
        self.turned_away = self.swallowed = 0
        self.swallows: set[str] = set()  # paths of which the first answer is lost
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    passed_on: ClassVar = {"Content-Type"}

    def _pass(self) -> None:
        door = self.server
        assert isinstance(door, Doorman)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if time.monotonic() < door.closed_until_s:
            door.turned_away += 1
            status, kind, content = 500, "text/plain", b"not now"
        else:
            headers = {name: value for name, value in self.headers.items() if name in self.passed_on}
            answer = requests.request(self.command, door.behind + self.path, data=body, headers=headers, timeout=60)
            status, kind, content = answer.status_code, answer.headers.get("Content-Type", ""), answer.content
            for path in [path for path in door.swallows if self.path.endswith(path)]:
                door.swallows.discard(path)
                door.swallowed += 1
                self.close_connection = True
                return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 - as the library wants it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def door(tracking_server: str) -> Doorman:
    """A real MLflow server behind a door that can be closed."""
    return Doorman(tracking_server)


def served(folder: Path, design: str, name: str, door: Doorman) -> Doomed:
    """A study of this name that is recorded behind the door."""
    doomed = Doomed(folder, design, "standin", on=("--workers", "1", "--new-name", name), pause_s=0.3)
    doomed.environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{door.server_port}"
    return doomed


def at_it(doomed: Doomed, process: Command) -> Command:
    """The process, when its study's first batch is being trained."""
    while "trials are done; training" not in (doomed.folder / "log").read_text():
        assert process.poll() is None, (doomed.folder / "log").read_text()
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_a_server_that_answers_500_for_a_while_is_waited_for(door: Doorman, tmp_path: Path) -> None:
    doomed = served(tmp_path, "grid", "waited", door)
    started = at_it(doomed, doomed.start())
    door.closed_until_s = time.monotonic() + 12
    assert started.wait(timeout=200) == 0, (tmp_path / "log").read_text()
    assert door.turned_away > 3
    told = (tmp_path / "log").read_text()
    assert told.count(f"the tracking store {doomed.environment['MLFLOW_TRACKING_URI']} does not respond") == 1, told
    assert "20 trials done, 0 failed" in told
    assert "nothing to train" in again(doomed)


@pytest.mark.slow
def test_answers_that_are_lost_leave_nothing_twice_and_nothing_open(door: Doorman, tmp_path: Path) -> None:
    doomed = served(tmp_path, "sampled", "lost", door)
    lost = {"runs/create", "runs/log-batch", "runs/update", "runs/set-tag", "runs/log-inputs", "runs/delete-tag"}
    door.swallows = set(lost)
    started = at_it(doomed, doomed.start())
    door.swallows = set(lost)
    assert started.wait(timeout=200) == 0, (tmp_path / "log").read_text()
    assert door.swallowed >= len(lost)
    client = MlflowClient(door.behind)
    [experiment] = client.search_experiments(filter_string="name = 'zero-errors'")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert "RUNNING" not in {run.info.status for run in runs}
    meant = {"harness.study": "lost", "harness.role": "training"}
    whole = [run for run in runs if run.info.status == "FINISHED" and meant.items() <= run.data.tags.items()]
    assert len({run.data.tags["harness.variant"] for run in whole}) == len(whole) == 20
    for run in whole:
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]
        assert len(steps) == len(set(steps)) == int(run.data.params["epochs"])


def again(doomed: Doomed) -> str:
    """What a further run says."""
    (doomed.folder / "log").write_text("")
    doomed.run()
    return (doomed.folder / "log").read_text()


@pytest.mark.slow
def test_a_server_that_stays_away_is_one_error_and_the_study_goes_on_later(door: Doorman, tmp_path: Path) -> None:
    doomed = served(tmp_path, "grid", "left", door)
    started = at_it(doomed, doomed.start(partial(change.shorten_retries, 8.0)))
    door.closed_until_s = time.monotonic() + 10_000
    assert started.wait(timeout=300) == 5
    told = (tmp_path / "log").read_text()
    assert told.count("error: ") == 1
    assert "Traceback" not in told
    door.closed_until_s = 0
    assert "20 of 20" in again(doomed)


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg"])
def test_a_server_that_does_not_respond_is_named_within_seconds(scheme: str, tmp_path: Path) -> None:
    Doomed(tmp_path, "grid", "standin")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        uri = f"{scheme}://bob:secret@127.0.0.1:{taken.getsockname()[1]}/runs"
        log = tmp_path / "printed"
        with log.open("w") as stream:
            started = subprocess.Popen(
                [COMMAND, *RUN],
                cwd=tmp_path,
                env={**os.environ, "MLFLOW_TRACKING_URI": uri},
                stderr=stream,
                stdout=stream,
            )
        try:
            wait_until(lambda: "does not respond" in log.read_text(), 20)
        finally:
            started.kill()
            started.wait()
    said = log.read_text()
    assert "retrying for up to 120 s" in said
    assert f"{scheme}://***@127.0.0.1" in said
    assert "secret" not in said


@pytest.mark.slow
def test_a_model_registry_that_does_not_respond_is_named_and_the_report_is_written(
    finished: Doomed, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    with monkeypatch.context():
        done = warm.run(RUN, finished.folder, dict(os.environ), finished.folder, partial(change.shorten_retries, 1.0))
    assert done.returncode == 0, done.stderr
    assert "the model registry http://127.0.0.1:9 does not respond" in done.stderr
    assert "report: " in done.stdout
    assert harness("study", "list", cwd=finished.folder).returncode == 0
