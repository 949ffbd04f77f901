"""Kills studies at moments drawn from a seed, resumes them, and checks that nothing was lost or done twice.

``python -m tests.torture`` (or ``nox -s torture``) does so some hundred times and writes down what it found. What is
right is read from MLflow's database itself, and compared with an uninterrupted study.

A moment is a call that the process is killed at, or a time. The same seed gives the same moments in the same order;
which trial is hit at a moment that is a time depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import psutil

from harness import provenance
from tests.change import ASKING, RECORDING, REPORT, TRAINING, Moment, be_killed, draw_nothing
from tests.services import own_cluster
from tests.support import COMMAND, ROOT, STANDIN_PATH
from tests.warm import Command, start

START_UP, WORKER, ON_A_CLUSTER = "start-up", "worker", "worker of a cluster"
COORDINATOR = (START_UP, ASKING, TRAINING, RECORDING, REPORT)

GRID = """
description = "A grid, to be interrupted."
engine = "{engine}"
objectives = ["errors"]

[space]
epochs = [3, 6]
learning_rate = [0.001, 0.01]
seed = [1, 2, 3, 4, 5]

[design]
kind = "factorial"
"""

SAMPLED = """
description = "A search, to be interrupted."
engine = "{engine}"
objectives = ["errors", "epochs"]

[space]
epochs = {{ low = 1, high = 4 }}
learning_rate = {{ low = 0.0005, high = 0.02, log = true }}

