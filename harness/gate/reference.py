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

# A reference's seeds and the gate's are far from each other and from those that studies name.
FIRST_SEED, FIRST_GATE_SEED = 100_000, 200_000

# The epoch whose errors are compared: the lab's, when errors still tell how far training is.
ERRORS_EPOCH = 40

# The reference has at least this number of seeds for each seed of the gate.
SEEDS_FOR_EACH = 4

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_AGAIN = "Record one (harness gate record). Reinstall the project if this file belongs to the package."


class Part(BaseModel):
    """What all parts of a reference have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Trace(Part):
    """The baseline's training with one engine, epoch by epoch.

    Attributes:
        losses: ``(epochs,)``.
        errors: ``(epochs,)``.
        weights: ``(epochs,)``, the SHA-256 of the weights after each.
        fingerprint: of where it was trained: there it repeats bit for bit.
    """

    losses: list[_Finite]
    errors: list[int]
    weights: list[str]
    fingerprint: dict[str, str]


class Early(Part):
    """The first epochs of several seeds: in these rounding hardly moves a loss, whatever it is that computes.

    Where training does not repeat to the last bit, a loss moves by some 1e-7 at most, until, in one seed sooner and in
    another later, a unit takes another side or a gradient that nearly cancels another sign: that seed has left.

    Attributes:
        seeds: ``(n,)``, the baseline's own and the first of the gate's.
        losses: ``(n, epochs)`` by whose Adam; see :class:`harness.network.variant.Variant`.
        tried: trainings by other engines, or on images with noise in their last bit, that these were compared with.
        left: how many of those left.
    """

    seeds: list[int]
    losses: dict[str, list[list[_Finite]]]
    tried: int
    left: int


class Repeats(Part):
    """The baseline with other seeds.

    Attributes:
        engine: what trained them.
        budget: epochs of each.
        seeds: ``(n,)``.
        first_zero: ``(n,)``, the first epoch without error; None where there was none.
        errors_at: the early epoch whose errors are compared.
        errors: ``(n,)``, errors after it.
        final_errors: ``(n,)``, errors after the last epoch.
        returned: ``(n,)``, how many epochs after the first without error had some again.
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
        """The columns that are compared."""
        return sample(self.first_zero, self.errors, self.budget)


class Record(Part):
    """When a reference was recorded, and why."""

    date: str
    reason: str
    commit: str
    versions: dict[str, str]
    processor: str


class Reference(Part):
    """What the gate compares with; see :mod:`harness.gate`.

    Attributes:
        schema_: the version of this file's form.
        trace: the version of what training computes (``harness.trace``).
        dataset: name and hashes of the images.
        records: when and why it was recorded, the newest last.
        gate_seeds: what the gate trains, published so that a verdict can be repeated.
        repeats: of other seeds than those.
        traces: by engine.
        early: first epochs of several seeds.
        alike: by engine, in how many epochs of the baseline it printed what the engine of the repeats does: losses to
            four decimals, and error counts.
        detectable: the smallest slowdown, relative, that a gate of all its seeds finds 9 times in 10; None if it finds
            none of those tried, or if the reference was recorded before this was. To simulate it takes seconds.
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
        """The slowdown that a gate with these stages finds 9 times in 10: the recorded one, or else simulated."""
        is_whole = stages == stages_of(len(self.gate_seeds))
        return (self.detectable if is_whole else None) or detectable(self.repeats.sample(), stages)


def path_of(dataset: str) -> Path:
    """Where the package keeps the reference of a dataset."""
    return Path(str(resources.files("harness.gate") / FOLDER / f"{dataset}-trace{TRACE_VERSION}.json"))


def load(path: Path) -> Reference:
    """Read a reference.

    Raises:
        DataError: there is none, it was edited, it is of another version, or it cannot be understood.
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
        raise DataError(f"{path}: the reference is of {age} form {content['schema']!r}, not {SCHEMA}", _AGAIN)
    claimed = content.pop("sha256", None)
    if claimed != _digest(content):
        raise DataError(f"{path}: the reference was edited or truncated: its content does not match its hash", _AGAIN)
    try:
        found = Reference.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: the reference is incomplete: {describe(error)}", _AGAIN) from None
    if found.trace != TRACE_VERSION:
        raise DataError(f"{path}: the reference is of trace {found.trace}, this is trace {TRACE_VERSION}", _AGAIN)
    return found


def records_of(path: Path) -> list[Record]:
    """When and why a file was recorded, also one that cannot be compared with any more; nothing if it does not say."""
    try:
        return [Record.model_validate(record) for record in json.loads(path.read_text())["records"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def save(reference: Reference, path: Path) -> None:
    """Write a reference, with the hash of what it holds.

    Raises:
        StoppedError: the file cannot be written.
    """
    content = reference.model_dump(mode="json", by_alias=True)
    # A line a part: thousands of lines of a number each would be no easier to read.
    parts = [f'"{name}": {json.dumps(part)}' for name, part in {**content, "sha256": _digest(content)}.items()]
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
