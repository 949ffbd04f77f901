"""The command as a user types it: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.commands import main
from harness.errors import ExitStatus
from tests.support import COMMAND, SMALL_STUDY, STANDIN_PATH, Harness

OPTDIGITS = ("--data", "optdigits")


def test_the_version_is_the_projects(harness: Harness) -> None:
    assert re.fullmatch(r"harness, version \d+\.\d+\.\d+\n", harness("--version").stdout)


def test_data_tells_which_images_it_took(harness: Harness) -> None:
    done = harness("data", *OPTDIGITS)
    assert done.returncode == 0
    assert "data: optdigits-5000 from " in done.stderr
    assert "500 of 0, 500 of 1" in done.stdout
    assert "1df638f67c0977783f4bf5d97754feef6ce67d5cb1c35bcf31a521de9f76a8ad" in done.stdout


def test_data_in_json_is_all_that_goes_to_the_standard_output(harness: Harness) -> None:
    facts = json.loads(harness("data", *OPTDIGITS, "--json", "-").stdout)
    assert facts["schema"] == 1
    assert facts["name"] == "optdigits-5000"
    assert facts["shape"] == [5000, 400]
    assert facts["dtype"] == "float64"
    assert facts["counts"] == [500] * 10
    assert (facts["first_label"], facts["last_label"]) == (0, 9)
    assert facts["min"] < 0
    assert facts["max"] > 1
    assert {"source", "sha256_x", "sha256_y"} <= facts.keys()


def test_data_of_the_lab(harness: Harness, mnist: Path) -> None:
    facts = json.loads(harness("data", "--data", str(mnist), "--json", "-").stdout)
    assert facts["name"] == "lab-5000"
    assert facts["sha256_x"] == "27adf83cada24c7a592643af0b82770a085b8a4f25852110b04e557979e7c297"
    assert facts["sha256_y"] == "46b65167b56f911d86b1d154461977422b8fa5431ea8fd5931ec1ec9b4cc6802"


def test_the_environment_may_name_the_images(harness: Harness) -> None:
    assert "optdigits-5000" in harness("data", HARNESS_DATA="optdigits").stderr


def test_data_draws_the_labs_grid(harness: Harness, tmp_path: Path) -> None:
    assert harness("data", *OPTDIGITS, "--figure", "grid.png", draws=True).returncode == 0
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_train_prints_a_line_an_epoch_and_the_labs_last_line(harness: Harness, tmp_path: Path) -> None:
    done = harness("train", "--epochs", "2", "--json", "trained.json", *OPTDIGITS)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Epoch 1/2"
    shown = [re.fullmatch(r"157/157 \[=+\] - .* - loss: (\d\.\d{4}) - errors: (\d+)", line) for line in lines[1:4:2]]
    written = json.loads((tmp_path / "trained.json").read_text())
    assert [match and match[1] for match in shown] == [f"{loss:.4f}" for loss in written["losses"]]
    assert [match and int(match[2]) for match in shown] == written["errors"]
    assert lines[4] == f"{written['final_errors']} errors out of 5000 images"
    assert lines[5] == "first zero epoch: none within 2 epochs"
    assert written["first_zero_epoch"] is None
    assert len(written["logits_1015"]) == 10
    assert written["engine"] == "graph"
    assert written["dataset"].keys() == {"name", "sha256_x", "sha256_y"}
    assert written["variant"]["seed"] == 1234
    assert {"python", "tensorflow", "keras", "numpy"} <= written["versions"].keys()
    assert written["duration_s"] > 0
    for check in written["softmax"].values():
        assert check.keys() == {"max_abs_diff", "max_ulp", "argmax_differs", "row_sum_error", "overflow_rows"}


@pytest.mark.usefixtures("standin")
def test_train_in_json_on_the_standard_output_tells_people_on_the_other(harness: Harness) -> None:
    done = harness("train", "--engine", "standin", "--epochs", "1", "--json", "-", *OPTDIGITS)
    assert json.loads(done.stdout)["schema"] == 1
    assert "Epoch 1/1" in done.stderr
    assert "errors out of 5000 images" in done.stderr


@pytest.mark.usefixtures("standin")
def test_train_takes_the_softmax_and_the_optimizer_from_its_arguments(harness: Harness) -> None:
    settings = ("--softmax", "output", "--adam", "keras", "--beta-1", "0.8", "--beta-2", "0.99", "--epsilon", "1e-5")
    done = harness("train", "--engine", "standin", "--epochs", "1", *settings, "--json", "-", *OPTDIGITS)
    variant = json.loads(done.stdout)["variant"]
    assert (variant["softmax"], variant["adam"]) == ("output", "keras")
    assert (variant["beta_1"], variant["beta_2"], variant["epsilon"]) == (0.8, 0.99, 1e-5)


@pytest.mark.slow
def test_an_engine_has_its_own_adam_unless_it_is_told(harness: Harness) -> None:
    arguments = ("--engine", "keras", "--epochs", "1", "--batch-size", "5000", "--json", "-")
    # That of the others is TensorFlow's, which the lab's log needs to the last digit: see below.
    assert json.loads(harness("train", *arguments, *OPTDIGITS).stdout)["variant"]["adam"] == "keras"


@pytest.mark.usefixtures("standin")
def test_train_can_be_quiet(harness: Harness) -> None:
    done = harness("train", "--engine", "standin", "--epochs", "1", "--quiet", *OPTDIGITS)
    assert "Epoch" not in done.stdout
    assert "errors out of 5000 images" in done.stdout


def test_a_training_that_diverges_is_a_result(harness: Harness) -> None:
    done = harness("train", "--epochs", "1", "--learning-rate", "1e30", "--json", "-", *OPTDIGITS)
    assert done.returncode == 0
    written = json.loads(done.stdout)
    assert written["losses"] == [None]
    assert written["final_errors"] == 5000
    assert written["softmax"]["stable"]["overflow_rows"] == 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--epochs", "0"), "epochs: input should be greater than or equal to 1 (given: 0)"),
        (("train", "--learning-rate", "nan"), "learning_rate"),
        (("train", "--learning-rate", "-1"), "learning_rate"),
        (("train", "--seed", "-1"), "seed"),
        (("train", "--layers", "25,15,9"), "one per digit"),
        (("train", "--layers", "many"), "not a list of whole numbers"),
        (("train", "--engine", "abacus"), "abacus"),
        (("train", "--softmax", "middle"), "middle"),
        (("lab", "--engine", "abacus"), "abacus"),
        (("train", "--beta-1", "1"), "beta_1"),
        (("train", "--epsilon", "0"), "epsilon"),
        (("train", "--colour", "red"), "--colour"),
        (("data", "--data", "nowhere.npz"), "nowhere.npz: no such file or folder"),
        (("data", "--data", "lab"), "its server does not respond"),
        (("study", "run", "nothing"), "no study is called 'nothing'"),
        (("study", "run", "nothing.toml"), "nothing.toml: cannot be read"),
        (("study", "run", "--workers", "0"), "workers"),
        (("report",), "nothing was recorded yet"),
        (("ui",), "nothing to show"),
        (("dance",), "dance"),
    ],
)
def test_a_mistake_is_one_clear_error(
    harness: Harness, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = harness(*arguments, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == (5 if arguments == ("data", "--data", "lab") else 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = [1, 2]", "epoch = [1, 2]"), "study.toml: space.epoch: extra inputs are not permitted"),
        (("[1, 2]", "[1, 0]"), "epochs"),
        (("[design]", "[design"), "study.toml: not TOML: "),
        (('"xla"', '"abacus"'), "no engine is called 'abacus'"),
        (("description", 'name = "other"\ndescription'), "the file name is the study's name"),
    ],
)
def test_a_mistake_in_a_study_file_is_named_with_its_place(
    harness: Harness, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    (tmp_path / "study.toml").write_text(SMALL_STUDY.replace(*change))
    done = harness("study", "run", "study.toml", *OPTDIGITS)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_a_result_that_cannot_be_written_is_one_error(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = harness("data", "--json", "file/inside.json", *OPTDIGITS)
    assert done.returncode == 5
    assert "file/inside.json: cannot be written" in done.stderr


def test_a_folder_where_a_file_is_asked_for_is_wrong_usage(harness: Harness) -> None:
    done = harness("data", "--json", ".", *OPTDIGITS)
    assert done.returncode == 2
    assert "this is a folder" in done.stderr


def test_output_that_nobody_reads_on_is_not_the_answer_no(tmp_path: Path) -> None:
    command = [COMMAND, "train", "--epochs", "200", "--engine", "standin", *OPTDIGITS]
    environment = {**os.environ, "PYTHONPATH": STANDIN_PATH}
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=writes, stderr=subprocess.PIPE, check=False)
    os.close(writes)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["graph", "xla"])
def test_the_labs_log_is_met_by_the_command(engine: str, harness: Harness, mnist: Path) -> None:
    arguments = ("--engine", engine, "--epochs", "40", "--seed", "1234", "--learning-rate", "0.001")
    printed = re.findall(r"loss: (\S+)", harness("train", *arguments, "--data", str(mnist)).stdout)
    assert printed[:3] + printed[-3:] == ["1.7094", "0.7480", "0.4428", "0.0344", "0.0312", "0.0294"]


@pytest.mark.parametrize("rate", ["1e-50", "1e-39", "1e39"])
def test_a_learning_rate_that_float32_does_not_have_is_refused(harness: Harness, rate: str) -> None:
    done = harness("train", "--learning-rate", rate, "--epochs", "1", *OPTDIGITS)
    assert done.returncode == 2
    assert "learning_rate" in done.stderr


def test_a_bug_is_one_line_with_a_file_and_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def broken() -> None:
        raise KeyError("postgresql://bob:secret@host")

    monkeypatch.setattr(sys, "argv", ["harness"])
    with pytest.raises(SystemExit) as ended:
        main.main(broken)
    assert ended.value.code == ExitStatus.BUG
    said = capsys.readouterr().err
    assert said.startswith("error: this is a bug in the harness: KeyError: ")
    path = Path(said.rpartition("Please report it, and attach ")[2].strip())
    assert "Traceback" in path.read_text()
    assert "secret" not in said + path.read_text()
    path.unlink()


@pytest.mark.parametrize("folder", ["ü", "日本", "a b"])
def test_names_that_the_locale_does_not_have_are_printed_all_the_same(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [COMMAND, "data", "--data", "optdigits", "--figure", f"{folder}/grid.png"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **locale}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (place / "grid.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        "text.usetex: True",
        "font.size: 40",
        "figure.dpi: 7\naxes.grid: True",
    ],
)
def test_figures_do_not_depend_on_matplotlibs_settings(tmp_path: Path, settings: str) -> None:
    (tmp_path / "matplotlibrc").write_text(settings)
    for name, environment in (("with", {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}), ("without", {})):
        command = [COMMAND, "data", *OPTDIGITS, "--figure", f"{name}.png"]
        done = subprocess.run(
            command,
            cwd=tmp_path if name == "with" else tmp_path.parent,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "with.png").read_bytes() == (tmp_path.parent / "without.png").read_bytes()
