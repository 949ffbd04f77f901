"""Exports a recorded study to an Optuna storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import DuplicatedStudyError, OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import StoppedError, UsageError, first_line
from harness.files import masked
from harness.search import optuna_study
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord


def export(reader: StudyReader, parent: RunRecord, storage: str, name: str | None = None) -> tuple[str, int]:
    """Copy a recorded study to an Optuna storage.

    Args:
        reader: Reader of the tracking store.
        parent: Parent run of the study.
        storage: URL of a database, or path of a journal file. A missing file is created.
        name: Name of the copy. The default is the name of the study.

    Returns:
        The name of the copy and the number of its trials.

    Raises:
        StoppedError: The tracking store or the Optuna storage fails.
        UsageError: The storage already has a study with this name.
    """
    study = optuna_study.of_record(reader, parent)
    name = name or study.study_name
    with _failures(f"Optuna's storage {masked(storage)} failed"):
        target = storage if "://" in storage else JournalStorage(JournalFileBackend(storage))
        try:
            optuna.copy_study(
                from_study_name=study.study_name,
                from_storage=study._storage,  # noqa: SLF001 - Optuna also accepts a storage object
                to_storage=target,
                to_study_name=name,
            )
        except DuplicatedStudyError as error:
            cause = f"{masked(storage)} already has a study called {name!r}"
            raise UsageError(cause, "Give the copy another name (--new-name), or use another storage.") from error
    return name, len(study.get_trials(deepcopy=False))


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Convert any error of a storage to a :class:`StoppedError` with a short message."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, SQLAlchemyError, OptunaError) as error:
        reason = error.__cause__ if isinstance(error, OptunaError) and error.__cause__ else error
        raise StoppedError(masked(f"{what}: {first_line(reason)}"), "Correct --storage, then try again.") from error
