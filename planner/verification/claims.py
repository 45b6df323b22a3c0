"""What a plan claims, and whether it was found to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CLOSE: Final = 0.02
"""Relative difference allowed where both sides are computed exactly but rounded on the way."""


@dataclass(frozen=True, slots=True)
class Check:
    """One claim: what the plan says and what was found. Yes-no claims are 1 and 0."""

    name: str
    claimed: float
    recomputed: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def wrong(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)


@dataclass
class Claims:
    """Collects the checks of one verification, in order."""

    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def add(self, check: Check) -> None:
        self.checks.append(check)

    def holds(self, name: str, true: bool) -> bool:
        self.add(Check(name, 1.0, 1.0 if true else 0.0, bool(true)))
        return bool(true)

    def equal(self, name: str, claimed: float, found: float, close: float = CLOSE, least: float = 1e-9) -> None:
        self.add(Check(name, claimed, found, abs(claimed - found) <= close * abs(found) + least))

    def at_most(self, name: str, value: float, limit: float) -> None:
        """`limit` stands as what is claimed."""
        self.add(Check(name, limit, value, value <= limit * (1 + 1e-6) + 1e-9))
