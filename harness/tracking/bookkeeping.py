"""Keeps the bookkeeping of a study in one tag of its parent run.

The bookkeeping consists of values that only this project reads, such as the signature and the command of the study. No
filter or view of MLflow uses them. Each value is a part of one combined tag. Earlier versions of this project wrote
each part as a separate tag. :func:`unpacked` converts the combined tag to separate tags, so other modules need not know
which version recorded the study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError
from harness.tracking.tags import Tag

# For each tag that earlier versions wrote, the name of the same part in the combined tag.
_PARTS = {
    Tag.DESCRIPTION: "description",
    Tag.COMMAND: "command",
    Tag.TIMES_RUN: "times_run",
    Tag.LAST_RUN: "last_run_ms",
    Tag.VERSIONS: "versions",
    Tag.CPU: "cpu",
    Tag.SIGNATURE: "signature",
}
# The parts whose value is JSON. The values of the other parts are plain text.
_JSON = frozenset({Tag.TIMES_RUN, Tag.LAST_RUN, Tag.SIGNATURE})
# The maximum length of a tag. MLflow truncates longer tags without an error, which would damage the JSON.
_MOST_CHARACTERS = 8000


def packed(tags: Mapping[str, str]) -> dict[str, str]:
    """Replace separate tags of the bookkeeping by the combined tag. All other tags stay as they are.

    If the combined tag would be too long for MLflow, the description of the study is shortened.

    Args:
        tags: Tags of a study's parent run, with each part of the bookkeeping as a separate tag.

    Raises:
        UsageError: The combined tag is too long even without the description.
    """
    kept = {name: json.loads(tags[tag]) if tag in _JSON else tags[tag] for tag, name in _PARTS.items() if tags.get(tag)}
    others = {tag: text for tag, text in tags.items() if tag not in _PARTS and tag != Tag.BOOKKEEPING}
    text = _text(kept)
    while (excess := len(text) - _MOST_CHARACTERS) > 0 and kept.get("description"):
        kept["description"] = kept["description"][:-excess]
        text = _text(kept)
    if excess > 0:
        cause = f"the study's settings, seeds and command take {len(text)} characters"
        raise UsageError(cause, f"MLflow stores at most {_MOST_CHARACTERS}. Use fewer seeds.")
    return others | {Tag.BOOKKEEPING: text}


def unpacked(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return the tags of a run, with each part of the combined tag added as a separate tag.

    An earlier version of this project may already have recorded a part as a separate tag. The value in the combined tag
    is newer and replaces it. If the combined tag is missing or invalid, the tags are returned unchanged.
    """
    try:
        kept = parts(tags[Tag.BOOKKEEPING])
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return tags
    return {**tags, **kept}


def only(tags: Mapping[str, str]) -> dict[str, str]:
    """Return only the tags that belong to the bookkeeping. `tags` is a result of :func:`unpacked`."""
    return {tag: tags[tag] for tag in _PARTS if tag in tags}


def parts(text: str) -> dict[str, str]:
    """Convert the value of a combined tag to separate tags, with the names that earlier versions used.

    Raises:
        ValueError: The text is not JSON.
        AttributeError: The JSON is not an object.
    """
    found: Mapping[str, Any] = dict(json.loads(text).items())
    return {
        tag: json.dumps(found[name]) if tag in _JSON else str(found[name])
        for tag, name in _PARTS.items()
        if name in found
    }


def _text(kept: Mapping[str, Any]) -> str:
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
