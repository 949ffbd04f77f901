"""Plans how an interrupted study resumes: compares Optuna's trials with MLflow's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.network.variant import BASELINE
from harness.search.optuna_study import Entry, TrialPhase
from harness.study.config import Sampled, StudyConfig, Value
from harness.tracking.reader import StudyReader
from harness.tracking.tags import Role, Tag


@dataclass(frozen=True)
class RecordedTraining:
    """A training that MLflow has whole.

    Attributes:
        run_id: of its run.
        trial: the number of its trial.
        point: its place in the space.
        errors: after the last epoch.
        epochs: that it was trained for.
    """

    run_id: str
    trial: int
    point: Mapping[str, Value]
    errors: float
    epochs: int


@dataclass(frozen=True)
class UnmatchedTrial:
    """A trial of which MLflow has records and Optuna knows nothing."""

    number: int
    point: Mapping[str, Value]
    variants: tuple[str, ...]


@dataclass
class ResumePlan:
    """What is to be done, by kind; each trial is in one list at most.

    Attributes:
        done: Trials of the design that are told and recorded.
        tell: Trials that are recorded completely but not told.
        again: Trials that are told but not recorded completely.
        unfinished: Trials that were asked for and are neither told nor recorded completely.
        give_up: asked for, and of no use: cut short while it was asked for, asked for twice, or not of the design.
        unknown: recorded, in part or whole, and missing in Optuna.
    """

    done: list[Entry] = field(default_factory=list)
    tell: list[Entry] = field(default_factory=list)
    again: list[Entry] = field(default_factory=list)
    unfinished: list[Entry] = field(default_factory=list)
    give_up: list[Entry] = field(default_factory=list)
    unknown: list[UnmatchedTrial] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One line for each kind of thing that was put right."""
        said = {
            "recorded in MLflow but missing in Optuna: added": len(self.tell),
            "told to Optuna but not recorded whole in MLflow: trained again": len(self.again),
            "recorded in MLflow but missing in Optuna: entered there": len(self.unknown),
            "asked for but not trained: trained now": len(self.unfinished),
            "cut short while asked for, or not wanted any more: given up": len(self.give_up),
        }
        return [f"{count} {'trial' if count == 1 else 'trials'} {what}" for what, count in said.items() if count]


def plan_resume(config: StudyConfig, entries: Iterable[Entry], recorded: Mapping[str, RecordedTraining]) -> ResumePlan:
    """Compare what Optuna and MLflow know of a study.

    Args:
        config: the study as it is now.
        entries: Optuna's trials, in order.
        recorded: what MLflow has whole, by the keys of variants.
    """
    found = ResumePlan()
    wanted = None if isinstance(config.design, Sampled) else {config.variant(point).key for point in config.points()}
    known: set[tuple[str, ...]] = set()
    is_grid = wanted is not None
    # Told trials come first, so that a variant that was asked for twice is not trained again.
    for entry in sorted(entries, key=lambda entry: entry.state != TrialPhase.TOLD):
        if entry.state == TrialPhase.FAILED:
            continue
        is_whole = bool(entry.variants) and all(key in recorded for key in entry.variants)
        is_wanted = bool(entry.variants) and (wanted is None or wanted.issuperset(entry.variants))
        _place(found, entry, is_whole=is_whole, is_wanted=is_wanted, is_known=entry.variants in known, is_grid=is_grid)
        known.add(entry.variants)
    if isinstance(config.design, Sampled):  # which may have been asked for fewer trials than before
        wanted_more = max(0, config.design.trials - len(found.done) - len(found.tell) - len(found.again))
        found.give_up += found.unfinished[wanted_more:]
        found.unfinished = found.unfinished[:wanted_more]
    groups = _by_trial(config, recorded)
    found.unknown += [group for group in groups if group.variants not in known]
    if wanted is not None:
        found.unknown = [group for group in found.unknown if wanted.issuperset(group.variants)]
    found.unknown.sort(key=lambda group: group.number)
    return found


def _place(found: ResumePlan, entry: Entry, *, is_whole: bool, is_wanted: bool, is_known: bool, is_grid: bool) -> None:
    """Add a trial to its list. Told trials outside the design belong to none."""
    if entry.state == TrialPhase.TOLD:
        if is_wanted and is_whole:
            found.done.append(entry)
        elif is_wanted and not is_known:
            found.again.append(entry)
    elif is_grid and is_known:
        found.give_up.append(entry)
    elif is_whole:
        found.tell.append(entry)
    elif is_known or not is_wanted:
        found.give_up.append(entry)
    else:
        found.unfinished.append(entry)


def _by_trial(config: StudyConfig, recorded: Mapping[str, RecordedTraining]) -> list[UnmatchedTrial]:
    """The trials that the recorded trainings are of: of a sampled design those with all its seeds."""
    if not isinstance(config.design, Sampled):
        return [UnmatchedTrial(run.trial, run.point, (key,)) for key, run in recorded.items()]
    points = {run.trial: run.point for run in recorded.values()}
    return [
        UnmatchedTrial(number, point, _keys(config, point, config.design.seeds)) for number, point in points.items()
    ]


def _keys(config: StudyConfig, point: Mapping[str, Value], seeds: Sequence[int]) -> tuple[str, ...]:
    return tuple(config.variant({**point, "seed": seed}).key for seed in seeds)


def recorded(reader: StudyReader, config: StudyConfig, key: str) -> dict[str, RecordedTraining]:
    """The trainings of a study that MLflow has whole, by the keys of their variants; of equals the first."""
    found: dict[str, RecordedTraining] = {}
    kinds = {name: type(getattr(BASELINE, name)) for name in config.space.parameters()}
    for run in reader.runs(key, Role.TRAINING):
        if run.status == "FINISHED" and "final_errors" in run.metrics:
            point: dict[str, Value] = {name: kind(run.settings[name]) for name, kind in kinds.items()}
            epochs, trial = int(run.params["epochs"]), int(run.tags[Tag.TRIAL])
            known = RecordedTraining(run.run_id, trial, point, run.metrics["final_errors"], epochs)
            found.setdefault(run.tags[Tag.VARIANT], known)
    return found
