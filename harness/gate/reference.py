"""The recorded reference of the gate: a JSON file for each dataset, protected by a hash."""

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
from harness.suggestions import did_you_mean_path

SCHEMA = 2
FOLDER = "references"

# The first seed of references and the first seed of gates. References, gates and studies thus use different seeds.
FIRST_SEED, FIRST_GATE_SEED = 100_000, 200_000

# The epoch after which the gate compares error counts. It is the last epoch of the lab's training, and error counts
# still fall there.
ERRORS_EPOCH = 40

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_AGAIN = "Record a reference with harness gate record. If this file belongs to the package, reinstall the package."


class Part(BaseModel):
    """The base class of all parts of a reference."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Trace(Part):
    """The recorded training of the baseline with one engine, epoch by epoch.

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
    """The recorded losses of the first epochs of several seeds. Rounding hardly changes these losses.

    Another processor or engine rounds differently. At first, this changes a loss by less than 1e-6 (relative). Later, a
    ReLU unit switches differently, or a gradient near zero changes its sign. From then on, the training departs from
    the recorded losses.

    Attributes:
        seeds: Seeds, ``(n,)``: the baseline's seed, then the first seeds of the gate.
        losses: Losses, ``(n, epochs)``, by the kind of Adam; see :class:`harness.network.variant.Variant`.
        tried: Number of trainings that were compared with these losses when the reference was recorded. They used other
            engines, or images with noise in the last bit.
        left: Number of the compared trainings that departed from these losses.
    """

    seeds: list[int]
    losses: dict[str, list[list[_Finite]]]
    tried: int
    left: int


class Repeats(Part):
    """The recorded trainings of many seeds.

    Attributes:
        engine: Name of the engine, or the training function as the user gave it.
        budget: Number of epochs of each training.
        reached_at: Largest error count that is accepted as zero errors. It is 0 by default.
        seeds: Seeds, ``(n,)``.
        first_zero: First epoch of each seed with at most ``reached_at`` errors, ``(n,)``. None for a seed without such
            an epoch.
        errors_at: Early epoch after which a gate compares error counts.
        errors: Error count of each seed after the epoch ``errors_at``, ``(n,)``.
        final_errors: Error count of each seed after the last epoch, ``(n,)``.
        returned: Number of epochs of each seed after ``first_zero`` with more than ``reached_at`` errors, ``(n,)``. 0
            for a seed without a first zero epoch.
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
            raise ValueError("the lists of the repeated trainings differ in length")
        return self

    def sample(self) -> Sample:
        """Return the first zero epochs and the error counts, which the gate compares."""
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
        trace: Trace version: a number that increases if training computes other results than before. None for a
            training function of the user.
        dataset: Name and hashes of the images. ``sha256_own`` is the hash of a training function's own data.
        records: Dates, reasons and environments of the recordings, the newest last.
        repeats: Trainings of many seeds.
        traces: Training of the baseline, epoch by epoch, by the name of the engine. Empty for a training function of
            the user.
        early: Losses of the first epochs of several seeds. None for a training function of the user.
        margin: Slowdown that a gate must rule out to pass, as a fraction.
        detectable: Smallest slowdown that 9 of 10 gates with the default number of seeds detect, as a fraction. None if
            it is above the largest simulated slowdown.
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
        """Whether the reference was recorded with a training function of the user."""
        return self.trace is None

    @property
    def goal(self) -> str:
        """The goal of the training in words, for example ``zero errors``."""
        count = self.repeats.reached_at
        return f"at most {count} errors" if count else "zero errors"


def gate_seeds(n: int) -> list[int]:
    """Return the first ``n`` seeds of gates. They are the same for every reference, so verdicts are repeatable."""
    return [FIRST_GATE_SEED + number for number in range(n)]


def path_of(dataset: str) -> Path:
    """Return the path of the reference that the package contains for a dataset."""
    return Path(str(resources.files("harness.gate") / FOLDER / f"{dataset}-trace{TRACE_VERSION}.json"))


def load(path: Path) -> Reference:
    """Read a reference.

    Raises:
        DataError: The file is missing, edited or unreadable, or has another format or trace version.
    """
    try:
        content: Any = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path}: no reference found", f"{did_you_mean_path(path)}{_AGAIN}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the reference cannot be read ({error})", _AGAIN) from None
    if not isinstance(content, dict) or "schema" not in content:
        raise DataError(f"{path}: this file is not a reference", _AGAIN)
    if content["schema"] != SCHEMA:
        age = "newer" if isinstance(content["schema"], int) and content["schema"] > SCHEMA else "older"
        raise DataError(
            f"{path}: the reference has the {age} format {content['schema']!r}, not format {SCHEMA}", _AGAIN
        )
    claimed = content.pop("sha256", None)
    if claimed != _digest(content):
        raise DataError(f"{path}: the reference was edited or truncated: its content does not match its hash", _AGAIN)
    try:
        found = Reference.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: the content of the reference is invalid: {describe(error)}", _AGAIN) from None
    if found.trace not in {None, TRACE_VERSION}:
        raise DataError(f"{path}: the reference has trace version {found.trace}, not {TRACE_VERSION}", _AGAIN)
    return found


def records_of(path: Path) -> list[Record]:
    """Return the dates, reasons and environments of the recordings in a reference file of any version.

    The list is empty if the file has none or cannot be read.
    """
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
    # Write each part as one line. Indented JSON would put each of thousands of numbers on a line of its own.
    parts = [f'"{name}": {json.dumps(part)}' for name, part in {**content, "sha256": _digest(content)}.items()]
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
