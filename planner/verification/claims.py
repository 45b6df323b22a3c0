"""What a plan claims, and whether it was found to hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

CLOSE: Final = 0.02
"""Relative difference allowed where both sides are computed exactly but rounded on the way."""


Rule = Literal["holds", "equal", "at most", "at least", "close"]
"""What makes a claim true: it holds or not; both figures are equal; the one found keeps a limit; both are close."""


@dataclass(frozen=True, slots=True)
class Check:
    """One claim: what the plan says and what was found. Yes-no claims are 1 and 0; a limit stands as what is claimed.

    `subject` is what the claim is about, `note` says why figures may differ where that is by design.
    """

    name: str
    claimed: float
    recomputed: float
    ok: bool
    rule: Rule = "equal"
    subject: str = ""
    note: str = ""


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
    subject: str = ""

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @contextmanager
    def about(self, subject: str) -> Iterator[None]:
        """What is added inside is about `subject`."""
        before, self.subject = self.subject, subject
        yield
        self.subject = before

    def add(self, name: str, claimed: float, found: float, ok: bool, rule: Rule = "equal", note: str = "") -> None:
        self.checks.append(Check(name, claimed, found, ok, rule, self.subject, note))

    def holds(self, name: str, true: bool) -> bool:
        self.add(name, 1.0, 1.0 if true else 0.0, bool(true), "holds")
        return bool(true)

    def equal(self, name: str, claimed: float, found: float, close: float = CLOSE, least: float = 1e-9) -> None:
        self.add(name, claimed, found, abs(claimed - found) <= close * abs(found) + least)

    def at_most(self, name: str, value: float, limit: float) -> None:
        self.add(name, limit, value, value <= limit * (1 + 1e-6) + 1e-9, "at most")

    def at_least(self, name: str, value: float, limit: float) -> None:
        self.add(name, limit, value, value >= limit * (1 - 1e-6) - 1e-9, "at least")
