"""What comes out of a TUN device with `IFF_VNET_HDR`: a virtio_net_hdr (10 bytes), then an IPv4 packet or a train."""

from __future__ import annotations

import struct
from typing import Final

from runtime.emulate.link import Train

VNET_HEADER: Final = 10
MTU: Final = 1500
SEGMENT: Final = 1448
"""Bytes of a TCP stream in a full packet."""
LONGEST: Final = VNET_HEADER + 65_535
_OFFLOAD: Final = struct.Struct("<BBHHHH")
_LEAST: Final = VNET_HEADER + 20
_TCP: Final = 6
_TCP_LEAST: Final = 14


def destination(data: bytes) -> bytes | None:
    """The address (4 bytes) that `data` is for; None where it is no IPv4 packet."""
    if len(data) < _LEAST or data[VNET_HEADER] >> 4 != 4:
        return None
    return data[VNET_HEADER + 16 : VNET_HEADER + 20]


def train_of(data: bytes) -> Train:
    """How many packets `data`, an IPv4 packet, is on a wire, and how long they are, each with its own headers."""
    length = len(data) - VNET_HEADER
    _, kind, _, payload_of_one, _, _ = _OFFLOAD.unpack_from(data)
    if not kind or not payload_of_one:
        return Train(length, length, 1)
    header = (data[VNET_HEADER] & 0xF) * 4
    if data[VNET_HEADER + 9] == _TCP and len(data) >= VNET_HEADER + header + _TCP_LEAST:
        header += (data[VNET_HEADER + header + 12] >> 4) * 4
    else:
        header += 8
    packets = max(1, -(-(length - header) // payload_of_one))
    return Train(length + (packets - 1) * header, min(length, header + payload_of_one), packets)


def train_of_payload(payload: int) -> Train:
    """What `payload` bytes of a TCP stream are on a wire, with time stamps in the headers."""
    packets = max(1, -(-payload // SEGMENT))
    return Train(payload + packets * (MTU - SEGMENT), min(MTU, payload + MTU - SEGMENT), packets)
