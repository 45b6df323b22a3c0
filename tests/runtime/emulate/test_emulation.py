"""An emulation as a whole: what `up` makes, `exec` enters and `down` removes, however the emulator ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from planner.cli.results import MODELS
from specs.schema import json_schema
from tests.runtime.emulate.sites import Sites
from tests.runtime.processes import alive, until


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    monkeypatch.setenv("TIERPLAN_EMULATION", str(tmp_path / "state"))
    made = Sites(tmp_path)
    yield made
    assert made.emulate("down").code == 0


def processes(status: dict[str, Any]) -> set[int]:
    return {status["emulator"], *(site["process"] for site in status["sites"])}


def networks() -> set[str]:
    """Network namespaces in which a process runs."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(entry))
        except OSError:  # it has just ended, or is somebody else's
            continue
    return found


def stay(sites: Sites, site: str) -> int:
    """A process that stays in the background of a site. Its number there is told by `ps`, here by its arguments."""
    seconds = f"{time.time_ns() % 10**9 + 10**6}"
    called = sites.emulate("exec", site, "--", "sh", "-c", f"setsid sleep {seconds} >/dev/null 2>&1 &")
    assert called.code == 0, called.err
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == f"sleep\0{seconds}\0".encode():
                return int(entry.parent.name)
        except OSError:
            continue
    raise AssertionError("nothing stayed")


def test_up_tells_sites_and_links_and_down_leaves_nothing(sites: Sites) -> None:
    before, mounts = networks(), Path("/proc/self/mounts").read_text("utf-8")
    status = sites.up("--members", "phones=2", "--slice", "bases=1")
    jsonschema.validate(status, json_schema(MODELS["emulation"]))
    assert [s["member"] for s in status["sites"]] == ["phones-0", "phones-1", "bases-0", "cloud-0"]
    assert [s["names"] for s in status["sites"]][2] == ["bases-0", "bases"]
    assert len(status["links"]) == 6
    assert status["processors"] == "not slowed"
    assert status["unslowed"] == {"phone": 0.1}
    assert alive(processes(status)) == processes(status)
    assert len(networks() - before) == 4
    stayed = {stay(sites, "phones-1"), stay(sites, "cloud")}
    down = sites.emulate("down", "--format", "json")
    assert '"was_up": true' in down.out
    assert not alive(processes(status) | stayed)
    assert networks() <= before
    assert Path("/proc/self/mounts").read_text("utf-8") == mounts
    assert not (sites.folder / "state").exists()
    assert "nothing was emulated" in sites.emulate("down").out


def test_all_ends_with_an_emulator_that_is_killed(sites: Sites) -> None:
    status = sites.up()
    everything = processes(status) | {stay(sites, "bases")}
    os.kill(status["emulator"], signal.SIGKILL)
    assert until(lambda: not alive(everything), 60)
    assert sites.emulate("status").code == 1
    assert sites.emulate("set", "radio", "--up").code == 3
    again = sites.up()
    assert alive(processes(again)) == processes(again)
    os.kill(again["emulator"], signal.SIGKILL)
    assert sites.emulate("down").code == 0
    assert not alive(processes(again))
    assert not (sites.folder / "state").exists()


def test_a_process_that_took_a_recorded_number_is_not_ended(sites: Sites) -> None:
    status = sites.up()
    with subprocess.Popen(["sleep", "60"]) as other:
        state = sites.folder / "state" / "state.json"
        text = state.read_text("utf-8")
        os.kill(status["emulator"], signal.SIGKILL)
        assert until(lambda: not alive(processes(status)), 60)
        for pid in processes(status):
            text = text.replace(f'"pid": {pid},', f'"pid": {other.pid},')
        state.write_text(text, "utf-8")
        assert sites.emulate("down").code == 0
        assert other.poll() is None
        other.kill()


def test_an_emulator_whose_folder_is_gone_ends(sites: Sites) -> None:
    status = sites.up()
    (sites.folder / "state" / "state.json").write_text("{", "utf-8")
    assert sites.emulate("down").code == 0
    assert until(lambda: not alive(processes(status)), 60)


