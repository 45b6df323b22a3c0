"""The table of constraints: what can be named in a conflict, each once."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.path_limits import limit_name
from planner.problem import Constraint, ConstraintKind
from specs.application import (
    AccuracyConstraint,
    Application,
    CostConstraint,
    EnergyConstraint,
    MemoryConstraint,
    PathConstraint,
    ResidencyConstraint,
    ShareConstraint,
    ThroughputConstraint,
)
from specs.errors import InputError, Issue, Place
from specs.load import Document


@dataclass
class ConstraintTable:
    """Grows as constraints and capacities are met; `index` maps a name to its place in `rows`."""

    rows: list[Constraint] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def add(self, kind: ConstraintKind, name: str, place: Place) -> int:
        """The index of `name`, which is added where it is new."""
        if name not in self.index:
            self.index[name] = len(self.rows)
            self.rows.append(Constraint(kind, name, place.file, place.line))
        return self.index[name]

    def place(self, index: int) -> Place:
        return Place(self.rows[index].file, self.rows[index].line)


def constraints_of(app: Document[Application]) -> ConstraintTable:
    """The user's constraints, in the order of the file, a path constraint once for each of its limits.

    Raises InputError for a kind that is not supported yet.
    """
    table = ConstraintTable()
    for name, constraint in app.value.constraints.items():
        place = app.place("constraints", name)
        if isinstance(constraint, PathConstraint):
            for q in constraint.limits:
                table.add("path", limit_name(name, q), app.place("constraints", name, f"p{q * 100:.0f}"))
        elif isinstance(constraint, CostConstraint):
            table.add("budget", name, place)
        elif isinstance(constraint, EnergyConstraint):
            table.add("energy", name, place)
        elif isinstance(constraint, MemoryConstraint):
            table.add("memory", name, place)
        elif isinstance(constraint, AccuracyConstraint):
            table.add("accuracy", name, place)
        elif isinstance(constraint, ShareConstraint):
            table.add("share", name, place)
        elif isinstance(constraint, ThroughputConstraint):
            table.add("throughput", name, place)
        elif isinstance(constraint, ResidencyConstraint):
            table.add("residency", name, place)
        else:
            raise InputError(Issue(f"not supported yet: constraint {name!r} of this kind", place))
    return table
