"""Looks again and again: in its place on a terminal, one below the other elsewhere."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from planner.cli.output import Format, console
from planner.cli.status.view import details, summary

if TYPE_CHECKING:
    from rich.console import RenderableType

    from specs.deployment_status import DeploymentStatus

SECONDS_BETWEEN: Final = 2.0
QUIT: Final = b"qQ"

Look = Callable[[], "DeploymentStatus"]


def watch(look: Look, fmt: Format) -> None:
    """Until q is pressed or an interruption comes, which is how this ends and no failure. Raises what `look` raises."""
    try:
        if fmt is Format.table and sys.stdout.isatty():
            _in_place(look)
        else:
            _one_by_one(look, fmt)
    except KeyboardInterrupt:
        return


def _one_by_one(look: Look, fmt: Format) -> None:
    from planner.cli.status.verb import tell

    while True:
        tell(look(), fmt)
        time.sleep(SECONDS_BETWEEN)


def _in_place(look: Look) -> None:
    from rich.live import Live

    with _keys() as quits, Live(console=console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(look()), refresh=True)
            if quits(SECONDS_BETWEEN):
                return


def _screen(found: DeploymentStatus) -> RenderableType:
    """What matters most is at the top: a terminal of few lines shows no more than its top."""
    from rich.console import Group

    return Group(f"{time.strftime('%H:%M:%S')}   q ends\n", *summary(found), *details(found))


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Waits for so many seconds, and says whether q was pressed. The terminal is left as it was."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    import termios
    import tty

    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)
    try:
        yield lambda seconds: _pressed(stdin, seconds)
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _pressed(stdin: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if not select.select([stdin], [], [], left)[0]:
            return False
        typed = os.read(stdin, 64)
        if not typed:  # the terminal is gone
            return True
        if any(key in QUIT for key in typed):
            return True
    return False
