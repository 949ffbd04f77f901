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
from harness.gate.rule import MARGIN, Sample, sample, seeds_for
from harness.network.variant import TRACE_VERSION, describe

SCHEMA = 2
FOLDER = "references"

# The seeds of references and gates are far from each other, and from the seeds that studies use.
FIRST_SEED, FIRST_GATE_SEED = 100_000, 200_000

# The epoch at which errors are compared. It is the last epoch of the lab, where error counts still show progress.
ERRORS_EPOCH = 40

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
        engine: Name of the engine that trained them, or the training function as it was given.
        budget: Number of epochs of each training.
        reached_at: Largest error count that counts as zero errors. It is 0 unless the user gave another one.
        seeds: Seeds, ``(n,)``.
        first_zero: First epochs with at most that count, ``(n,)``; None for a seed that never reached it.
        errors_at: Early epoch at which errors are compared.
        errors: Error counts after that epoch, ``(n,)``.
        final_errors: Error counts after the last epoch, ``(n,)``.
        returned: Number of epochs with errors after the first zero epoch, ``(n,)``.
    """

    engine: str
    budget: int
    reached_at: int = 0
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
    """The date, reason and environment of a recording.

    ``packages`` holds the version of every installed package. It is empty in references of earlier versions.
    """

    date: str
    reason: str
    commit: str
    versions: dict[str, str]
    processor: str
    packages: dict[str, str] = {}


class Reference(Part):
    """The recorded results that the gate compares with; see :mod:`harness.gate`.

    Attributes:
        schema_: Version of the file format.
        trace: Trace version: the version of what training computes (``harness.trace``). None for a training function of
            the user.
        dataset: Name and hashes of the images. ``sha256_own`` is the hash of a training function's own data.
        records: Dates and reasons of the recordings, the newest last.
        repeats: Trainings of other seeds.
        traces: Trace of the baseline by each engine. Empty for a training function of the user.
        early: First epochs of several seeds. None for a training function of the user.
        margin: Slowdown that PASS must exclude, as a fraction.
        detectable: Smallest slowdown, as a fraction, that a gate with the default number of seeds finds 9 times in 10.
            None if it finds none of the simulated slowdowns.
    """

    schema_: Annotated[int, Field(alias="schema")]
    trace: int | None
    dataset: dict[str, str]
    records: list[Record]
    repeats: Repeats
    traces: dict[str, Trace]
    early: Early | None
    margin: _Finite = MARGIN
    detectable: _Finite | None = None

    @property
    def n_gate_seeds(self) -> int:
        """The number of seeds that a gate trains by default."""
        return seeds_for(len(self.repeats.seeds))

    @property
    def is_of_function(self) -> bool:
        """Whether this is a reference of a training function of the user."""
        return self.trace is None

    @property
    def goal(self) -> str:
        """The goal of the training in words."""
        count = self.repeats.reached_at
        return f"at most {count} errors" if count else "zero errors"


def gate_seeds(n: int) -> list[int]:
    """The first published seeds of gates. They are the same for every reference, so that a verdict can be repeated."""
    return [FIRST_GATE_SEED + number for number in range(n)]


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
    if found.trace not in {None, TRACE_VERSION}:
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
