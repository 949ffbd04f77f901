"""A recorded study in Optuna's storages: a journal, SQLite and PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from tests.services import postgres
from tests.support import Harness
from tests.torture import NAME, Doomed


@pytest.fixture
def sampled(whole_search: Doomed, tmp_path: Path) -> Doomed:
    """A search that was run to its end, to be worked with."""
    shutil.copytree(whole_search.folder, tmp_path, dirs_exist_ok=True)
    return Doomed(tmp_path, "sampled", "standin")


def values(storage: BaseStorage, name: str = NAME) -> list[tuple[int, list[float], dict[str, object]]]:
    study = optuna.load_study(study_name=name, storage=storage)
    return [(trial.number, trial.values, trial.params) for trial in study.trials]


def test_a_search_is_copied_to_a_database_and_to_a_journal(sampled: Doomed, harness: Harness) -> None:
    url, journal = f"sqlite:///{sampled.folder}/optuna.db", sampled.folder / "copy.journal"
    for storage in (url, str(journal)):
        done = harness("study", "export", NAME, "--storage", storage)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"10 trials copied to {storage}, study {NAME}\n"
    copied = values(RDBStorage(url))
    assert copied == values(JournalStorage(JournalFileBackend(str(journal))))
    recorded = sampled._rows(
        "select number.value, errors.value, epochs.value, rate.value from tags as role "
        "join tags as number on number.run_uuid = role.run_uuid and number.key = 'harness.trial' "
        "join latest_metrics as errors on errors.run_uuid = role.run_uuid and errors.key = 'mean_errors' "
        "join latest_metrics as epochs on epochs.run_uuid = role.run_uuid and epochs.key = 'mean_epochs' "
        "join params as rate on rate.run_uuid = role.run_uuid and rate.key = 'learning_rate' "
        "where role.key = 'harness.role' and role.value = 'trial'"
    )
    expected = [
        (int(number), [errors, epochs], {"epochs": int(epochs), "learning_rate": float(rate)})
        for number, errors, epochs, rate in recorded
    ]
    assert copied == sorted(expected, key=lambda row: row[0])
    # The copy is not overwritten.
    again = harness("study", "export", NAME, "--storage", url)
    assert again.returncode == 2
    assert f"already has a study called '{NAME}'" in again.stderr
    assert harness("study", "export", NAME, "--storage", url, "--new-name", "second").returncode == 0
    assert values(RDBStorage(url), "second") == copied


@pytest.mark.slow
def test_a_grid_is_copied_to_postgresql(whole_grid: Doomed, tmp_path: Path, harness: Harness) -> None:
    shutil.copytree(whole_grid.folder, tmp_path, dirs_exist_ok=True)
    with postgres("secret") as server:
        url = server.uri()
        done = harness("study", "export", NAME, "--storage", url)
        assert done.returncode == 0, done.stderr
        assert server.password not in done.stdout
        storage = RDBStorage(url)
        try:
            copied = values(storage)
        finally:
            storage.remove_session()
            storage.engine.dispose()
    grid = Doomed(tmp_path, "grid", "standin")
    assert sorted(errors for _, [errors], _ in copied) == sorted(errors for _, errors, _ in grid.trainings())
    assert len({tuple(point.items()) for _, _, point in copied}) == 20


@pytest.mark.parametrize("storage", ["nonsense://x", "/nowhere/at/all.journal", "sqlite:////nowhere/x.db"])
def test_a_storage_that_fails_is_one_error(sampled: Doomed, harness: Harness, storage: str) -> None:  # noqa: ARG001
    done = harness("study", "export", NAME, "--storage", storage)
    assert done.returncode == 5
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_a_study_that_was_not_recorded_is_one_error(sampled: Doomed, harness: Harness) -> None:  # noqa: ARG001
    done = harness("study", "export", "another", "--storage", "sqlite:///x.db")
    assert done.returncode == 2
    assert "no study called 'another' was recorded" in done.stderr