[design]
kind = "sampled"
sampler = "tpe"
sampler_seed = 7
trials = 10
seeds = [1, 2]
"""

# So few points that the sampler proposes some again.
FEW = SAMPLED.replace("learning_rate = {{ low = 0.0005, high = 0.02, log = true }}", "").replace("high = 4", "high = 9")

DESIGNS = {"grid": (GRID, 20), "sampled": (SAMPLED, 10), "few points": (FEW.replace("= 10", "= 14"), 14)}
NAME = "doomed"
TWO_HERE = ("--workers", "2")


@dataclass
class Tally:
    """What was done, and what was found.

    Attributes:
        kills: by kind of moment.
        studies: that were brought to their end.
        wrong: what was found that should not be, in words.
    """

    kills: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    wrong: list[str] = field(default_factory=list)


class Doomed:
    """A study in a folder of its own, to be killed and gone on with."""

    def __init__(
        self, folder: Path, design: str, engine: str, *, on: Sequence[str] = TWO_HERE, pause_s: float = 0.05
    ) -> None:
        self.folder, self.design, self.engine = folder, design, engine
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{NAME}.toml").write_text(DESIGNS[design][0].format(engine=engine))
        self._arguments = ["study", "run", f"{NAME}.toml", "--data", "optdigits", *on]
        self.environment = {**os.environ, "STANDIN_PAUSE_S": str(pause_s)}
        if engine == "standin":
            self.environment["PYTHONPATH"] = STANDIN_PATH
        self._kept: set[str] = set()

    def start(self, change: Callable[[], None] = draw_nothing) -> Command:
        """Begin or go on, in a process in which something may be changed before."""
        log = self.folder / "log"
        log.touch()
        return start(self._arguments, self.folder, self.environment, (log, log), change)

    def typed(self) -> subprocess.Popen[bytes]:
        """The same in a process that has everything to load still."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [COMMAND, *self._arguments], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )

    def run(self) -> None:
        """Go on until the end.

        Raises:
            AssertionError: it did not end well; what it said is the message.
        """
        status = self.start().wait(300)
        if status != 0:
            raise AssertionError(f"status {status}: {(self.folder / 'log').read_text()[-2000:]}")

    def killed(self, moment: Moment) -> bool:
        """Resume until this moment; False if the study ended before it."""
        if moment.kind == START_UP:
            process: Command | subprocess.Popen[bytes] = self.typed()
            try:
                process.wait(moment.delay_s)
            except subprocess.TimeoutExpired:
                process.kill()
        else:
            process = self.start(partial(be_killed, moment))
        status = process.wait(300)
        if status not in {0, -signal.SIGKILL}:
            raise AssertionError(f"{moment}: status {status}: {(self.folder / 'log').read_text()[-2000:]}")
        return status == -signal.SIGKILL

    def workers_killed(self, kills: int, random: Random, cluster: int | None = None) -> int:
        """Resume, and kill workers at moments drawn from ``random``; return the number of kills, at most ``kills``.

        Args:
            kills: at most.
            random: draws the moments and the workers.
            cluster: the process whose grandchildren train, where the study's own children do not.
        """
        process, done = self.start(), 0
        deadline_s = time.monotonic() + random.uniform(0.1, 4)
        while process.poll() is None:
            time.sleep(0.01)
            if time.monotonic() < deadline_s or done == kills:
                continue
            deadline_s = time.monotonic() + random.uniform(0.5, 2.5)
            done += _kill_one_of(cluster or process.pid, random)
        assert process.returncode in {0, 1}, (self.folder / "log").read_text()[-2000:]
        return done

    # What is found in it

    def wrong(self, reference: Doomed) -> list[str]:
        """What is not as in the study that nobody interrupted, or not as it should be."""
        found = [*self._wrong_in_runs(), *self._wrong_in_trials(), *self.lost()]
        if self.design == "grid" and not found:
            compared = {"MLflow": Doomed.numbers, "runs.csv": Doomed.table}
            if not self._rows("select 1 from runs where status = 'FAILED'"):  # which the report names
                compared["report.md"] = Doomed.report
            for what, of in compared.items():
                if of(self) != of(reference):
                    found.append(f"{what} differs from that of the uninterrupted study")
        return [f"{self.folder.name} ({self.design}): {what}" for what in found]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.folder / 'mlflow.db'}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def lost(self) -> list[str]:
        """What was finished when this was asked last and is not any more."""
        if not (self.folder / "mlflow.db").is_file() or (self.folder / "mlflow.db.making").exists():
            return []
        now = {run for _, _, run in self.trainings()}
        gone, self._kept = self._kept - now, now
        return [f"{len(gone)} finished runs were lost"] if gone else []

    def _wrong_in_runs(self) -> list[str]:
        found = []
        if left := self._rows("select count(*) from runs where status in ('RUNNING', 'SCHEDULED')")[0][0]:
            found.append(f"{left} runs are still RUNNING")
        query = "select count(*) from (select 1 from metrics group by run_uuid, key, step having count(*) > 1)"
        if doubled := self._rows(query)[0][0]:
            found.append(f"{doubled} metric steps are doubled")
        finished = Counter(variant for variant, *_ in self.trainings())
        if twice := [variant for variant, count in finished.items() if count > 1]:
            found.append(f"{len(twice)} variants were recorded twice")
        n_trials = DESIGNS[self.design][1]
        if self.design == "grid" and len(finished) != n_trials:
            found.append(f"{len(finished)} of {n_trials} trials are recorded")
        return found

    def _wrong_in_trials(self) -> list[str]:
        """What is wrong with the trials of a search, each of which has a run of its own."""
        if self.design == "grid":
            return []
        rows = self._rows(
            "select number.value, runs.status, mean.value, same.value from runs "
            "join tags as role on role.run_uuid = runs.run_uuid and role.key = 'harness.role' and role.value = 'trial' "
            "join tags as number on number.run_uuid = runs.run_uuid and number.key = 'harness.trial' "
            "left join tags as same on same.run_uuid = runs.run_uuid and same.key = 'harness.same_as' "
            "left join latest_metrics as mean on mean.run_uuid = runs.run_uuid and mean.key = 'mean_errors'"
        )
        found = []
        if len(rows) != len({number for number, *_ in rows}):
            found.append("two trials have one number")
        if left := [number for number, status, *_ in rows if status not in {"FINISHED", "FAILED"}]:
            found.append(f"trials {left} are not finished")
        complete = {number: (mean, same) for number, status, mean, same in rows if status == "FINISHED"}
        n_trials = DESIGNS[self.design][1]
        if len(complete) != n_trials:
            found.append(f"{len(complete)} of {n_trials} trials are complete")
        own: dict[str, list[float]] = {}
        for number, errors in self._rows(
            "select number.value, errors.value from runs "
            "join tags as role on role.run_uuid = runs.run_uuid and role.key = 'harness.role' "
            "and role.value = 'training' "
            "join tags as number on number.run_uuid = runs.run_uuid and number.key = 'harness.trial' "
            "join latest_metrics as errors on errors.run_uuid = runs.run_uuid and errors.key = 'final_errors' "
            "where runs.status = 'FINISHED'"
        ):
            own.setdefault(number, []).append(errors)
        for number, (mean, same) in complete.items():
            errors = own.get(same or number, [])
            if same is not None and number in own:
                found.append(f"trial {number} repeats trial {same} and was trained again")
            if len(errors) != 2 or mean != sum(errors) / 2:
                found.append(f"trial {number} has mean errors {mean}, and its trainings have {errors}")
        return found

    def trainings(self) -> list[tuple[str, float, str]]:
        """Variant, errors and run id of every training that is recorded whole."""
        return [
            (str(variant), float(errors), str(run))
            for variant, errors, run in self._rows(
                "select tags.value, latest_metrics.value, runs.run_uuid from runs "
                "join tags on tags.run_uuid = runs.run_uuid and tags.key = 'harness.variant' "
                "join latest_metrics on latest_metrics.run_uuid = runs.run_uuid "
                "and latest_metrics.key = 'final_errors' "
                "where runs.status = 'FINISHED'"
            )
        ]

    def numbers(self) -> list[tuple[Any, ...]]:
        """Every number of every training: variant, metric, step, value."""
        return self._rows(
            "select tags.value, metrics.key, metrics.step, metrics.value from metrics "
            "join runs on runs.run_uuid = metrics.run_uuid and runs.status = 'FINISHED' "
            "join tags on tags.run_uuid = metrics.run_uuid and tags.key = 'harness.variant' "
            # How many trainings were read off one in one go, and how long that took, is not what was computed.
            "where metrics.key not in ('duration_s', 'shared_by') order by 1, 2, 3"
        )

    def table(self) -> str:
        """The table of runs, but for what names a run or says how it came about."""
        frame = pd.read_csv(self.folder / "out" / NAME / "runs.csv")
        frame = frame[frame["status"] == "FINISHED"]
        frame = frame.drop(columns=["run_id", "trial", "duration_s", "shared_by"]).sort_values("variant")
        return frame.to_csv(index=False)

    def report(self) -> list[str]:
        """The lines of the report with numbers, but for the runs' names, the time, and how often it was interrupted."""
        text = (self.folder / "out" / NAME / "report.md").read_text().replace(str(self.folder), "")
        for _, _, run in self.trainings():
            text = text.replace(run, "").replace(run[:8], "")
        parent = self._rows("select run_uuid from tags where key = 'harness.role' and value = 'study'")
        for (run,) in parent:
            text = text.replace(run, "").replace(run[:8], "")
        # What was half recorded is told where nothing is told else; a checkout may change while studies are killed.
        left_out = (
            "UTC",
            "incomplete: ",
            "All recorded runs have a score",
            "- duration: ",
            "- commit: ",
            "- commands: ",
        )
        return [line for line in text.splitlines() if not any(part in line for part in left_out)]


