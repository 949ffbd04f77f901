"""Finds the tracking store: its URI, its database file and its artifact folder.

This module does not import MLflow, because that import takes seconds.
"""

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
_PATH = "PATH"


def tracking_uri() -> str:
    """The tracking URI.

    It is the value of ``MLFLOW_TRACKING_URI`` if that variable is set. Otherwise it is the URI of the SQLite database
    ``mlflow.db`` in the working folder. The path of an SQLite database is made absolute. A leading ``~`` in the path
    is replaced by the home folder.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE}"
    url = _url(uri)
    path = database_path(uri)
    return uri if url is None or path is None else sqlite_uri(path, url)


def sqlite_uri(path: Path, like: URL | None = None) -> str:
    """The URI of an SQLite database file. If the URL `like` is given, its driver and options are used."""
    url = (like or make_url("sqlite://")).set(database=_PATH)
    # Percent-encode only these three characters. SQLAlchemy would also encode spaces and non-ASCII letters, and MLflow
    # would then create a folder with the encoded name.
    quoted = str(path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    return url.render_as_string(hide_password=False).replace(_PATH, quoted, 1)


def database_path(uri: str) -> Path | None:
    """The absolute path of the SQLite database file that a URI names. None if the URI names no such file."""
    url = _url(uri)
    if url is None or url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).expanduser().absolute()


def artifacts_beside(database: Path) -> Path:
    """The artifact folder of an SQLite store. It is in the same folder as the database."""
    return database.parent / ARTIFACTS


def local_folder(uri: str) -> Path | None:
    """The local folder that a path or a ``file:`` URI names. None for a URI with another scheme."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(uri) if not parts.scheme else None


def _url(uri: str) -> URL | None:
    try:
        return make_url(uri)
    except ArgumentError:
        return None
