"""MLflow's pages and Optuna's dashboard over a real study, as a person browses them in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, Page, expect

from harness.tracking import ui, views
from harness.tracking.run_record import RunRecord, StudyRecord
from tests.browser import Watched, watch
from tests.search.test_run import recorded
from tests.support import COMMAND

pytestmark = pytest.mark.slow

# MLflow's pages are some megabytes of script, and the machine may be busy with other tests.
_PATIENCE_MS = 60_000
_ORDINARY = "ordinary"
HASH = "1df638f67c0977783f4bf5d97754feef6ce67d5cb1c35bcf31a521de9f76a8ad"  # of optdigits-5000


@contextmanager
def told_address(folder: Path, *arguments: str) -> Iterator[str]:
    """The address that a command tells when it serves; stop it with Ctrl-C, well."""
    command = [COMMAND, *arguments]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stderr is not None
    lines = []
    try:
        for line in server.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/\S*", line):
                yield found.group()
                break
        else:
            pytest.fail(f"no address was told: {lines}")
    finally:
        server.send_signal(signal.SIGINT)
        _, rest = server.communicate(timeout=60)
    assert server.returncode == 0, rest
    assert "Traceback" not in rest


@dataclass(frozen=True)
class Served:
    """A study and the pages that show it.

    Attributes:
        folder: where it was run.
        study: as it was recorded.
        address: that the command told.
        ordinary: what MLflow's pages complain of by themselves, over runs that this project did not record.
    """

    folder: Path
    study: StudyRecord
    address: str
    ordinary: frozenset[str]

    @property
    def root(self) -> str:
        return self.address.partition("#")[0]

    def run_page(self, run: RunRecord, part: str = "") -> str:
        return f"{self.root}#/experiments/{self.study.experiment_id}/runs/{run.run_id}{part}"

    def check(self, watched: Watched) -> None:
        """Nothing was asked for elsewhere, and no complaint is ours."""
        outside = [url for url in watched.requests if not url.startswith((self.root, "data:", "blob:"))]
        assert outside == []
        assert set(watched.complaints) <= self.ordinary


@pytest.fixture(scope="module")
def folder(whole_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a small study, and beside it a run that the project knows nothing of."""
    folder = tmp_path_factory.mktemp("browsed") / "copy"
    shutil.copytree(whole_study, folder)
    told = (folder / "stderr").read_text()
    assert "model zero-errors, version 1: baseline (lr 0.001, 2 epochs, seed 1234" in told
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment(_ORDINARY, artifact_location=(folder / "other").as_uri())
    run = client.create_run(experiment)
    client.log_batch(run.info.run_id, [Metric("loss", 1.0 / step, step, step) for step in (1, 2, 3)])
    client.log_text(run.info.run_id, "<p>a page</p>", "page.html")
    client.set_terminated(run.info.run_id)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path, browser: Browser) -> Iterator[Served]:
    """The pages, served by the command."""
    study = recorded(folder)
    with told_address(folder, "ui", "--port", str(ui.free_port(5600))) as address:
        yield Served(folder, study, address, _ordinary_complaints(browser, folder, address))


def _ordinary_complaints(browser: Browser, folder: Path, address: str) -> frozenset[str]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(_ORDINARY)
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    base = f"{address.partition('#')[0]}#/experiments/{experiment.experiment_id}"
    watched = watch(browser)
    charts = f"{base}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    opened(watched, charts, lambda page: page.locator(".js-plotly-plot").first)
    opened(watched, f"{base}/runs/{run.info.run_id}/model-metrics", lambda page: page.locator(".js-plotly-plot").first)
    page_of_run = f"{base}/runs/{run.info.run_id}/artifacts/page.html"
    opened(watched, page_of_run, lambda page: page.frame_locator("iframe").get_by_text("a page"))
    # The last one depends on the moment.
    return frozenset({*watched.complaints, "error: null ResizeObserver loop completed with undelivered notifications."})


def opened(watched: Watched, address: str, wanted: Callable[[Page], object]) -> Page:
    """The page at an address, when what is wanted of it is there."""
    page = watched.page
    page.goto("about:blank")  # an address that differs behind the # alone would be no new page
    page.goto(address)
    expect(wanted(page)).to_be_visible(timeout=_PATIENCE_MS)  # type: ignore[call-overload] # a locator, as Playwright has it
    return page