def _kill_one_of(pid: int, random: Random) -> int:
    """Kill one of a process' workers; return the number of workers killed."""
    try:
        every = psutil.Process(pid).children(recursive=True)
        workers = [child for child in every if "spawn_main" in " ".join(child.cmdline())]
        if not workers:
            return 0
        random.choice(workers).kill()
    except psutil.Error:
        return 0
    return 1


def whole(folder: Path, engine: str) -> dict[str, Doomed]:
    """A study of each design that nobody interrupts, for others to be compared with."""
    references = {design: Doomed(folder / design, design, engine) for design in DESIGNS}
    for reference in references.values():
        reference.run()
    return references


def _in_turn(random: Random) -> Iterator[str]:
    """Every design again and again, in an order drawn from ``random``."""
    return cycle(random.sample(list(DESIGNS), len(DESIGNS)))


# The last call of each kind that a study is killed at.
_LAST_CALL = {ASKING: 12, TRAINING: 3, RECORDING: 15}
_REPORT_S = 2.0


def schedule(random: Random, kinds: Sequence[str], kills: int, start_up_s: float) -> list[Moment]:
    """The moments of a torture in their order, ``kills`` of each kind."""
    drawn = []
    for kind in [kind for kind in kinds for _ in range(kills)]:
        longest_s = {START_UP: start_up_s, REPORT: _REPORT_S}.get(kind, 0.0)
        call, when = random.randint(1, _LAST_CALL.get(kind, 1)), random.choice(("before", "after"))
        drawn.append(Moment(kind, call, when, random.uniform(0, longest_s)))
    random.shuffle(drawn)
    return drawn


