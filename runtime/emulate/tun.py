"""A TUN device in the network namespace of this process: opened, given an address and routes, without any tool."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from typing import Final

DEVICE: Final = "/dev/net/tun"
NAME: Final = "link0"
MTU: Final = 1500

_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_IFF_TUN_NO_PI_VNET_HDR: Final = 0x0001 | 0x1000 | 0x4000
_CHECKSUMS, _TCP_TRAINS = 1, 2
_SIOCADDRT: Final = 0x890B
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_SIOCSIFNETMASK: Final = 0x891C
_SIOCSIFMTU: Final = 0x8922
_IFF_UP_RUNNING: Final = 0x1 | 0x40
_RTF_UP_HOST: Final = 0x1 | 0x4


def open_tun() -> int:
    """A new device in this namespace; what is sent to it is read from the descriptor returned, and the reverse.

    Raises OSError that names the device.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, f"opening {DEVICE}: {error.strerror}") from error
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", NAME.encode(), _IFF_TUN_NO_PI_VNET_HDR))
    set_trains(descriptor, True)
    return descriptor


def set_trains(descriptor: int, allowed: bool) -> None:
    """Whether the kernel may hand over several packets of a TCP connection in one buffer."""
    fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _CHECKSUMS | (_TCP_TRAINS if allowed else 0))


def configure(address: str, others: Iterable[str]) -> None:
    """Bring the loopback and the device up, with `address`; `others` are reached by the device, nothing else is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        handle = any_socket.fileno()
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP_RUNNING))
        name = NAME.encode()
        fcntl.ioctl(handle, _SIOCSIFADDR, struct.pack("16s16s8x", name, _address(address)))
        fcntl.ioctl(handle, _SIOCSIFNETMASK, struct.pack("16s16s8x", name, _address("255.255.255.255")))
        fcntl.ioctl(handle, _SIOCSIFMTU, struct.pack("16si20x", name, MTU))
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", name, _IFF_UP_RUNNING))
        for other in others:
            _add_route(handle, other)


def _add_route(handle: int, other: str) -> None:
    """A `struct rtentry` for one host by the device."""
    import ctypes

    device = ctypes.create_string_buffer(NAME.encode())
    entry = struct.pack(
        "@L16s16s16sHhLPhPLLH",
        0,
        _address(other),
        _address("0.0.0.0"),
        _address("255.255.255.255"),
        _RTF_UP_HOST,
        0,
        0,
        0,
        0,
        ctypes.addressof(device),
        0,
        0,
        0,
    )
    fcntl.ioctl(handle, _SIOCADDRT, entry)


def _address(text: str) -> bytes:
    """A `struct sockaddr_in`."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
