"""From a placement and its demand to the network of queues that is played."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any, Final

import numpy as np

from planner.inputs.network import Passage
from planner.placement.demand import Demand
from planner.placement.layout import FlowLayout, Leg
from planner.placement.pipeline import Shape
from planner.prediction.distribution import Reals
from planner.prediction.measured import hop_moments
from planner.prediction.timings import Timings
from planner.simulation.faults import Calendar
from planner.simulation.tables import Network

UNLIMITED: Final = 2**31 - 1


@dataclass(frozen=True)
class Kind:
    """A class of requests: a flow's branch pattern, or background at one class of sites (`flow` is None)."""

    flow: FlowLayout | None
    pattern: int
    site: str


@dataclass
class _Rows:
    """Columns of a table that grows row by row."""

    names: tuple[str, ...]
    values: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = {name: [] for name in self.names}

    def add(self, **row: Any) -> int:
        for name in self.names:
            self.values[name].append(row[name])
        return len(self.values[self.names[0]]) - 1

    def __len__(self) -> int:
        return len(self.values[self.names[0]])


class Builder:
    """Collects the tables; `network` freezes them. Indices of queues, links and sites stand in `queues` and so on."""

    def __init__(self, timings: Timings) -> None:
        layout = timings.layout
        self._timings, self._layout = timings, layout
        self._infra = layout.situation.infra.value
        self.sites = {name: i for i, name in enumerate(self._infra.sites)}
        self.queues = {name: i for i, name in enumerate(dict.fromkeys(map(timings.executor, self._stages)))}
        self.links: dict[str, int] = {}
        self._link_sites: list[str] = []
        self.kinds: list[Kind] = []
        self._class = _Rows(("node", "members", "sinks"))
        self._node = _Rows(("stage", "site", "need", "items", "column", "end", "edge"))
        self._edge = _Rows(("to", "awaited", "sizes", "column", "step"))
        self._step = _Rows(("link", "rate", "mean", "deviation", "draw"))
        self._draws: list[Reals] = [self._timings.stages[i].parts[0] for i in self._stages]
        self._draw_of: dict[tuple[str, str], int] = {}
        self.columns: dict[tuple[str, int | str], int] = {}
        """Of waits, by flow and stage (its index) or leg (its name)."""
        self.ends: dict[tuple[str, str], int] = {}
        """Of ends, by flow and sink or component."""
        self._width: dict[str, int] = {}
        self._end_width: dict[str, int] = {}

    @property
    def _stages(self) -> range:
        return range(len(self._layout.stages))

    @property
    def width(self) -> tuple[int, int]:
        """Columns of waits and of ends: flows use the same ones."""
        return max(self._width.values(), default=0), max(self._end_width.values(), default=0)

    # Requests of a flow

    def pattern(self, of: FlowLayout, number: int) -> int:
        """The class of requests of `of` in its branch pattern `number`."""
        shape = of.pipeline.shapes[number]
        runs = [s for s in of.stages if self._layout.stages[s].assignment.component in shape.runs]
        sinks = [s for s in of.flow.sinks if of.pipeline.reached(shape, s)]
        ordered: list[int | str] = [-1, *runs, *sinks]
        nodes = {node: i for i, node in enumerate(ordered)}
        sent = [(leg, awaited) for leg, awaited in of.sent(shape) if awaited or leg.route]
        first = len(self._node)
        leaving: dict[int, list[tuple[Leg, bool]]] = {}
        need = dict.fromkeys(nodes, 0)
        for leg, awaited in sent:
            leaving.setdefault(leg.producer, []).append((leg, awaited))
            if awaited:
                need[_receiver(leg)] += 1
        for node in nodes:
            self._node.add(
                stage=node if isinstance(node, int) else -1,
                site=self.sites[self._site(of, node)],
                need=need[node],
                items=self._items(shape, node),
                column=self._column(of, node) if isinstance(node, int) and node >= 0 else -1,
                end=self._end(of, node),
                edge=len(self._edge),
            )
            for leg, awaited in leaving.get(node, []) if isinstance(node, int) else []:
                to = first + nodes[_receiver(leg)] if awaited else first
                self._message(of, leg, shape, to, awaited)
        self.kinds.append(Kind(of, number, of.flow.site))
        return self._class.add(node=first, members=of.flow.members, sinks=len(sinks))

    def _items(self, shape: Shape, node: int | str) -> int:
        staged = isinstance(node, int) and node >= 0
        return shape.times(self._layout.stages[node].assignment.component) if staged else 1  # type: ignore[index]

    def _site(self, of: FlowLayout, node: int | str) -> str:
        if isinstance(node, str):
            return of.flow.end(node)
        return self._layout.stages[node].assignment.site if node >= 0 else of.flow.site

    def _column(self, of: FlowLayout, what: int | str) -> int:
        key = (of.flow.name, what)
        if key not in self.columns:
            self.columns[key] = self._width[of.flow.name] = self._width.get(of.flow.name, 0)
            self._width[of.flow.name] += 1
        return self.columns[key]

    def _end(self, of: FlowLayout, node: int | str) -> int:
        """The column of a sink, or of a component whose last stage `node` is."""
        name = node
        if isinstance(node, int):
            if node < 0 or self._layout.stages[node].assignment.segment.end:
                return -1
            name = self._layout.stages[node].assignment.component
        key = (of.flow.name, str(name))
        if key not in self.ends:
            self.ends[key] = self._end_width.get(of.flow.name, 0)
            self._end_width[of.flow.name] = self.ends[key] + 1
        return self.ends[key]

    def _message(self, of: FlowLayout, leg: Leg, shape: Shape, to: int, awaited: bool) -> None:
        crosses = bool(leg.route)
        self._edge.add(
            to=to,
            awaited=awaited,
            sizes=self._sizes(of, leg, shape) if crosses else -1,
            column=self._column(of, leg.name) if crosses and awaited else -1,
            step=len(self._step),
        )
        if not crosses:
            return
        for passage in leg.route:
            for name, rate, site in self._servers(passage):
                self._step.add(link=self._link(name, site), rate=rate, mean=0.0, deviation=0.0, draw=-1)
            delay = self._layout.situation.network.link(passage).delay
            self._step.add(link=-1, rate=1.0, mean=delay.mean, deviation=delay.jitter, draw=-1)
        hop = hop_moments(self._layout.situation, of.pipeline.size(leg.message).mean)
        self._step.add(link=-1, rate=1.0, mean=hop.mean, deviation=sqrt(hop.variance), draw=-1)
        again = self._timings.sent_again(of, leg, shape)
        if again is not None:
            counts = _counts(self._timings.stacked(of, leg, shape))
            draw = self._draw(of, f"{leg.name} again{counts}", again)
            self._step.add(link=-1, rate=1.0, mean=0.0, deviation=0.0, draw=draw)

    def _servers(self, passage: Passage) -> list[tuple[str, float, str]]:
        """In the order in which a message meets them: what many share comes first on the way to them."""
        servers = self._timings.link_servers(passage)
        network = self._layout.situation.network
        first, second = network.link(passage).between
        start = first if passage.way == "up" else second
        return servers if start == network.finer_end(passage.link) else servers[::-1]

    def _sizes(self, of: FlowLayout, leg: Leg, shape: Shape | None = None) -> int:
        stacked = self._timings.stacked(of, leg, shape)
        return self._draw(of, f"{leg.name}{_counts(stacked)}", self._timings.bytes_of(of, leg, stacked))

    def _draw(self, of: FlowLayout, name: str, values: Reals) -> int:
        key = (of.flow.name, name)
        if key not in self._draw_of:
            self._draw_of[key] = len(self._draws)
            self._draws.append(values)
        return self._draw_of[key]

    def _link(self, name: str, site: str) -> int:
        if name not in self.links:
            self.links[name] = len(self.links)
            self._link_sites.append(site)
        return self.links[name]

    # What members left out of a slice ask of what they share with the others

    def background(self, demand: Demand, of: FlowLayout) -> list[tuple[int, str, float]]:
        """Classes of what a slice leaves out, with their site and the rate at each of its members."""
        part, layout = demand.part, self._layout
        found: list[tuple[int, str, float]] = []
        for site in part.background if part is not None else ():
            if not layout.situation.network.settled(of.flow.site, site):
                continue
            rate = max(0.0, demand.at(of.flow, site) - demand.chosen_rate(of.flow, site))
            for stage in of.stages:
                a = layout.stages[stage].assignment
                share = of.pipeline.share(a.component)
                if a.site == site and share:
                    for items, p in of.pipeline.counts(a.component).items():
                        if items:
                            found.append((self._visit(site, stage, items), site, rate * share * p))
            for leg in of.legs:
                for passage in leg.route:
                    for name, speed, owner in self._timings.link_servers(passage):
                        if owner == site:
                            kind = self._traffic(site, of, leg, name, speed)
                            found.append((kind, site, rate * leg.message.share))
        return found

    def _visit(self, site: str, stage: int, items: int) -> int:
        """The class of visits to one stage, of so many items together, of no request."""
        first = self._source(site)
        self._node.add(
            stage=stage, site=self.sites[site], need=1, items=items, column=-1, end=-1, edge=len(self._edge) + 1
        )
        self._edge.add(to=first + 1, awaited=True, sizes=-1, column=-1, step=len(self._step))
        return self._background(site, first)

    def _traffic(self, site: str, of: FlowLayout, leg: Leg, link: str, rate: float) -> int:
        """The class of messages over one link that belongs to members of `site`."""
        first = self._source(site)
        sizes = self._sizes(of, leg)
        self._edge.add(to=first, awaited=False, sizes=sizes, column=-1, step=len(self._step))
        self._step.add(link=self._link(link, site), rate=rate, mean=0.0, deviation=0.0, draw=-1)
        return self._background(site, first)

    def _source(self, site: str) -> int:
        return self._node.add(stage=-1, site=self.sites[site], need=0, items=1, column=-1, end=-1, edge=len(self._edge))

    def _background(self, site: str, first: int) -> int:
        self.kinds.append(Kind(None, 0, site))
        return self._class.add(node=first, members=self._infra.members(site), sinks=1)

    # Freezing

    def network(
        self, horizon: float, limit: int | None, calendars: Sequence[Calendar], ripe: Callable[[int], float]
    ) -> Network:
        """`limit` bounds what may wait at a queue; `ripe` gives a stage's seconds of waiting for a batch."""
        stages = [s.assignment for s in self._layout.stages]
        queue_of = [self.queues[self._timings.executor(i)] for i in self._stages]
        queues = [self._timings.executor(i) for i in self._stages]
        devices = {q: self._timings.devices(i) for i, q in enumerate(queues)}
        site_of = dict(zip(queues, (a.site for a in stages), strict=True))
        mixed = {q: queue_of.count(q) > 1 or any(a.batch > 1 for a, o in zip(stages, queue_of, strict=True) if o == q)
                 for q in self.queues.values()}  # fmt: skip
        members = self._infra.members
        site_first = _ends(members(s) for s in self.sites)
        link_first = _ends(members(s) for s in self._link_sites)
        place = {"pace": np.full(site_first[-1], -1, np.int32), "up": np.full(site_first[-1], -1, np.int32)}
        link_pace = np.full(link_first[-1], -1, np.int32)
        for number, calendar in enumerate(calendars):
            if calendar.kind == "link":
                for name, index in self.links.items():
                    if name.split(" ")[1] == calendar.name and not name.endswith(" shared"):
                        link_pace[link_first[index] : link_first[index + 1]] = number
                continue
            first = site_first[self.sites[calendar.name]]
            last = first + members(calendar.name)
            chosen = slice(first, last) if calendar.member is None else first + calendar.member
            place["up" if calendar.down else "pace"][chosen] = number
        c, n, e, s = (_arrays(rows) for rows in (self._class, self._node, self._edge, self._step))
        return Network(
            class_node=np.append(c["node"], np.int32(len(self._node))),
            class_members=c["members"], class_sinks=c["sinks"],
            node_stage=n["stage"], node_site=n["site"], node_need=n["need"], node_items=n["items"],
            node_column=n["column"],
            node_end=n["end"], node_edge=np.append(n["edge"], np.int32(len(self._edge))),
            edge_to=e["to"], edge_awaited=e["awaited"], edge_sizes=e["sizes"], edge_column=e["column"],
            edge_step=np.append(e["step"], np.int32(len(self._step))),
            step_link=s["link"], step_rate=s["rate"], step_mean=s["mean"], step_deviation=s["deviation"],
            step_draw=s["draw"],
            stage_queue=_ints(queue_of), stage_services=_ints(self._stages),
            stage_batch=_ints(a.batch for a in stages),
            stage_patience=np.array([ripe(i) for i in self._stages]),
            queue_first=_ends(members(site_of[q]) * devices[q] for q in self.queues),
            queue_members=_ints(members(site_of[q]) for q in self.queues),
            queue_devices=_ints(devices[q] for q in self.queues),
            queue_site=_ints(self.sites[site_of[q]] for q in self.queues),
            queue_servers=_ints(self._timings.queues[q].servers for q in self.queues),
            queue_mixed=_ints(mixed[i] for i in self.queues.values()),
            link_first=link_first, link_members=_ints(members(s) for s in self._link_sites),
            site_first=site_first, site_members=_ints(members(s) for s in self.sites),
            draw_first=_ends(len(d) for d in self._draws), values=np.concatenate(self._draws),
            place_pace=place["pace"], place_up=place["up"], link_pace=link_pace,
            calendar_first=_ends(len(c.times) for c in calendars),
            calendar_time=np.array([t for c in calendars for t in c.times], float),
            calendar_pace=np.array([p for c in calendars for p in c.paces], float),
            queue_limit=UNLIMITED if limit is None else limit,
            keeps_joins=int(any(c.down for c in calendars)),
            most_items=max((i for i in n["items"].tolist() if i != 1), default=1),
            horizon=horizon if horizon > 0 else inf,
        )  # fmt: skip


def _counts(shape: Shape | None) -> str:
    """What tells patterns apart in which stacks differ."""
    return "".join(f" {component}*{n}" for component, n in (shape.items if shape else ()))


def _receiver(leg: Leg) -> int | str:
    return leg.message.consumer.name if leg.consumer == -2 else leg.consumer


def _ints(values: Iterable[int]) -> Any:
    return np.fromiter(values, np.int32)


def _ends(lengths: Iterable[int]) -> Any:
    """Where each of a row of ranges begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(_ints(lengths), dtype=np.int32)]).astype(np.int32)


def _arrays(rows: _Rows) -> dict[str, Any]:
    floats = {"rate", "mean", "deviation"}
    return {n: np.array(v, np.float64 if n in floats else np.int32) for n, v in rows.values.items()}
