"""Calls a learner's ``my_softmax`` in a separate process, and prints the returned values as JSON.

The learner's file may change anything in this process. Therefore, :mod:`harness.lab.softmax_check` checks the values in
another process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.engines.function import load

# The exit code of this process if the calls exceed the time limit.
TIMED_OUT = 86


def main() -> None:
    """Read the calls from standard input, and print the results as the last line of standard output."""
    asked: dict[str, tuple[list[float], str]] = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w")
    function = load(sys.argv[1])
    limit = threading.Timer(float(sys.argv[2]), os._exit, [TIMED_OUT])
    limit.daemon = True
    limit.start()
    found = {name: _called(function, z, kind) for name, (z, kind) in asked.items()}
    out.write("\n" + json.dumps(found) + "\n")
    out.flush()
    os._exit(0)  # exit at once, even if threads of the learner still run


def _called(function: Callable[..., Any], z: list[float], kind: str) -> dict[str, Any]:
    argument: Any = list(z) if kind == "list" else np.array(z, kind)
    answer: dict[str, Any] = {"values": None, "shape": [], "returned": "", "error": "", "is_changed": False}
    try:
        with np.errstate(all="ignore"):
            returned = function(argument)
    except Exception as error:  # noqa: BLE001 - report any error of the learner's code as a result
        return answer | {"error": f"{type(error).__name__}: {error}"}
    answer |= {"returned": type(returned).__name__, "is_changed": [*argument] != z}
    if returned is None:
        return answer
    try:
        numbers = np.asarray(returned, np.float64)
    except Exception:  # noqa: BLE001 - a result without numbers has no values
        return answer
    return answer | {"values": numbers.ravel().tolist(), "shape": list(numbers.shape)}


if __name__ == "__main__":
    main()
