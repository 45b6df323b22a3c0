"""Every limit on the time of a path: those on percentiles, and shares, which must be answered within the deadline."""

from __future__ import annotations

from dataclasses import dataclass

from specs.application import Application, PathConstraint, ShareConstraint


@dataclass(frozen=True, slots=True)
class PathLimit:
    """The `quantile` of the time of `path` is at most `seconds`. `is_share`: what the user limits is the quantile."""

    name: str
    path: PathConstraint
    quantile: float
    seconds: float
    is_share: bool = False


def path_limits(app: Application) -> tuple[PathLimit, ...]:
    """In the order of the file; those on percentiles are named such as ``answer.p99``."""
    found: list[PathLimit] = []
    for name, c in app.constraints.items():
        if isinstance(c, PathConstraint):
            found += [PathLimit(limit_name(name, q), c, q, limit) for q, limit in c.limits.items()]
        elif isinstance(c, ShareConstraint):
            found.append(PathLimit(name, c.path, c.share, app.deadline, is_share=True))
    return tuple(found)


def limit_name(constraint: str, quantile: float) -> str:
    """The name of one limit of a path constraint, such as ``answer_time.p99``."""
    return f"{constraint}.p{quantile * 100:.0f}"
