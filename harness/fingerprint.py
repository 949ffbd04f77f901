"""The fingerprint of an environment: the versions, hardware and settings that can change training results.

In environments with equal fingerprints, a training gives the same results, bit for bit.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from harness import provenance

_PACKAGES = ("tensorflow", "keras", "numpy")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@cache
def here() -> dict[str, str]:
    """Return the fingerprint of this environment: versions, processor, instructions, caches, threads and settings."""
    versions = provenance.versions()
    return {
        **{name: versions[name] for name in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": provenance.processor(),
        "instructions": " ".join(_instructions()),
        "caches": " ".join(_caches()),
        "threads": "1",
        "settings": " ".join(f"{name}={value}" for name, value in provenance.computing_settings().items()),
    }


def differences(recorded: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return the names of the entries that differ between two fingerprints."""
    return [name for name in sorted({*recorded, *now}) if recorded.get(name) != now.get(name)]


def _instructions() -> list[str]:
    """Return the processor's vector instruction sets, sorted. The code of matrix products depends on them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return sorted(flag for flag in flags if flag.startswith(("avx", "fma", "sse", "amx", "f16c", "asimd", "sve")))


def _caches() -> list[str]:
    """Return the sizes of the processor's caches. The block sizes of matrix products depend on them."""
    try:
        return [path.read_text().strip() for path in sorted(_CACHES.glob("index*/size"))]
    except OSError:
        return []
