"""Clusters that cannot be reached: found at the same time, told by name, and waited for no longer than is said."""

from __future__ import annotations

import socket

import pytest

from runtime.cluster.connection import ClusterLost
from runtime.cluster.federation import Delegate, Federation
from specs.clusters import Cluster
from specs.errors import EnvironmentFailed


def test_all_that_cannot_be_reached_are_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = {"silent": silent.getsockname()[1], "closed": closed.getsockname()[1]}
        closed.close()
        clusters = {name: Cluster(address=f"127.0.0.1:{port}", sites=(name,)) for name, port in ports.items()}
        with pytest.raises(EnvironmentFailed) as told:
            Federation(clusters)
    lines = str(told.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["cluster silent", "cluster closed"]
    assert all(f"no Ray cluster at 127.0.0.1:{port}" in line for port, line in zip(ports.values(), lines, strict=True))


def test_who_does_not_answer_in_time_is_not_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        delegate = Delegate("core", f"127.0.0.1:{silent.getsockname()[1]}", None)
        try:
            for _ in range(2):
                with pytest.raises(ClusterLost, match=r"cluster core: it did not answer within 0 s"):
                    delegate.ask(0.0, "joined")
        finally:
            delegate.close()