def close_assistant(page: Page) -> None:
    """Shut MLflow's own assistant, which takes a quarter of the page."""
    if (button := page.get_by_role("button", name="Close", exact=True)).count():
        button.first.click()


def test_the_address_that_is_told_shows_the_study_with_its_trainings_beneath(served: Served, browser: Browser) -> None:
    watched = watch(browser)
    page = opened(watched, served.address, lambda page: page.get_by_role("link", name="small on optdigits-5000"))
    close_assistant(page)
    expect(page.get_by_text("optdigits-5000 (").first).to_be_visible()
    assert page.get_by_role("link", name="lr 0.01, 2 epochs, seed 1234").count() == 0
    cell = page.get_by_role("link", name="small on optdigits-5000").locator("xpath=ancestor::*[@role='gridcell']")
    cell.get_by_role("button").first.click()
    expect(page.get_by_role("link", name="lr 0.01, 2 epochs, seed 1234")).to_be_visible(timeout=_PATIENCE_MS)
    watched.screenshot("mlflow-runs")
    served.check(watched)


def test_a_view_of_the_study_has_a_run_a_training_in_groups_and_draws_loss_and_errors(
    served: Served, browser: Browser
) -> None:
    watched = watch(browser, 1600)
    key = served.study.parent.tags["harness.study_key"]
    address = f"{served.root}{views.address(served.study.experiment_id, key)}"
    page = opened(watched, address, lambda page: page.locator(".js-plotly-plot .scatterlayer path").first)
    close_assistant(page)
    for metric in ("loss", "errors"):
        expect(page.get_by_text(metric, exact=True).first).to_be_visible(timeout=_PATIENCE_MS)
    assert page.get_by_text("softmax_max_ulp").count() == 0
    for rate in ("0.001", "0.01"):
        expect(page.get_by_text(f"Group: {rate}", exact=True)).to_be_visible()
        expect(page.get_by_text(f"{rate} (errors)").first).to_be_visible()
    expect(page.get_by_text("4 matching runs")).to_be_visible()
    assert page.get_by_role("link", name="lr 0.01, 1 epoch, seed 1").count() == 0
    axes = "[...document.querySelectorAll('.js-plotly-plot')].slice(0, 2).map(plot => plot.layout.yaxis.type)"
    assert page.evaluate(axes) == ["log", "log"]
    watched.screenshot("mlflow-charts")
    table = address.replace("CHART", "TABLE")
    page = opened(watched, table, lambda page: page.get_by_role("columnheader", name="learning_rate").first)
    heads = {head for head in page.get_by_role("columnheader").all_inner_texts() if head.strip()}
    assert len(heads) <= 14  # a dozen, and the names of the groups
    served.check(watched)


def test_the_studys_own_page_has_its_note_dataset_and_report(served: Served, browser: Browser) -> None:
    watched = watch(browser)
    parent = served.study.parent
    page = opened(
        watched, served.run_page(parent), lambda page: page.get_by_text("8 runs ended with zero errors").first
    )
    close_assistant(page)
    note = page.get_by_text("Recommended:").locator("xpath=ancestor::p")
    # The two results are two lines, which are visible before the note is opened.
    assert [line.partition(":")[0] for line in note.inner_text().splitlines()] == ["Recommended", "Baseline"]
    page.get_by_text("Show more").click()
    rates = sorted({run.params["learning_rate"] for run in served.study.trainings}, key=float)
    for rate in rates:
        expect(page.get_by_role("cell", name=rate, exact=True).first).to_be_visible()
    link = page.get_by_role("link", name="Loss and errors of every training")
    assert views.address(served.study.experiment_id, parent.tags["harness.study_key"]) in (
        link.get_attribute("href") or ""
    )
    watched.screenshot("mlflow-parent")
    page.get_by_text(re.compile(r"^optdigits-5000 \(")).first.click()
    expect(page.get_by_text("float64 (5000, 400)")).to_be_visible(timeout=_PATIENCE_MS)
    expect(page.get_by_text(HASH, exact=True)).to_be_visible()
    report = served.run_page(parent, "/artifacts/report.html")
    opened(watched, report, lambda page: page.frame_locator("iframe").get_by_role("heading", level=1))
    names = watched.page.locator("body").inner_text()
    assert all(name in names for name in ("report.md", "runs.csv", "figures"))
    served.check(watched)