def test_a_stopped_emulator_is_ended_too(sites: Sites) -> None:
    status = sites.up()
    os.kill(status["emulator"], signal.SIGSTOP)
    assert sites.emulate("down").code == 0
    assert not alive(processes(status))


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.25, 0.3, 0.4])
def test_an_interrupted_start_leaves_nothing(sites: Sites, seconds: float) -> None:
    before = networks()
    command = [sys.executable, "-m", "planner.cli.entry", "emulate", "up", "infra.yaml"]
    with subprocess.Popen(
        command, cwd=sites.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as starting:
        time.sleep(seconds)
        starting.send_signal(signal.SIGINT)
        starting.communicate()
    if starting.returncode in (0, 3):  # it was done already, or may not at all
        return
    assert until(lambda: networks() <= before, 60)
    assert not (sites.folder / "state").exists()


def test_a_command_in_a_site_has_its_name_its_processes_and_its_exit_code(sites: Sites) -> None:
    sites.up()
    called = sites.emulate("exec", "phones", "--", "sh", "-c", "hostname; ls -d /proc/[0-9]*; pwd; exit 7")
    assert called.code == 7, called.err
    name, *numbers, folder = called.out.splitlines()
    assert name == "phones-0"
    assert len(numbers) <= 4
    assert folder == str(sites.folder)
    assert sites.emulate("exec", "phones", "--", "sh", "-c", "kill -9 $$").code == 137
    assert sites.emulate("exec", "phones", "--", "echo", "--debug", "--format", "x").out == "--debug --format x\n"
    assert "10.77.0.3 cloud-0 cloud" in sites.emulate("exec", "bases", "--", "cat", "/etc/hosts").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["exec", "phnes", "--", "true"], 2, "did you mean 'phones'?"),
        (["exec", "phones", "--", "no-such-command"], 2, "no command 'no-such-command'"),
        (["exec", "phones", "--"], 2, "no command"),
        (["set", "link.rado", "--down"], 2, "did you mean 'radio'?"),
        (["set", "radio"], 2, "nothing to set"),
        (["set", "radio", "--delay", "80"], 2, "a unit such as '80ms'"),
        (["set", "radio", "--delay", "2h"], 2, "at most 60 s"),
        (["set", "radio", "--rate", "0"], 2, "a rate above zero"),
        (["set", "radio", "--loss", "120%"], 2, "between 0 and 1"),
        (["up", "infra.yaml"], 3, "runs already"),
    ],
)
def test_what_cannot_be_is_one_line(started: Sites, arguments: list[str], code: int, said: str) -> None:
    called = started.emulate(*arguments)
    errors = [line for line in called.err.splitlines() if line.startswith("error: ")]
    assert (called.code, called.out, len(errors)) == (code, "", 1)
    assert said in errors[0]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("started")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIERPLAN_EMULATION", str(folder / "state"))
        made = Sites(folder)
        made.up()
        yield made
        made.emulate("down")


def test_nothing_is_emulated(sites: Sites) -> None:
    assert (sites.emulate("status").code, sites.emulate("set", "radio", "--up").code) == (1, 3)
    assert sites.emulate("exec", "phones", "--", "true").code == 3
    assert not (sites.folder / "state").exists()


def test_a_folder_of_somebody_else_is_left_alone(sites: Sites) -> None:
    folder = sites.folder / "state"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    called = sites.emulate("up", "infra.yaml")
    assert called.code == 3
    assert "only you may read" in called.err
    assert folder.exists()
    folder.rmdir()


def test_a_link_to_an_unknown_site_is_told_with_its_line(sites: Sites) -> None:
    file = sites.folder / "infra.yaml"
    file.write_text(file.read_text("utf-8").replace("[bases, cloud]", "[bases, clod]"), "utf-8")
    called = sites.emulate("up", "infra.yaml")
    assert called.code == 2
    assert "infra.yaml:15:" in called.err
    assert "did you mean 'cloud'?" in called.err
