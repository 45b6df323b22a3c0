"""A deployment's status as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from planner.cli.output import DASH, number, table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from specs.deployment_status import DeploymentStatus, DriftStatus, MemberStatus, StateStatus

TIMES: Final = ("", "", "req/s", "n", "p50", "measured", "p95", "measured", "p99", "measured")
SHORTEST_WAIT_MS: Final = 0.05
"""Waits of which nobody wants to read."""


def show(found: DeploymentStatus, out: Console) -> None:
    """All of it, one below the other: what matters most is nearest to the prompt."""
    for part in (*details(found), *summary(found)):
        out.print(part)


def details(found: DeploymentStatus) -> Iterator[RenderableType]:
    """Members, times and queues."""
    members = [
        [m.member, _state(m), ", ".join(m.stages), str(sum(q.waiting for q in m.queues)), m.http, m.grpc]
        for m in found.members
    ]
    yield table(["member", "state", "stages", "waiting", "http", "grpc"], members, right=["waiting"])
    if times := _times(found):
        yield table(TIMES, times, title="predicted at the peak and measured, ms", right=TIMES[2:])
    if queues := _queues(found):
        columns = ["queue", "member", "waiting", "servers", "busy, s"]
        yield table(columns, queues, right=columns[2:])


def summary(found: DeploymentStatus) -> Iterator[str]:
    """What cannot be asked, what is slow, drift, and a line each on requests, on a move under way and on all."""
    for member in found.members:
        if member.problem:
            yield f"{member.state}: {member.member}: {member.problem}"
    for member in found.members:
        if member.slow:
            yield f"slow: {member.member}: {member.slow}"
    for drift in found.drift:
        yield f"drift: {drift_text(drift)}"
    if found.drift:
        yield "planner replan plans for what is so by now, planner deploy --move goes over to that"
    for member in found.members:
        yield from (state_text(member.member, state) for state in member.remembers)
    counts = ", ".join(f"{n} {outcome}" for outcome, n in found.requests.items()) or "none yet"
    yield f"requests: {counts}"
    if found.moving:
        m = found.moving
        done = f"{m.loaded} of {m.processes} processes have loaded it, {m.moved} go by it"
        yield f"moving from plan {m.from_[:16]} to {m.to[:16]}: {done}"
    yield f"{found.name}: {found.state}, plan {found.plan[:16]}, Ray at {found.address or 'nowhere'}"


def drift_text(drift: DriftStatus) -> str:
    """In words."""
    unit = "requests/s" if drift.what == "rate" else "ms"
    what = f"{drift.statistic} {drift.what} of {drift.name} at {drift.member}"
    cause = f": {drift.cause}" if drift.cause else ""
    return f"{what} is {number(drift.measured)} {unit}, planned {number(drift.predicted)}{cause}"


def state_text(member: str, state: StateStatus) -> str:
    """What a component remembers, in words."""
    if not state.in_force:
        return f"{state.component} at {member}: waits for what it is to remember"
    since = "changed since" if state.changed else "nothing has changed since"
    problem = f"; {state.problem}" if state.problem else ""
    return f"{state.component} at {member}: checkpoint of {state.size:,} B {state.age_s:.0f} s ago, {since}{problem}"


def _state(m: MemberStatus) -> str:
    """With what is not as planned, or stands by."""
    standby = f", standby {m.standby}" if m.standby else ""
    slow = ", slow" if m.slow else ""
    return m.state + standby + slow + (f", goes on without {m.without}" if m.without else "")


def _times(found: DeploymentStatus) -> list[list[str]]:
    rows = []
    for p in found.paths:
        figures = _figures(p.predicted, p.measured)
        rows.append([p.flow, f"{p.member}, end to end", number(p.rate), str(p.n), *figures])
    for s in found.stages:
        figures = _figures(s.service_predicted, s.service_measured)
        rows.append([s.name, s.member, number(s.rate), str(s.n), *figures])
        if s.wait_measured.p99_ms >= SHORTEST_WAIT_MS:
            rows.append(["  waiting", "", "", "", *_figures(s.wait_predicted, s.wait_measured)])
    return rows


def _figures(planned: Any, measured: Any) -> list[str]:
    figures: list[str] = []
    for key in ("p50_ms", "p95_ms", "p99_ms"):
        figures += [number(getattr(planned, key)) if planned else DASH, number(getattr(measured, key))]
    return figures


def _queues(found: DeploymentStatus) -> list[list[str]]:
    return [
        [q.queue, m.member, str(q.waiting), str(q.servers), number(q.busy_s)] for m in found.members for q in m.queues
    ]
