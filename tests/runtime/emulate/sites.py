"""Emulations for tests, driven by the command as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import Called, planner

PROBE = Path(__file__).with_name("probe.py")
INFRA = """\
schema: tierplan.infra/v1
hardware:
  phone: {emulate: {cpu: 0.1}}
  server: {device: here}
sites:
  phones: {tier: edge, count: 3 per bases, pools: {soc: {hardware: phone}}}
  bases: {tier: base_station, count: 2}
  cloud: {tier: cloud, pools: {vm: {hardware: server}}}
links:
  radio:
    between: [phones, bases]
    delay: 10 ms
    up: {rate: 20 Mbit/s, shared: {by: bases, rate: 30 Mbit/s}}
    down: {rate: 40 Mbit/s}
  trunk: {between: [bases, cloud], delay: 15 ms, rate: 200 Mbit/s}
"""


class Sites:
    """An emulation in `folder`, which holds infra.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "infra.yaml").write_text(INFRA, "utf-8")

    def emulate(self, *arguments: str) -> Called:
        return planner("emulate", *arguments, folder=self.folder)

    def up(self, *more: str) -> dict[str, Any]:
        """Skips the test where this machine does not allow it."""
        called = self.emulate("up", "infra.yaml", "--format", "json", *more)
        if called.code == 3 and "this machine does not allow it" in called.err:
            pytest.skip(called.err.strip().splitlines()[-1])
        assert called.code == 0, called.err
        found: dict[str, Any] = json.loads(called.out)
        return found

    def status(self) -> dict[str, Any]:
        called = self.emulate("status", "--format", "json")
        assert called.code == 0, called.err
        found: dict[str, Any] = json.loads(called.out)
        return found

    def set(self, link: str, *more: str) -> dict[str, Any]:
        called = self.emulate("set", link, *more, "--format", "json")
        assert called.code == 0, called.err
        found: dict[str, Any] = json.loads(called.out)
        return found

    def ask(self, site: str, what: str, *arguments: Any) -> Any:
        """What the probe's function answers in `site`."""
        words = [sys.executable, str(PROBE), what, *(json.dumps(a) for a in arguments)]
        called = self.emulate("exec", site, "--", *words)
        assert called.code == 0, called.err
        return json.loads(called.out.splitlines()[-1])

    @contextmanager
    def running(self, site: str, what: str, *arguments: Any) -> Iterator[subprocess.Popen[str]]:
        """The probe's function in the background of `site`, from when it says that it is ready."""
        words = [sys.executable, str(PROBE), what, *(json.dumps(a) for a in arguments)]
        command = [sys.executable, "-m", "planner.cli.entry", "emulate", "exec", site, "--", *words]
        with subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                yield process
            finally:
                process.terminate()


def figures(status: dict[str, Any], link: str, direction: str) -> dict[str, Any]:
    """Of the first such link."""
    found: dict[str, Any] = next(one for one in status["links"] if (one["link"], one["direction"]) == (link, direction))
    return found
