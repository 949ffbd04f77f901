"""The recorded reference: one file per dataset, protected by a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import DataError
from harness.files import write_text
from harness.gate.convergence import Sample, detectable, sample, stages_of
from harness.network.variant import TRACE_VERSION, describe

SCHEMA = 1
FOLDER = "references"

# The seeds of references and gates are far from each other, and from the seeds that studies use.
FIRST_SEED, FIRST_GATE_SEED = 100_000, 200_000

# The epoch at which errors are compared. It is the last epoch of the lab, where error counts still show progress.
ERRORS_EPOCH = 40

# The reference has at least this number of seeds for each seed of the gate.
SEEDS_FOR_EACH = 4

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_AGAIN = "Record one (harness gate record). Reinstall the project if this file belongs to the package."


class Part(BaseModel):
    """The base class of all parts of a reference."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Trace(Part):
    """The baseline's training with one engine, epoch by epoch.

    Attributes:
        losses: Mean loss of each epoch, ``(epochs,)``.
        errors: Error count after each epoch, ``(epochs,)``.
        weights: SHA-256 of the weights after each epoch, ``(epochs,)``.
        fingerprint: Environment of the training. In an equal environment, the training repeats bit for bit.
    """

    losses: list[_Finite]
    errors: list[int]
    weights: list[str]
    fingerprint: dict[str, str]


class Early(Part):
    """The first epochs of several seeds, in which rounding hardly changes a loss.

    If a training does not repeat to the last bit, rounding changes its losses by about 1e-7 at most. Sooner or later, a
    ReLU unit switches differently, or a gradient near zero changes its sign. From then on the seed has diverged.

    Attributes:
        seeds: Seeds, ``(n,)``: the baseline's own, then the first seeds of the gate.
        losses: Losses, ``(n, epochs)``, by the name of the Adam; see :class:`harness.network.variant.Variant`.
        tried: Number of trainings, with other engines or with noise in the last bit, that were compared with these.
        left: Number of those trainings that diverged.
    """

    seeds: list[int]
    losses: dict[str, list[list[_Finite]]]
    tried: int
    left: int


class Repeats(Part):
    """Trainings of the baseline with other seeds.

    Attributes:
        engine: Name of the engine that trained them.
        budget: Number of epochs of each training.
        seeds: Seeds, ``(n,)``.
        first_zero: First zero epochs, ``(n,)``; None for a seed that never reached zero.
        errors_at: Early epoch at which errors are compared.
        errors: Error counts after that epoch, ``(n,)``.
        final_errors: Error counts after the last epoch, ``(n,)``.
        returned: Number of epochs with errors after the first zero epoch, ``(n,)``.
    """

    engine: str
    budget: int
    seeds: list[int]
    first_zero: list[int | None]
    errors_at: int
    errors: list[int]
    final_errors: list[int]
    returned: list[int]

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        lengths = {len(getattr(self, name)) for name in ("seeds", "first_zero", "errors", "final_errors", "returned")}
        if len(lengths) != 1:
            raise ValueError("the columns of the repeats differ in length")
        return self

    def sample(self) -> Sample:
        """The columns that the gate compares."""
        return sample(self.first_zero, self.errors, self.budget)


class Record(Part):
    """The date, reason and environment of a recording."""

    date: str
    reason: str
    commit: str
    versions: dict[str, str]
    processor: str


class Reference(Part):
    """The recorded results that the gate compares with; see :mod:`harness.gate`.

    Attributes:
        schema_: Version of the file format.
        trace: Trace version: the version of what training computes (``harness.trace``).
        dataset: Name and hashes of the images.
        records: Dates and reasons of the recordings, the newest last.
        gate_seeds: Seeds that the gate trains. They are published, so that a verdict can be repeated.
        repeats: Trainings of other seeds.
        traces: Trace of the baseline by each engine.
        early: First epochs of several seeds.
        alike: For each engine, the number of epochs of the baseline in which it printed the same as the engine of the
            repeats: losses with four decimals, and error counts.
        detectable: Smallest slowdown, as a fraction, that a gate with all seeds detects 9 times in 10. None if it
            detects none of the simulated slowdowns, or if an earlier version recorded the reference. The value is
            recorded because simulating it takes seconds.
    """

    schema_: Annotated[int, Field(alias="schema")]
    trace: int
    dataset: dict[str, str]
    records: list[Record]
    gate_seeds: list[int]
    repeats: Repeats
    traces: dict[str, Trace]
    early: Early
    alike: dict[str, int]
    detectable: _Finite | None = None

    def detectable_in(self, stages: tuple[int, ...]) -> float | None:
        """The slowdown that a gate with these stages detects 9 times in 10, recorded or simulated."""
        is_whole = stages == stages_of(len(self.gate_seeds))
        return (self.detectable if is_whole else None) or detectable(self.repeats.sample(), stages)


def path_of(dataset: str) -> Path:
    """The path of the package's own reference for a dataset."""
    return Path(str(resources.files("harness.gate") / FOLDER / f"{dataset}-trace{TRACE_VERSION}.json"))


def load(path: Path) -> Reference:
    """Read a reference.

    Raises:
        DataError: The file is missing, edited, unreadable, or of another version.
    """
    try:
        content: Any = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path}: no reference found", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the reference cannot be read ({error})", _AGAIN) from None
    if not isinstance(content, dict) or "schema" not in content:
        raise DataError(f"{path}: this is not a reference", _AGAIN)
    if content["schema"] != SCHEMA:
        age = "newer" if isinstance(content["schema"], int) and content["schema"] > SCHEMA else "older"
        raise DataError(f"{path}: the reference has the {age} format {content['schema']!r}, not {SCHEMA}", _AGAIN)
    claimed = content.pop("sha256", None)
    if claimed != _digest(content):
        raise DataError(f"{path}: the reference was edited or truncated: its content does not match its hash", _AGAIN)
    try:
        found = Reference.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: the reference is incomplete: {describe(error)}", _AGAIN) from None
    if found.trace != TRACE_VERSION:
        raise DataError(f"{path}: the reference has the trace version {found.trace}, not {TRACE_VERSION}", _AGAIN)
    return found


def records_of(path: Path) -> list[Record]:
    """The records of a reference file, also of an older version. Empty if the file has none."""
    try:
        return [Record.model_validate(record) for record in json.loads(path.read_text())["records"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def save(reference: Reference, path: Path) -> None:
    """Write a reference with the hash of its content.

    Raises:
        StoppedError: The file cannot be written.
    """
    content = reference.model_dump(mode="json", by_alias=True)
    # Each part is one line. One number on each of thousands of lines would not be easier to read.
    parts = [f'"{name}": {json.dumps(part)}' for name, part in {**content, "sha256": _digest(content)}.items()]
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
