"""The trials of a study in Optuna's storage."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from harness.errors import StoppedError, UsageError, first_line
from harness.files import masked
from harness.network.variant import SoftmaxPlace
from harness.retry import RetryingProxy, database_may_come_back, with_retries
from harness.study.config import FloatRange, IntRange, Sampled, StudyConfig, Value

_VARIANTS = "variants"
_STORAGE = "Optuna's storage"
_log = logging.getLogger(__name__)


class TrialPhase(Enum):
    """The phase of a trial: open, told (its values are known), or failed."""

    OPEN = "open"
    TOLD = "told"
    FAILED = "failed"


@dataclass(frozen=True)
class Entry:
    """A trial as it stands in the ledger.

    Attributes:
        number: counted from 0 in the order in which trials were asked for.
        state: how far it is.
        point: its place in the space; a trial whose asking was cut short has a part of it.
        variants: the keys of what it trains; empty where its asking was cut short.
    """

    number: int
    state: TrialPhase
    point: Mapping[str, Value]
    variants: tuple[str, ...]


_STATES = {
    TrialState.RUNNING: TrialPhase.OPEN,
    TrialState.WAITING: TrialPhase.OPEN,
    TrialState.COMPLETE: TrialPhase.TOLD,
    TrialState.PRUNED: TrialPhase.FAILED,
    TrialState.FAIL: TrialPhase.FAILED,
}


def default_journal(folder: Path) -> Path:
    """Where a study's trials are kept if nothing else is asked for."""
    return folder / "optuna.journal"


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """Open Optuna's storage: a database by its URL, else the journal file.

    Raises:
        StoppedError: it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _failures(f"{_STORAGE} {url or journal} cannot be opened"):
        if url is not None:
            return with_retries(optuna.storages.get_storage, _STORAGE, _may_pass)(url)
        journal.parent.mkdir(parents=True, exist_ok=True)
        _repair(journal)
        return JournalStorage(JournalFileBackend(str(journal), _SystemLock(str(journal))))


def _repair(journal: Path) -> None:
    """Take off a last line that was cut short, by a full disk or a crash: Optuna would write on in the same line.

    What was being written had not been done yet for anyone who waited for it.
    """
    if not journal.is_file() or not (content := journal.read_bytes()) or content.endswith(b"\n"):
        return
    whole = content.rfind(b"\n") + 1
    if not whole and not content.startswith(b'{"op_code"'):
        return  # no journal at all: Optuna says so
    with journal.open("r+b") as stream:
        stream.truncate(whole)
    _log.warning("%s: the incomplete last line was removed", journal)


class _SystemLock(JournalFileOpenLock):
    """A journal's lock that the system lets go of when its holder is killed.

    Optuna's own locks are files that then stay behind: thirty seconds, or with a relative path for ever (5.0.0).
    """

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self._lock = FileLock(f"{journal}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Turn what a storage throws into one clear error."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, SQLAlchemyError, OptunaError) as error:
        reason = error.__cause__ if isinstance(error, OptunaError) and error.__cause__ else error
        cause = masked(f"{what}: {first_line(reason)}")
        raise StoppedError(cause, "Repair it, or name another with --storage; then run again.") from error


def _may_pass(error: BaseException) -> bool:
    """Whether a storage fails for a reason that may pass: another holds it, or its server is away."""
    if isinstance(error, OptunaError):
        error = error.__cause__ or error
    if isinstance(error, OperationalError):
        return database_may_come_back(error)
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_missing(url: str) -> bool:
    """Whether this is the URL of an SQLite database that is not there: to open it would make it."""
    return url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file()


def look(config: StudyConfig, key: str, url: str | None, journal: Path) -> list[Entry]:
    """Every trial of a study, without making or changing anything; none where there is no storage.

    Raises:
        StoppedError: the storage cannot be read.
    """
    with _failures(f"{_STORAGE} {url or journal} cannot be read"):
        storage = _opened_to_look(url, journal)
        if storage is None:
            return []
        ids = {study.study_name: study._study_id for study in storage.get_all_studies()}  # noqa: SLF001 - no public way
        found = ids.get(name(config, key))
        return [] if found is None else [_entry(trial) for trial in storage.get_all_trials(found, deepcopy=False)]


def to_look_at(url: str | None, journal: Path) -> BaseStorage:
    """A storage that has studies, to be shown to people; a journal cannot be changed by it.

    Raises:
        StoppedError: the storage cannot be read.
        UsageError: there is none, or it has no study.
    """
    with _failures(f"{_STORAGE} {masked(str(url or journal))} cannot be read"):
        storage = _opened_to_look(url, journal)
        if storage is None or not storage.get_all_studies():
            what = masked(str(url or journal))
            raise UsageError(f"nothing to show: {what} has no study", "Run a study: harness study run.")
        return storage


def _opened_to_look(url: str | None, journal: Path) -> BaseStorage | None:
    """A storage as it is, nothing made or mended; None where there is none."""
    if url is not None:
        return None if _is_missing(url) else RDBStorage(url, skip_table_creation=True)
    return JournalStorage(_Unchanged(str(journal))) if journal.is_file() else None


class _Unchanged(JournalFileBackend):
    """A journal that is only read."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise OSError(f"the journal is only looked at, and stays as it is: {len(logs)} changes are refused")


