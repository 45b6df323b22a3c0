"""`planner diff`: what differs between two plans, or two bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.output import Format, FormatOption, emit

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from specs.plan import Plan


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A plan, or the folder of a bundle.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The one that it is compared with.")],
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit code 1 where they differ; else it is 0 in both cases.")
    ] = False,
    fmt: FormatOption = Format.table,
) -> int:
    """What moved between two plans, and what that does to devices, cost, latency and constraints; which inputs changed.

    Of two bundles, also which artefacts and files changed, and how many bytes are to be shipped.

    Example: planner diff plan.yaml new.yaml

    Example: planner diff bundle new-bundle --exit-code
    """
    from planner.cli.diff.bundles import compare_bundles
    from planner.cli.diff.plans import compare_plans, side_of
    from planner.cli.diff.show import show
    from specs.diff import DiffResult

    (before, was), (after, now) = _read(old), _read(new)
    result = DiffResult(
        old=side_of(str(old), before),
        new=side_of(str(new), after),
        difference=compare_plans(before, after),
        bundle=compare_bundles(was, now) if was is not None and now is not None else None,
    )
    emit(result.dump(), fmt, lambda out: show(result, out))
    return int(exit_code and not result.same)


def _read(subject: Path) -> tuple[Plan, Bundle | None]:
    """The plan, and the bundle that it is in where `subject` is a folder. Raises InputError where it is neither."""
    if subject.is_dir():
        from runtime.bundle import open_bundle

        bundle = open_bundle(subject)
        return bundle.plan, bundle
    from specs.plan import read_plan

    return read_plan(subject), None
