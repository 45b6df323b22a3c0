"""Started in a terminal by tests: watches the sample application, which runs in this process and gets requests."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from planner.cli.output import Format
from planner.cli.status.watch import watch
from runtime.client import Client
from runtime.deployment.record import Record
from runtime.deployment.status import status_of
from runtime.topology import topology
from specs.deployment_status import DeploymentStatus
from tests.runtime.ingress.doors import opened
from tests.runtime.sample import make_items, make_slice


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as door:
        bundle = door.bundle
        part = make_slice(members={"phones": 1, "bases": 1, "cloud": 1})
        top = topology(bundle.plan, bundle.app.value, bundle.infra.value, part)
        record = Record(name="sample", plan=bundle.plan.digest, bundle=str(bundle.folder))
        client = Client(door.endpoints.http, "sample")

        def look() -> DeploymentStatus:
            for item in make_items(3):
                client.infer(item.values)
            mine = {"ready": True, "pid": 1, "queues": [], "models": list(door.door.models)}
            mine |= {"endpoints": asdict(door.endpoints), "seen": door.door.window.seen()}
            return status_of(record, bundle, top, {"phones-0": mine}, "")

        watch(look, Format(sys.argv[1]))
    print("left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
