"""The location of the tracking store. This module does not import MLflow, which takes seconds."""

from __future__ import annotations

import os
from pathlib import Path

EXPERIMENT = "zero-errors"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"


def tracking_uri() -> str:
    """The tracking URI: ``MLFLOW_TRACKING_URI`` if it is set, else ``mlflow.db`` in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(DATABASE).absolute()}"


def database_path(uri: str) -> Path | None:
    """The file of an SQLite store; None for other stores."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
