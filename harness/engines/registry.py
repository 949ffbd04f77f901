"""The registry of engines: the project's own engines and the engines of other packages, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from harness import provenance
from harness.data.digits import Digits
from harness.engines import function
from harness.engines.contract import Engine
from harness.errors import UsageError
from harness.network.variant import BASELINE, Shape, Variant
from harness.suggestions import did_you_mean

# The width of each of the project's engines: the number of variants that the engine trains in one call. For `xla`, a
# width of 8 was measured to be the fastest. The other engines train one variant after another. With a width of 1, each
# result is recorded as soon as possible.
WIDTHS = {"xla": 8, "graph": 1, "keras": 1}
NAMES = tuple(WIDTHS)

# The first version of TensorFlow in which XLA multiplies small matrices fast. With older versions, an epoch takes
# seconds.
_FAST_XLA = (2, 18)

# The entry point group in which other packages register their engines. Each entry point is a callable that takes the
# images and returns an engine. The callable can have an attribute `width`: the number of variants that the engine
# trains in one call. The default is 1.
GROUP = "harness.engines"


@cache
def _others() -> dict[str, Any]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in NAMES}


@cache
def _other(name: str) -> Callable[[Digits], Engine]:
    """Return the callable that creates an engine of another package.

    Raises:
        UsageError: No engine has this name, or its package cannot be loaded.
    """
    if name not in _others():
        known = (*NAMES, *_others())
        raise UsageError(f"no engine is called {name!r}", f"{did_you_mean(name, known)}Engines: {', '.join(known)}.")
    try:
        made: Callable[[Digits], Engine] = _others()[name].load()
    except Exception as error:  # importing another package may raise any exception
        cause = f"engine {name} cannot be loaded: {type(error).__name__}: {error}"
        raise UsageError(cause, "Fix the package that provides the engine.") from error
    return made


def fast_names() -> tuple[str, ...]:
    """Return the names of the project's engines that are fast with the installed TensorFlow, fastest first."""
    version = provenance.versions()["tensorflow"].split(".")[:2]
    is_slow = all(part.isdecimal() for part in version) and tuple(map(int, version)) < _FAST_XLA
    return tuple(name for name in NAMES if name != "xla" or not is_slow)


def check(name: str) -> None:
    """Check that an engine of this name exists and has a valid width. Call this function before starting workers.

    Raises:
        UsageError: No engine has this name, its package cannot be loaded, or its width is not a positive integer.
    """
    if name not in NAMES:
        _other(name)
        width(name)


def width(name: str) -> int:
    """Return the width of an engine: the number of variants that it trains in one call.

    A training function has the width 1.

    Raises:
        UsageError: No engine has this name, its package cannot be loaded, or its width is not a positive integer.
    """
    if name in WIDTHS or function.is_function(name):
        return WIDTHS.get(name, 1)
    found = getattr(_other(name), "width", 1)
    if not isinstance(found, int) or found < 1:
        raise UsageError(f"engine {name} has the width {found!r}", "The width must be an integer of at least 1.")
    return found


def batches(name: str, variants: Sequence[Variant]) -> list[Sequence[Variant]]:
    """Split variants into batches. Each batch has at most as many variants as the engine's width."""
    at_a_time = width(name)
    return [variants[start : start + at_a_time] for start in range(0, len(variants), at_a_time)]


def baseline(name: str) -> Variant:
    """Return the baseline with the engine's own kind of Adam: Keras' for `keras`, else TensorFlow's."""
    return BASELINE.model_copy(update={"adam": "keras"}) if name == "keras" else BASELINE


def check_environment(name: str) -> None:
    """Check that TensorFlow accepts the XLA flags in the environment. For engines of other packages, do nothing.

    Raises:
        StoppedError: TensorFlow does not start with these flags.
    """
    if name in NAMES:
        from harness.engines import tensorflow_setup

        tensorflow_setup.check_flags()


def start(name: str, shape: Shape | None = None) -> None:
    """Import the packages that an engine needs. This takes seconds.

    Args:
        name: Name of the engine.
        shape: Layers, batch size and softmax of the variants that will be trained, if known. The engine `xla` compiles
            the training of such variants immediately.
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
    """Import the packages that an engine needs, and create the engine for these images.

    Raises:
        UsageError: No engine has this name, its package cannot be loaded, or its width is not a positive integer.
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
