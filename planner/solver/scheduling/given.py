"""The Problem of one isolated request, from nothing but times."""

from __future__ import annotations

from collections.abc import Mapping

from planner.problem import (
    Constraint,
    Edge,
    End,
    Objective,
    Option,
    Pool,
    Problem,
    Scenario,
    Station,
    Step,
    Transfer,
)

Pair = tuple[str, str]


def isolated_request(
    times: Mapping[str, Mapping[str, int]], messages: Mapping[Pair, Mapping[Pair, int]], name: str = "isolated request"
) -> Problem:
    """The Problem whose answer is the schedule with the least makespan.

    `times`: by step and device, how long it runs there (us); a device that is not named cannot run it. `messages`: by
    producer and consumer, the time (us) from each device to each other one; without a pair there is no way. Messages
    within a device take no time. Every device is serial, and a site of its own.
    """
    devices = list(dict.fromkeys(device for step in times.values() for device in step))
    number = {device: i for i, device in enumerate(devices)}
    place = {step: i for i, step in enumerate(times)}
    stations: list[Station] = []
    steps: list[Step] = []
    for step, on in times.items():
        options: list[Option] = []
        for device, time in on.items():
            options.append(Option(len(stations), number[device], 0, 0, time, 0, 0, (), 0, ()))
            stations.append(Station(f"{step} on {device}", number[device], 1, 0, ()))
        steps.append(Step(step, 1, tuple(options)))
    edges = tuple(
        Edge(
            f"{a}->{b}",
            End(place[a], 0, -1),
            End(place[b], 0, -1),
            tuple(Transfer(number[p], number[q], time, 0, (), 0) for (p, q), time in of.items() if p != q),
        )
        for (a, b), of in messages.items()
    )
    return Problem(
        name=name,
        constraints=tuple(Constraint("devices", f"{device}.devices", "", 0) for device in devices),
        sites=tuple(devices),
        flows=("request",),
        members=(1,),
        pools=tuple(Pool(device, "time", i, 1, 0, 0, 1, 0) for i, device in enumerate(devices)),
        servers=(),
        stations=tuple(stations),
        scenarios=(Scenario("all", 0, (), tuple(steps), edges, (), ()),),
        budgets=(),
        objectives=(Objective("makespan", "makespan"),),
    )
