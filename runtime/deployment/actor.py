"""The Ray actor of a deployed host: a host with a door, which says what it does."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from runtime.bundle import open_bundle
from runtime.cluster.actor import HostActor, HostOrder
from runtime.ingress.door import DoorOptions, Endpoints
from runtime.ingress.member import MemberDoor


class DeployedHost(HostActor):
    """`digest` is of the deployment's record: who asks learns whether this is what they want."""

    def __init__(self, order: HostOrder, digest: str) -> None:
        super().__init__(order)
        self._digest = digest
        self._door: MemberDoor | None = None

    async def open_door(self, options: DoorOptions) -> Endpoints:
        """The last step: who has a door is ready."""
        self._door = await asyncio.to_thread(self._open_door, options)
        return self._door.endpoints

    def _open_door(self, options: DoorOptions) -> MemberDoor:
        return MemberDoor(open_bundle(self._order.bundle), self._order.top, self.host, options)

    async def ready_for(self) -> str:
        """The digest of the record that this host is ready for; empty while it is not."""
        return self._digest if self._door is not None else ""

    async def report(self) -> dict[str, Any]:
        """What this host does now, as plain data."""
        door = self._door
        if door is None:
            return {"ready": False}
        seen = await asyncio.to_thread(door.window.seen)
        return {
            "ready": True,
            "endpoints": asdict(door.endpoints),
            "models": list(door.models),
            "queues": [asdict(load) for load in self.host.loads()],
            "seen": seen,
        }

    async def close(self) -> None:
        if self._door is not None:
            await asyncio.to_thread(self._door.close)
        await super().close()
