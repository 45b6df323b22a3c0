"""`planner status`: what a deployment does now, asked of its hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.output import Format, FormatOption, emit
from planner.cli.status.view import show
from specs.errors import AnswerIsNo, InputError, Issue

if TYPE_CHECKING:
    from specs.deployment_status import DeploymentStatus


def status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Default: the only one there is.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every two seconds, until q or Ctrl-C.")] = False,
    fmt: FormatOption = Format.table,
) -> None:
    """What a deployment does now: who lives, what waits, rates, measured beside predicted, and what drifts.

    Exit code 1 where a member is not ready. With --watch the table refreshes in its place in a terminal; q or Ctrl-C
    ends it, with exit code 0. Where stdout is no terminal, each look follows the one before.

    Example: planner status blog_upload --watch
    """
    chosen = name or _only()
    if watch:
        from planner.cli.status.watch import watch as keep_watching
        from runtime.deployment.status import watching

        with watching(chosen) as watcher:
            keep_watching(watcher.look, fmt)
        return
    found = look(chosen)
    tell(found, fmt)
    missing = [m for m in found.members if m.state != "ready"]
    if missing:
        told = "; ".join(f"{m.member} is {m.state}" for m in missing)
        explained = all(m.problem for m in missing)
        raise AnswerIsNo(told if explained else f"{told} (planner deploy again starts it anew)")


def _only() -> str:
    from runtime.deployment.record import names

    found = names()
    if len(found) != 1:
        if not found:
            raise InputError(Issue("nothing is deployed", None, "planner deploy BUNDLE"))
        raise InputError(Issue(f"which deployment? there are {', '.join(found)}", None, "planner status NAME"))
    return found[0]


def look(name: str) -> DeploymentStatus:
    """What the deployment `name` does now. Raises as `runtime.deployment.status.watching` does."""
    from runtime.deployment.status import watching

    with watching(name) as watcher:
        return watcher.look()


def tell(found: DeploymentStatus, fmt: Format) -> None:
    """Write it to stdout."""
    emit(found.dump(), fmt, lambda out: show(found, out))
