"""A site of an emulation: a process, first of its PID namespace, with a network, mounts and a host name of its own.

Nothing is pinned by a file or a mount: the namespaces of a site live exactly as long as that process, and when it ends,
in whatever way, the kernel ends everything that runs in the site.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from runtime.emulate import kernel, tun
from runtime.emulate.routing import keep_windows
from runtime.emulate.topology import Host

HOSTS: Final = "/etc/hosts"
COMMAND_NOT_RUN: Final = 126
"""As a shell says of a command that cannot be executed."""
_KINDS: Final = {
    "user": kernel.CLONE_NEWUSER,
    "mnt": kernel.CLONE_NEWNS,
    "net": kernel.CLONE_NEWNET,
    "uts": kernel.CLONE_NEWUTS,
    "pid": kernel.CLONE_NEWPID,
}
_FAILED: Final = b"!"


@dataclass(frozen=True, slots=True)
class Opened:
    """A site that runs: its first process, the descriptors of its TUN devices, and the pipe that keeps it alive.

    `tun` is of the links, `control` of the control network, where there is one.
    """

    pid: int
    tun: int
    control: int | None
    life: socket.socket


def become_root_of_namespaces() -> bool:
    """Be allowed to make namespaces: as root, else as root of a new user namespace, which this tells.

    Raises OSError that names what is missing.
    """
    if os.geteuid() == 0 and _may_make_networks():
        return False
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER, "making a user namespace")
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as stream:
            stream.write(text)
    return True


def _may_make_networks() -> bool:
    child = os.fork()
    if child == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWNET, "")
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def open_site(host: Host, reachable: Sequence[str], hosts_file: str) -> Opened:
    """Start `host` with routes to the addresses `reachable`. Raises OSError that names what is missing.

    A process in between leaves the PID namespace and ends; the site's first process comes back to this one, which may
    not return to its own namespace without being root.
    """
    ours, theirs = socket.socketpair()
    kernel.adopt_orphans()
    between = os.fork()
    if between == 0:
        _start_site(host, reachable, hosts_file, theirs)
    theirs.close()
    os.waitpid(between, 0)
    ours.sendall(b"go")
    message, descriptors, _, _ = socket.recv_fds(ours, 4096, 2)
    if not descriptors:
        code, _, text = message.removeprefix(_FAILED).decode().partition(" ")
        raise OSError(int(code) if code.isdecimal() else 0, text or f"site {host.name} did not start")
    return Opened(int(message), descriptors[0], descriptors[1] if host.control else None, ours)


def _start_site(host: Host, reachable: Sequence[str], hosts_file: str, life: socket.socket) -> NoReturn:
    try:
        kernel.unshare(kernel.CLONE_NEWPID, "making a PID namespace")
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_site(host, reachable, hosts_file, life, told)
        os.write(tell, str(pid).encode())
    except OSError as error:
        _fail(life, error)
    finally:
        os._exit(0)


def _fail(life: socket.socket, error: OSError) -> None:
    with contextlib.suppress(OSError):
        life.sendall(_FAILED + f"{error.errno or 0} {error.strerror or error}".encode())


def _be_site(host: Host, reachable: Sequence[str], hosts_file: str, life: socket.socket, told: int) -> NoReturn:
    """In the first process of the site: make it, hand the TUN device over, and live until nobody holds `life`."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans come to the first process: the kernel buries them
        own_number = os.read(told, 32)
        _keep_only(life.fileno())
        if not life.recv(64):  # the parent is the emulator from now on
            os._exit(0)
        kernel.die_with_parent(signal.SIGKILL)
        kernel.set_process_name(host.name)
        devices = _furnish(host, reachable, hosts_file)
        socket.send_fds(life, [own_number], devices)
        for device in devices:
            os.close(device)
        while life.recv(64):
            pass
    except OSError as error:
        _fail(life, error)
    finally:
        os._exit(0)


def _keep_only(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, 4096)


def _furnish(host: Host, reachable: Sequence[str], hosts_file: str) -> list[int]:
    """Networks, mounts and host name of the site. Returns its TUN devices: of the links, of the control network."""
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS, "making a mount namespace")
    kernel.unshare(kernel.CLONE_NEWNET, "making a network namespace")
    kernel.set_hostname(host.name)
    kernel.mount("none", "/", "", kernel.MS_PRIVATE_ALL)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID_NODEV_NOEXEC)
    if os.path.exists(HOSTS):
        kernel.mount(hosts_file, HOSTS, "", kernel.MS_BIND)
    keep_windows()
    devices = [tun.open_tun()]
    tun.configure(host.address, reachable)
    if host.control:
        devices.append(tun.open_tun(tun.CONTROL))
        tun.configure_control(host.control)
    return devices


def run_in_site(pid: int, command: Sequence[str]) -> int:
    """Run `command` in the site whose first process is `pid`, with this process's streams. Returns its exit code.

    What it leaves in the background stays until the site ends. Raises OSError where the site cannot be entered.
    """
    folder = os.getcwd()
    enter(pid)
    child = os.fork()
    if child == 0:
        _be_command(folder, command)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the command as well, which decides
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _forward_to(child))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _forward_to(child: int) -> Callable[[int, object], None]:
    def forward(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    return forward


def enter(pid: int, kinds: Collection[str] = _KINDS) -> None:
    """Go to the namespaces of `kinds` of the site whose first process is `pid`: "net" for this thread alone.

    Raises OSError where that is not possible: nobody enters a user namespace who has several threads.
    """
    entered: list[tuple[str, int]] = []
    try:
        for kind in kinds:
            file = f"/proc/{pid}/ns/{kind}"
            if not os.path.samestat(os.stat(file), os.stat(f"/proc/self/ns/{kind}")):
                entered.append((kind, os.open(file, os.O_RDONLY | os.O_CLOEXEC)))
        for kind, descriptor in entered:
            kernel.setns(descriptor, _KINDS[kind], f"entering the site's {kind} namespace")
    finally:
        for _, descriptor in entered:
            os.close(descriptor)


def _be_command(folder: str, command: Sequence[str]) -> NoReturn:
    try:
        kernel.die_with_parent(signal.SIGKILL)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(OSError):
            os.chdir(folder)
        os.execvp(command[0], list(command))
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(COMMAND_NOT_RUN)
