from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import provenance


def test_versions_are_those_that_are_installed() -> None:
    versions = provenance.versions()
    assert re.fullmatch(r"3\.\d+\.\d+\S*", versions["python"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions["tensorflow"])
    assert "not installed" not in versions.values()


def test_the_processor_is_named_as_the_system_names_it() -> None:
    lscpu = shutil.which("lscpu")
    if lscpu is None:
        pytest.skip("needs the system's own word: lscpu is not on the path")
    done = subprocess.run([lscpu], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    names = [line.partition(":")[2].strip() for line in done.stdout.splitlines() if line.startswith("Model name:")]
    # Where the system knows no name, as in some virtual machines, there is that of the architecture.
    assert provenance.processor() in {*names, platform.processor(), platform.machine()} - {""}
    assert not names or provenance.processor() == names[0]


def test_the_commit_is_that_of_the_checkout() -> None:
    root = Path(provenance.__file__).resolve().parent.parent
    commit = provenance.commit()
    if not (root / ".git").exists():
        assert commit is None
        return
    assert commit is not None
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert commit.revision == head.stdout.strip()


def test_settings_that_change_the_arithmetic_are_found_and_secrets_of_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(provenance.computing_settings()):
        monkeypatch.delenv(name)
    for name in ("TF_DETERMINISTIC_OPS", "XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "DNNL_MAX_CPU_ISA"):
        monkeypatch.setenv(name, "1")
    for name in ("TF_TOKEN_app", "TF_VAR_password", "TF_CPP_MIN_LOG_LEVEL", "ONEDNN_VERBOSE"):
        monkeypatch.setenv(name, "secret")
    expected = ["DNNL_MAX_CPU_ISA", "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS"]
    assert list(provenance.computing_settings()) == expected
