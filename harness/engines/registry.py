"""The engines by name, the project's own and those of other packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from harness.data.digits import Digits
from harness.engines.contract import Engine
from harness.errors import UsageError
from harness.network.variant import BASELINE, Shape, Variant

# Every engine's name, with how many trainings it is given at a time: the width that was measured to be fastest for
# `xla`; the others train one after another, so what is done reaches the records soonest one by one.
WIDTHS = {"xla": 8, "graph": 1, "keras": 1}
NAMES = tuple(WIDTHS)

# Under which other packages name theirs: a callable that takes the images and gives an engine. An attribute `width`
# of it says how many trainings it is given at a time, 1 if it has none.
GROUP = "harness.engines"


@cache
def _others() -> dict[str, Any]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in NAMES}


@cache
def _other(name: str) -> Callable[[Digits], Engine]:
    """What makes another package's engine.

    Raises:
        UsageError: there is none of this name, or its package cannot be loaded.
    """
    if name not in _others():
        raise UsageError(f"no engine is called {name!r}", f"Engines: {', '.join((*NAMES, *_others()))}.")
    try:
        made: Callable[[Digits], Engine] = _others()[name].load()
    except Exception as error:  # whatever another's module raises when it is loaded
        cause = f"engine {name} cannot be loaded: {type(error).__name__}: {error}"
        raise UsageError(cause, "Fix the package that provides it.") from error
    return made


def check(name: str) -> None:
    """Find out whether there is an engine of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in NAMES:
        _other(name)


def width(name: str) -> int:
    """How many trainings this engine is given at a time.

    Raises:
        UsageError: another package's engine says something that is no such number.
    """
    if name in WIDTHS:
        return WIDTHS[name]
    found = getattr(_other(name), "width", 1)
    if not isinstance(found, int) or found < 1:
        raise UsageError(f"engine {name} has the width {found!r}", "Its package must give an integer of at least 1.")
    return found


def batches(name: str, variants: Sequence[Variant]) -> list[Sequence[Variant]]:
    """Variants as this engine is given them, as many at a time as it takes."""
    at_a_time = width(name)
    return [variants[start : start + at_a_time] for start in range(0, len(variants), at_a_time)]


def baseline(name: str) -> Variant:
    """The baseline as an engine trains it when left alone: Keras has an Adam of its own."""
    return BASELINE.model_copy(update={"adam": "keras"}) if name == "keras" else BASELINE


def start(name: str, shape: Shape | None = None) -> None:
    """Load what this engine needs into this process: seconds of work for which no images are needed yet.

    Args:
        name: of the engine.
        shape: of the variants that will be trained, if it is known: what can be compiled for it now, is.
    """
    if name not in NAMES:
        _other(name)
        return
    from harness.engines import tensorflow_setup

    tensorflow_setup.start(with_keras=name == "keras")
    if name == "xla" and shape is not None:
        from harness.engines import xla

        xla.warm(shape, WIDTHS[name])


def make(name: str, digits: Digits) -> Engine:
    """Make the engine of this name for these images, in a process that has been started for it or will be now.

    Raises:
        UsageError: there is no engine of this name.
    """
    check(name)
    start(name)
    if name == "xla":
        from harness.engines.xla import XlaEngine

        return XlaEngine(digits, WIDTHS[name])
    if name == "graph":
        from harness.engines.graph import GraphEngine

        return GraphEngine(digits)
    if name == "keras":
        from harness.engines.keras import KerasEngine

        return KerasEngine(digits)
    return _other(name)(digits)