class OptunaStudy:
    """The trials of one study in Optuna's storage. Each is started once, and told or failed once.

    Args:
        config: the study.
        key: The key of the study's records.
        storage: where they are kept.

    Raises:
        StoppedError: here and in every method: the storage fails.
    """

    def __init__(self, config: StudyConfig, key: str, storage: BaseStorage) -> None:
        self._raw = storage
        self._storage: Any = RetryingProxy(storage, _STORAGE, _may_pass)
        with _failures(f"{_STORAGE} cannot be used"):
            self._study = _study(storage, name(config, key), len(config.objectives))
            self._id = self._storage.get_study_id_from_name(name(config, key))
            # A sampler that starts again with the same seed would propose the same points again.
            self._n_trials = len(self._storage.get_all_trials(self._id, deepcopy=False))
            self._study.sampler = _sampler(config, self._n_trials)
        self._distributions = _distributions(config)

    def entries(self) -> list[Entry]:
        """Every trial, in the order of their numbers."""
        with _failures(f"{_STORAGE} failed"):
            return [_entry(trial) for trial in self._storage.get_all_trials(self._id, deepcopy=False)]

    def begin(self, point: Mapping[str, Value], variants: Sequence[str]) -> int:
        """Ask for the trial at a point of the space; return its number."""
        return self._create(TrialState.RUNNING, point, variants)

    def propose(self) -> Entry:
        """Have the sampler ask for a trial; what it trains is entered by :meth:`enter`."""
        with _failures(f"{_STORAGE} failed"):
            asked = with_retries(self._study.ask, _STORAGE, _may_pass)(self._distributions)
            self._n_trials = asked.number + 1
            return Entry(asked.number, TrialPhase.OPEN, dict(asked.params), ())

    def enter(self, number: int, variants: Sequence[str]) -> None:
        """Enter what a proposed trial trains."""
        with _failures(f"{_STORAGE} failed"):
            self._storage.set_trial_user_attr(self._trial_id(number), _VARIANTS, " ".join(variants))

    def tell(self, number: int, values: Sequence[float]) -> None:
        """Tell Optuna the values of an open trial. A trial that was told before keeps its values."""
        self._set(number, TrialState.COMPLETE, list(values))

    def fail(self, number: int) -> None:
        """Give an open trial up."""
        self._set(number, TrialState.FAIL, None)

    def enqueue(self, number: int) -> None:
        """Let an open trial wait for the next run of the study."""
        self._set(number, TrialState.WAITING, None)

    def restart(self, number: int) -> None:
        """Go on with a trial that waits."""
        with _failures(f"{_STORAGE} failed"):
            trial_id = self._trial_id(number)
            if self._storage.get_trial(trial_id).state == TrialState.WAITING:
                self._storage.set_trial_state_values(trial_id, TrialState.RUNNING, None)

    def holds(self, point: Mapping[str, Value]) -> bool:
        """Whether a point is in the space, as it is now."""
        return all(_holds(self._distributions.get(parameter), value) for parameter, value in point.items())

    def restore(self, number: int, point: Mapping[str, Value], variants: Sequence[str], values: Sequence[float]) -> int:
        """Enter a trial that ended well and is missing here; return the number that it has now.

        That is its own where it is still to be had; trials between are entered as given up. The space must hold it.
        """
        for _ in range(self._n_trials, number):
            self._create(TrialState.FAIL, {}, ())
        return self._create(TrialState.COMPLETE, point, variants, values)

    def _create(
        self,
        state: TrialState,
        point: Mapping[str, Value],
        variants: Sequence[str],
        values: Sequence[float] | None = None,
    ) -> int:
        with _failures(f"{_STORAGE} failed"):
            # Written whole, at once: to enqueue a point, ask for it and name its variant would be six writes.
            trial = optuna.trial.create_trial(
                state=state,
                params=dict(point),
                distributions={parameter: self._distributions[parameter] for parameter in point},
                user_attrs={_VARIANTS: " ".join(variants)},
                values=values,
            )
            trial_id = self._storage.create_new_trial(self._id, template_trial=trial)
            number = int(self._storage.get_trial_number_from_id(trial_id))
            self._n_trials = number + 1
            return number

    def _set(self, number: int, state: TrialState, values: list[float] | None) -> None:
        """Write a trial's state, unless it has ended; looked at each time, should a write be done and not answered."""

        def once() -> None:
            trial_id = self._trial_id(number)
            if not self._raw.get_trial(trial_id).state.is_finished():
                self._raw.set_trial_state_values(trial_id, state, values)

        with _failures(f"{_STORAGE} failed"):
            with_retries(once, _STORAGE, _may_pass)()

    def _trial_id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._id, number))


