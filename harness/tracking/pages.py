"""Serves MLflow's pages, as a separate process: ``python -m harness.tracking.pages URI PORT``.

What `mlflow server` does in two processes, of which each loads all of MLflow before the first page is there: half of
the time that one waits for it.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

from harness import startup
from harness.tracking.location import ARTIFACTS

startup.reduce_garbage_collection()

# Before MLflow, which asks whether it is loaded, and then protects its server from pages of other addresses.
import uvicorn  # noqa: E402 - setting the garbage collector before saves a fifth of the time

warnings.filterwarnings("ignore", "starlette.middleware.wsgi is deprecated")  # MLflow's own affair

from mlflow.server import handlers  # noqa: E402 - as above
from mlflow.server.constants import (  # noqa: E402
    ARTIFACT_ROOT_ENV_VAR,
    ARTIFACTS_DESTINATION_ENV_VAR,
    BACKEND_STORE_URI_ENV_VAR,
    SERVE_ARTIFACTS_ENV_VAR,
)

HOST = "127.0.0.1"


def main(uri: str, port: int) -> None:
    """Serve the pages over a tracking store until the process is asked to stop."""
    os.environ |= {
        BACKEND_STORE_URI_ENV_VAR: uri,
        SERVE_ARTIFACTS_ENV_VAR: "true",
        ARTIFACTS_DESTINATION_ENV_VAR: f"./{ARTIFACTS}",
        ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
    }
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    handlers.initialize_backend_stores(uri, None, os.environ[ARTIFACT_ROOT_ENV_VAR])
    from mlflow.server.fastapi_app import app

    uvicorn.run(app, host=HOST, port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
