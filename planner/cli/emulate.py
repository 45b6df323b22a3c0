"""`planner emulate`: the sites and links of an infrastructure on this machine, as network namespaces."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from planner.cli.options import Seed
from planner.cli.output import Format, FormatOption, Progress, emit, number, table
from planner.cli.run import parse_members
from specs.errors import InputError, Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from specs.emulation_status import EmulatedLink, EmulationStatus

emulate = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@emulate.callback()
def _about() -> None:
    """The sites and links of an infrastructure on this machine: a network namespace a site.

    Links have the delay, rate, jitter and loss of the infrastructure; processors are not slowed.

    Example: planner emulate up infra.yaml
    """


@emulate.command("up", short_help="Start the networks of an infrastructure, and return.")
def up(
    infra: Annotated[Path, typer.Argument(metavar="INFRA", help="The infrastructure (infra.yaml).")],
    members: Annotated[
        list[str] | None,
        typer.Option("--members", "--slice", "-m", metavar="SITE=N", help="How many of a class of sites; default 1."),
    ] = None,
    seed: Seed = 1,
    fmt: FormatOption = Format.table,
) -> None:
    """Start one member of each site, or as many as asked for, with the links between them. It runs until `down`.

    Example: planner emulate up infra.yaml --members phones=2
    """
    asked = parse_members(members or [])
    from runtime.emulate.control import up as start
    from specs.check import check_infrastructure
    from specs.load import load_infrastructure

    document = load_infrastructure(infra)
    issues = check_infrastructure(document)
    if issues:
        raise InputError(*issues)

    def tell(found: EmulationStatus) -> None:
        _tell(found, fmt)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # it is up, and so is the answer

    with Progress() as progress:
        progress.step("starting the sites")
        start(document, asked, seed, tell)


@emulate.command("status", short_help="Sites with their addresses, links as they are now.")
def status(fmt: FormatOption = Format.table) -> None:
    """Sites with addresses and names, links as they are now and what they carried. Exit code 1 where nothing runs.

    Example: planner emulate status --format json
    """
    from runtime.emulate.control import status as look

    _tell(look(), fmt)


@emulate.command("set", short_help="Change a link while it runs.")
def set_(
    link: Annotated[str, typer.Argument(metavar="LINK", help="Such as link.lte, or lte.")],
    delay: Annotated[str, typer.Option("--delay", metavar="TIME", help="One way, such as 80ms.")] = "",
    jitter: Annotated[str, typer.Option("--jitter", metavar="TIME", help="Standard deviation, such as 5ms.")] = "",
    rate: Annotated[str, typer.Option("--rate", metavar="RATE", help="Such as 10Mbit/s; what is shared stays.")] = "",
    loss: Annotated[str, typer.Option("--loss", metavar="SHARE", help="Of packets, such as 1% or 0.01.")] = "",
    carries: Annotated[bool | None, typer.Option("--up/--down", help="Whether the link carries anything.")] = None,
    direction: Annotated[
        Literal["up", "down"] | None, typer.Option("--direction", metavar="up|down", help="Only this; default both.")
    ] = None,
    fmt: FormatOption = Format.table,
) -> None:
    """Change a link of the emulation while it runs, in both directions or one; all links of a class alike.

    Example: planner emulate set link.lte --delay 80ms --rate 10Mbit/s
    """
    from runtime.emulate.control import change

    times = {"delay": _time("--delay", delay), "jitter": _time("--jitter", jitter)}
    to = {**times, "rate": _rate(rate), "loss": _loss(loss)}
    if carries is None and all(value is None for value in to.values()):
        raise InputError(Issue("nothing to set", None, "give --delay, --jitter, --rate, --loss, --up or --down"))
    _tell(change(link.removeprefix("link."), direction, **to, carries=carries), fmt)


@emulate.command(
    "exec",
    short_help="Run a command inside a site.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def exec_(
    site: Annotated[str, typer.Argument(metavar="SITE", help="A member, such as phones-0, or a site with one.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run there.")],
) -> None:
    """Run a command inside a site, with this terminal; the exit code is the command's.

    What the command leaves in the background runs until `down`.

    Example: planner emulate exec phones -- ping -c 3 frankfurt
    """
    from runtime.emulate.control import execute

    given = command[1:] if command[0] == "--" else command
    if not given:
        raise InputError(Issue("no command to run", None, "planner emulate exec SITE -- COMMAND"))
    code = execute(site, given)
    raise typer.Exit(code if code >= 0 else 128 - code)


@emulate.command("down", short_help="End the emulation; nothing is left.")
def down(fmt: FormatOption = Format.table) -> None:
    """End the emulation and all that runs in its sites, or remove what a killed one left. Without any, no error.

    Example: planner emulate down
    """
    from planner.cli.results import EmulateDownResult
    from runtime.emulate.control import down as end

    ended = end()
    result = EmulateDownResult(was_up=ended.was_up, processes=ended.processes)
    said = f"the emulation is gone; {ended.processes} processes of it ended" if ended.was_up else "nothing was emulated"
    emit(result.dump(), fmt, lambda out: out.print(said))


def _time(option: str, text: str) -> float | None:
    from runtime.emulate.layout import LONGEST_DELAY
    from specs.quantities import TIME

    seconds = _quantity(option, text, TIME, "80ms")
    if seconds is not None and seconds > LONGEST_DELAY:
        raise InputError(Issue(f"{option}: expected at most {LONGEST_DELAY:g} s, got {text!r}"))
    return seconds


def _rate(text: str) -> float | None:
    from specs.quantities import BANDWIDTH

    rate = _quantity("--rate", text, BANDWIDTH, "10Mbit/s")
    if rate is not None and rate <= 0:
        raise InputError(Issue("--rate: expected a rate above zero", None, "--down lets nothing pass"))
    return rate


def _loss(text: str) -> float | None:
    from specs.quantities import parse_share

    try:
        return parse_share(text) if text else None
    except ValueError as error:
        raise InputError(Issue(f"--loss: {error}")) from error


def _quantity(option: str, text: str, units: Mapping[str, float], example: str) -> float | None:
    from specs.quantities import parse_quantity

    try:
        return parse_quantity(0 if text == "0" else text, units, example) if text else None
    except ValueError as error:
        raise InputError(Issue(f"{option}: {error}")) from error


def _tell(found: EmulationStatus, fmt: Format) -> None:
    emit(found.dump(), fmt, lambda out: _show(found, out))


def _show(found: EmulationStatus, out: Console) -> None:
    sites = [[s.address, " ".join(s.names), s.tier, s.state, str(s.process)] for s in found.sites]
    out.print(table(["address", "names", "tier", "state", "process"], sites, right=["process"]))
    if found.links:
        columns = ["link", "from", "to", "delay ms", "jitter", "Mbit/s", "loss", "packets", "lost", "dropped"]
        out.print(table(columns, [_row(link) for link in found.links], right=columns[3:]))
    if found.unslowed:
        classes = ", ".join(f"{name} ({number(share)})" for name, share in found.unslowed.items())
        out.print(
            f"processors: not slowed, though these classes are slower than this machine: {classes}; only stages that "
            "tierplan runs stretch their own time"
        )
    late = f"{number(found.late_mean_ms)} ms on average, {number(found.late_most_ms)} at most"
    how = "in a user namespace" if found.user_namespace else "as root"
    out.print(f"links: {found.mechanism}, {how}; packets delivered late by {late}")
    out.print(f"{found.infra} ({found.digest[:16]}), process {found.emulator}; end it with planner emulate down")


def _row(link: EmulatedLink) -> list[str]:
    rate = number(link.bytes_per_s * 8e-6)
    if link.shared_bytes_per_s is not None:
        rate += f" of {number(link.shared_bytes_per_s * 8e-6)}"
    delay = number(link.delay_ms) if link.carries else "down"
    counts = [f"{link.packets:,}", f"{link.lost:,}", f"{link.dropped:,}"]
    return [
        f"{link.link} {link.direction}",
        link.from_,
        link.to,
        delay,
        number(link.jitter_ms),
        rate,
        f"{link.loss:.3g}",
        *counts,
    ]