def _study(storage: BaseStorage, named: str, n_objectives: int) -> optuna.Study:
    """The study of this name, made where there is none; to make it first would write to the journal every time."""
    try:
        return optuna.load_study(study_name=named, storage=storage)
    except KeyError:
        return optuna.create_study(
            study_name=named, storage=storage, directions=["minimize"] * n_objectives, load_if_exists=True
        )


def name(config: StudyConfig, key: str) -> str:
    """What Optuna calls a study."""
    return f"{config.name}-{key}"


def _holds(distribution: BaseDistribution | None, value: Value) -> bool:
    return distribution is not None and bool(distribution._contains(distribution.to_internal_repr(value)))  # noqa: SLF001 - no public way


def _entry(trial: FrozenTrial) -> Entry:
    keys = str(trial.user_attrs.get(_VARIANTS, ""))
    return Entry(trial.number, _STATES[trial.state], trial.params, tuple(keys.split()))


def _sampler(config: StudyConfig, n_trials: int) -> optuna.samplers.BaseSampler:
    """The sampler of a study with this number of trials. That of a grid is never asked."""
    if not isinstance(config.design, Sampled):
        return optuna.samplers.RandomSampler()
    seed = int(np.random.SeedSequence([config.design.sampler_seed, n_trials]).generate_state(1)[0])
    if config.design.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _distributions(config: StudyConfig) -> dict[str, BaseDistribution]:
    """The space as numbers wherever it can be: Optuna lets the range of a number grow, but not a set of choices."""
    distributions: dict[str, BaseDistribution] = {}
    for parameter, values in config.space.parameters().items():
        if isinstance(values, IntRange):
            distributions[parameter] = IntDistribution(values.low, values.high, step=values.step, log=values.log)
        elif isinstance(values, FloatRange):
            distributions[parameter] = FloatDistribution(values.low, values.high, log=values.log)
        elif parameter == "softmax":  # no number: all the places that there are, so that its choices never change
            distributions[parameter] = CategoricalDistribution(get_args(SoftmaxPlace))
        elif all(isinstance(value, int) for value in values):
            distributions[parameter] = IntDistribution(int(min(values)), int(max(values)))
        else:
            distributions[parameter] = FloatDistribution(float(min(values)), float(max(values)), log=True)
    return distributions
