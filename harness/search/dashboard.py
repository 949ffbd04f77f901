"""Serves Optuna's dashboard for a study, on this machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard  # type: ignore[import-untyped] # it ships no types

from harness.search import optuna_study
from harness.tracking.ui import HOST


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the library's own signature
        """Say nothing of a request."""


@contextmanager
def served(url: str | None, journal: Path, port: int) -> Iterator[WSGIServer]:
    """A server of the dashboard that has its port, so that it answers as soon as it serves.

    A journal is looked at and cannot be changed; in a database the dashboard can change what its user asks it to.

    Args:
        url: of Optuna's storage; None for the journal.
        journal: of the study.
        port: of the loopback address.

    Raises:
        UsageError: there is nothing to show.
        StoppedError: the storage cannot be read.
    """
    application = optuna_dashboard.wsgi(optuna_study.to_look_at(url, journal))
    with make_server(HOST, port, application, server_class=_Server, handler_class=_Quiet) as server:
        yield server
