"""Goodput beyond capacity: HTTP requests in front of one camera, from below its capacity to three times that.

Clients arrive as a Poisson process, each with `DEADLINE` seconds; the stages of the camera share one slowed executor.
Its capacity is what `CLIENTS` are answered who ask again and again, measured first.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.running.in_process import opened
from benchmarks.running.pooled import Row
from runtime.ingress.door import DoorOptions
from runtime.ingress.member import MemberDoor
from runtime.ingress.service import Limits
from runtime.reference.items import Item

DEADLINE: Final = 1.0
SECONDS: Final = 25.0
SETTLE: Final = 5.0
"""Of those, which are not counted: the door learns its limit."""
LOADS: Final = (0.8, 1.0, 1.2, 1.5, 3.0)
CLIENTS: Final = 4
ASKED: Final = 40
"""Requests of each of them."""
TARGET: Final = 0.95


def overload_rows(bundle: Path, app: Path) -> list[Row]:
    """One row: the highest goodput at any load, relative to that at the last of `LOADS`."""
    with opened(bundle, app, shape=True) as of:
        member = str(of.top.flows[0].members[0])
        host = of.hosts.host(member)
        door = MemberDoor(of.bundle, of.top, host, host, DoorOptions(limits=Limits(deadline=DEADLINE)))
        try:
            url = f"{door.endpoints.http}/v2/models/{door.models[0]}/infer"
            capacity, goodput, fates = asyncio.run(_measured(url, [_body(item) for item in of.items]))
        finally:
            door.close()
    peak, beyond = max(goodput.values()), goodput[LOADS[-1]]
    return [
        {
            "case": f"traffic, one camera over HTTP, {LOADS[-1]:g} times the load",
            "metric": "peak goodput by goodput there",
            "ours": round(peak / beyond, 3) if beyond else None,
            "peer_name": "target",
            "peer": round(1 / TARGET, 3),
            "ratio": round(peak / beyond * TARGET, 3) if beyond else None,
            "runs": 1,
            "within": "target" if beyond >= TARGET * peak else "no",
            "capacity_per_second": round(capacity, 2),
            "goodput_per_second": {f"{load:g}": round(value, 2) for load, value in goodput.items()},
            "fates": fates,
        }
    ]


def _body(item: Item) -> bytes:
    (name, value), *_ = item.values.items()
    assert isinstance(value, bytes)
    data = [base64.b64encode(value).decode()]
    given = {"name": name, "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}, "data": data}
    return json.dumps({"inputs": [given]}).encode()


async def _measured(url: str, bodies: list[bytes]) -> tuple[float, dict[float, float], dict[str, dict[int, int]]]:
    timeout = aiohttp.ClientTimeout(total=10 * DEADLINE)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.monotonic()
        await asyncio.gather(*(_again_and_again(session, url, bodies[client::CLIENTS]) for client in range(CLIENTS)))
        capacity = CLIENTS * ASKED / (time.monotonic() - began)
        goodput: dict[float, float] = {}
        fates: dict[str, dict[int, int]] = {}
        for load in LOADS:
            ended = await _flood(session, url, bodies, load * capacity)
            counted = [status for at, status in ended if at >= SETTLE]
            goodput[load] = counted.count(200) / (SECONDS - SETTLE)
            fates[f"{load:g}"] = {status: counted.count(status) for status in sorted(set(counted))}
    return capacity, goodput, fates


async def _again_and_again(session: aiohttp.ClientSession, url: str, bodies: list[bytes]) -> None:
    for turn in range(ASKED):
        assert await _ask(session, url, bodies[turn % len(bodies)]) == 200


async def _flood(session: aiohttp.ClientSession, url: str, bodies: list[bytes], rate: float) -> list[tuple[float, int]]:
    """When each request came, and its status, of a Poisson process of `rate` a second."""
    rng, ended = random.Random(1), list[tuple[float, int]]()
    began, due = time.monotonic(), 0.0

    async def ask(at: float, body: bytes) -> None:
        ended.append((at, await _ask(session, url, body)))

    async with asyncio.TaskGroup() as group:
        while due < SECONDS:
            await asyncio.sleep(max(0.0, began + due - time.monotonic()))
            group.create_task(ask(due, rng.choice(bodies)))
            due += rng.expovariate(rate)
    return ended


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> int:
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
        await answer.read()
        return answer.status
