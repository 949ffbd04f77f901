"""Keeps the bookkeeping of a study in one tag of its parent run.

The bookkeeping is what only this project reads: the signature, the command and the like. No filter or view of MLflow
uses it. Earlier versions wrote one tag for each part. :func:`unpacked` gives both kinds of records the same form, which
has one entry for each part, so no other module knows about the combined tag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError
from harness.tracking.tags import Tag

# The names of the parts in the combined tag.
_PARTS = {
    Tag.DESCRIPTION: "description",
    Tag.COMMAND: "command",
    Tag.TIMES_RUN: "times_run",
    Tag.LAST_RUN: "last_run_ms",
    Tag.VERSIONS: "versions",
    Tag.CPU: "cpu",
    Tag.SIGNATURE: "signature",
}
# Parts that are JSON values and not text.
_JSON = frozenset({Tag.TIMES_RUN, Tag.LAST_RUN, Tag.SIGNATURE})
# MLflow truncates longer tags without an error, which would damage the JSON.
_MOST_CHARACTERS = 8000


def packed(tags: Mapping[str, str]) -> dict[str, str]:
    """Replace the bookkeeping parts among the tags of a study's parent run by the combined tag.

    If the combined tag would be too long for MLflow, the description is shortened.

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
    """Add the parts of the combined tag to the tags of a run.

    A part may also be a tag of its own, which an earlier version wrote. The combined tag is newer and wins. A run
    without the combined tag, or with an invalid one, keeps its tags as they are.
    """
    try:
        kept = parts(tags[Tag.BOOKKEEPING])
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return tags
    return {**tags, **kept}


def only(tags: Mapping[str, str]) -> dict[str, str]:
    """The bookkeeping parts among unpacked tags."""
    return {tag: tags[tag] for tag in _PARTS if tag in tags}


def parts(text: str) -> dict[str, str]:
    """The parts of a combined tag, by the name of the tag that earlier versions wrote.

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