def test_the_address_of_a_named_study_is_its_own_page(served: Served, browser: Browser) -> None:
    watched = watch(browser)
    with told_address(served.folder, "ui", "small", "--port", str(ui.free_port(5650))) as address:
        page = opened(watched, address, lambda page: page.get_by_role("heading", name="small on optdigits-5000"))
        expect(page.get_by_text("Recommended:")).to_be_visible()
    assert served.study.parent.run_id in address


def test_the_page_of_a_training_draws_its_loss_and_errors(served: Served, browser: Browser) -> None:
    watched = watch(browser)
    run = next(run for run in served.study.trainings if run.params["epochs"] == "2")
    address = served.run_page(run, "/model-metrics")
    page = opened(watched, address, lambda page: page.locator(".js-plotly-plot .scatterlayer path").first)
    close_assistant(page)
    for metric in ("loss", "errors", "final_errors"):
        expect(page.get_by_text(metric, exact=True).first).to_be_visible()
    watched.screenshot("mlflow-run")
    served.check(watched)


def test_the_models_have_their_aliases_and_descriptions(served: Served, browser: Browser) -> None:
    watched = watch(browser)
    page = opened(watched, f"{served.root}#/models/zero-errors", lambda page: page.get_by_text("baseline").first)
    close_assistant(page)
    watched.screenshot("mlflow-models")
    page.get_by_role("link", name="Version 1").click()
    expect(page.get_by_text("errors on optdigits-5000")).to_be_visible(timeout=_PATIENCE_MS)
    expect(page.get_by_text("Inputs (1)")).to_be_visible(timeout=_PATIENCE_MS)
    served.check(watched)


_COUNT = """
import json, sys
import mlflow
from harness.data import digits
mlflow.set_tracking_uri(sys.argv[1])
images = digits.load("optdigits")
found = {}
for alias in ("baseline",):
    model = mlflow.pyfunc.load_model(f"models:/zero-errors@{alias}")
    assert model.metadata.signature is not None and model.input_example is not None
    wrong = model.predict(images.features).argmax(axis=1) != images.labels
    found[alias] = [int(wrong.sum()), model.metadata.run_id]
print(json.dumps(found))
"""


def test_the_models_load_and_have_as_many_errors_as_their_runs(folder: Path) -> None:
    command = [sys.executable, "-c", _COUNT, f"sqlite:///{folder}/mlflow.db"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    runs = {run.run_id: run for run in recorded(folder).trainings}
    for errors, run_id in found.values():
        assert errors == runs[run_id].metrics["final_errors"]
    assert runs[found["baseline"][1]].name == "lr 0.001, 2 epochs, seed 1234"
    [requirements] = {path.read_text() for path in (folder / "mlartifacts" / "models").rglob("requirements.txt")}
    assert {line.split("==")[0] for line in requirements.split()} == {"mlflow", "keras", "tensorflow", "numpy"}


def test_a_study_that_is_run_again_registers_nothing_twice(folder: Path) -> None:
    command = [COMMAND, "study", "run", "small.toml", "--data", "optdigits", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
    assert "model zero-errors, version 1: baseline" in done.stderr
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    assert len(client.search_model_versions("name = 'zero-errors'")) == 1


def test_the_dashboard_shows_the_study_and_changes_nothing(folder: Path, browser: Browser) -> None:
    def content() -> list[str]:
        # The bytes may differ, because SQLite merges its write-ahead log when the last connection closes.
        with closing(sqlite3.connect(f"{(folder / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as connection:
            return list(connection.iterdump())

    before = content()
    watched = watch(browser)
    with told_address(folder, "dashboard", "small", "--port", str(ui.free_port(8200))) as address:
        assert address.endswith("/dashboard/studies/0")
        opened(watched, address, lambda page: page.get_by_role("heading", name="Hyperparameter Importance"))
        expect(watched.page.get_by_text("small").first).to_be_visible()
        expect(watched.page.get_by_text("errors").first).to_be_visible(timeout=_PATIENCE_MS)  # the axis of the history
        watched.screenshot("dashboard")
        root = address.partition("dashboard")[0]
        refused = requests.put(f"{root}api/studies/0/note", json={"body": "mine", "version": 1}, timeout=60)
        assert (refused.status_code, "read-only" in refused.json()["reason"]) == (403, True)
    assert [url for url in watched.requests if not url.startswith((root, "data:", "blob:"))] == []
    assert watched.complaints == []
    assert content() == before
