"""Suggests the nearest existing name for a mistyped name or path."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

# The fewest characters of a beginning that is completed. Shorter beginnings match too many names.
_SHORTEST_BEGINNING = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``Did you mean X? `` with the known name that is nearest. Return an empty text if no name is near."""
    found = _nearest(name, known)
    return "" if found is None else f"Did you mean {found}? "


def did_you_mean_path(path: str | Path, words: Iterable[str] = ()) -> str:
    """Return ``Did you mean X? `` with the existing path that is nearest. Return an empty text if no path is near.

    Args:
        path: Mistyped path. Each of its folders may be mistyped, too. If the path exists, nothing is suggested.
        words: Words that the command accepts in place of a path.
    """
    try:
        found = None if Path(path).exists() else _nearest(str(path), words) or _nearest_path(Path(path))
    except OSError:  # the folder cannot be read, or the name is too long
        return ""
    return "" if found is None else f"Did you mean {found}? "


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a name. The beginning of exactly one known name means this name."""
    names = list(dict.fromkeys(known))
    completed = [one for one in names if one.startswith(name)] if len(name) >= _SHORTEST_BEGINNING else []
    found = completed if len(completed) == 1 else get_close_matches(name, names, n=1)
    return found[0] if found else None


def _nearest_path(path: Path) -> Path | None:
    if path.exists():
        return path
    if path.parent == path:
        return None
    folder = _nearest_path(path.parent)
    if folder is None or not folder.is_dir():
        return None
    found = _nearest(path.name, sorted(child.name for child in folder.iterdir()))
    return None if found is None else folder / found
