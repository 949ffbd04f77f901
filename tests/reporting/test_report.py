"""Reports of studies that are not as one would like them, made from records written by hand."""

from __future__ import annotations

import csv
import re
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from harness.network.softmax import SizedCheck, SoftmaxCheck
from harness.network.variant import Variant
from harness.reporting import findings, frames, report, summary, vega
from harness.tracking.run_record import RunRecord, StoredImages, StudyRecord

CHECK = SoftmaxCheck(max_abs_diff=2e-7, max_ulp=60, argmax_differs=0, row_sum_error=1e-7, overflow_rows=3)


def without_library(html: str) -> str:
    """A page without the code of Vega."""
    return html.replace(vega.library(), "")


def run(
    trial: int, *, rate: float = 0.001, seed: int = 1234, errors: tuple[int, ...] = (9, 4, 0), loss: float = 0.1
) -> RunRecord:
    variant = Variant(epochs=len(errors), learning_rate=rate, seed=seed)
    first = next((epoch for epoch, count in enumerate(errors, start=1) if count == 0), None)
    metrics = {"final_errors": float(errors[-1]), "final_loss": loss, "duration_s": 1.0, "shared_by": 1.0}
    metrics |= {f"softmax_{name}": float(value) for name, value in asdict(CHECK).items()}
    return RunRecord(
        run_id=f"{trial:032x}",
        name=f"lr {rate:g}, {len(errors)} epochs, seed {seed}",
        status="FINISHED",
        params={
            **{name: str(value) for name, value in variant.settings().items()},
            "engine": "graph",
            "dataset": "optdigits-5000",
        },
        metrics=metrics if first is None else {**metrics, "first_zero_epoch": float(first)},
        tags={"harness.trial": str(trial), "harness.variant": f"{trial:016x}"},
        started_ms=0,
        losses=(loss,) * len(errors),
        errors=errors,
        wrong_images=tuple(range(errors[-1])),
        wrong_answers=tuple((index + 1) % 10 for index in range(errors[-1])),
        softmax=dict.fromkeys(("loop", "vector", "stable"), CHECK),
        softmax_by_size=[SizedCheck(8.0, 5000, dict.fromkeys(("loop", "vector", "stable"), CHECK))],
    )


def failed(trial: int) -> RunRecord:
    whole = run(trial)
    return replace(
        whole,
        status="FAILED",
        metrics={},
        losses=(),
        errors=(),
        wrong_images=(),
        softmax={},
        tags={**whole.tags, "harness.failure": "WorkerLostError: <b>killed</b>"},
    )


IMAGES = StoredImages(np.random.default_rng(0).integers(0, 256, (5000, 400), np.uint8), np.repeat(np.arange(10), 500))


def study(*trainings: RunRecord) -> StudyRecord:
    tags = {
        "harness.study": "odd",
        "harness.study_key": "0" * 12,
        "harness.dataset": "optdigits-5000",
        "harness.engine": "graph",
        "harness.cpu": "a processor",
        "harness.versions": "python 3",
    }
    parent = RunRecord("f" * 32, "odd", "FINISHED", {}, {}, tags, 0)
    return StudyRecord(parent, trainings, IMAGES, tracking_uri="sqlite:///mlflow.db")


def _words(html: str) -> str:
    """What a reader sees of a page."""
    return re.sub(r"<[^>]*>", " ", re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL))


ODD = {
    "one run": study(run(0)),
    "all at zero": study(*(run(trial, seed=trial) for trial in range(4))),
    "none at zero": study(*(run(trial, seed=trial, errors=(9, 8, 7)) for trial in range(4))),
    "some wrong": study(*(run(trial, seed=trial, errors=(9, 4, trial)) for trial in range(4)), run(4, rate=0.01)),
    "answers were not recorded": study(replace(run(0, errors=(9, 5)), wrong_answers=())),
    "no digit at all": study(replace(run(0, errors=(9, 2)), wrong_answers=(-1, -1))),
    "one learning rate": study(*(run(trial, seed=trial, errors=(9, 4, 0)[: 1 + trial % 3]) for trial in range(6))),
    "one seed": study(run(0, rate=0.001), run(1, rate=0.01, errors=(9, 8))),
    "losses that are not finite": study(run(0, loss=float("nan")), run(1, seed=1, loss=float("inf"))),
    "some failed": study(run(0), failed(1)),
    "all failed": study(failed(0), failed(1)),
    "no run at all": study(),
    "half written": study(run(0), replace(run(1), status="KILLED", params={}, metrics={}, losses=(), errors=())),
    "two batch sizes": study(
        run(0), replace(run(1, errors=(900,)), params={**run(1, errors=(900,)).params, "batch_size": "64"})
    ),
    "rates that differ late": study(run(0, rate=0.001), run(1, rate=0.0010000001)),
    "many learning rates": study(*(run(trial, rate=0.001 * 1.1**trial) for trial in range(24))),
    "overflow everywhere": study(replace(run(0), softmax={"vector": replace(CHECK, max_ulp=None, max_abs_diff=None)})),
}


