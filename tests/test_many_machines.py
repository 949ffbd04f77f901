"""docs/cluster.md as it stands: PostgreSQL, a tracking server, a scheduler and three workers, all on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.tracking.reader import StudyReader
from harness.tracking.run_record import StudyRecord
from harness.tracking.store import Store
from tests.search.test_run import MADE_UP_STUDY, numbers, recorded
from tests.services import LOOPBACK, free_port, postgres, running, wait_for_port
from tests.support import COMMAND, ROOT, STANDIN_PATH

pytest.importorskip("distributed", reason="needs the extra called cluster")

PAGE = ROOT / "docs" / "cluster.md"
BLOCKS = re.findall(r"^```sh( keep)?\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
IMAGES = str(Path(os.environ["HARNESS_TEST_MNIST"]).resolve()) if "HARNESS_TEST_MNIST" in os.environ else "optdigits"
# The default study with two of its eight seeds, and a tenth of its epochs.
FEW = (ROOT / "studies" / "variants.toml").read_text().replace("[1234, 1, 2, 3, 4, 5, 6, 7]", "[1234, 1]")
FEW = FEW.replace("[20, 40, 60, 80, 100]", "[2, 4, 6, 8, 10]")
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
        return done.stdout

    @contextmanager
    def keep(self, words: str, port: str | None = None, **settings: str) -> Iterator[None]:
        """Keep the block with these words running."""
        command = self._command(words)
        log = self.folder / f"{len(self.typed)}.log"
        with running(command, log, self.folder, {**self.settings, **settings}) as process:
            if port is not None:
                wait_for_port(int(self.settings[port]), process)
            yield


def reader(study: StudyRecord) -> list[tuple[object, ...]]:
    return sorted((int(run.tags["harness.trial"]), run.status, *numbers(run)) for run in study.trainings)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study was run by this machine's own workers, with its own files."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "few.toml").write_text(FEW)
    command = [COMMAND, "study", "run", "few.toml", "--workers", "1", "--data", IMAGES, "--quiet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal, with the page's databases made and its tracking server running."""
    folder = tmp_path_factory.mktemp("terminal")
    with postgres("secret") as server:
        ports = {name: str(free_port()) for name in ("TRACKING_PORT", "SCHEDULER_PORT")}
        settings = {
            **ports,
            "PATH": f"{Path(sys.executable).parent}:{server.programs}:{os.environ['PATH']}",
            "DATABASE_PORT": str(server.port),
            "DATABASE_PASSWORD": server.password,
            "WORKERS": "3",
            "DATA": IMAGES,
            # What PostgreSQL's superuser has, and a folder in place of the home.
            "PGHOST": LOOPBACK,
            "PGUSER": "postgres",
            "HOME": str(folder),
            "TMPDIR": str(folder),
        }
        (folder / "few.toml").write_text(FEW)
        terminal = Terminal(folder, settings)
        terminal.run("CREATE ROLE")
        with terminal.keep("mlflow server", "TRACKING_PORT"):
            yield terminal


def served(terminal: Terminal, name: str) -> StudyRecord:
    """The study of this name as the page's server has it, with every history."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://{LOOPBACK}:{terminal.settings['TRACKING_PORT']}")
        reader = StudyReader(Store(create=False))
        study = reader.study(name)
        return replace(study, trainings=tuple(reader.with_histories(run) for run in study.trainings))


def records_what_one_machine_records(local: Path, terminal: Terminal) -> None:
    with terminal.keep("exec dask scheduler --host", "SCHEDULER_PORT"), terminal.keep('dask worker "tcp:'):
        assert "report.html" in terminal.run('--cluster "tcp:', STUDY="few.toml")
    there, here = reader(served(terminal, "few")), reader(recorded(local, "few"))
    assert there == here
    assert [record[:2] for record in here] == [(number, "FINISHED") for number in range(40)]


def can_be_reported_and_kept(terminal: Terminal) -> None:
    assert "report.html" in terminal.run("harness report")
    terminal.run("pg_dump")
    kept = {path.name: path.stat().st_size for path in (terminal.folder / "zero-errors-backup").iterdir()}
    assert kept.keys() == {"harness_mlflow.dump", "artifacts.tar.gz"}
    assert min(kept.values()) > 1000


def does_the_same_with_tls(terminal: Terminal) -> None:
    terminal.run("openssl")
    (terminal.folder / "small.toml").write_text(MADE_UP_STUDY)
    engine = STANDIN_PATH  # what is trained is not what this is about
    with (
        terminal.keep("--protocol tls", "SCHEDULER_PORT"),
        terminal.keep('dask worker "tls:', PYTHONPATH=engine, WORKERS="1"),
    ):
        assert "report.html" in terminal.run('--cluster "tls:', STUDY="small.toml", PYTHONPATH=engine)
    assert [run.status for run in served(terminal, "small").trainings] == ["FINISHED"] * 8


@pytest.mark.slow
def test_the_page_typed_from_top_to_bottom_does_what_it_says(local: Path, terminal: Terminal) -> None:
    # One test: each part of the page needs what the parts before it have started and recorded.
    records_what_one_machine_records(local, terminal)
    can_be_reported_and_kept(terminal)
    does_the_same_with_tls(terminal)
    # Every block of the page was typed.
    assert sorted(set(terminal.typed)) == sorted(STEPS)
