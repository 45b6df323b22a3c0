"""A deployment moves to another plan while requests flow: each is answered, once, and nothing is left of the old one.

One deployment moves again and again, so the tests go in order.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from runtime.deployment.deploy import Wanted, deploy
from runtime.deployment.local import keeper_of, nodes_folder
from runtime.deployment.record import MOVING
from runtime.deployment.undeploy import undeploy
from specs.errors import InputError
from tests.runtime.faulty import CLOUD, NAME, STANDBY, Deployed, another, expected_of
from tests.runtime.processes import alive, in_folder, until
from tests.runtime.sample import copy_project


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("moving")


@pytest.fixture(scope="module")
def at_cloud(folder: Path) -> Wanted:
    """Nothing is at bases."""
    return another(folder, {"vision": CLOUD, "decide": CLOUD})


@pytest.fixture(scope="module")
def at_bases(folder: Path) -> Wanted:
    """vision and decide are at bases, with standbys: a node and two processes more."""
    return another(folder, {}, **STANDBY)


@pytest.fixture(scope="module")
def deployed(folder: Path, at_cloud: Wanted) -> Iterator[Deployed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIERPLAN_STATE", str(folder / "state"))
        nodes = nodes_folder(NAME)
        try:
            assert deploy(at_cloud, lambda _: None)
            yield Deployed(at_cloud, expected_of(at_cloud.bundle))
        finally:
            undeploy(NAME)
        assert keeper_of(NAME) is None
        assert until(lambda: not in_folder(str(nodes)) and not nodes.exists(), 60)
        assert list((folder / "state").iterdir()) == []


@contextmanager
def answering(deployed: Deployed) -> Iterator[None]:
    """Requests flow inside, and each is answered right, once."""
    load = deployed.load()
    try:
        time.sleep(0.5)
        yield
        time.sleep(0.5)
    finally:
        log = load.end()
    assert [line.number for line in log.lines] == list(range(len(log.lines)))
    assert log.counts() == {"answered": len(log.lines)}, log.said()


def moving(to: Wanted, tell: Callable[[str], None] = lambda _: None) -> bool:
    return deploy(dataclasses.replace(to, move=True), tell)


def members(deployed: Deployed) -> dict[str, str]:
    """Those that run something, with the state of their standby."""
    status = deployed.status()
    assert (status.state, status.moving) == ("serving", None)
    return {m.member: m.standby for m in status.members}


def test_without_being_told_to_move_nothing_is_touched(deployed: Deployed, at_cloud: Wanted, at_bases: Wanted) -> None:
    with pytest.raises(InputError, match="--move"):
        deploy(at_bases, lambda _: None)
    assert deployed.status().plan == at_cloud.record.plan


def test_a_move_to_another_site_answers_every_request(deployed: Deployed, at_bases: Wanted) -> None:
    assert members(deployed) == {"cloud-0": "", "phones-0": ""}
    with answering(deployed):
        assert moving(at_bases)
    assert deployed.status().plan == at_bases.record.plan
    assert members(deployed) == {"bases-0": "ready", "cloud-0": "", "phones-0": ""}
    assert {s.member for s in deployed.status().stages if s.name == "vision"} == {"bases-0"}


def test_a_move_away_ends_what_has_no_work_left(deployed: Deployed, at_cloud: Wanted, folder: Path) -> None:
    bases = deployed.member("bases-0")
    with answering(deployed):
        assert moving(at_cloud)
    assert members(deployed) == {"cloud-0": "", "phones-0": ""}
    assert until(lambda: not alive({bases.pid, bases.standby_pid}), 60)
    assert not (folder / "state" / NAME / MOVING).exists()


class Killed(BaseException):
    """What becomes of a command at a step."""


def dies_at(step: str) -> Callable[[str], None]:
    def tell(what: str) -> None:
        if what == step:
            raise Killed

    return tell


@pytest.mark.parametrize(
    "step",
    [
        *(pytest.param(s, marks=pytest.mark.deep) for s in ("nodes", "the new release", "warming up")),
        "traffic",
        "drain",
    ],
)
def test_a_move_that_was_broken_off_is_told_and_gone_on_with_or_back(
    deployed: Deployed, at_cloud: Wanted, at_bases: Wanted, folder: Path, step: str
) -> None:
    with answering(deployed):
        with pytest.raises(Killed):
            moving(at_bases, dies_at(step))
        told = deployed.status()
        assert told.state == "serving"
        assert told.moving is not None
        assert (told.moving.from_, told.moving.to) == (at_cloud.record.plan, at_bases.record.plan)
        assert told.plan == (at_bases if step in ("traffic", "drain") else at_cloud).record.plan
        assert (told.moving.loaded == told.moving.processes) == (step in ("warming up", "traffic", "drain"))
        assert (told.moving.moved == told.moving.processes) == (step == "drain")
        if step == "the new release":
            with pytest.raises(InputError, match="is moving from"):
                moving(another(folder, {"vision": CLOUD}))
        if step in ("warming up", "drain"):
            assert deploy(at_bases, lambda _: None)
            assert members(deployed) == {"bases-0": "ready", "cloud-0": "", "phones-0": ""}
            assert moving(at_cloud)
        else:
            assert deploy(at_cloud, lambda _: None)
        assert members(deployed) == {"cloud-0": "", "phones-0": ""}
        assert not deploy(at_cloud, lambda _: None), "nothing is left to do"


def test_a_process_that_dies_while_a_deployment_moves_opens_both_plans(deployed: Deployed, at_bases: Wanted) -> None:
    with answering(deployed):
        with pytest.raises(Killed):
            moving(at_bases, dies_at("traffic"))
        psutil.Process(deployed.member("cloud-0").pid).kill()
        assert deploy(at_bases, lambda _: None)
        assert members(deployed) == {"bases-0": "ready", "cloud-0": "", "phones-0": ""}


def test_what_cannot_move_is_refused_with_its_reason(
    deployed: Deployed, at_bases: Wanted, at_cloud: Wanted, folder: Path
) -> None:
    slower = at_cloud.record.model_copy(update={"deadline": 5.0})
    with pytest.raises(InputError, match="deadline must stay as it is"):
        moving(dataclasses.replace(at_cloud, record=slower))
    other = folder / "other"
    copy_project(other, infra=("delay: 3 ms", "delay: 4 ms"))
    with pytest.raises(InputError, match="another infrastructure"):
        moving(another(other, {}))
    renamed = folder / "renamed"
    copy_project(renamed, app=("inputs: {verdict: decide.verdict}", "inputs: {answer: decide.verdict}"))
    with pytest.raises(InputError, match="inputs and outputs must stay as they are"):
        moving(another(renamed, {}))
    assert deployed.status().plan == at_bases.record.plan


def test_a_new_model_of_the_same_plan_takes_over_the_same_way(deployed: Deployed, folder: Path) -> None:
    newer = folder / "newer"
    copy_project(newer, steps=("% 3], np.int64", "% 3 + 3], np.int64"))
    load = deployed.load()
    time.sleep(1)
    moving(another(newer, {}, **STANDBY))
    time.sleep(1)
    log = load.end()
    old, new = ([line for line in log.lines if line.fate == fate] for fate in ("answered", "wrong"))
    assert old, log.said()
    assert new, log.said()
    assert len(old) + len(new) == len(log.lines), log.said()
    assert max(line.sent for line in old) <= min(line.ended for line in new), "the old model answers, then the new"
