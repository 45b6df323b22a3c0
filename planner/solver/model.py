"""A linear model over booleans and bounded integers, which any integer solver could take; schedules add intervals.

docs/solver.md gives each constraint in mathematical notation under the name of the function that adds it; they are in
cover.py, crossing.py, tree_crossing.py, capacity.py and timing.py, which build.py calls in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Terms = list[tuple[int, int]]
"""(variable, coefficient) pairs, summed."""


@dataclass(frozen=True, slots=True)
class Row:
    """`low` <= sum of `terms` <= `high`, if the literal `when` is true (None: always)."""

    terms: tuple[tuple[int, int], ...]
    low: int | None
    high: int | None
    when: int | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """From the variable `start`, as long as the constant `size`, if the literal `present` is true."""

    start: int
    size: int
    present: int


@dataclass(frozen=True, slots=True)
class Norm:
    """The root of the sum of the squares of `parts`, each a variable times a factor that is not negative, is at most
    the sum of `v * sqrt(n)` over the `(v, n)` of `most`, of which at most one `v` is true.

    All answers keep it, since other rows imply it; linear relaxations of these rows do not. A variable may be in
    several parts.
    """

    parts: tuple[tuple[int, int], ...]
    most: tuple[tuple[int, int], ...]


def summed(terms: Terms) -> tuple[tuple[int, int], ...]:
    """One term a variable, and none without effect."""
    found = dict(terms)
    if len(found) == len(terms):  # nearly always
        return tuple(term for term in terms if term[1])
    found = {}
    for variable, factor in terms:
        found[variable] = found.get(variable, 0) + factor
    return tuple((v, f) for v, f in found.items() if f)


def row_of(terms: Terms, low: int | None, high: int | None, when: int | None = None) -> Row:
    return Row(summed(terms), low, high, when)


@dataclass
class Model:
    """Variables are indices into `domains`. Of the intervals of each of `apart`, no two that are present overlap.
    `impossible` says that something has no way to hold at all.
    """

    domains: list[tuple[int, int]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    one_of: list[tuple[int, ...]] = field(default_factory=list)
    apart: list[tuple[Interval, ...]] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)
    objectives: list[Terms] = field(default_factory=list)
    impossible: bool = False

    def integer(self, low: int, high: int) -> int:
        self.domains.append((low, high))
        return len(self.domains) - 1

    def boolean(self) -> int:
        return self.integer(0, 1)

    def add(self, terms: Terms, low: int | None, high: int | None, when: int | None = None) -> None:
        self.rows.append(row_of(terms, low, high, when))

    def most(self, terms: Terms) -> int:
        """The largest value that the sum can have."""
        return sum(f * (self.domains[v][1] if f > 0 else self.domains[v][0]) for v, f in terms)

    def total(self, terms: Terms) -> int:
        """A variable that equals the sum of non-negative `terms`."""
        variable = self.integer(0, self.most(terms))
        self.add([(variable, -1), *terms], 0, 0)
        return variable

    def any_of(self, literals: list[int]) -> int:
        """A literal that is true if one of `literals` is, of which at most one can be."""
        if len(literals) == 1:
            return literals[0]
        found = self.boolean()
        self.add([(found, -1), *((v, 1) for v in literals)], 0, 0)
        return found
