"""Creates saved views of MLflow's run table and charts.

A saved view is a tag of an experiment. It defines the filter, order and columns of the table, and the charts. The
button "Views" in MLflow's UI creates such tags.

This module creates tags in the format of MLflow 3.17. An MLflow version that does not know the format would show its
default view.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from harness.network.variant import BASELINE
from harness.study.config import StudyConfig
from harness.tracking.tags import Tag

_TAG = "mlflow.sharedViewState."
# The metrics that the view shows as line charts, the metrics that it shows as bar charts, and the hidden metrics.
_LINES, _BARS = ("loss", "errors"), ("first_zero_epoch", "held_out_errors")
_HIDDEN = (
    *("final_errors", "final_loss", "duration_s", "shared_by"),
    *(f"softmax_{name}" for name in ("max_abs_diff", "max_ulp", "argmax_differs", "row_sum_error", "overflow_rows")),
)
_COLUMNS = ("final_errors", "held_out_errors", "first_zero_epoch", "final_loss")
_SECTION = "model"


def address(experiment_id: str, key: str) -> str:
    """The address of a study's saved view, relative to the root of MLflow's UI."""
    query = f"viewStateShareKey={key}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{query}"


def of_study(config: StudyConfig, key: str) -> tuple[str, str]:
    """The saved view of a study's trainings, as the name and value of an experiment tag.

    The view shows one run of each training: the run with the most epochs. The runs with the fewest errors come first.
    If the learning rate varies, the view groups the runs by learning rate. A chart then has one line for each learning
    rate, which is the mean over the runs of the group.
    """
    varied = [name for name in BASELINE.settings() if name in config.varied]
    columns = [*(f"params.`{name}`" for name in varied), *(f"metrics.`{name}`" for name in _COLUMNS)]
    state = {
        "searchFilter": f"tags.`{Tag.STUDY_KEY}` = '{key}' and tags.`{Tag.LONGEST}` = 'true'",
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
        "groupBy": _by_learning_rate() if "learning_rate" in varied else None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    view = {"name": f"{config.name}: every training", "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
    return f"{_TAG}{key}", json.dumps(view)


def _by_learning_rate() -> dict[str, Any]:
    return {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "learning_rate"}]}


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
            "scaleType": "log",
            "range": {},
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "ignoreOutliers": False,
            "useGlobalLineSmoothing": True,
        }
    return chart
