"""What a component of a deployment remembers outlives processes, moves, and the deployment itself.

One deployment is moved, killed and taken up again, so the tests go in order.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from runtime.client import Client
from runtime.deployment.deploy import Wanted, deploy
from runtime.deployment.record import Record
from runtime.deployment.status import watching
from runtime.deployment.undeploy import undeploy
from specs.deployment_status import DeploymentStatus
from specs.errors import EnvironmentFailed, InputError
from tests.runtime.processes import until
from tests.runtime.remembering import counting_project
from tests.runtime.sample import make_bundle, make_items, make_plan

NAME = "remembering"
ITEMS = make_items(20)
CLOUD = {"vision": ("cloud", "vm"), "decide": ("cloud", "vm")}


@dataclass
class Clients:
    """Of the door; `counts` are what was answered: how many requests the counter had seen by then."""

    url: str = field(default_factory=lambda: door())
    counts: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def ask(self, number: int) -> None:
        try:
            answer = Client(self.url, "sample", timeout=150).infer(ITEMS[number % len(ITEMS)].values)
            self.counts.append(int(answer.outputs["count"][0]))
        except EnvironmentFailed as error:
            self.failed.append(str(error))

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Four at a time, one after another, while the body runs."""
        stop = threading.Event()

        def go_on() -> None:
            number = 0
            while not stop.is_set():
                self.ask(number)
                number += 1

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(go_on) for _ in range(4)]
            try:
                yield
            finally:
                stop.set()
            for each in asked:
                each.result()


def status() -> DeploymentStatus:
    with watching(NAME) as watcher:
        return watcher.look()


def door() -> str:
    return next(m.http for m in status().members if m.http and m.models)


def wanted(folder: Path, site: str) -> Wanted:
    """The counter, and all that is before it, at `site`."""
    home = folder / site
    project = home / "project" if (home / "project").exists() else counting_project(home, site)
    pool = {"bases": ("bases", "rack"), "cloud": ("cloud", "vm")}[site]
    plan = make_plan(project, {**(CLOUD if site == "cloud" else {}), "counter": pool})
    bundle = make_bundle(home, plan, project)
    record = Record(
        name=NAME,
        plan=bundle.plan.digest,
        bundle=str(bundle.folder),
        shape=False,
        deadline=120.0,
        state=str(folder / "kept"),
    )
    return Wanted(bundle, record, ITEMS[:3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("remembering")


@pytest.fixture(scope="module")
def at_bases(folder: Path) -> Wanted:
    return wanted(folder, "bases")


@pytest.fixture(scope="module", autouse=True)
def deployed(folder: Path, at_bases: Wanted) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIERPLAN_STATE", str(folder / "state"))
        try:
            assert deploy(at_bases, lambda _: None)
            yield
        finally:
            undeploy(NAME)


def test_it_counts_from_nothing_whatever_warmed_it_up() -> None:
    clients = Clients()
    for number in range(5):
        clients.ask(number)
    assert (clients.counts, clients.failed) == ([1, 2, 3, 4, 5], [])
    assert until(lambda: not status().members[0].remembers[0].changed, 20), "it is written by itself"
    (kept,) = (state for m in status().members for state in m.remembers)
    assert (kept.component, kept.in_force, kept.problem) == ("counter", True, "")


def test_a_process_that_is_killed_goes_on_from_its_last_checkpoint() -> None:
    member = next(m for m in status().members if m.member == "bases-0")
    psutil.Process(member.pid).kill()
    assert until(lambda: any(m.pid not in (0, member.pid) and m.remembers for m in status().members), 180)
    clients = Clients()

    def answered() -> bool:
        clients.ask(0)
        return bool(clients.counts)

    assert until(answered, 180)
    assert clients.counts == [6]


def test_a_move_to_another_site_loses_no_update_and_counts_none_twice(folder: Path) -> None:
    clients = Clients()
    with clients.asking():
        assert until(lambda: len(clients.counts) > 10, 180)
        assert deploy(dataclasses.replace(wanted(folder, "cloud"), move=True), lambda _: None)
        moved = len(clients.counts)
        assert until(lambda: len(clients.counts) > moved + 10, 180)
    assert not clients.failed
    assert sorted(clients.counts) == list(range(7, 7 + len(clients.counts)))
    assert [m.member for m in status().members if m.remembers] == ["cloud-0"]
    kept = ["counter@cloud-0.checkpoint"]  # beside it, for a moment, the next one
    assert until(lambda: [file.name for file in (folder / "kept").iterdir()] == kept, 60)


class Killed(BaseException):
    """What becomes of a command at a step."""


def test_a_move_that_was_broken_off_before_the_state_went_goes_back(folder: Path, at_bases: Wanted) -> None:
    def tell(step: str) -> None:
        if step == "state":
            raise Killed

    clients = Clients()
    clients.ask(0)
    before = clients.counts[0]
    with pytest.raises(Killed):
        deploy(dataclasses.replace(at_bases, move=True), tell)
    waiting = threading.Thread(target=clients.ask, args=(1,))
    waiting.start()  # goes by the new plan, whose counter waits for what it is to remember
    assert {s.in_force for m in status().members for s in m.remembers} == {False}
    assert deploy(at_bases, lambda _: None), "it goes on"
    waiting.join(150)
    assert (clients.counts, clients.failed) == ([before, before + 1], [])


def test_what_would_be_lost_cannot_move(folder: Path, at_bases: Wanted) -> None:
    elsewhere = at_bases.record.model_copy(update={"state": str(folder / "other")})
    with pytest.raises(InputError, match="state must stay as it is"):
        deploy(dataclasses.replace(at_bases, record=elsewhere, move=True), lambda _: None)


@pytest.mark.deep
def test_what_is_deployed_again_remembers_what_was_counted_when_it_ended(folder: Path, at_bases: Wanted) -> None:
    before = Clients()
    before.ask(0)
    assert undeploy(NAME)
    assert not (folder / "state" / NAME).exists()
    assert deploy(at_bases, lambda _: None)
    after = Clients()
    after.ask(1)
    assert (after.counts, after.failed) == ([before.counts[0] + 1], [])
