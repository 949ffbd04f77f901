"""The location of the tracking store. This module does not import MLflow, which takes seconds."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

EXPERIMENT = "zero-errors"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"


def tracking_uri() -> str:
    """The tracking URI: ``MLFLOW_TRACKING_URI`` if it is set, else ``mlflow.db`` in the working folder.

    The path of an SQLite database is made absolute, and ``~`` in it is the home folder.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE}"
    url = _url(uri)
    path = database_path(uri)
    return uri if url is None or path is None else sqlite_uri(path, url)


def sqlite_uri(path: Path, like: URL | None = None) -> str:
    """The URI of an SQLite database, with the driver and options of another URL."""
    url = (like or make_url("sqlite://")).set(database=str(path))
    return url.render_as_string(hide_password=False)


def database_path(uri: str) -> Path | None:
    """The absolute path of an SQLite store; None for other stores."""
    url = _url(uri)
    if url is None or url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).expanduser().absolute()


def artifacts_beside(database: Path) -> Path:
    """The folder of the artifacts of an SQLite store: beside its database."""
    return database.parent / ARTIFACTS


def local_folder(uri: str) -> Path | None:
    """The local folder of a file URI or a path; None for a URI with another scheme."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(uri) if not parts.scheme else None


def _url(uri: str) -> URL | None:
    try:
        return make_url(uri)
    except ArgumentError:
        return None
