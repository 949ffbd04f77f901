from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import ExitStatus, StoppedError
from harness.files import masked, write_bytes, write_json, write_text


def test_json_has_its_schema_and_null_for_what_is_not_finite(tmp_path: Path) -> None:
    write_json(str(tmp_path / "a.json"), {"x": [1.5, float("nan")], "y": {"z": (float("inf"), -float("inf"))}})
    written = json.loads((tmp_path / "a.json").read_text())
    assert written == {"schema": 1, "x": [1.5, None], "y": {"z": [None, None]}}


def test_a_pipe_is_written_to_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_text(tmp_path / "link.json", "x")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "x"
    write_text(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()


def test_addresses_are_shown_without_their_passwords() -> None:
    assert masked("cannot reach postgresql://me:secret@host/db") == "cannot reach postgresql://***@host/db"
    assert masked("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"


def test_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "é")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "é".encode()


def test_what_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoppedError, match="cannot be written") as caught:
        write_bytes(tmp_path / "file" / "inside", b"x")
    assert caught.value.exit_status == ExitStatus.ENVIRONMENT


def test_a_failed_write_keeps_what_was_there_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_text(path, "old")
    with pytest.raises(StoppedError):
        write_bytes(tmp_path, b"a folder stands there")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.md"]
