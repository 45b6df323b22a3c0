"""What the ends of a path are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Path(Protocol):
    """What a plan, a run or a simulation says of one flow's way from a source to a sink."""

    @property
    def flow(self) -> str: ...
    @property
    def from_(self) -> str: ...
    @property
    def to(self) -> str: ...


def ends(path: Path, beside: Sequence[Path]) -> str:
    """``question -> answer``; with the site, ``question@office -> answer``, where paths `beside` it are of others."""
    several = any(p.flow != path.flow and p.from_ == path.from_ for p in beside)
    return f"{path.flow if several else path.from_} -> {path.to}"
