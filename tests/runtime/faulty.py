"""The sample application deployed with a standby and alternatives, and the ways to break it."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from runtime.bundle import Bundle
from runtime.deployment.deploy import Wanted, bundle_path, deploy
from runtime.deployment.local import keeper_of, nodes_folder
from runtime.deployment.record import Record
from runtime.deployment.status import watching
from runtime.deployment.undeploy import undeploy
from runtime.hosting.opening import open_references
from runtime.reference.items import Item
from runtime.topology import topology
from runtime.values import Value
from specs.deployment_status import DeploymentStatus, MemberStatus
from specs.plan import Percentiles, Plan, StagePrediction
from tests.cli.calling import planner
from tests.runtime.fates import Load
from tests.runtime.sample import PLACES, ZERO, copy_project, make_bundle, make_items, make_plan, make_slice

NAME: Final = "faulty"
DEADLINE: Final = 20.0
ITEMS: Final = make_items(40)
CLOUD: Final = ("cloud", "vm")
HEAVY: Final = [Item("upload", {"photo": bytes([8, n, 0, 0, 0, 0, 0, 0]), "caption": "zzzz"}) for n in range(20)]
"""vision and language take 20 ms of processor time for each, and decide no time."""
GREEDY: Final[Mapping[str, Mapping[str, Value]]] = {
    "bases-0": {"photo": bytes([9, 30, 0, 0, 0, 0, 0, 0]), "caption": "ab"},
    "cloud-0": {"photo": bytes([10, 0, 0, 0, 0, 0, 0, 0]), "caption": "yyyy"},
}
"""For which the process of that name, which runs vision or language, takes 300 MB."""
GREEDY_LIMIT: Final = 150_000_000
PLANNED_MS: Final = 150.0
"""What the plan says that vision and language take at most, where they are placed."""
STANDBY: Final[Mapping[str, Mapping[str, Any]]] = {"vision": {"standby": 1}, "decide": {"standby": 1}}


@dataclass(frozen=True)
class Deployed:
    """vision and decide are at bases-0, with a standby; language at cloud-0 has none; requests enter at phones-0.

    Without bases all goes to the cloud, without the cloud language goes to bases.
    """

    wanted: Wanted
    expected: tuple[Value, ...]
    heavy: tuple[Value, ...] = ()

    def status(self) -> DeploymentStatus:
        with watching(NAME) as watcher:
            return watcher.look()

    def told(self, folder: Path) -> DeploymentStatus:
        """The status as another process tells it."""
        return DeploymentStatus.model_validate_json(planner("status", NAME, "--format", "json", folder=folder).out)

    def member(self, name: str) -> MemberStatus:
        return next(m for m in self.status().members if m.member == name)

    def whole(self) -> bool:
        status = self.status()
        return status.state == "serving" and not any(m.without for m in status.members)

    def load(self, rate: float = 20) -> Load:
        return Load(self.member("phones-0").http, "sample", ITEMS, self.expected, "verdict", rate=rate)

    def heavy_load(self, rate: float = 1.5) -> Load:
        """Of requests that take processor time."""
        return Load(self.member("phones-0").http, "sample", HEAVY, self.heavy, "verdict", rate=rate)


def another(folder: Path, places: Mapping[str, tuple[str, str]], **changes: Mapping[str, Any]) -> Wanted:
    """A plan of the application in `folder`, compiled, without alternatives; to be deployed as all others here."""
    project = folder / "project"
    if not project.exists():
        copy_project(folder)
    target = Path(tempfile.mkdtemp(dir=folder))
    bundle = make_bundle(target, make_plan(project, places, **changes), project)
    record = Record(name=NAME, plan=bundle.plan.digest, bundle=bundle_path(bundle), shape=False, deadline=DEADLINE)
    return Wanted(bundle, record, ITEMS[:4])


@contextmanager
def deployment(folder: Path) -> Iterator[Deployed]:
    """It runs inside; state and bundles are in `folder`, which ``$TIERPLAN_STATE`` must be below."""
    project = copy_project(folder)
    plan = make_plan(project, **STANDBY).model_copy(update={"stages": (_planned("vision"), _planned("language"))})
    bundle = make_bundle(folder, plan, project)
    at_cloud, at_bases = ("cloud", "vm"), ("bases", "rack")
    others = {
        "bases": make_plan(project, {"vision": at_cloud, "decide": at_cloud}),
        "cloud": make_plan(project, {"language": at_bases}),
    }

    def write(plan: Plan, target: Path) -> None:
        (target.parent / "made").mkdir(exist_ok=True)
        make_bundle(target.parent / "made", plan, project).folder.rename(target)

    record = Record(
        name=NAME,
        plan=bundle.plan.digest,
        bundle=bundle_path(bundle),
        shape=False,
        deadline=DEADLINE,
        alternatives={site: plan.digest for site, plan in others.items()},
    )
    wanted = Wanted(bundle, record, ITEMS[:4], others, write)
    try:
        assert deploy(wanted, lambda _: None)
        yield Deployed(wanted, expected_of(bundle, ITEMS), expected_of(bundle, HEAVY))
    finally:
        undeploy(NAME)


def _planned(component: str) -> StagePrediction:
    service = Percentiles(p50_ms=PLANNED_MS, p95_ms=PLANNED_MS, p99_ms=PLANNED_MS, mean_ms=PLANNED_MS)
    site, _ = PLACES[component]
    return StagePrediction(name=component, kind="stage", site=site, wait=ZERO, service=service, share=1)


def expected_of(bundle: Bundle, items: Sequence[Item] = ITEMS) -> tuple[Value, ...]:
    """The answers to `items`."""
    part = make_slice(members={"phones": 1})
    reference = open_references(bundle, topology(bundle.plan, bundle.app.value, bundle.infra.value, part))
    return tuple(reference["upload@phones"].run(item).answers["answer"]["verdict"] for item in items)


def node_of(member: str) -> list[psutil.Process]:
    """All processes of one of Ray's nodes."""
    keeper = keeper_of(NAME)
    assert keeper is not None
    home = str(nodes_folder(NAME) / member)
    found: list[psutil.Process] = []
    for process in keeper.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie
            if any(home in word for word in process.cmdline()):
                found += [process, *process.children(recursive=True)]
    return found


def kill_node(member: str) -> None:
    """All of its processes, as when its machine loses power."""
    for process in node_of(member):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def stolen(pid: int, share: float = 0.96, period: float = 0.1) -> Iterator[None]:
    """A process gets no processor for that `share` of each `period` seconds, as when others have it."""
    process, stop = psutil.Process(pid), threading.Event()

    def steal() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while not stop.is_set():
                process.suspend()
                stop.wait(share * period)
                process.resume()
                stop.wait((1 - share) * period)

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def kill_head() -> None:
    """The control store, without which Ray places and restarts nothing."""
    keeper = keeper_of(NAME)
    assert keeper is not None
    for process in keeper.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "gcs_server" in " ".join(process.cmdline()[:1]):
                process.kill()
