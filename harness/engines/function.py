"""Training functions of users, named as ``FILE.py:function`` or ``module:function``.

The harness calls ``train(x, y, seed, epochs)``, where ``x`` is ``(5000, 400) float32`` and ``y`` is ``(5000,) int64``.
The function yields or returns the error count after each epoch.

A function that trains on its own data also returns a hash of the data. If the function is a generator, it returns the
hash with ``return``. If not, it returns a pair: the error counts and the hash.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from operator import index
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines.contract import InvalidResultError
from harness.errors import UsageError
from harness.suggestions import did_you_mean_path

_HOW = "Give FILE.py:function or module:function."
# Environment variables that set the number of threads of a library. Each core runs one training process, so each
# process uses one thread. Libraries read these variables when they are imported. NumPy is imported before a training
# function is loaded, so :mod:`harness.workers.server` sets NumPy's variable.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def is_function(name: str) -> bool:
    """Return whether this is the name of a training function. A name without a colon is the name of an engine."""
    return ":" in name


def check(name: str) -> None:
    """Check the form of a training function's name, and check that its file exists. The function is not imported.

    Raises:
        UsageError: The form is wrong, or there is no such file.
    """
    place, _, function = name.rpartition(":")
    if not place or not function.isidentifier():
        raise UsageError(f"{name!r} does not name a training function", _HOW)
    if place.endswith(".py") and not Path(place).is_file():
        raise UsageError(f"{place}: there is no such file", f"{did_you_mean_path(place)}{_HOW}")


def load(name: str) -> Callable[..., Any]:
    """Import the module of a training function into this worker, and return the function.

    If the name contains a file, the file's folder is appended to the end of ``sys.path``. So modules in this folder
    cannot replace the packages of the harness.

    Raises:
        ImportError: The module cannot be imported.
        TypeError: The module has no such function.
    """
    os.dup2(2, 1)  # what the function prints goes to standard error: standard output belongs to the command
    for variable in _THREADS:
        os.environ.setdefault(variable, "1")
    place, _, function = name.rpartition(":")
    if not place.endswith(".py"):
        sys.path.append(str(Path.cwd()))
        return _callable(importlib.import_module(place), function)
    path = Path(place).resolve()
    sys.path.append(str(path.parent))
    # If a module of this name is already loaded, use another name, so that the loaded module is not replaced.
    name = "training_function" if path.stem in sys.modules else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return _callable(module, function)


def _callable(module: Any, function: str) -> Callable[..., Any]:  # noqa: ANN401 - a module
    found = getattr(module, function, None)
    if not callable(found):
        raise TypeError(f"{module.__name__} has no function {function}")
    loaded: Callable[..., Any] = found
    return loaded


class FunctionEngine:
    """Trains with a training function of the user. The results are error counts, without losses or weights."""

    def __init__(self, name: str, digits: Digits) -> None:
        self.name = name
        self._function = load(name)
        self._x, self._y = digits.features, digits.labels.astype(np.int64)

    def errors(self, seed: int, epochs: int) -> tuple[NDArray[np.int64], str]:
        """Run the training function with a seed.

        Returns:
            The error count after each epoch, ``(epochs,)``, and the hash of the function's own data. The hash is
            ``""`` if the function returns none.

        Raises:
            InvalidResultError: The function did not yield one valid error count for each epoch.
        """
        returned = self._function(self._x.copy(), self._y.copy(), seed, epochs)
        counts, data = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, "")
        if not isinstance(counts, Iterable):
            raise InvalidResultError(f"{self.name} returned {type(counts).__name__} instead of error counts")
        kept = _Kept(counts)
        found = [self._count(value) for value in islice(kept, epochs + 1)]
        if len(found) != epochs:
            more = "more than " if len(found) > epochs else ""
            raise InvalidResultError(f"{self.name} yielded {more}{min(len(found), epochs)} counts for {epochs} epochs")
        return np.array(found, np.int64), str(kept.returned or data or "")

    def _count(self, value: object) -> int:
        try:
            count = index(value)  # type: ignore[arg-type] # also accepts integers of NumPy, PyTorch and JAX
        except TypeError:
            raise InvalidResultError(f"{self.name} yielded {value!r}, which is not an error count") from None
        if count < 0:
            raise InvalidResultError(f"{self.name} yielded {count}, which is not an error count")
        return count


class _Kept:
    """Wraps an iterable. If it is a generator, ``returned`` holds its return value after the iteration."""

    def __init__(self, iterable: Iterable[object]) -> None:
        self._iterable = iterable
        self.returned: Any = None

    def __iter__(self) -> Iterator[object]:
        self.returned = yield from cast("Generator[object, None, Any]", self._iterable)
