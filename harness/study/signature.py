"""Computes the signature of a study: the settings and versions that must not change when the study resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from harness import provenance
from harness.data.digits import Digits
from harness.network.variant import TRACE_VERSION
from harness.study.config import FloatRange, IntRange, StudyConfig

# Packages whose upgrade may change training results.
_COMPUTING = ("tensorflow", "keras")


def of(config: StudyConfig, digits: Digits) -> dict[str, Any]:
    """Return the current signature of a study. It can be written as JSON.

    The signature does not include the values of the space, the number of trials or the sampler. These may change when a
    study resumes.
    """
    fixed = config.variant({}).model_dump(mode="json", exclude=set(config.varied))
    versions = provenance.versions()
    return {
        "design": config.design.kind,
        "objectives": list(config.objectives),
        "seeds": config.design.seeds,
        "fixed": fixed,
        "scales": {
            name: "logarithmic" if values.log else "linear"
            for name, values in config.space.parameters().items()
            if isinstance(values, IntRange | FloatRange)
        },
        "engine": config.engine,
        "dataset": {"name": digits.name, "sha256_x": digits.sha256_x, "sha256_y": digits.sha256_y},
        "trace": TRACE_VERSION,
        **{name: versions[name] for name in _COMPUTING},
        **({"settings": settings} if (settings := provenance.computing_settings()) else {}),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between two signatures as text, such as ``engine: xla before, keras now``."""
    plain = (name for name in (*now, *(set(before) - set(now))) if name not in {"fixed", "scales", "dataset"})
    found = [_change(name, before.get(name), now.get(name)) for name in plain if before.get(name) != now.get(name)]
    was, new = before.get("dataset", {}), now["dataset"]
    if was != new:
        found.append(_change("images", _images(was), _images(new)))
    # Compare only settings in both signatures. A fixed setting may become varied, and a varied setting may become
    # fixed, because each trial records its own value.
    for part in ("fixed", "scales"):
        was, new = before.get(part, {}), now[part]
        found += [_change(name, was[name], new[name]) for name in new if name in was and was[name] != new[name]]
    return found


def key(name: str, generation: int, meaning: Mapping[str, Any]) -> str:
    """Return the key that identifies the records of a study: 12 hex digits.

    Args:
        name: Name of the study.
        generation: Number from 0. It differs between recorded studies with the same name and signature.
        meaning: Signature of the study at its creation.
    """
    content = json.dumps([name, generation, meaning], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _change(name: str, was: object, now: object) -> str:
    return f"{name}: {_brief(was)} before, {_brief(now)} now"


def _brief(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={setting}" for name, setting in value.items())
    if value is None:
        return "none"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _images(dataset: Mapping[str, str]) -> str:
    return f"{dataset.get('name', 'unknown')} ({dataset.get('sha256_x', '')[:12]})"
