"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.data.digits import AUTO
from harness.engines import registry
from harness.errors import UsageError
from harness.files import masked
from harness.suggestions import did_you_mean_path

DEFAULT_STUDY = "variants"


def _refuse_storage(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """Reject the removed option ``--storage``. Earlier versions used it to store trials in Optuna.

    Raises:
        UsageError: The option is given.
    """
    if value is not None:
        remedy = (
            f"Run the study without --storage. Then export it: harness study export STUDY --storage {masked(value)}"
        )
        raise UsageError("the option --storage was removed: MLflow stores the trials of a study", remedy)


class _ExistingFile(click.Path):
    """The type of an option whose value is the path of an existing file. A mistyped path gets a suggestion."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the path.

        Raises:
            click.BadParameter: There is no such file.
        """
        if not Path(value).exists():
            self.fail(f"there is no file {str(value)!r}. {did_you_mean_path(value)}".rstrip(), param, ctx)
        return super().convert(value, param, ctx)


data = click.option(
    "--data",
    envvar="HARNESS_DATA",
    default=AUTO,
    show_default=True,
    metavar="auto|lab|optdigits|PATH",
    help="The images. auto: the lab's images if available, otherwise optdigits. PATH: a file or folder with images.",
)
quiet = click.option("--quiet", is_flag=True, help="Do not show progress.")
json = click.option("--json", "json_to", metavar="FILE", help="Write JSON to this file, or to standard output (-).")
engine = click.option(
    "--engine",
    default="graph",
    show_default=True,
    help=f"The engine that trains: {', '.join(registry.NAMES)}, or the engine of an installed package.",
)
FILE = _ExistingFile()
study = click.argument("name", default=DEFAULT_STUDY, metavar="[NAME|FILE]")
no_storage = click.option("--storage", hidden=True, callback=_refuse_storage, expose_value=False)
workers = click.option(
    "--workers", type=click.IntRange(min=1), help="The number of worker processes. Default: one per core."
)
trials = click.option(
    "--trials", type=click.IntRange(min=1), help="The number of trials of a sampled study, including recorded ones."
)
new_name = click.option(
    "--new-name", metavar="NAME", help="Run the study under this name. Records under its old name are kept."
)
reference = click.option(
    "--reference",
    "path",
    type=click.Path(path_type=Path),
    help="The reference file. Default: the recorded reference of these images.",
)
