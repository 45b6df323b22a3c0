"""Calls of the Linux kernel that Python 3.11 has no function for."""

from __future__ import annotations

import ctypes
import os
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
MS_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
MS_BIND: Final = 4096
MS_PRIVATE_ALL: Final = 0x4000 | 0x40000
"""MS_REC | MS_PRIVATE."""
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_TIMERSLACK: Final = 29
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(kinds: int, what: str) -> None:
    """Leave namespaces for new ones. Raises OSError that names `what`."""
    _checked(_libc.unshare(kinds), what)


def setns(descriptor: int, kind: int, what: str) -> None:
    """Enter the namespace that `descriptor` stands for. Raises OSError that names `what`."""
    _checked(_libc.setns(descriptor, kind), what)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """Raises OSError that names the target."""
    given = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
    _checked(_libc.mount(*given), f"mounting {target}")


def set_hostname(name: str) -> None:
    """Of this UTS namespace, cut to what the kernel takes."""
    data = name.encode()[:64]
    _checked(_libc.sethostname(data, len(data)), "setting the host name")


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when its parent ends, in whatever way."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)


def adopt_orphans() -> None:
    """Have processes whose parent ends become children of this one, their nearest living ancestor that asked."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_process_name(name: str) -> None:
    """What `ps` shows; 15 characters."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15] + b"\0", 0, 0, 0)


def set_timer_slack(nanoseconds: int) -> None:
    """How much later than asked a sleep of this process may end."""
    _libc.prctl(_PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0)
