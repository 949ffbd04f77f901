"""``harness ui`` and ``harness cluster``: servers on this machine."""

from __future__ import annotations

from threading import Event

import click

from harness.commands import console
from harness.errors import ExitStatus
from harness.output import masked


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The port; by default 5000 or the next free one.")
def ui(port: int | None) -> int:
    """Browse the recorded runs in MLflow, served to this machine alone."""
    from harness import store
    from harness import ui as ui_module

    chosen = ui_module.free_port() if port is None else ui_module.asked_port(port)
    uri = store.tracking_uri()
    ui_module.command(uri, chosen)
    console.err.print(f"MLflow: http://127.0.0.1:{chosen}/ shows {masked(uri)}; Ctrl-C ends it", markup=False)
    return ui_module.serve(uri, chosen)


@click.command()
@click.option("--workers", type=click.IntRange(min=1), help="Processes that train; by default one a core.")
@click.option("--port", type=click.IntRange(1, 65535), default=8786, show_default=True, help="The scheduler's port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that it listens at.")
def cluster(workers: int | None, port: int, host: str) -> int:
    """Start a Dask scheduler and workers on this machine, to try what docs/cluster.md describes for many."""
    from harness.cluster import local
    from harness.workers import default_count

    count = workers or default_count()
    try:
        with local(count, host, port) as address:
            console.err.print(f"cluster: {count} workers; Ctrl-C ends it. In another terminal:", markup=False)
            console.say(f"harness study run --cluster {address}")
            Event().wait()
    except KeyboardInterrupt:
        pass
    return ExitStatus.OK
