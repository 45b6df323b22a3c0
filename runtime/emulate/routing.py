"""Routes of this network namespace, made by rtnetlink(7), and how TCP goes over them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CONGESTION_CONTROL: Final = "cubic"
"""The kernel's own default, whatever this machine's is. BBR would take a stream of single requests for a slow link, and
send each at the pace of those before: 100 kB over 20 ms at 1 Gbit/s took 41 ms, with cubic 21.5."""
SLOW_START_AFTER_IDLE: Final = Path("/proc/sys/net/ipv4/tcp_slow_start_after_idle")

_NEWROUTE: Final = 24
_ERROR: Final = 2
_REQUEST_ACK_CREATE_REPLACE: Final = 0x1 | 0x4 | 0x400 | 0x100
_MAIN_TABLE, _STATIC, _LINK_SCOPE, _UNICAST = 254, 4, 253, 1
_DESTINATION, _OUTPUT, _METRICS = 1, 4, 8
_METRIC_CONGESTION_CONTROL: Final = 16


def add_routes(device: str, addresses: Iterable[str]) -> None:
    """Send what is for `addresses`, one host each, by `device`. Raises OSError where the kernel refuses."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        for address in addresses:
            kernel.sendall(_message(device, address))
            code = _answer(kernel.recv(65_536))
            if code:
                raise OSError(code, f"adding a route to {address}: {os.strerror(code)}")


def keep_windows() -> None:
    """Let TCP go on at the speed it had before a pause, as the hosts of a service do.

    Requests come one by one; after each pause TCP would send no more than 10 packets in the first round trip. Where the
    kernel does not allow it (a /proc that is read-only) messages take longer after a pause, which measuring hops shows.
    """
    with contextlib.suppress(OSError):
        SLOW_START_AFTER_IDLE.write_text("0\n", "ascii")


def _message(device: str, address: str) -> bytes:
    metrics = _attribute(_METRIC_CONGESTION_CONTROL, CONGESTION_CONTROL.encode() + b"\0")
    body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, _MAIN_TABLE, _STATIC, _LINK_SCOPE, _UNICAST, 0)
    body += _attribute(_DESTINATION, socket.inet_aton(address))
    body += _attribute(_OUTPUT, struct.pack("=I", socket.if_nametoindex(device)))
    body += _attribute(_METRICS, metrics)
    return struct.pack("=IHHII", 16 + len(body), _NEWROUTE, _REQUEST_ACK_CREATE_REPLACE, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    """A `struct rtattr` with its value, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _answer(data: bytes) -> int:
    """The number of the error that the kernel tells, 0 where there is none."""
    _, kind, _, _, _, code = struct.unpack_from("=IHHIIi", data)
    return -code if kind == _ERROR else 0
