"""docs/cluster.md as it stands: PostgreSQL, a tracking server, a scheduler and three workers, all on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pytest

from harness.tracking import StudyRecord, Tracker
from tests.services import LOOPBACK, free_port, postgres, running, wait_for_port
from tests.support import COMMAND, SMALL_STUDY
from tests.test_search import numbers, recorded

pytest.importorskip("distributed", reason="needs the extra called cluster")

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cluster.md"
BLOCKS = re.findall(r"^```sh( keep)?\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SETTINGS, *STEPS = [text for _, text in BLOCKS]


@dataclass
class Terminal:
    """Where the page's blocks are typed, each with the page's settings before it."""

    folder: Path
    settings: dict[str, str]
    typed: list[str] = field(default_factory=list)

    def _command(self, words: str) -> list[str]:
        [block] = [block for block in STEPS if words in block]
        self.typed.append(block)
        return ["bash", "-euo", "pipefail", "-c", f"{SETTINGS}\n{block}"]

    def run(self, words: str, **settings: str) -> str:
        """Type the block with these words in it; return what it printed."""
        done = subprocess.run(
            self._command(words),
            cwd=self.folder,
            env={**os.environ, **self.settings, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        print(done.stderr, time.ctime())
        return done.stdout

    @contextmanager
    def keep(self, words: str, port: str | None = None) -> Iterator[None]:
        """Keep the block with these words running."""
        command = self._command(words)
        log = self.folder / f"{len(self.typed)}.log"
        with running(command, log, self.folder, self.settings) as process:
            if port is not None:
                wait_for_port(int(self.settings[port]), process)
            yield


def optuna_numbers(storage: optuna.storages.BaseStorage) -> list[tuple[object, ...]]:
    [summary] = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=summary.study_name, storage=storage).trials
    return [(trial.number, trial.state, trial.params, trial.values, trial.user_attrs) for trial in trials]


def records(study: StudyRecord) -> list[tuple[object, ...]]:
    return sorted((int(run.tags["harness.trial"]), run.status, *numbers(run)) for run in study.trainings)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal, and a PostgreSQL server that nothing was done to yet."""
    with postgres("secret") as server:
        ports = {name: str(free_port()) for name in ("TRACKING_PORT", "SCHEDULER_PORT")}
        settings = {
            **ports,
            "PATH": f"{Path(sys.executable).parent}:{server.programs}:{os.environ['PATH']}",
            "DATABASE_PORT": str(server.port),
            "DATABASE_PASSWORD": server.password,
            "WORKERS": "3",
            "DATA": os.environ.get("HARNESS_TEST_MNIST") or "optdigits",
            # What PostgreSQL's superuser has, and pytest's folder in place of the home.
            "PGHOST": LOOPBACK,
            "PGUSER": "postgres",
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
        }
        yield Terminal(tmp_path, settings)


@pytest.mark.slow
def test_the_page_gives_what_one_machine_gives(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    local = terminal.folder / "local"
    local.mkdir()
    command = [COMMAND, "study", "run", "--data", terminal.settings["DATA"], "--quiet"]
    subprocess.run(command, cwd=local, check=True, capture_output=True)
    expected = records(recorded(local, "variants"))
    assert len(expected) == 160

    with ExitStack() as stack:
        terminal.run("CREATE ROLE")
        stack.enter_context(terminal.keep("mlflow server", "TRACKING_PORT"))
        with terminal.keep("exec dask scheduler --host", "SCHEDULER_PORT"), terminal.keep('dask worker "tcp:'):
            assert "report.html" in terminal.run('--cluster "tcp:')
        assert "report.html" in terminal.run("harness report")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{LOOPBACK}:{terminal.settings['TRACKING_PORT']}")
        tracker = Tracker(create=False)
        study = tracker.study("variants")
        histories = tuple(tracker.with_histories(run) for run in study.trainings)
        assert records(StudyRecord(study.parent, histories)) == expected
        monkeypatch.setenv("PGPASSWORD", terminal.settings["DATABASE_PASSWORD"])
        url = f"postgresql+psycopg://harness@{LOOPBACK}:{terminal.settings['DATABASE_PORT']}/harness_optuna"
        journal = optuna.storages.journal.JournalFileBackend(str(local / "out" / "variants" / "optuna.journal"))
        storage = optuna.storages.RDBStorage(url)
        assert optuna_numbers(storage) == optuna_numbers(optuna.storages.JournalStorage(journal))

        storage.remove_session()
        storage.engine.dispose()

        terminal.run("pg_dump")
        assert {path.name for path in (terminal.folder / "zero-errors-backup").iterdir()} == {
            *("harness_mlflow.dump", "harness_optuna.dump", "artifacts.tar.gz")
        }

        terminal.run("openssl")
        (terminal.folder / "small.toml").write_text(SMALL_STUDY)
        with terminal.keep("--protocol tls", "SCHEDULER_PORT"), terminal.keep('dask worker "tls:'):
            assert "report.html" in terminal.run('--cluster "tls:', STUDY="small.toml")
        assert len(tracker.study("small").trainings) == 8
    assert sorted(terminal.typed) == sorted(STEPS), "a block of the page was not typed"
