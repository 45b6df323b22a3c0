"""What the command does with an emulation: start it, ask it, change a link, run something in a site, end it."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from runtime.emulate import state as states
from runtime.emulate.layout import network
from runtime.emulate.process import DOWN, ask, await_ready, last_words, start_emulator
from runtime.emulate.state import Process, State, read_state, state_folder
from runtime.emulate.topology import Host
from specs.emulation_status import EmulatedLink, EmulatedSite, EmulationStatus
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, Issue
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.nearest import near

MECHANISM: Final = "a user-space emulator of links over TUN devices"
END_LIMIT: Final = 10.0
UP: Final = "planner emulate up infra.yaml"


@dataclass(frozen=True, slots=True)
class Ended:
    """`was_up`: an emulation, or what one had left. `processes`: how many were ended."""

    was_up: bool
    processes: int


def up(
    infra: Document[Infrastructure], members: Mapping[str, int], seed: int, tell: Callable[[EmulationStatus], None]
) -> None:
    """Start the emulation of `infra`, with so many `members` of its sites, which goes on when this process ends.

    `tell` is given what runs. Where it cannot tell (an interruption, a reader that went away), nothing is left running.
    Raises InputError as `network` does, and EnvironmentFailed where one runs already or this machine does not allow it.
    """
    net = network(infra, members)
    folder = state_folder()
    order = {
        "folder": str(folder),
        "network": net.to_json(),
        "infra": str(Path(infra.file).absolute()),
        "digest": infra.digest,
        "seed": seed,
    }
    with _starting(folder) as emulator:
        assert emulator.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            emulator.stdin.write(json.dumps(order).encode() + b"\n")
            emulator.stdin.close()
        await_ready(emulator, folder)
        tell(status())


def _make_room(folder: Path) -> None:
    if states.make_folder(folder):
        return
    found = read_state(folder)
    if found is not None and found.emulator.alive():
        raise EnvironmentFailed(f"an emulation of {found.infra} runs already; end it with {DOWN}")
    if found is None:
        raise EnvironmentFailed(f"another command starts an emulation in {folder}, or was killed; {DOWN} removes it")
    down()
    states.make_folder(folder)


@contextlib.contextmanager
def _starting(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The emulator's process, in a new folder; however this is left but normally, nothing of both is."""
    made, emulator = False, None
    try:
        with _uninterrupted():
            _make_room(folder)
            made = True
        emulator = start_emulator(folder)
        yield emulator
    except BaseException:
        if emulator is not None:
            sites = found.sites.values() if (found := read_state(folder)) else ()
            emulator.kill()
            emulator.wait()
            states.end(sites, END_LIMIT)
        if made:
            states.remove_folder(folder)
        raise


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interruption meanwhile comes when this is left. Processes must not be started in it: they would inherit it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def down() -> Ended:
    """End the emulation and all that runs in its sites; remove its folder, or what a killed one has left.

    Raises EnvironmentFailed where a process does not end.
    """
    folder = state_folder()
    if not folder.exists():
        return Ended(False, 0)
    found = read_state(folder)
    if found is None:  # an emulator that lost its record ends by itself when it sees that
        states.remove_folder(folder)
        _refuse_rest(folder)
        return Ended(True, 0)
    alive = [p for p in (found.emulator, *found.sites.values()) if p.alive()]
    found.emulator.kill(signal.SIGTERM)
    states.wait([found.emulator], END_LIMIT / 2)
    left = states.end([found.emulator, *found.sites.values()], END_LIMIT)
    if left:
        raise EnvironmentFailed(f"process {left[0].pid} of the emulation does not end")
    states.remove_folder(folder)
    _refuse_rest(folder)
    return Ended(True, len(alive))


def _refuse_rest(folder: Path) -> None:
    if folder.exists():
        raise EnvironmentFailed(f"{folder} holds files that no emulation has made: remove it yourself")


def status() -> EmulationStatus:
    """What is emulated now. Raises AnswerIsNo where nothing is."""
    found = _living(AnswerIsNo)
    return _status(found, ask({}, state_folder()))


