"""Options that several commands have, each with one meaning."""

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
    help="The images: the lab's where they can be had, else the embedded default; or a file or folder.",
)
quiet = click.option("--quiet", is_flag=True, help="Show no progress.")
json = click.option("--json", "json_to", metavar="FILE", help="Write JSON to a file, or - for standard output.")
engine = click.option(
    "--engine",
    default="graph",
    show_default=True,
    help=f"What trains: {', '.join(registry.NAMES)}, or an installed one.",
)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
study = click.argument("name", default=DEFAULT_STUDY, metavar="[NAME|FILE]")
storage = click.option("--storage", metavar="URL", help="Optuna's storage; by default a journal beside the report.")
workers = click.option("--workers", type=click.IntRange(min=1), help="Processes that train; by default one a core.")
trials = click.option("--trials", type=click.IntRange(min=1), help="Of a search: how many trials in all.")
new_name = click.option("--new-name", metavar="NAME", help="Run it as a study of this name, beside the old one.")
reference = click.option(
    "--reference", "path", type=click.Path(path_type=Path), help="The reference; by default that of the images."
)
