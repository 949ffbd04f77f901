"""The environment variables and the memory of measured processes."""

from __future__ import annotations

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """The environment variables for a measured process, without the address of the user's MLflow store."""
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}


def memory_mb(pid: int, name: str) -> float:
    """The present or peak memory of a process, in MB, as reported by Linux.

    The result is 0 on other systems, and if the process has ended.

    Args:
        pid: Id of the process.
        name: Name of the value: ``VmRSS`` for the resident memory, ``VmHWM`` for its peak.
    """
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / 1000
    except OSError:
        pass
    return 0.0
