"""Serves MLflow's UI as a separate process: ``python -m harness.tracking.pages URI PORT``.

The command `mlflow server` uses two processes, and each of them loads all of MLflow before the first page is available.
This module uses one process, which halves the waiting time.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

from harness import startup
from harness.tracking.location import ARTIFACTS, artifacts_beside, database_path

startup.reduce_garbage_collection()

# Import uvicorn before MLflow. If uvicorn is already loaded, MLflow enables its protection against requests from other
# websites.
import uvicorn  # noqa: E402 - the garbage collector is configured first, which saves a fifth of the start time

warnings.filterwarnings("ignore", "starlette.middleware.wsgi is deprecated")  # MLflow causes this warning

from mlflow.server import handlers  # noqa: E402 - MLflow must be imported after uvicorn.
from mlflow.server.constants import (  # noqa: E402
    ARTIFACT_ROOT_ENV_VAR,
    ARTIFACTS_DESTINATION_ENV_VAR,
    BACKEND_STORE_URI_ENV_VAR,
    SERVE_ARTIFACTS_ENV_VAR,
)

from harness.tracking.store import readable_uri  # noqa: E402

HOST = "127.0.0.1"


def main(uri: str, port: int) -> None:
    """Serve MLflow's UI for a tracking store until a signal stops the process."""
    path = database_path(uri)
    if path is not None:
        uri = readable_uri(path, uri)
    os.environ |= {
        BACKEND_STORE_URI_ENV_VAR: uri,
        SERVE_ARTIFACTS_ENV_VAR: "true",
        ARTIFACTS_DESTINATION_ENV_VAR: str(artifacts_beside(path)) if path else f"./{ARTIFACTS}",
        ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
    }
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    handlers.initialize_backend_stores(uri, None, os.environ[ARTIFACT_ROOT_ENV_VAR])
    from mlflow.server.fastapi_app import app

    uvicorn.run(app, host=HOST, port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
