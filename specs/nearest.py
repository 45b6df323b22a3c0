"""The way out for a word that is not known: the nearest one that is."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

SIMILAR: Final = 0.6
"""From this ratio of matching letters on, one word is taken for another (difflib's own default)."""


def near(word: str, known: Iterable[str], most: int = 8) -> str:
    """The way out for an unknown `word`: the nearest of `known`, else all of them (`most` of them)."""
    names = [name for name in known if name != word]
    close = get_close_matches(word, names, n=1, cutoff=SIMILAR)
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return ""
    return f"known: {', '.join(names[:most])}{', ...' if len(names) > most else ''}"
