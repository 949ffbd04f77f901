"""Compares the environment of a gate with the environment in which its reference was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import fingerprint, provenance
from harness.gate.reference import Reference

_NONE = "not installed"


@dataclass(frozen=True)
class Difference:
    """A difference between two environments, such as a package version, the processor or the commit.

    Attributes:
        name: Name of the property that differs.
        reference: Value in the environment of the reference.
        now: Value in this environment.
    """

    name: str
    reference: str
    now: str


def differences(reference: Reference, engine: str) -> list[Difference]:
    """Return the differences between this environment and that of the reference's latest recording.

    The differences that most likely change training come first.

    Args:
        reference: Reference of the gate.
        engine: Engine or training function under test.
    """
    record = reference.records[-1]
    if reference.is_of_function:
        commit, what = provenance.watched_commit(), "training function"
    else:
        commit, what = provenance.commit(), "engine"
    facts = [
        *((name, record.versions.get(name, _NONE), version) for name, version in provenance.versions().items()),
        ("processor", record.processor, provenance.processor()),
        (what, reference.repeats.engine, engine),
        ("commit", _short(record.commit), _short(record.commit if commit is None else str(commit))),
    ]
    found = [Difference(*fact) for fact in facts if fact[1] != fact[2]]
    return [*found, *_of_fingerprint(reference), *_of_packages(record.packages)]


def _short(commit: str) -> str:
    revision, dash, dirty = commit.partition("-")
    return revision[:12] + dash + dirty


def _of_packages(before: Mapping[str, str]) -> list[Difference]:
    """Return the version differences of packages that :func:`harness.provenance.versions` does not include.

    The list is empty if the reference lists no packages.
    """
    now = provenance.packages() if before else {}
    names = sorted({*before, *now} - set(provenance.versions()))
    return [
        Difference(name, before.get(name, _NONE), now.get(name, _NONE))
        for name in names
        if before.get(name) != now.get(name)
    ]


def _of_fingerprint(reference: Reference) -> list[Difference]:
    """Return the differences in what changes rounding: CPU instructions, CPU caches and environment variables.

    The list is empty for the reference of a training function.
    """
    trace = reference.traces.get(reference.repeats.engine)
    if trace is None:
        return []
    before, now = trace.fingerprint, fingerprint.here()
    found = []
    for name in ("instructions", "caches", "settings"):
        theirs, ours = before.get(name, "").split(), now[name].split()
        if theirs != ours:
            only = [[word for word in side if word not in other] for side, other in ((theirs, ours), (ours, theirs))]
            found.append(Difference(f"CPU {name}" if name != "settings" else name, *(_also(words) for words in only)))
    return found


def _also(words: Sequence[str]) -> str:
    return f"also {' '.join(words)}" if words else "-"
