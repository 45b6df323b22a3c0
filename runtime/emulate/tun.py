"""A TUN device in the network namespace of this process: opened, given an address and routes, without any tool."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from typing import Final

from runtime.emulate.routing import add_routes

DEVICE: Final = "/dev/net/tun"
LINK: Final = "link0"
"""The device of a site's links."""
CONTROL: Final = "control0"
"""The device of the control network, which has no links."""
MTU: Final = 1500

_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_IFF_TUN_NO_PI_VNET_HDR: Final = 0x0001 | 0x1000 | 0x4000
_CHECKSUMS, _TCP_TRAINS = 1, 2
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_SIOCSIFNETMASK: Final = 0x891C
_SIOCSIFMTU: Final = 0x8922
_IFF_UP_RUNNING: Final = 0x1 | 0x40


def open_tun(name: str = LINK) -> int:
    """A new device in this namespace; what is sent to it is read from the descriptor returned, and the reverse.

    Raises OSError that names the device.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, f"opening {DEVICE}: {error.strerror}") from error
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI_VNET_HDR))
    set_trains(descriptor, True)
    return descriptor


def set_trains(descriptor: int, allowed: bool) -> None:
    """Whether the kernel may hand over several packets of a TCP connection in one buffer."""
    fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _CHECKSUMS | (_TCP_TRAINS if allowed else 0))


def configure(address: str, others: Iterable[str]) -> None:
    """Bring the loopback and the device of links up, with `address`; by it `others` are reached, nothing else is."""
    bring_up("lo")
    bring_up(LINK, address, "255.255.255.255")
    add_routes(LINK, others)


def configure_control(address: str) -> None:
    """Bring the device of the control network up, with `address` in a network of 254."""
    bring_up("lo")
    bring_up(CONTROL, address, "255.255.255.0")


def bring_up(name: str, address: str = "", mask: str = "") -> None:
    """Let the device `name` carry packets."""
    device = name.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        handle = any_socket.fileno()
        if address:
            fcntl.ioctl(handle, _SIOCSIFADDR, struct.pack("16s16s8x", device, _address(address)))
            fcntl.ioctl(handle, _SIOCSIFNETMASK, struct.pack("16s16s8x", device, _address(mask)))
            fcntl.ioctl(handle, _SIOCSIFMTU, struct.pack("16si20x", device, MTU))
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", device, _IFF_UP_RUNNING))


def _address(text: str) -> bytes:
    """A `struct sockaddr_in`."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
