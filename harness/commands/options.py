"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from harness.data.digits import AUTO
from harness.engines import registry

DEFAULT_STUDY = "variants"

data = click.option(
    "--data",
    envvar="HARNESS_DATA",
    default=AUTO,
    show_default=True,
    metavar="auto|lab|optdigits|PATH",
    help="The images: auto takes the lab's if they are available, else the embedded optdigits; or a file or folder.",
)
quiet = click.option("--quiet", is_flag=True, help="Do not show progress.")
json = click.option("--json", "json_to", metavar="FILE", help="Write JSON to this file, or to standard output (-).")
engine = click.option(
    "--engine",
    default="graph",
    show_default=True,
    help=f"The engine that trains: {', '.join(registry.NAMES)}, or an installed one.",
)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
study = click.argument("name", default=DEFAULT_STUDY, metavar="[NAME|FILE]")
storage = click.option(
    "--storage", metavar="URL", help="The URL of Optuna's storage. Default: a journal file beside the report."
)
workers = click.option(
    "--workers", type=click.IntRange(min=1), help="The number of worker processes. Default: one per core."
)
trials = click.option("--trials", type=click.IntRange(min=1), help="The total number of trials of a search.")
new_name = click.option("--new-name", metavar="NAME", help="Run it under this name, beside the existing study.")
reference = click.option(
    "--reference",
    "path",
    type=click.Path(path_type=Path),
    help="The reference file. Default: the one recorded for these images.",
)
