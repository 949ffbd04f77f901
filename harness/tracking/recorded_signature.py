"""Compares the recorded signature of a study with its current signature, and chooses the key of a new study.

The signature of a study contains everything that must not change when the study resumes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from harness.errors import UsageError
from harness.study import signature
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Tag


def new_key(name: str, archived: Iterable[RunRecord], current_signature: Mapping[str, Any]) -> str:
    """Choose a key for a new study. The key differs from the keys of the archived studies with the same name."""
    keys = {run.tags[Tag.STUDY_KEY] for run in archived}
    return next(key for number in count() if (key := signature.key(name, number, current_signature)) not in keys)


def changes(parent: RunRecord, current_signature: Mapping[str, Any]) -> list[str]:
    """The differences between a study's recorded signature and its current signature, as sentences.

    Args:
        parent: Parent run of the study.
        current_signature: Current signature of the study; see :mod:`harness.study.signature`.
    """
    if Tag.SIGNATURE not in parent.tags:
        return ["an earlier version of this project recorded the study"]
    return signature.differences(json.loads(parent.tags[Tag.SIGNATURE]), current_signature)


def check(name: str, parent: RunRecord, current_signature: Mapping[str, Any]) -> None:
    """Check that the current signature of a study is equal to its recorded signature.

    Raises:
        UsageError: The signatures differ, so new trials would not be comparable with the recorded trials.
    """
    if changed := changes(parent, current_signature):
        cause = f"the study {name} has changed since it was recorded: {'; '.join(changed)}"
        remedy = "Run the study under another name (--new-name NAME), or archive the old records (--fresh)."
        raise UsageError(cause, f"{remedy} Neither option deletes anything.")
