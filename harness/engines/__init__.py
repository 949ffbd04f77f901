"""One training contract and the engines that meet it."""

from __future__ import annotations

from harness.digits import Digits
from harness.engines.contract import Engine
from harness.errors import UsageError
from harness.variant import BASELINE, Shape, Variant

# Every engine's name, with how many trainings it is given at a time: the width that was measured to be fastest for
# `xla`; the others train one after another, so what is done reaches the records soonest one by one.
WIDTHS = {"xla": 8, "graph": 1, "keras": 1}
NAMES = tuple(WIDTHS)


def baseline(name: str) -> Variant:
    """The baseline as an engine trains it when left alone: Keras has an Adam of its own."""
    return BASELINE.model_copy(update={"adam": "keras"}) if name == "keras" else BASELINE


def start(name: str, shape: Shape | None = None) -> None:
    """Load what this engine needs into this process: seconds of work for which no images are needed yet.

    Args:
        name: of the engine.
        shape: of the variants that will be trained, if it is known: what can be compiled for it now, is.
    """
    from harness.engines import runtime

    runtime.start(with_keras=name == "keras")
    if name == "xla" and shape is not None:
        from harness.engines import xla

        xla.warm(shape)


def make(name: str, digits: Digits) -> Engine:
    """Make the engine of this name for these images, in a process that has been started for it or will be now.

    Raises:
        UsageError: there is no engine of this name.
    """
    if name not in NAMES:
        raise UsageError(f"no engine is called {name!r}", f"Engines: {', '.join(NAMES)}.")
    start(name)
    if name == "xla":
        from harness.engines.xla import XlaEngine

        return XlaEngine(digits)
    if name == "graph":
        from harness.engines.graph import GraphEngine

        return GraphEngine(digits)
    from harness.engines.keras import KerasEngine

    return KerasEngine(digits)