def torture(
    folder: Path,
    references: Mapping[str, Doomed],
    moments: Sequence[Moment],
    random: Random,
    say: Callable[[str], None] = lambda _line: None,
) -> Tally:
    """Kill coordinators at these moments, one after another; complete every study and check it.

    A moment that a study does not reach before its end comes again, sooner, in a later study.
    """
    tally, engine = Tally(), references["grid"].engine
    designs = _in_turn(random)
    left = deque(moments)
    while left:
        design = next(designs)
        doomed = Doomed(folder / f"doomed-{tally.studies}", design, engine)
        while left:
            moment = left.popleft()
            was_killed = doomed.killed(moment)
            say(f"study {tally.studies} ({design}): {moment}{'' if was_killed else ', not reached'}")
            tally.wrong += doomed.lost()
            if not was_killed:
                left.append(moment.sooner())
                break
            tally.kills[moment.kind] += 1
        else:
            doomed.run()
        tally.studies += 1
        tally.wrong += doomed.wrong(references[design])
        say(f"{tally.studies} studies, {tally.kills.total()} kills, wrong: {tally.wrong}; {dict(tally.kills)}")
    return tally


def torture_workers(
    folder: Path,
    references: Mapping[str, Doomed],
    kills: int,
    random: Random,
    say: Callable[[str], None] = lambda _line: None,
    *,
    on: Sequence[str] = TWO_HERE,
    cluster: int | None = None,
) -> Tally:
    """Kill this number of workers while studies run; complete every study and check it.

    Args:
        folder: for the studies.
        references: a whole one of each design, with the same engine.
        kills: the number of kills.
        random: draws the moments and the workers.
        say: receives a line of progress.
        on: what trains, as options of the command.
        cluster: the process whose workers are killed, where the study's are not its own.
    """
    what = WORKER if cluster is None else ON_A_CLUSTER
    tally, engine = Tally(), references["grid"].engine
    designs = _in_turn(random)
    while tally.kills[what] < kills:
        design = next(designs)
        doomed = Doomed(folder / f"doomed-{tally.studies}", design, engine, on=on, pause_s=0.3)
        tally.kills[what] += doomed.workers_killed(kills - tally.kills[what], random, cluster)
        doomed.run()
        tally.studies += 1
        tally.wrong += doomed.wrong(references[design])
        say(f"{tally.studies} studies, {tally.kills.total()} kills, wrong: {tally.wrong}")
    return tally


def torture_cluster(
    folder: Path,
    references: Mapping[str, Doomed],
    kills: int,
    random: Random,
    say: Callable[[str], None] = lambda _line: None,
) -> Tally:
    """Kill this number of workers of a Dask cluster of three, with the stand-in engine."""
    folder.mkdir(parents=True)
    environment = {"PYTHONPATH": STANDIN_PATH, "STANDIN_PAUSE_S": "0.3"}
    with own_cluster(folder, 3, environment) as (address, pid):
        return torture_workers(folder, references, kills, random, say, on=("--cluster", address), cluster=pid)


