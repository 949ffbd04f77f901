"""One training contract and the engines that meet it."""

from __future__ import annotations

from harness.digits import Digits
from harness.engines.contract import Engine
from harness.errors import UsageError

NAMES = ("graph", "keras")


def make(name: str, digits: Digits) -> Engine:
    """Start TensorFlow in this process and make the engine of this name for these images.

    Raises:
        UsageError: there is no engine of this name.
    """
    if name not in NAMES:
        raise UsageError(f"no engine is called {name!r}", f"Engines: {', '.join(NAMES)}.")
    from harness.engines import runtime

    runtime.start()
    if name == "graph":
        from harness.engines.graph import GraphEngine

        return GraphEngine(digits)
    from harness.engines.keras import KerasEngine

    return KerasEngine(digits)
