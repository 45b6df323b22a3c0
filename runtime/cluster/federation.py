"""Several clusters of Ray as if they were one: each member is in the cluster that has its site.

A process can be in one cluster at a time. So each has a *delegate*, a process that is in it and does there what is
asked through a pipe, with `runtime.cluster.connection.Connection`. Actors are told and asked as Ray's own are:
``actor.method.remote(...)`` gives what `call`, `gather` and `ask` take.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection as PipeEnd
from multiprocessing.connection import Pipe
from typing import Any, Final, Protocol, TypeVar

from runtime.cluster.connection import CALL_LIMIT, Connection
from runtime.cluster.local import Place
from runtime.fleet import site_of
from runtime.stages.child_environment import child_environment
from specs.clusters import Cluster
from specs.errors import EnvironmentFailed, InputError, Issue

END_LIMIT: Final = 20.0
T = TypeVar("T")


class Clusters(Protocol):
    """What a deployment needs of one cluster (`runtime.cluster.connection.Connection`, which see) or several."""

    def check_sites(self, tiers: Mapping[str, str]) -> None: ...

    def place(self, member: str, kind: type[Any], *args: object, name: str = "") -> Any: ...

    def named(self, prefix: str) -> dict[str, Any]: ...

    def call(
        self, actors: Mapping[str, Any], method: str, *args: object, limit: float = CALL_LIMIT
    ) -> dict[str, Any]: ...

    def gather(self, refs: Mapping[str, Any], limit: float = CALL_LIMIT) -> dict[str, Any]: ...

    def ask(self, refs: Mapping[str, Any], limit: float) -> tuple[dict[str, Any], dict[str, str]]: ...

    def kill(self, actors: Sequence[Any]) -> None: ...

    def close(self) -> None: ...


def connect(address: str, clusters: Mapping[str, Cluster], *, local: bool) -> Clusters:
    """To the `clusters` or, where there are none, to the one at `address`, which is of our own where it is `local`.

    Raises EnvironmentFailed where one cannot be reached.
    """
    return Federation(clusters) if clusters else Connection(address, local=local)


@dataclass(frozen=True, slots=True)
class RemoteActor:
    """An actor of the cluster called `cluster`, under its whole name there."""

    cluster: str
    name: str

    def __getattr__(self, method: str) -> _Method:
        if method.startswith("__"):
            raise AttributeError(method)
        return _Method(self, method)


@dataclass(frozen=True, slots=True)
class _Method:
    actor: RemoteActor
    method: str

    def remote(self, *args: object) -> Asked:
        """Nothing is asked before `Federation.ask` or one of its like has it."""
        return Asked(self.actor, self.method, args)


@dataclass(frozen=True, slots=True)
class Asked:
    """A method of an actor, with its arguments."""

    actor: RemoteActor
    method: str
    args: tuple[object, ...]


class Federation:
    """See `Clusters`. Connected to all of them from construction to `close`."""

    def __init__(self, clusters: Mapping[str, Cluster], *, places: Mapping[str, Place] | None = None) -> None:
        """With `places` the delegate of a cluster is in the emulated network at the place of its head.

        Raises EnvironmentFailed where one cannot be reached, naming it.
        """
        self._owner = {site: name for name, cluster in clusters.items() for site in cluster.sites}
        self._delegates: dict[str, Delegate] = {}
        try:
            for name, cluster in clusters.items():
                self._delegates[name] = Delegate(name, cluster.address, places[name] if places else None)
            self._all({name: ("joined", ()) for name in clusters})
        except BaseException:
            self.close()
            raise

    def _all(self, asked: Mapping[str, tuple[str, tuple[object, ...]]]) -> dict[str, Any]:
        """What delegates answer, by cluster, asked at the same time. Raises what the first of them raises."""
        if not asked:
            return {}
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = {n: pool.submit(self._delegates[n].ask, verb, *args) for n, (verb, args) in asked.items()}
        return {name: answer.result() for name, answer in answers.items()}

    def _cluster(self, member: str) -> str:
        try:
            return self._owner[site_of(member)]
        except KeyError:
            raise InputError(Issue(f"no cluster has the site {site_of(member)!r}")) from None

    def check_sites(self, tiers: Mapping[str, str]) -> None:
        apart = _by(self._cluster, tiers)
        self._all({name: ("check_sites", (mine,)) for name, mine in apart.items()})

    def place(self, member: str, kind: type[Any], *args: object, name: str = "") -> RemoteActor:
        """Only actors with a `name`."""
        cluster = self._cluster(member)
        self._delegates[cluster].ask("place", member, kind, args, name)
        return RemoteActor(cluster, name)

    def named(self, prefix: str) -> dict[str, RemoteActor]:
        found = self._all({name: ("named", (prefix,)) for name in self._delegates})
        return {rest: RemoteActor(name, prefix + rest) for name, mine in found.items() for rest in mine}

    def call(
        self, actors: Mapping[str, RemoteActor], method: str, *args: object, limit: float = CALL_LIMIT
    ) -> dict[str, Any]:
        return self.gather({member: Asked(actor, method, args) for member, actor in actors.items()}, limit)

    def gather(self, refs: Mapping[str, Asked], limit: float = CALL_LIMIT) -> dict[str, Any]:
        apart = _by(lambda key: refs[key].actor.cluster, refs)
        found = self._all({name: ("gather", (mine, limit)) for name, mine in apart.items()})
        return {key: found[asked.actor.cluster][key] for key, asked in refs.items()}

    def ask(self, refs: Mapping[str, Asked], limit: float) -> tuple[dict[str, Any], dict[str, str]]:
        apart = _by(lambda key: refs[key].actor.cluster, refs)
        found = self._all({name: ("ask", (mine, limit)) for name, mine in apart.items()})
        results = {key: value for answers, _ in found.values() for key, value in answers.items()}
        return results, {key: reason for _, died in found.values() for key, reason in died.items()}

    def kill(self, actors: Sequence[RemoteActor]) -> None:
        apart: dict[str, list[str]] = {}
        for actor in actors:
            apart.setdefault(actor.cluster, []).append(actor.name)
        self._all({cluster: ("kill", (names,)) for cluster, names in apart.items()})

    def close(self) -> None:
        for delegate in self._delegates.values():
            delegate.close()


def _by(cluster_of: Callable[[str], str], things: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """`things` by cluster and key."""
    found: dict[str, dict[str, T]] = {}
    for key, thing in things.items():
        found.setdefault(cluster_of(key), {})[key] = thing
    return found


class Delegate:
    """The process that is in one cluster; it ends with this one, however that ends."""

    def __init__(self, cluster: str, address: str, place: Place | None) -> None:
        self._cluster = cluster
        self._pipe, theirs = Pipe()
        words = [address] if place is None else [address, str(place.process), place.control]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runtime.cluster.federation", str(theirs.fileno()), *words],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the command alone
            env=child_environment(),
        )
        theirs.close()

    def ask(self, verb: str, *args: object) -> Any:
        """What `verb` of `Agent` returns or raises."""
        try:
            self._pipe.send((verb, args))
            answer, error = self._pipe.recv()
        except (EOFError, OSError) as failed:
            raise EnvironmentFailed(f"the process that is in the cluster {self._cluster} has died") from failed
        if isinstance(error, EnvironmentFailed):
            raise EnvironmentFailed(f"cluster {self._cluster}: {error}") from error
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.close()
        try:
            self._process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Agent:
    """In the delegate: does what is asked. Actors are known by their whole names."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._actors: dict[str, Any] = {}

    def joined(self) -> None:
        """The first question: whether the cluster could be joined."""

    def check_sites(self, tiers: Mapping[str, str]) -> None:
        self._connection.check_sites(tiers)

    def place(self, member: str, kind: type[Any], args: Sequence[object], name: str) -> None:
        self._actors[name] = self._connection.place(member, kind, *args, name=name)

    def named(self, prefix: str) -> list[str]:
        found = self._connection.named(prefix)
        self._actors.update({prefix + rest: actor for rest, actor in found.items()})
        return list(found)

    def _refs(self, asked: Mapping[str, Asked]) -> dict[str, Any]:
        return {k: getattr(self._actors[a.actor.name], a.method).remote(*a.args) for k, a in asked.items()}

    def gather(self, asked: Mapping[str, Asked], limit: float) -> dict[str, Any]:
        return self._connection.gather(self._refs(asked), limit)

    def ask(self, asked: Mapping[str, Asked], limit: float) -> tuple[dict[str, Any], dict[str, str]]:
        return self._connection.ask(self._refs(asked), limit)

    def kill(self, names: Collection[str]) -> None:
        self._connection.kill([self._actors.pop(name) for name in names])


def _send(pipe: PipeEnd[Any, Any], error: Exception) -> None:
    """As it is, or what it says where it cannot be sent."""
    try:
        pipe.send((None, error))
    except (OSError, EOFError):
        raise
    except Exception:  # of another library
        pipe.send((None, EnvironmentFailed(f"{type(error).__name__}: {error}")))


def main() -> int:
    """Join the cluster, and do what is asked until nobody is there to ask."""
    descriptor, address, *place = sys.argv[1:]
    if place:
        from runtime.emulate.namespaces import enter

        enter(int(place[0]), ("net",))  # before there are threads
    pipe: PipeEnd[Any, Any] = PipeEnd(int(descriptor))
    agent: Agent | None = None
    try:
        while True:
            verb, args = pipe.recv()
            try:
                agent = agent or Agent(Connection(address, local=False, node=place[1] if place else ""))
                pipe.send((getattr(agent, verb)(*args), None))
            except Exception as error:  # for the command to tell
                _send(pipe, error)
    except (EOFError, OSError):
        os._exit(0)  # Ray would take its time


if __name__ == "__main__":
    sys.exit(main())