def race(
    folder: Path, reference: Doomed, times: int, *, is_fresh: bool, say: Callable[[str], None] = lambda _line: None
) -> Tally:
    """Start two coordinators at the same instant, so many times: one is to run, one to refuse."""
    tally = Tally()
    doomed = Doomed(folder / "raced", "grid", "standin")
    while tally.studies < times:
        if is_fresh:
            doomed = Doomed(folder / f"raced-{tally.studies}", "grid", "standin", pause_s=0.3)
        processes = [doomed.start() for _ in range(2)]
        statuses = sorted(process.wait(300) for process in processes)
        told = (doomed.folder / "log").read_text()
        if statuses != [0, 5] or "is already running:" not in told:
            # The second to come may find the first one gone, where there was nothing to train.
            tally.wrong.append(f"{doomed.folder.name}: statuses {statuses}: {told[-500:]}")
        tally.studies += 1
        tally.wrong += doomed.wrong(reference)
        say(f"{tally.studies} races, wrong: {tally.wrong}")
    return tally


def _page(tallies: dict[str, Tally], seed: int, duration_s: float) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions().items())
    lines = [
        "# Torture",
        "",
        "Studies were killed with SIGKILL at moments drawn from a seed and resumed until they were complete. Then",
        "MLflow's database was read. Every trial is recorded once, no step is doubled, and no run is left RUNNING.",
        "A search has exactly its number of trials, and every run that was finished at any moment is still there.",
        "Every recorded number, `runs.csv` and `report.md` of a grid equal those of an uninterrupted study.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {provenance.processor()}, {platform.system()}; {versions}; random seed {seed};",
        f"{duration_s / 60:.0f} minutes. Made by `nox -s torture`.",
        "",
        "| engine | killed at | kills |",
        "|---|---|---:|",
    ]
    for engine, tally in tallies.items():
        lines += [f"| {engine} | {kind} | {count} |" for kind, count in tally.kills.items()]
    kills = sum(tally.kills.total() for tally in tallies.values())
    studies = sum(tally.studies for tally in tallies.values() if tally.kills)
    wrong = [what for tally in tallies.values() for what in tally.wrong]
    races = {name: tally.studies for name, tally in tallies.items() if not tally.kills}
    lines += [f"| {name} | the same instant | {count} starts |" for name, count in races.items()]
    lines += ["", f"{kills} kills, {studies} studies, {len(wrong)} things wrong.", *(f"- {what}" for what in wrong), ""]
    return "\n".join(lines)


def main() -> int:
    """Torture with the stand-in and the real engine, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=36, help="of each kind of moment, with the stand-in engine")
    parser.add_argument("--real-kills", type=int, default=5, help="of each kind of moment, with the engine xla")
    parser.add_argument("--worker-kills", type=int, default=50, help="of workers, with the stand-in engine")
    parser.add_argument("--cluster-kills", type=int, default=20, help="of workers of a cluster, the same")
    parser.add_argument("--races", type=int, default=20, help="two coordinators at once, on new and on old records")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "torture.md")
    asked = parser.parse_args()
    random = Random(asked.seed)
    started_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started_s:6.0f} s  {line}", flush=True)

    moments = partial(schedule, random, COORDINATOR)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        of_standin, of_xla = (whole(place / engine, engine) for engine in ("standin", "xla"))
        tallies = {
            "stand-in, the coordinator": torture(place / "a", of_standin, moments(asked.kills, 4.0), random, say),
            "xla, the coordinator": torture(place / "b", of_xla, moments(asked.real_kills, 12.0), random, say),
            "stand-in, a worker": torture_workers(place / "c", of_standin, asked.worker_kills, random, say),
            "stand-in, a cluster": torture_cluster(place / "d", of_standin, asked.cluster_kills, random, say),
            "two at once, on new records": race(place / "e", of_standin["grid"], asked.races, is_fresh=True, say=say),
            "two at once, on old records": race(place / "f", of_standin["grid"], asked.races, is_fresh=False, say=say),
        }
    asked.page.write_text(_page(tallies, asked.seed, time.monotonic() - started_s))
    print(json.dumps({name: tally.wrong for name, tally in tallies.items()}, indent=2))
    return int(any(tally.wrong for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
