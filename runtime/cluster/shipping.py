"""Brings bundles to hosts that do not share this machine's file system by Ray's calls: what each machine lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from specs.input_file import open_input
from specs.manifest import MANIFEST_FILE, Manifest

CHUNK: Final = 4_000_000
"""Bytes of a file in one call: they travel inside it, so that no object store has to hold them."""
TAKE_LIMIT: Final = 120.0
"""Seconds for a chunk: 0.3 Mbit/s."""

Tell = Callable[[str], None]


class Caller(Protocol):
    """What of `runtime.cluster.connection.Connection` is needed."""

    def call(self, actors: Mapping[str, Any], method: str, *args: object) -> dict[str, Any]: ...

    def gather(self, refs: Mapping[str, Any], limit: float) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Shipment:
    """The bundle in the folder `source` of this machine, which is to be in the folder `target` of a host's."""

    source: Path
    target: str

    @property
    def manifest(self) -> bytes:
        return (self.source / MANIFEST_FILE).read_bytes()


def ship(caller: Caller, actors: Mapping[str, Any], shipments: list[Shipment], tell: Tell) -> None:
    """Have the bundles at the machines of `actors`, which are `runtime.cluster.receiving.Receiving`; each file goes
    once to each machine, to all of them at the same time.

    Raises EnvironmentFailed where a machine has no room, dies or does not answer in time; what came by then stays, for
    another try.
    """
    found = caller.call(actors, "identity")
    machines = {member: actors[member] for member in {identity: member for member, identity in found.items()}.values()}
    files = {digest: file for shipment in shipments for digest, file in _files(shipment).items()}
    held: dict[str, dict[str, int]] = caller.call(machines, "held", sorted(files))
    ways = {member: chunks(files, lacking) for member, lacking in held.items()}
    sent, whole = 0, sum(files[d].stat().st_size - have for lacking in held.values() for d, have in lacking.items())
    while ways:
        turn = {member: chunk for member, way in ways.items() if (chunk := next(way, None)) is not None}
        ways = {member: ways[member] for member in turn}
        refs = {member: machines[member].take.remote(*chunk) for member, chunk in turn.items()}
        caller.gather(refs, TAKE_LIMIT)
        sent += sum(len(data) for _, _, data, _ in turn.values())
        if whole:
            tell(f"the bundle's files: {sent / 1e6:.1f} of {whole / 1e6:.1f} MB sent")
    for shipment in shipments:
        caller.call(machines, "assemble", shipment.manifest, shipment.target)


def _files(shipment: Shipment) -> dict[str, Path]:
    found = Manifest.model_validate_json(shipment.manifest).files
    return {digest: shipment.source / name for name, digest in found.items()}


def chunks(files: Mapping[str, Path], lacking: Mapping[str, int]) -> Iterator[tuple[str, int, bytes, bool]]:
    """Digest, offset, bytes, and whether they are the last: of each file from where the machine has it."""
    for digest, offset in lacking.items():
        with open_input(files[digest]) as stream:
            stream.seek(offset)
            last = False
            while not last:  # the last one may be empty
                data = stream.read(CHUNK)
                last = len(data) < CHUNK
                yield digest, offset, data, last
                offset += len(data)
