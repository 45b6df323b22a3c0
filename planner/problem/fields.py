"""What each field of a Problem's file means, with its unit: said once, for its JSON Schema and its page in docs/."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from planner.problem import (
    Beside,
    Budget,
    Constraint,
    Edge,
    End,
    Limit,
    LimitShape,
    MeanShape,
    Objective,
    Option,
    Path,
    Pool,
    Problem,
    Scenario,
    Server,
    Station,
    StationLevel,
    Step,
    TailRow,
    Throughput,
    Transfer,
    Visit,
    WaitLevel,
)

FIELDS: Final[dict[type, dict[str, str]]] = {
    Problem: {
        "name": "what people call it",
        "constraints": "what can be named where no choice holds, or relaxed",
        "sites": "their names",
        "flows": "their names; each takes exactly one scenario",
        "members": "by flow: how many alike members stand for it (at least 1); they choose alike",
        "pools": "devices that may be bought",
        "servers": "queues without replicas: executors of `time` pools, directions of links, shared rates",
        "stations": "queues with replicas, in pools",
        "scenarios": "for each flow at least one",
        "budgets": "limits of sums",
        "objectives": "at least one; lexicographic",
        "throughputs": "multiples of the loads that queues must carry",
    },
    Constraint: {
        "kind": "what it is about",
        "name": "as the user wrote it, such as `answer.p99`",
        "file": "where it was written; may be empty",
        "line": "the line there, from 1; 0: none",
    },
    WaitLevel: {
        "wait_us": "mean wait, us",
        "wait_var": "its variance, us^2",
    },
    Server: {
        "name": "what people call it",
        "constraint": "index into `constraints`: without it, it is never full",
        "max_load": "sum of `load_ppb` of its visits at most, ppb",
        "levels": "waits that it may promise; both numbers rise, and the first is 0, 0",
        "pools": "at most one index into `pools`, of one that shares time: each of its n devices has such an executor "
        "and gets an equal part of the visits, whose sums may be n times as large",
    },
    Visit: {
        "server": "index into `servers`",
        "work_ns": "rate x E[S^2] / 2 at the peak, ns, S being the service; 0: no queue is formed",
        "load_ppb": "rate x E[S] at the peak, ppb",
    },
    Pool: {
        "name": "what people call it",
        "sharing": "`cores`: each replica reserves its threads; `time`: a device has all, one at a time",
        "constraint": "index into `constraints`: without it, there are devices without end",
        "cores": "of each device, at least 1",
        "memory_kb": "of each device, kB",
        "minimum": "devices bought in any case",
        "maximum": "devices that can be bought, at most 100,000; at most 64 where they share time",
        "price": "of one device at all members together, ucur a month",
        "energy": "of one device at all members together, mWh a month",
    },
    StationLevel: {
        "replicas": "how many there are, standbys included, 1 to 100,000",
        "load_ppb": "load up to which this level holds, ppb (1e9: one Erlang)",
        "wait_us": "mean wait, us",
        "wait_var": "its variance, us^2",
    },
    Station: {
        "name": "what people call it",
        "pool": "index into `pools`",
        "threads": "that each replica reserves, at least 1; in a `cores` pool at most the device's cores",
        "memory_kb": "of each replica, kB; in a `cores` pool at most the device's; in a `time` pool of all together",
        "levels": "what may be chosen; in a `time` pool none, for the pool's server tells the wait",
        "standby": "of the replicas of a level, fewer than there are: idle ones, which carry nothing",
    },
    Option: {
        "station": "index into `stations`",
        "site": "index into `sites`",
        "first": "the first task of the step that it runs",
        "last": "the last one, included",
        "mean_us": "service without waits, mean, us",
        "var_us2": "its variance, us^2",
        "load_ppb": "rate x E[S] at the peak, that it brings to its station, ppb",
        "visits": "what it asks of servers",
        "cost": "by use, ucur a month",
        "barred": "indices into `constraints`: each rules it out unless relaxed",
        "energy": "beyond what its device takes when idle, mWh a month",
    },
    Step: {
        "name": "what people call it",
        "tasks": "how many in a row, 1 to 65; each is in exactly one chosen option, neighbours in different pools",
        "options": "ways to run some of its tasks",
    },
    End: {
        "step": "index into the scenario's `steps`; -1: a source or a sink",
        "task": "of that step, from 0",
        "site": "index into `sites` where `step` is -1; without a meaning elsewhere",
    },
    Transfer: {
        "start": "index into `sites`",
        "end": "index into `sites`, another one",
        "mean_us": "time without waits, mean, us",
        "var_us2": "its variance, us^2",
        "visits": "what it asks of servers",
        "cost": "ucur a month",
    },
    Edge: {
        "name": "what people call it",
        "producer": "where it comes from",
        "consumer": "where it goes to; steps must not wait for each other in a circle",
        "transfers": "between two sites, each pair once; a pair that is missing has no route; within a site it is free",
        "hops": "instead of `transfers`: between neighbours on a network without cycles, both ways; a message "
        "takes the hops on its only way",
        "apart_us": "with `hops`: what changing the site costs once beside them, mean, us",
        "apart_us2": "its variance, us^2",
    },
    Path: {
        "steps": "indices into the scenario's `steps`",
        "edges": "indices into the scenario's `edges`",
        "beside": "steps that run beside it, and may meet it on a device",
    },
    Beside: {
        "step": "index into the scenario's `steps`, of one that is not on the path: what of it is in a `time` pool "
        "with one of the others counts as if it were on the path, unless the pool's constraint is relaxed",
        "of": "indices of steps of the path",
    },
    TailRow: {
        "mean_us": "a path whose mean is at most this, us,",
        "var_us2": "and whose variance is at most this, us^2,",
        "excess_ppb": "is late in at most this share of all requests, ppb",
    },
    LimitShape: {
        "paths": "each takes one row",
        "rows": "that paths may take; a path that fits none breaks the limit",
    },
    Limit: {
        "constraint": "index into `constraints`",
        "allowed_ppb": "sum of `excess_ppb` over all paths of all shapes at most, ppb",
        "shapes": "branch patterns: ways that a request may go",
    },
    MeanShape: {
        "weight": "share of the requests that go this way, parts per million",
        "paths": "of which the slowest mean counts",
    },
    Scenario: {
        "name": "what people call it, such as its variants",
        "flow": "index into `flows`",
        "barred": "indices into `constraints`: each rules it out unless relaxed",
        "steps": "components",
        "edges": "messages",
        "limits": "on times",
        "means": "for each `latency` in `objectives`, in order: the branch patterns that count",
        "wrong": "share of all requests that are this flow's and answered wrong, ppb",
    },
    Objective: {
        "kind": "what is the less the better; units under Objectives",
        "name": "what people call it",
    },
    Budget: {
        "constraint": "index into `constraints`",
        "limit": "at most, ucur a month, mWh a month or kB",
        "of": "which sum: all cost, all energy, or memory of all replicas in `pools`",
        "pools": "indices into `pools`, of memory only",
    },
    Throughput: {
        "constraint": "index into `constraints`",
        "flows": "indices into `flows`",
        "scale": "times their loads, parts per million, at least 1,000,000",
    },
}
"""By class and field, in the order of the classes. Units: docs/problem-format.md."""


def tables() -> Iterator[str]:
    """For each class a table in Markdown: its keys, their types and meanings."""
    for kind, meanings in FIELDS.items():
        lines = [f"### {kind.__name__}", "", "| key | type | meaning |", "| --- | --- | --- |"]
        hints = get_type_hints(kind)
        for each in fields(kind):
            said = _type(hints[each.name]) + ("" if each.default is MISSING else f", else {_default(each.default)}")
            lines.append(f"| `{each.name}` | {said} | {meanings[each.name]} |")
        yield "\n".join(lines)


def _type(hint: Any) -> str:
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return (
            f"list of {_type(inner)}"
            if get_origin(inner) is not tuple
            else f"list of lists of {_type(get_args(inner)[0])}"
        )
    if get_origin(hint) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(hint))
    names = {int: "integer", str: "text"}
    return names[hint] if hint in names else f"[{hint.__name__}](#{hint.__name__.lower()})"


def _default(value: object) -> str:
    return "none" if value == () else f"`{value}`"
