"""Where a member's requests enter: the plan's host or, while a site is gone, the host of the plan without that site.

Each origin decides for its own requests, from its own heartbeats and answers; nobody else has to be alive for that. A
site counts as gone once a process of it that serves this member has been down for `MOVE_AFTER` and no standby stands
in, or is slow with no way round but without the site (`runtime.deployment.detours`). What is gone comes before what is
slow.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from runtime.deployment.detours import Detours
from runtime.hosting.host import Host
from runtime.hosting.replicas import process_for
from runtime.hosting.request import OnEnd
from runtime.topology import Stage, Topology
from runtime.values import Value

MOVE_AFTER: Final = 1.0
"""Seconds that a process may take to come back before its stages are moved."""
BACK_AFTER: Final = 2.0
"""Seconds that it must have been up before its stages come back."""
LOOK_EVERY: Final = 0.2
TRY_AGAIN: Final = 5.0
_LOG: Final = logging.getLogger(__name__)

Adopt = Callable[[str, Collection[str]], Host]
"""(site, members): opens the hosts of the plan without `site` at the members, and returns the one of this process."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A plan without a site; `median_ms` is how long it says that requests of a flow take."""

    top: Topology
    median_ms: Mapping[str, float]


class Failover:
    """See the module; an `Entrance` of the door. From construction to `close`."""

    def __init__(self, host: Host, alternatives: Mapping[str, Alternative], adopt: Adopt) -> None:
        """`alternatives` are plans without a site, by site."""
        self._host, self._alternatives, self._adopt = host, alternatives, adopt
        self._others: dict[str, Host] = {}
        host.origin.on_death = self._died
        self._not_before: dict[str, float] = {}
        self.without = ""
        self._detours = Detours(host, {site: each.median_ms for site, each in alternatives.items()})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="failover", daemon=True)
        self._thread.start()

    def submit(self, request: str, flow: str, values: Mapping[str, Value], deadline: float, on_end: OnEnd) -> None:
        """See `runtime.hosting.origin.Origin.submit`."""
        self._entered.submit(request, flow, values, deadline, on_end)
        self._detours.try_out(request, flow, values, deadline)

    @property
    def _entered(self) -> Host:
        """The host where requests enter now."""
        site = self.without
        return self._others[site] if site else self._host

    def give_up(self, request: str, reason: str) -> None:
        """End a request, whichever host has it."""
        for host in (self._host, *self._others.values()):
            host.give_up(request, reason)

    def slow(self) -> dict[str, str]:
        """Of each process that is slow: by what, and where requests go instead."""
        return self._detours.told(self.without)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def _loop(self) -> None:
        back_since: float | None = None
        while not self._stop.wait(LOOK_EVERY):
            now = time.monotonic()
            self._detours.look(now, self.without)
            gone = [s for s in self._alternatives if now >= self._not_before.get(s, 0.0) and self._gone(s)]
            slow = [s for s in self._detours.sites() if now >= self._not_before.get(s, 0.0)]
            if not self.without:
                back_since = None
                if gone or slow:
                    self._move((gone or slow)[0])
            elif self._missing(self.without):
                back_since = None
                self._bring_over(self._host)
            elif gone:  # another site: this one is only slow, or is back
                back_since = None
                self._move(gone[0])
            elif self.without in self._detours.sites():
                back_since = None
            else:
                back_since = back_since or now
                if now - back_since >= BACK_AFTER:
                    _LOG.warning("%s: back to the plan with %s", self._host.name, self.without)
                    self.without = ""

    def _missing(self, site: str) -> set[str]:
        """Members at `site` that would have to run something for this one, and neither they nor a standby can."""
        down = self._host.origin.health.down()
        return {member for member, stage in self._served(site) if process_for(member, stage, down) is None}

    def _served(self, site: str) -> Iterator[tuple[str, Stage]]:
        top, name = self._host.top, str(self._host.member)
        mine = self._flows(top)
        for stage in top.stages_at(site):
            member = top.member.get((name, site))
            if member is not None and mine & set(stage.flows):
                yield str(member), stage

    def _flows(self, top: Topology) -> set[str]:
        """Of this member."""
        return {flow.name for flow in top.flows if self._host.member in flow.members}

    def _gone(self, site: str) -> bool:
        missing = self._missing(site)
        return bool(missing) and self._host.origin.health.down_for(missing) >= MOVE_AFTER

    def _move(self, site: str) -> None:
        """Have the plan without `site` ready where it needs to be; then let requests go there, waiting ones first."""
        top, name = self._alternatives[site].top, str(self._host.member)
        mine = self._flows(top)
        sites = {stage.site for stage in top.stages if mine & set(stage.flows)}
        members = {str(top.member[name, s]) for s in sites if (name, s) in top.member}
        try:
            self._others[site] = self._adopt(site, members)
        except Exception as error:  # whatever the plan's parts raise when they are loaded
            _LOG.error("%s: cannot go on without %s: %s", name, site, error)
            self._not_before[site] = time.monotonic() + TRY_AGAIN
            return
        self._others[site].origin.on_death = self._died
        if self._missing(site) or site in self._detours.sites():  # it may have come back meanwhile
            _LOG.warning("%s: goes on without %s", name, site)
            before, self.without = self._entered, site
            self._bring_over(before)

    def _bring_over(self, before: Host) -> None:
        after = self._others[self.without]
        for each in before.origin.withdraw():
            after.origin.resume(each)
        for process, reason in before.origin.health.dead().items():  # some of them since then
            after.origin.died_elsewhere(process, reason)

    def _died(self, process: str, reason: str) -> None:
        """A plan's host found a process dead: requests that it may hold can be another's by now."""
        for host in (self._host, *self._others.values()):
            host.origin.died_elsewhere(process, reason)
