"""The environment that the last bits of a training depend on. Training repeats exactly if it is equal."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from harness import provenance

_PACKAGES = ("tensorflow", "keras", "numpy")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@cache
def here() -> dict[str, str]:
    """The fingerprint of this environment as text: versions, processor, instructions, caches, threads and settings."""
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
    """The names of the entries that differ between a recorded fingerprint and another one."""
    return [name for name in sorted({*recorded, *now}) if recorded.get(name) != now.get(name)]


def _instructions() -> list[str]:
    """The processor's vector instructions, sorted. Libraries select their matrix products by them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return sorted(flag for flag in flags if flag.startswith(("avx", "fma", "sse", "amx", "f16c", "asimd", "sve")))


def _caches() -> list[str]:
    """The sizes of the processor's caches. Libraries select the block sizes of matrix products by them."""
    try:
        return [path.read_text().strip() for path in sorted(_CACHES.glob("index*/size"))]
    except OSError:
        return []