@pytest.mark.parametrize("record", ODD.values(), ids=ODD.keys())
def test_an_odd_study_still_gives_a_whole_report(record: StudyRecord, tmp_path: Path) -> None:
    written = report.write(record, tmp_path)
    html = written.read_text()
    assert "</html>" in html
    assert not re.search(r"\bnan\b", _words(html).lower())
    assert "None," not in html
    for picture in (tmp_path / "figures").glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "report.md").read_text().startswith("# odd on optdigits-5000")
    with (tmp_path / "runs.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len([run for run in record.trainings if run.params])


def test_the_page_holds_all_that_it_shows(tmp_path: Path) -> None:
    html = report.write(ODD["some wrong"], tmp_path).read_text()
    content = without_library(html)
    drawn = len(re.findall(r'<figure id="[^"]+"', content))
    assert drawn == len(list((tmp_path / "figures").iterdir())) == 10
    # Downloads stand beside the page. Nothing else is asked for.
    assert set(re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', content)) == {
        "runs.csv",
        *(f"figures/{path.name}" for path in (tmp_path / "figures").iterdir()),
    }


def test_no_two_parts_of_a_page_have_one_name(tmp_path: Path) -> None:
    html = without_library(report.write(ODD["some wrong"], tmp_path).read_text())
    names = re.findall(r'\sid="([^"]+)"', html)
    assert len(names) == len(set(names))
    referred = set(re.findall(r'(?:href="|url\()#([^")]+)', html))
    assert referred <= set(names)


def test_a_figure_that_is_no_more_does_not_stay(tmp_path: Path) -> None:
    report.write(ODD["some wrong"], tmp_path)
    report.write(ODD["all failed"], tmp_path)
    assert not list((tmp_path / "figures").iterdir())


def test_runs_are_linked_where_mlflow_has_an_address(tmp_path: Path) -> None:
    record = replace(ODD["one run"], tracking_uri="http://127.0.0.1:5000/", experiment_id="7")
    html = report.write(record, tmp_path).read_text()
    assert f'<a href="http://127.0.0.1:5000/#/experiments/7/runs/{0:032x}" target="_blank"' in html
    assert f'data-id="{0:032x}"' in html


def test_a_failure_is_shown_with_its_reason_and_without_a_score(tmp_path: Path) -> None:
    html = report.write(ODD["some failed"], tmp_path).read_text()
    assert "Runs without a score" in html
    assert "WorkerLostError: &lt;b&gt;killed&lt;/b&gt;" in html
    cells = frames.by_epochs_and_rate(frames.runs(ODD["some failed"]))
    assert cells["n"].tolist() == [1]


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    record = ODD["some wrong"]
    report.write(record, tmp_path / "a")
    report.write(record, tmp_path / "b")
    figures = [f"figures/{path.name}" for path in (tmp_path / "a" / "figures").iterdir()]
    assert len(figures) > 4
    names = ["report.html", "report.md", "runs.csv", *figures]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_row_names_its_runs(tmp_path: Path) -> None:
    record = ODD["all at zero"]
    report.write(record, tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    html = (tmp_path / "report.html").read_text()
    for training in record.trainings:
        assert training.run_id[:8] in markdown
        assert training.run_id in html


def test_batch_sizes_are_not_pooled() -> None:
    cells = frames.by_epochs_and_rate(frames.runs(ODD["two batch sizes"]))
    assert cells["rate"].tolist() == ["0.001, batch 32", "0.001, batch 64"]
    assert cells["n"].tolist() == [1, 1]


def test_softmax_places_are_not_pooled() -> None:
    other = replace(run(1), params={**run(1).params, "softmax": "output"})
    frame = frames.runs(study(run(0), other))
    assert frames.by_epochs_and_rate(frame)["rate"].tolist() == ["0.001, softmax logits", "0.001, softmax output"]
    assert len(frames.trainings(frame)) == 2
    assert len(frames.baseline(frame)) == 1


def test_a_record_from_before_a_setting_was_there_has_the_baselines() -> None:
    old = replace(run(0), params={name: value for name, value in run(0).params.items() if name != "softmax"})
    assert frames.runs(study(old))["softmax"].tolist() == ["logits"]


def test_of_equal_runs_the_one_whose_history_was_read_is_shown() -> None:
    record = study(replace(run(0), losses=(), errors=()), run(1))
    assert len(frames.curves(record, frames.runs(record))) == 3


def test_the_baseline_of_keras_has_keras_adam() -> None:
    own = replace(run(0), params={**run(0).params, "engine": "keras", "adam": "keras"})
    assert len(frames.baseline(frames.runs(study(own)))) == 1
    not_its_own = replace(own, params={**own.params, "adam": "tensorflow"})
    assert frames.baseline(frames.runs(study(not_its_own))).empty


def test_a_half_written_run_is_named_and_not_counted(tmp_path: Path) -> None:
    report.write(ODD["half written"], tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    assert "incomplete: its process was killed" in markdown
    assert "| 0.001 | 3 | 0.0 | 0 to 0 | 1 of 1 |" in markdown


def test_a_training_that_misses_zero_is_counted_as_such() -> None:
    record = study(run(0), run(1, seed=1, errors=(9, 8, 7)))
    frame = frames.runs(record)
    trainings = frames.trainings(frame)
    assert trainings["first_zero_epoch"].isna().tolist() == [True, False]
    [group] = findings.reach(trainings, frames.curves(record, frame))
    assert (group.reached, group.n) == (1, 2)
    assert group.mean is not None
    assert group.mean.value == 3.0
    assert frames.by_epochs_and_rate(frame)[["n", "at_zero"]].to_numpy().tolist() == [[2, 1]]


def test_trials_read_off_one_training_are_one_observation() -> None:
    record = study(run(0, errors=(9, 4, 0)), run(1, errors=(9,)), run(2, errors=(9, 4)))
    frame = frames.runs(record)
    assert frames.trainings(frame)["epochs"].tolist() == [3]
    assert frames.curves(record, frame)["epoch"].tolist() == [1, 2, 3]
    assert len(frames.by_epochs_and_rate(frame)) == 3


def test_the_baseline_is_the_labs_seed_and_learning_rate_alone() -> None:
    record = study(run(0), run(1, seed=1), run(2, rate=0.01), run(3, errors=(9, 8)))
    assert frames.baseline(frames.runs(record))["trial"].tolist() == [3, 0]


def test_a_study_whose_images_were_never_wrong_says_so(tmp_path: Path) -> None:
    record = study(run(0, errors=(0, 0)), run(1, errors=(0, 0), seed=2))
    said = "No image was wrong at the end of any run of 2 trainings."
    assert said in report.write(record, tmp_path).read_text()
    assert said in (tmp_path / "report.md").read_text()


def test_one_seed_of_one_is_not_surer_than_31_of_32() -> None:
    many = [run(seed, seed=seed, errors=(9, 0 if seed else 1)) for seed in range(32)]
    one = run(32, rate=0.01, errors=(0,))
    found = findings.recommended(frames.runs(study(*many, one)))
    assert [(variant.rate, variant.at_zero, variant.n) for variant in found] == [("0.001", 31, 32), ("0.01", 1, 1)]


def test_drawing_touches_no_setting_of_matplotlib(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    report.write(ODD["some wrong"], tmp_path)
    assert dict(mpl.rcParams) == before


def test_a_setting_fixed_at_another_value_than_the_baselines_is_named(tmp_path: Path) -> None:
    other = [replace(one, params={**one.params, "beta_1": "0.99"}) for one in (run(0), run(1, seed=1))]
    report.write(study(*other), tmp_path)
    assert "- fixed: beta_1: 0.99 instead of 0.9 (the baseline's)" in (tmp_path / "report.md").read_text()


def test_the_recommended_variant_has_the_fewest_mean_errors_of_those_with_the_same_share() -> None:
    few = [run(seed, seed=seed, errors=(9, 4, 0) if seed else (9, 4, 1)) for seed in range(8)]
    spiking = [run(8 + seed, seed=seed, errors=(9, 0) if seed else (9, 66)) for seed in range(8)]
    frame = frames.runs(study(*few, *spiking))
    card = summary.recommended_card(findings.recommended(frame), [])
    assert card.answer == "learning rate 0.001, 3 epochs"
    assert card.lines[1] == "Errors at the last epoch: 0.1 on average, 1 for the worst seed."


def test_the_seed_whose_errors_returned_the_most_is_the_surprise() -> None:
    record = study(run(0, errors=(9, 0, 0)), run(1, seed=7, errors=(9, 0, 3, 121, 0)), run(2, seed=2, errors=(0, 5, 0)))
    frame = frames.runs(record)
    curves = frames.curves(record, frame)
    spikes = findings.spikes(curves, frames.trainings(frame))
    assert [(spike.seed, spike.epoch, spike.errors) for spike in spikes] == [(7, 4, 121), (2, 2, 5)]
    card = summary.surprise_card(frame, findings.reach(frames.trainings(frame), curves), spikes)
    assert card.answer == "errors return in 2 of 3 trainings"
    assert card.lines == ["Seed 7 at learning rate 0.001 had zero errors at epoch 2 and 121 errors at epoch 4."]


def test_failed_and_diverged_runs_are_a_surprise() -> None:
    frame = frames.runs(study(run(0), failed(1), run(2, seed=2, errors=(9, 9), loss=np.inf)))
    card = summary.surprise_card(frame, [], [])
    assert card.lines == ["1 run failed.", "1 run diverged: the loss is not finite."]
