"""Saved views of MLflow's table of runs and its charts, stored with the experiment.

What the table shows at first is decided by MLflow's pages in the browser and by nothing else. What can be kept beside
the runs are views, as its button "Views" keeps them: tags of the experiment, whose form was read off those that the
button of MLflow 3.17 wrote. Another version that did not know them would show its own first view.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from harness.network.variant import BASELINE
from harness.study.config import Sampled, StudyConfig
from harness.tracking.tags import Tag

_TAG = "mlflow.sharedViewState."
# Of the metrics of a training, those that are drawn and those that are not.
_LINES, _BARS = ("loss", "errors"), ("first_zero_epoch",)
_HIDDEN = (
    *("final_errors", "final_loss", "duration_s", "shared_by"),
    *(f"softmax_{name}" for name in ("max_abs_diff", "max_ulp", "argmax_differs", "row_sum_error", "overflow_rows")),
)
_COLUMNS = ("final_errors", "first_zero_epoch", "final_loss")
_SECTION = "model"


def address(experiment_id: str, key: str) -> str:
    """Where MLflow's pages show the view of a study, from their root on."""
    query = f"viewStateShareKey={key}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{query}"


def of_study(config: StudyConfig, key: str) -> tuple[str, str]:
    """The view of a study's trainings, fewest errors first: the experiment's tag, its name and its value."""
    varied = [name for name in BASELINE.settings() if name in config.space.parameters()]
    if isinstance(config.design, Sampled):
        varied.append("seed")
    columns = [*(f"params.`{name}`" for name in varied), *(f"metrics.`{name}`" for name in _COLUMNS)]
    state = {
        "searchFilter": f"tags.`{Tag.STUDY_KEY}` = '{key}' and tags.`{Tag.ROLE}` = 'training'",
        "orderByKey": "metrics.`final_errors`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": [
            *(_chart(name, "LINE") for name in _LINES),
            *(_chart(name, "BAR") for name in _BARS),
            *(_chart(name, "BAR", deleted=True) for name in _HIDDEN),
        ],
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": True, "isReordered": False, "deleted": False, "isGenerated": True}
            for uuid, name in ((_SECTION, "Model metrics"), ("system", "System metrics"))
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    view = {"name": f"{config.name}: every training", "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
    return f"{_TAG}{key}", json.dumps(view)


def _chart(metric: str, kind: str, *, deleted: bool = False) -> dict[str, Any]:
    chart: dict[str, Any] = {
        "uuid": metric,
        "type": kind,
        "runsCountToCompare": 20,
        "metricSectionId": _SECTION,
        "deleted": deleted,
        "isGenerated": True,
        "displayName": metric,
        "metricKey": metric,
        "useGlobalXaxisKey": True,
    }
    if kind == "LINE":
        chart |= {
            "lineSmoothness": 0,
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "range": {},
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "ignoreOutliers": False,
            "useGlobalLineSmoothing": True,
        }
    return chart
