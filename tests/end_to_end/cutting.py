"""Deploys in an emulated network, has a link cut while requests flow, and tells what became of each.

``python -m tests.end_to_end.cutting`` with `Cutting` as JSON on stdin. It runs in the network of the head's site: the
control network, which no link's cut touches, leads to Ray's nodes and to the door of the phones.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LINK = "backhaul"
BEFORE, AFTER = 3.0, 8.0
"""Seconds that requests flow before the cut, and after the link is there again."""


@dataclass(frozen=True)
class Cutting:
    """`head` is the first process of the head's site, `control` its address, `door` that of the phones; `emulation` is
    the emulator's folder.

    `clusters` are the sites of each, by name; `addresses` those of Ray and `places` the fields of those of their heads.
    """

    folder: str
    head: int
    control: str
    door: str
    clusters: dict[str, list[str]]
    addresses: dict[str, str]
    places: dict[str, dict[str, Any]]
    emulation: str
    seconds: float
    rate: float


def main() -> int:
    """Enter the namespace before there are threads."""
    asked = Cutting(**json.load(sys.stdin))
    from runtime.emulate.namespaces import enter

    enter(asked.head, ("user", "net"))
    json.dump(cut(asked), sys.stdout)
    return 0


def cut(asked: Cutting) -> dict[str, object]:
    """The client's log, when the link was cut, what the ingress counted, and the requests of its log by id."""
    import time

    from runtime.cluster.connection import Connection
    from runtime.cluster.federation import Federation
    from runtime.cluster.local import Place
    from runtime.deployment.deploy import deploy
    from runtime.deployment.record import Listening
    from runtime.deployment.undeploy import undeploy
    from runtime.emulate.process import ask
    from specs.clusters import Cluster
    from tests.runtime.fates import Load
    from tests.runtime.faulty import ITEMS, NAME, STANDBY, Deployed, another, expected_of

    assert Connection.__init__.__kwdefaults__ is not None
    Connection.__init__.__kwdefaults__["node"] = asked.control  # which Ray cannot find in a network of its own
    wanted = another(Path(asked.folder), {}, **STANDBY)
    listening = Listening(host="0.0.0.0", insecure=True)
    where: dict[str, object] = {"address": next(iter(asked.addresses.values()))}
    if len(asked.clusters) > 1:
        assert Federation.__init__.__kwdefaults__ is not None
        Federation.__init__.__kwdefaults__["places"] = {name: Place(**place) for name, place in asked.places.items()}
        several = {n: Cluster(address=asked.addresses[n], sites=tuple(of)) for n, of in asked.clusters.items()}
        where = {"clusters": several}
    record = wanted.record.model_copy(update={**where, "listening": listening})
    deployed = Deployed(
        type(wanted)(wanted.bundle, record, wanted.items, wanted.alternatives, wanted.write),
        expected_of(wanted.bundle),
    )
    try:
        assert deploy(deployed.wanted, lambda _: None)
        port = deployed.member("phones-0").http.rpartition(":")[2]
        load = Load(f"http://{asked.door}:{port}", "sample", ITEMS, deployed.expected, "verdict", rate=asked.rate)
        time.sleep(BEFORE)
        load.breaks(lambda: ask({"set": LINK, "direction": None, "to": {"carries": False}}, Path(asked.emulation)))
        time.sleep(asked.seconds)
        ask({"set": LINK, "direction": None, "to": {"carries": True}}, Path(asked.emulation))
        time.sleep(AFTER)
        log = load.end()
        status = deployed.status()
    finally:
        undeploy(NAME)
    return {
        "lines": [asdict(line) for line in log.lines],
        "broken_at": log.broken_at,
        "requests": status.requests,
        "state": status.state,
    }


if __name__ == "__main__":
    sys.exit(main())
