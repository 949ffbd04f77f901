"""The cache of compiled code: equal numbers with and without it, and damage that costs only time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.engines import compilation_cache
from harness.engines.compilation_cache import keep, restore_flags, use

FLAG = "--tf_xla_persistent_cache_directory"
TRAIN = """
import hashlib
from harness.data import digits
from harness.engines import registry
from harness.network.variant import BASELINE

whole = hashlib.sha256()
[history] = registry.make("xla", digits.load("optdigits")).train([BASELINE.with_epochs(2)])
for array in (history.losses, history.errors, *history.final.weights, history.final.logits):
    whole.update(array.tobytes())
print(whole.hexdigest())
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of compiled code of a new user, in a process that has not imported TensorFlow."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TF_XLA_FLAGS", "")  # so that the end of the test removes what `use` sets
    monkeypatch.delenv("TF_XLA_FLAGS")
    new_process(monkeypatch)
    return compilation_cache._kept_folder()


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process has done."""
    monkeypatch.setattr(compilation_cache, "_own", None)
    monkeypatch.setattr(compilation_cache, "_kept", set())


def own() -> Path:
    """The folder that TensorFlow would use in this process."""
    return Path(os.environ["TF_XLA_FLAGS"].removeprefix(f"{FLAG}="))


def test_what_one_process_compiles_is_there_for_the_next(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use()
    first = own()
    (first / "xla_code.pb").write_bytes(b"compiled")
    keep()
    keep()
    assert len(list(cache.glob("*.pb"))) == 1
    restore_flags()
    assert "TF_XLA_FLAGS" not in os.environ
    new_process(monkeypatch)
    use()
    assert own() != first
    assert (own() / "xla_code.pb").read_bytes() == b"compiled"


def test_a_damaged_file_is_deleted_and_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use()
    (own() / "xla_code.pb").write_bytes(b"compiled")
    keep()
    restore_flags()
    [kept] = cache.glob("*.pb")
    kept.unlink()
    kept.write_bytes(b"compiler")
    new_process(monkeypatch)
    use()
    assert not kept.exists()
    assert list(own().iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_flags_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=1")
    use()
    assert os.environ["TF_XLA_FLAGS"].startswith(f"--tf_xla_auto_jit=1 {FLAG}=")
    restore_flags()
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_auto_jit=1"


@pytest.mark.usefixtures("cache")
def test_a_cache_of_the_user_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_XLA_FLAGS", f"{FLAG}=/mine")
    use()
    restore_flags()
    assert os.environ["TF_XLA_FLAGS"] == f"{FLAG}=/mine"


def test_without_a_folder_or_space_for_it_there_is_no_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation_cache, "_LEAST_FREE_BYTES", 2**80)
    use()
    assert "TF_XLA_FLAGS" not in os.environ
    cache.rmdir()
    cache.write_text("a file")
    monkeypatch.setattr(compilation_cache, "_LEAST_FREE_BYTES", 0)
    use()
    assert "TF_XLA_FLAGS" not in os.environ
    keep()


def test_only_the_newest_files_are_kept(cache: Path) -> None:
    use()
    now_s = time.time()
    for number in range(compilation_cache._MOST_FILES + 3):
        (own() / f"xla_{number}.pb").write_bytes(b"%d" % number)
        keep()
        for path in cache.glob(f"xla_{number}-*.pb"):
            os.utime(path, (now_s - 1000 + number,) * 2)
    kept = {path.stem.partition("-")[0] for path in cache.glob("*.pb")}
    assert kept == {f"xla_{number}" for number in range(3, compilation_cache._MOST_FILES + 3)}


def test_folders_of_processes_that_were_killed_are_deleted_after_a_day(cache: Path) -> None:
    cache.mkdir(parents=True)
    old, new = cache / "running-old", cache / "running-new"
    for folder, age_s in ((old, 25 * 3600), (new, 3600)):
        folder.mkdir()
        os.utime(folder, (time.time() - age_s,) * 2)
    use()
    assert (old.exists(), new.exists()) == (False, True)


def test_another_build_of_tensorflow_has_a_folder_of_its_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation_cache, "_is_library", lambda _: False)
    assert compilation_cache._kept_folder() != cache


@pytest.mark.slow
def test_training_gives_equal_bits_with_a_new_a_filled_and_a_damaged_cache(cache: Path, tmp_path: Path) -> None:
    def trained() -> str:
        command = [sys.executable, "-c", TRAIN]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout

    new = trained()
    [kept] = cache.glob("*.pb")
    written_ns, content = kept.stat().st_mtime_ns, kept.read_bytes()
    assert trained() == new
    assert kept.stat().st_mtime_ns == written_ns  # it was loaded, not compiled again
    kept.write_bytes(content[: len(content) // 2])
    assert trained() == new
    [again] = cache.iterdir()  # the damaged file was replaced
    assert again.stat().st_size > len(content) // 2
