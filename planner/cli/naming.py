"""How stages are called in tables, in predictions and in measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specs.plan import Assignment


def stage_name(assignment: Assignment) -> str:
    """The component, and which segment of its model where it is cut: ``vision[..cut_a]``."""
    whole = assignment.segment.is_whole
    return assignment.component if whole else f"{assignment.component}[{assignment.segment}]"
