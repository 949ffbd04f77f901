"""``harness ui``, ``harness dashboard`` and ``harness cluster``: servers on this machine."""

from __future__ import annotations

import os
import sys
import webbrowser
from contextlib import suppress
from threading import Event

import click

from harness.commands import console, options
from harness.commands.help_text import Command
from harness.errors import ExitStatus
from harness.files import masked

_DASHBOARD_PORT = 8080
_PORT = click.IntRange(1, 65535)


@click.command(
    cls=Command,
    examples={
        "harness ui": "Browse all runs of this folder",
        "harness ui variants --port 5001": "Open the page of a study on port 5001",
    },
)
@click.argument("name", required=False, metavar="[STUDY]")
@click.option("--port", type=_PORT, help="The port. Default: 5000, or the next free port.")
def ui(name: str | None, port: int | None) -> int:
    """Browse the recorded runs in MLflow, or open the page of a study.

    Only this machine can connect. Ctrl-C stops the server.
    """
    from harness.tracking import ui as ui_module
    from harness.tracking.location import tracking_uri

    uri = tracking_uri()
    page = ui_module.landing(uri)
    if name is not None:
        page = _study_page(name)
    chosen = ui_module.free_port() if port is None else ui_module.check_port(port)
    console.err.print(f"MLflow is starting for {masked(uri)}", markup=False)
    try:
        with ui_module.served(uri, chosen) as server:
            address = f"http://{ui_module.HOST}:{chosen}/{page}"
            console.err.print(f"MLflow: {address}\nPress Ctrl-C to stop.", markup=False)
            if name is not None and _has_browser():
                webbrowser.open(address)
            return server.wait()
    except KeyboardInterrupt:
        return ExitStatus.OK


def _study_page(name: str) -> str:
    """Return the address of a study's page in MLflow's UI, relative to the address of the server.

    Raises:
        UsageError: No study with this name was recorded.
    """
    from harness.tracking import ui as ui_module
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    store = Store(create=False)
    return ui_module.run_page(store.experiment_id, StudyReader(store).recorded(name).run_id)


def _has_browser() -> bool:
    """Return whether a person started the command in a terminal on a machine that can show a browser.

    Without a display, :mod:`webbrowser` would start a browser for text in the terminal.
    """
    needs_display = sys.platform not in {"darwin", "win32"}
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return sys.stderr.isatty() and (has_display or not needs_display)


@click.command(
    cls=Command,
    examples={
        "harness dashboard": "Browse the trials of the study `variants`",
        "harness dashboard search --port 8081": "Browse another study on port 8081",
    },
)
@click.argument("name", default=options.DEFAULT_STUDY, metavar="[STUDY]")
@click.option("--port", type=_PORT, help="The port. Default: 8080, or the next free port.")
def dashboard(name: str, port: int | None) -> int:
    """Browse the trials of a study in Optuna's dashboard.

    The dashboard is read-only. Only this machine can connect. Ctrl-C stops the server.
    """
    from harness.search import dashboard as dashboard_module
    from harness.tracking import ui as ui_module
    from harness.tracking.reader import StudyReader
    from harness.tracking.store import Store

    chosen = ui_module.free_port(_DASHBOARD_PORT) if port is None else ui_module.check_port(port)
    reader = StudyReader(Store(create=False))
    with dashboard_module.served(reader, reader.recorded(name), chosen) as server:
        address = f"http://{ui_module.HOST}:{chosen}/{dashboard_module.PAGE}"
        console.err.print(f"Optuna (read-only): {address}\nPress Ctrl-C to stop.", markup=False)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return ExitStatus.OK


@click.command(
    cls=Command,
    examples={
        "harness cluster --workers 2": "Start a cluster with two workers",
        "harness study run --cluster tcp://127.0.0.1:8786": "Train a study on it, in another terminal",
    },
)
@click.option("--workers", type=click.IntRange(min=1), help="The number of worker processes. Default: one per core.")
@click.option("--port", type=click.IntRange(1, 65535), default=8786, show_default=True, help="The scheduler's port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the scheduler listens on.")
def cluster(workers: int | None, port: int, host: str) -> int:
    """Start a Dask cluster on this machine, to try out `study run --cluster`.

    The cluster is a scheduler and workers. Ctrl-C stops them.
    """
    with console.cluster_packages():
        from harness.workers.dask_local import local
    from harness.workers.local import default_count

    count = workers or default_count()
    try:
        with local(count, host, port) as address:
            console.err.print(
                f"cluster: {count} workers. Press Ctrl-C to stop. In another terminal, run:", markup=False
            )
            console.say(f"harness study run --cluster {address}")
            Event().wait()
    except KeyboardInterrupt:
        pass
    return ExitStatus.OK
