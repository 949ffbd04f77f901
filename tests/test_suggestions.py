"""Which name is suggested for a mistyped one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.suggestions import did_you_mean, did_you_mean_path

IDS = ["3f2a9c0d41b84e6fa0c1d2e3f4a5b6c7", "91d04be2aa7741f0b1c2d3e4f5a6b7c8"]


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("varaints", ["search", "variants"], "variants"),
        ("variants-2", ["search", "variants"], "variants"),
        ("nothing", ["search", "variants"], None),
        ("", ["search"], None),
        # the first characters of a run id, as messages print them, and an id with one wrong character
        ("3f2a9c0d", IDS, IDS[0]),
        (IDS[1].replace("b", "8", 1), IDS, IDS[1]),
        # a beginning of several names is not completed
        ("batch", ["batch-sizes-of-the-lab", "batch-sizes-of-others"], None),
        ("xl", ["xla", "graph"], "xla"),
    ],
)
def test_the_nearest_name_is_suggested(name: str, known: list[str], found: str | None) -> None:
    assert did_you_mean(name, known) == ("" if found is None else f"Did you mean {found}? ")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("out/variants/run.csv", "out/variants/runs.csv"),
        ("out/variant/runs.csv", "out/variants/runs.csv"),
        ("ot/variant/run.csv", "out/variants/runs.csv"),
        ("out/variants/report.html", None),
        ("out/variants/runs.csv/inside", None),
        ("x" * 5000, None),
        ("optdigit", "optdigits"),
        ("out/variants/runs.csv", None),  # it exists, so something else is wrong with it
    ],
)
def test_the_nearest_path_is_suggested_even_if_a_folder_is_mistyped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, found: str | None
) -> None:
    (tmp_path / "out" / "variants").mkdir(parents=True)
    (tmp_path / "out" / "variants" / "runs.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert did_you_mean_path(path, ["auto", "optdigits"]) == ("" if found is None else f"Did you mean {found}? ")
