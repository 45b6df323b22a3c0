"""What a TUN device hands over: how many packets it is, and how long; and nothing that comes can do harm."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from runtime.emulate.link import Train
from runtime.emulate.packet import LONGEST, destination, train_of


def packet(payload: int, kind: int = 0, of_one: int = 0, options: int = 12) -> bytes:
    """IPv4 with TCP."""
    tcp = struct.pack(">HHIIBBHHH", 1, 2, 0, 0, (20 + options) // 4 << 4, 0, 0, 0, 0) + bytes(options)
    address = [socket.inet_aton(a) for a in ("10.77.0.1", "10.77.0.2")]
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, 6, 0, *address)
    return struct.pack("<BBHHHH", 0, kind, 0, of_one, 0, 0) + ip + tcp + bytes(payload)


def test_a_packet_is_one_with_its_headers() -> None:
    data = packet(100)
    assert destination(data) == socket.inet_aton("10.77.0.2")
    assert train_of(data) == Train(152, 152, 1)


def test_a_train_has_headers_for_each_packet() -> None:
    assert train_of(packet(1448 * 3 + 1, 1, 1448)) == Train(1448 * 3 + 1 + 4 * 52, 1500, 4)
    assert train_of(packet(1448 * 3, 1, 1448)) == Train(3 * 1500, 1500, 3)
    assert train_of(packet(10, 1, 1448)) == Train(62, 62, 1)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: packet(0)[:10] + b"\x45" + b))
def test_whatever_comes_is_measured_or_left(data: bytes) -> None:
    if destination(data) is not None:
        train = train_of(data)
        assert 0 < train.unit <= train.size
        assert 1 <= train.packets <= LONGEST
