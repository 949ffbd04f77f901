"""Serves Optuna's dashboard for a recorded study, on this machine and read-only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard  # type: ignore[import-untyped] # it ships no types

from harness.search import optuna_study
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Tag
from harness.tracking.ui import HOST

# The address of the study in the dashboard, whose storage holds no other.
PAGE = "dashboard/studies/0"

_PAGES = "/dashboard"
_READ_ONLY = b'{"reason": "This dashboard is read-only. MLflow holds the study."}'


class _Application:
    """The dashboard's application. It rebuilds the study when a page is loaded and the records have changed."""

    def __init__(self, reader: StudyReader, parent: RunRecord) -> None:
        self._reader, self._parent = reader, parent
        self._lock = threading.Lock()
        self._state, self._application = self._built()

    def _built(self) -> tuple[str, Callable[..., Iterable[bytes]]]:
        state = self._reader.last_change(self._parent.tags[Tag.STUDY_KEY])
        study = optuna_study.of_record(self._reader, self._parent)
        return state, optuna_dashboard.wsgi(study._storage)  # noqa: SLF001 - the dashboard takes the storage

    def __call__(self, environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
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
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the library's own signature
        """Log nothing."""


@contextmanager
def served(reader: StudyReader, parent: RunRecord, port: int) -> Iterator[WSGIServer]:
    """A server of the dashboard that already has its port, so that it answers as soon as it serves.

    Args:
        reader: Reader of the tracking store.
        parent: Parent run of the study.
        port: Port of the loopback address.

    Raises:
        StoppedError: The store cannot be read.
    """
    application = _Application(reader, parent)
    with make_server(HOST, port, application, server_class=_Server, handler_class=_Quiet) as server:
        yield server
