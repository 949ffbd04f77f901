"""Finds the TOML file of a study by name or path, and reads it."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import ValidationError

from harness.errors import StudyFileError, UsageError
from harness.network.variant import describe
from harness.provenance import checkout
from harness.study.config import NAME_PATTERN, Sampled, StudyConfig
from harness.suggestions import did_you_mean, did_you_mean_path


def _files() -> dict[str, Traversable]:
    """Return the project's study files by name, from the data of an installed wheel or from the checkout."""
    folder: Traversable = resources.files("harness.study") / "studies"
    root = checkout()
    if not folder.is_dir() and root is not None:
        folder = root / "studies"
    files = folder.iterdir() if folder.is_dir() else ()
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}


def names() -> list[str]:
    """Return the names of the studies that come with the project."""
    return sorted(_files())


def load(study: str) -> StudyConfig:
    """Read the configuration of a study.

    Args:
        study: Name of a study that comes with the project, or path of a TOML file. The name of the file without
            ``.toml`` is the name of the study.

    Raises:
        StudyFileError: The file does not exist, is not TOML, or is not a valid study.
    """
    if (file := _files().get(study)) is not None:
        return _parse(file.read_bytes(), study, f"studies/{study}.toml")
    path = Path(study)
    if path.suffix != ".toml":
        hint = did_you_mean(study, [*names(), *map(str, Path().glob("*.toml"))])
        remedy = f"{hint}Give the path of a .toml file, or one of these names: {', '.join(names())}."
        raise StudyFileError(f"no study is called {study!r}", remedy)
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = f"{did_you_mean_path(path)}Give the path of a study file."
        raise StudyFileError(f"{path}: cannot be read ({error.strerror})", remedy) from error
    return _parse(content, path.stem, str(path))


def changed(config: StudyConfig, *, trials: int | None, name: str | None) -> StudyConfig:
    """Return the study with another number of trials, another name, or both. None keeps the present value.

    Raises:
        UsageError: ``trials`` is given for a grid, whose number of trials is fixed, or the name is not valid.
    """
    if trials is not None and not isinstance(config.design, Sampled):
        cause = f"--trials: the number of trials of {config.name} is fixed by its grid: {config.n_trials}"
        raise UsageError(cause, "Only a sampled design accepts --trials. Add values to the lists of the space instead.")
    if name is not None and not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"--new-name: {name!r} is not a valid study name", "Use only a-z, 0-9, - and _.")
    design = config.design.model_copy(update={} if trials is None else {"trials": trials})
    return config.model_copy(update={"name": name or config.name, "design": design})


def _parse(content: bytes, name: str, where: str) -> StudyConfig:
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyFileError(f"{where}: not TOML: {error}", "Correct the file.") from error
    if not re.fullmatch(NAME_PATTERN, name):
        remedy = "The file name is the study's name. Rename the file with only a-z, 0-9, - and _."
        raise StudyFileError(f"{where}: {name!r} is not a valid study name", remedy)
    if "name" in table:
        raise StudyFileError(
            f"{where}: the key 'name' is not allowed, because the file name is the study's name",
            "Remove this key. To rename the study, rename the file.",
        )
    try:
        return StudyConfig.model_validate({**table, "name": name})
    except ValidationError as error:
        remedy = (
            "A study has description, engine, objectives (errors, epochs, held_out_errors), [space], [fixed] and "
            "[design]. [space] accepts epochs, learning_rate, seed and batch_size. [fixed] accepts the same keys and "
            "layers. The kind of [design] is factorial or sampled. A sampled design also has sampler (tpe or random), "
            "trials, seeds and sampler_seed."
        )
        raise StudyFileError(f"{where}: {describe(error)}", remedy) from error
