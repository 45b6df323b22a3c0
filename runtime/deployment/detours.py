"""Ways round processes that are slow: to the standby where there is one for all that the process does here, else by the
plan without its site where that promises answers sooner than they come now; else none.

`runtime.hosting.pace` says what is slow. While a process is gone round, now and then a request is run once more as the
plan has it, and that answer is thrown away: so it is seen when the process is well again. It must have been well for
`BACK_AFTER`, and for twice as long as the last time where that is less than `REMEMBER` ago, so that nothing swings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.fleet import site_of
from runtime.hosting.host import Host
from runtime.hosting.pace import Slow
from runtime.hosting.replicas import member_of, standby_of
from runtime.hosting.request import LATE
from runtime.values import Value

BACK_AFTER: Final = 10.0
LONGEST: Final = 640.0
REMEMBER: Final = 1800.0
TRY_EVERY: Final = 0.5
"""Seconds between requests that are run again to see, of which there is one at a time."""
TRIAL: Final = "~trial"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Detour:
    """Round the process of `slow`: by its standby or, where `site` is set, by the plan without that site."""

    slow: Slow
    site: str
    back_after: float

    def told(self, without: str) -> str:
        """In words, where requests go on `without` a site by now."""
        way = f"the plan without {self.site}" if self.site else "its standby"
        serves = "serves" if self.site in ("", without) else "is to serve, and does not yet"
        return f"{self.slow}: {way} {serves}, until this one has been well for {self.back_after:g} s"


class Detours:
    """Of one member's requests. `look` is called by one thread, again and again; the rest by any."""

    def __init__(self, host: Host, median_ms: Mapping[str, Mapping[str, float]]) -> None:
        """`median_ms` is what plans without a site promise, by site and flow."""
        self._host, self._median_ms = host, median_ms
        self._flows = {flow.name for flow in host.top.flows if host.member in flow.members}
        self._taken: dict[str, _Detour] = {}
        self._no_way: dict[str, str] = {}
        self._ended: dict[str, tuple[float, float]] = {}
        self._next_trial = 0.0
        self._trial: tuple[str, float] | None = None
        self._lock = threading.Lock()

    def look(self, now: float, without: str) -> None:
        """Take the detours that are needed now, and leave those that are not any more; `without` is a site that
        requests go round already.
        """
        pace = self._host.origin.pace
        self._give_up_trial(now)
        for process, detour in list(self._taken.items()):
            if pace.well_for(process, detour.slow.stage) >= detour.back_after:
                self._ended[process] = (now, detour.back_after)
                self._leave(process)
            elif not detour.site and not self._has_standby(process):
                self._leave(process)  # what stood in is gone, or slow itself
        no_way: dict[str, str] = {}
        for process, found in pace.slow().items():
            if process not in self._taken and (why := self._take(found, now, without)):
                no_way[process] = f"{found}: nothing goes round it, for {why}"
        self._no_way = no_way

    def _take(self, slow: Slow, now: float, without: str) -> str:
        """Why there is none; "" where there is."""
        site = site_of(member_of(slow.process))
        if not all(self._host.origin.may_repeat(flow) for flow in self._flows):
            return "components that keep state do not move"
        if self._has_standby(slow.process):
            self._begin(slow, "", now)
        elif site not in self._median_ms:
            return f"there is neither a standby nor a plan without {site}"
        elif without not in ("", site):
            return f"requests go on without {without} already"
        elif not self._is_faster_without(site):
            return f"the plan without {site} promises nothing better"
        else:
            self._begin(slow, site, now)
        return ""

    def _begin(self, slow: Slow, site: str, now: float) -> None:
        at, waited = self._ended.get(slow.process, (-REMEMBER, 0.0))
        back_after = min(2 * waited, LONGEST) if now - at < REMEMBER else BACK_AFTER
        detour = self._taken[slow.process] = _Detour(slow, site, back_after)
        self._host.origin.pace.forget(slow.process)
        self._shun()
        _LOG.warning("%s: %s: %s", self._host.name, slow.process, detour.told(site))

    def _leave(self, process: str) -> None:
        del self._taken[process]
        self._shun()
        _LOG.warning("%s: %s is gone round no longer", self._host.name, process)

    def _shun(self) -> None:
        self._host.origin.shun(frozenset(p for p, detour in self._taken.items() if not detour.site))

    def _has_standby(self, process: str) -> bool:
        """Whether one stands by for all that the process does for this member, is there, and is not slow itself."""
        origin, other = self._host.origin, standby_of(process)
        if process != member_of(process) or process == str(self._host.member):
            return False
        top, site = self._host.top, site_of(process)
        if any(e.to_site == site and e.flow in self._flows and e.consumer not in top.stage_by_id for e in top.edges):
            return False  # answers go there, for which nobody stands in
        mine = [s for s in top.stages_at(site) if self._flows & set(s.flows)]
        well = other not in origin.health.down() and other not in origin.pace.slow()
        return well and all(stage.standby for stage in mine)

    def _is_faster_without(self, site: str) -> bool:
        """Than what is measured; of a plan that predicts nothing for a flow that is taken to be so."""
        promised, pace = self._median_ms[site], self._host.origin.pace
        seen = {flow: 1e3 * pace.latency(flow) for flow in self._flows}
        return all(promised.get(flow, 0.0) < ms for flow, ms in seen.items() if ms)

    def sites(self) -> tuple[str, ...]:
        """Those without which requests are to go on."""
        return tuple(detour.site for detour in list(self._taken.values()) if detour.site)

    def told(self, without: str) -> dict[str, str]:
        """Of each slow process: by what, and where requests go instead."""
        return {**self._no_way, **{process: d.told(without) for process, d in list(self._taken.items())}}

    # --- whether it is still so

    def try_out(self, request: str, flow: str, values: Mapping[str, Value], deadline: float) -> None:
        """Run the request as the plan has it, too, where something is gone round and it is time to look again."""
        now, name = time.monotonic(), request + TRIAL
        if not self._taken:
            return
        with self._lock:
            if self._trial is not None or now < self._next_trial:
                return
            self._trial = (name, now + deadline)
        self._host.origin.submit(name, flow, values, deadline, lambda _: self._tried(name), shunned=False)

    def _tried(self, name: str) -> None:
        with self._lock:
            if self._trial is not None and self._trial[0] == name:
                self._trial, self._next_trial = None, time.monotonic() + TRY_EVERY

    def _give_up_trial(self, now: float) -> None:
        """One that is late, or was taken elsewhere."""
        trial = self._trial
        if trial is not None and now > trial[1]:
            self._host.origin.end(trial[0], "failed", LATE)
            self._tried(trial[0])
