"""What was observed, and what the new plan does about it, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.cli.diff.show import show_difference, side_text
from planner.cli.output import number, table

MEASURE: Final = "Measuring all again tells: planner profile APP --infra INFRA -o DIR, into an empty folder"

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from specs.replan import ObservedStage, ReplanResult


def show(result: ReplanResult, out: Console, *, by_sums: bool = False) -> None:
    """Observations, the difference between the plans, and what there is to be said of it.

    `by_sums`: the old plan was refined, which the new one is not.
    """
    show_observed(result.observed, out)
    for file, why in result.left_out.items():
        out.print(f"left out {file}: {why}")
    show_difference(result.difference, out)
    if not result.difference.placements:
        out.print("nothing moves")
    if result.not_made:
        moved = ", ".join(dict.fromkeys(p.component for p in result.not_made))
        out.print(
            f"by the records alone {moved} would move, but only because what did not run was not observed: were it off "
            f"by as much as what did, that would be no better, so it is not done. {MEASURE}",
            soft_wrap=True,
        )
    if not result.certain:
        out.print(
            "not certain: were what did not run off by as much as what did, no plan would keep all constraints. "
            + MEASURE,
            soft_wrap=True,
        )
    if by_sums:
        out.print(
            "the plan that ran was refined, the new one is not: both are compared by sums, and limits that refining "
            "tightened are as much tighter",
            soft_wrap=True,
        )
    for side in (result.old, result.new):
        out.print(side_text(side, result.old.application != result.new.application))
    if result.profiles:
        out.print(f"wrote {result.plan_file}, which rests on {result.profiles}", soft_wrap=True)


def show_observed(observed: Sequence[ObservedStage], out: Console) -> None:
    """Service as profiled and as run, by stage; and why what is not promoted is not."""
    rows = []
    for o in observed:
        figures = []
        for key in ("p50_ms", "p99_ms"):
            figures += [number(getattr(p, key)) if p else "-" for p in (o.profiled, o.measured)]
        ratio = f"{o.ratio:.2f}" if o.ratio is not None else "-"
        rows.append([o.name, o.site, f"{o.n:,}", *figures, ratio, "counts" if o.promoted else o.reason])
    if rows:
        columns = ["stage", "site", "n", "p50", "run", "p99", "run", "ratio", ""]
        out.print(table(columns, rows, title="service as profiled and as run, ms", right=columns[2:-1]))
