"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from harness.data.digits import AUTO
from harness.engines import registry
from harness.errors import UsageError
from harness.files import masked

DEFAULT_STUDY = "variants"


def _refuse_storage(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """Refuse an option of earlier versions, which kept the trials in an Optuna storage.

    Raises:
        UsageError: The option is given.
    """
    if value is not None:
        remedy = f"Run the study without --storage. Then copy it: harness study export STUDY --storage {masked(value)}"
        raise UsageError("--storage is no longer an option: MLflow holds the trials of a study", remedy)


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
no_storage = click.option("--storage", hidden=True, callback=_refuse_storage, expose_value=False)
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
