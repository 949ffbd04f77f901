"""Serves a read-only Optuna dashboard for a recorded study. Only this machine can connect."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard  # type: ignore[import-untyped] # the package has no type hints

from harness.search import optuna_study
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Tag
from harness.tracking.ui import HOST

# The path of the study's page in the dashboard. The study's id is 0, because the storage holds only this study.
PAGE = "dashboard/studies/0"

_PAGES = "/dashboard"
_READ_ONLY = b'{"reason": "This dashboard is read-only. MLflow holds the study."}'


class _Application:
    """The dashboard's WSGI application. When a page is loaded, it rebuilds the study if its records have changed."""

    def __init__(self, reader: StudyReader, parent: RunRecord) -> None:
        self._reader, self._parent = reader, parent
        self._lock = threading.Lock()
        self._state, self._application = self._built()

    def _built(self) -> tuple[str, Callable[..., Iterable[bytes]]]:
        state = self._reader.last_change(self._parent.tags[Tag.STUDY_KEY])
        study = optuna_study.of_record(self._reader, self._parent)
        return state, optuna_dashboard.wsgi(study._storage)  # noqa: SLF001 - the dashboard needs the storage object

    def __call__(self, environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer an HTTP request. Only GET and HEAD are allowed."""
        if environment["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            start_response("403 Forbidden", [("Content-Type", "application/json")])
            return [_READ_ONLY]
        if environment["PATH_INFO"].startswith(_PAGES):
            with self._lock:
                if self._reader.last_change(self._parent.tags[Tag.STUDY_KEY]) != self._state:
                    self._state, self._application = self._built()
        return self._application(environment, start_response)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the signature of the base class
        """Do not log requests."""


@contextmanager
def served(reader: StudyReader, parent: RunRecord, port: int) -> Iterator[WSGIServer]:
    """Yield a server of the dashboard that is already bound to its port. The caller starts and stops serving.

    Args:
        reader: Reader of the tracking store.
        parent: Parent run of the study.
        port: Port on the loopback address.

    Raises:
        StoppedError: The store cannot be read.
    """
    application = _Application(reader, parent)
    with make_server(HOST, port, application, server_class=_Server, handler_class=_Quiet) as server:
        yield server