def change(
    link: str,
    direction: Literal["up", "down"] | None,
    *,
    delay: float | None = None,
    jitter: float | None = None,
    rate: float | None = None,
    loss: float | None = None,
    carries: bool | None = None,
) -> EmulationStatus:
    """Set what is given of all links of the class `link`, in one direction or both: seconds, bytes/s, a share.

    Raises InputError for a link that is not emulated, and EnvironmentFailed where nothing is.
    """
    found = _living(EnvironmentFailed)
    known = dict.fromkeys(way.link for way in found.network.ways)
    if link not in known:
        raise InputError(Issue(f"unknown link {link!r}", None, near(link, known) or "the emulation has no links"))
    given = {"delay": delay, "jitter": jitter, "rate": rate, "loss": loss, "carries": carries}
    to = {name: value for name, value in given.items() if value is not None}
    return _status(found, ask({"set": link, "direction": direction, "to": to}, state_folder()))


def execute(site: str, command: Sequence[str]) -> int:
    """Run `command` in the namespaces of a member (or of a site with one member). Returns its exit code.

    Raises InputError for an unknown site or command, and EnvironmentFailed where nothing is emulated.
    """
    found = _living(EnvironmentFailed)
    host = _host(found, site)
    if shutil.which(command[0]) is None:
        raise InputError(Issue(f"no command {command[0]!r} is installed"))
    from runtime.emulate.namespaces import run_in_site

    process = found.sites[host.name]
    if not process.alive():
        raise EnvironmentFailed(f"{host.name} has died; {DOWN}, then {UP}")
    try:
        return run_in_site(process.pid, command)
    except OSError as error:
        raise EnvironmentFailed(f"cannot enter {host.name}: {error.strerror or error}") from error


def _host(found: State, site: str) -> Host:
    for host in found.network.hosts:
        if site in host.names:
            return host
    members = [host.name for host in found.network.hosts if host.site == site]
    if members:
        raise InputError(Issue(f"{site} has {len(members)} members here", None, f"name one: {', '.join(members[:8])}"))
    raise InputError(
        Issue(f"unknown site {site!r}", None, near(site, [n for h in found.network.hosts for n in h.names]))
    )


def _living(otherwise: type[AnswerIsNo] | type[EnvironmentFailed]) -> State:
    folder = state_folder()
    found = read_state(folder)
    if found is None and not folder.exists():
        raise otherwise(f"nothing is emulated ({UP})")
    if found is None or not found.emulator.alive():
        said = last_words(folder)
        raise otherwise(f"the emulation was killed{f' ({said})' if said else ''}; {DOWN} removes what it left")
    return found


def _status(found: State, told: Mapping[str, Any]) -> EmulationStatus:
    return EmulationStatus(
        infra=found.infra,
        digest=found.digest,
        mechanism=MECHANISM,
        user_namespace=found.user_namespace,
        emulator=found.emulator.pid,
        unslowed=dict(found.network.unslowed),
        sites=tuple(_site(host, found.sites[host.name]) for host in found.network.hosts),
        links=tuple(_link(line) for line in told["links"]),
        late_mean_ms=told["late"]["mean"] * 1e3,
        late_most_ms=told["late"]["most"] * 1e3,
    )


def _site(host: Host, first: Process) -> EmulatedSite:
    return EmulatedSite(
        member=host.name,
        site=host.site,
        tier=host.tier,
        address=host.address,
        names=host.names,
        process=first.pid,
        state="up" if first.alive() else "dead",
    )


def _link(line: Mapping[str, Any]) -> EmulatedLink:
    kept = ("link", "direction", "carries", "shared", "loss", "packets", "bytes", "lost", "dropped")
    return EmulatedLink.model_validate(
        {name: line[name] for name in kept}
        | {
            "from": line["start"],
            "to": line["end"],
            "delay_ms": line["delay"] * 1e3,
            "jitter_ms": line["jitter"] * 1e3,
            "bytes_per_s": line["rate"],
            "shared_bytes_per_s": line["shared_rate"] if line["shared"] else None,
        }
    )
