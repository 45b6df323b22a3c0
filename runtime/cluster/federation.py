"""Several clusters of Ray as if they were one: each member is in the cluster that has its site.

A process can be in one cluster at a time. So each has a *delegate*, a process that is in it and does there what is
asked through a pipe, with `runtime.cluster.connection.Connection`. Actors are told and asked as Ray's own are:
``actor.method.remote(...)`` gives what `call`, `gather` and `ask` take.

A cluster that cannot be reached keeps nobody from the others: all are asked at the same time, each for a limited time.
What asks (`named`, `ask`, `lacking`) and `kill` pass it over, and `unreachable` says why; all else that concerns it
raises, as does `demand`, for who cannot do without what was passed over.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection as PipeEnd
from multiprocessing.connection import Pipe
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

from runtime.cluster.connection import CALL_LIMIT, ClusterLost, Connection
from runtime.cluster.local import Place
from runtime.fleet import site_of
from runtime.stages.child_environment import child_environment
from specs.clusters import Cluster
from specs.errors import EnvironmentFailed, InputError, Issue

END_LIMIT: Final = 20.0
JOIN_LIMIT: Final = 60.0
"""Seconds to join a cluster, on the slowest machine; who does not answer at all is found in `PROBE_LIMIT`."""
MARGIN: Final = 15.0
"""Seconds that a delegate may take beyond those that it is to wait."""
T = TypeVar("T")


class Clusters(Protocol):
    """What a run or a deployment needs of one cluster (`runtime.cluster.connection.Connection`, which see) or several.

    `unreachable` are those that are passed over, by name, and why; `rejoin` tries them again. `demand` raises
    EnvironmentFailed where one of them has any of the `members`.
    """

    @property
    def unreachable(self) -> Mapping[str, str]: ...

    def rejoin(self) -> None: ...

    def demand(self, members: Collection[str]) -> None: ...

    def lacking(self, tiers: Mapping[str, str]) -> dict[str, str]: ...

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

    Raises EnvironmentFailed where none can be reached.
    """
    return Federation(clusters) if clusters else Connection(address, local=local)


@dataclass(frozen=True, slots=True)
class RemoteActor:
    """An actor of the cluster called `cluster`, under its whole name there, or one that its delegate has for it."""

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


_Questions = Mapping[str, tuple[str, tuple[object, ...]]]
"""By cluster, the verb and its arguments."""


class Federation:
    """See `Clusters`. Connected to all that can be reached from construction to `close`."""

    def __init__(self, clusters: Mapping[str, Cluster], *, places: Mapping[str, Place] | None = None) -> None:
        """With `places` the delegate of a cluster is in the emulated network at the place of its head.

        Raises EnvironmentFailed where none can be reached, naming them.
        """
        self._clusters, self._places = clusters, places
        self._owner = {site: name for name, cluster in clusters.items() for site in cluster.sites}
        self._delegates: dict[str, Delegate] = {}
        try:
            self._join(clusters)
            if len(lost := self.unreachable) == len(clusters):
                raise EnvironmentFailed("\n".join(lost.values()))
        except BaseException:
            self.close()
            raise

    def _join(self, names: Collection[str]) -> None:
        for name in names:
            self._delegates[name] = Delegate(name, self._clusters[name].address, self._place_of(name))
        self._reached({name: ("joined", ()) for name in names}, JOIN_LIMIT)

    def _place_of(self, name: str) -> Place | None:
        return self._places[name] if self._places else None

    @property
    def unreachable(self) -> Mapping[str, str]:
        return {name: delegate.lost for name, delegate in self._delegates.items() if delegate.lost}

    def rejoin(self) -> None:
        """Try again to join those that are `unreachable`."""
        lost = list(self.unreachable)
        for name in lost:
            self._delegates[name].close()
        self._join(lost)

    def _all(self, asked: _Questions, limit: float = CALL_LIMIT) -> dict[str, Any]:
        """What delegates answer, by cluster, asked at the same time. Raises what the first of them raises."""
        answers = self._ask_all(asked, limit)
        return {name: answer.result() for name, answer in answers.items()}

    def _reached(self, asked: _Questions, limit: float = CALL_LIMIT) -> dict[str, Any]:
        """The same of those that can be reached; who turns out not to be is so from now on."""
        lost = self.unreachable
        answers = self._ask_all({name: question for name, question in asked.items() if name not in lost}, limit)
        found: dict[str, Any] = {}
        for name, answer in answers.items():
            with contextlib.suppress(ClusterLost):
                found[name] = answer.result()
        return found

    def _ask_all(self, asked: _Questions, limit: float) -> dict[str, Future[Any]]:
        if not asked:
            return {}
        with ThreadPoolExecutor(len(asked)) as pool:
            return {n: pool.submit(self._delegates[n].ask, limit, verb, *args) for n, (verb, args) in asked.items()}

    def _cluster(self, member: str) -> str:
        try:
            return self._owner[site_of(member)]
        except KeyError:
            raise InputError(Issue(f"no cluster has the site {site_of(member)!r}")) from None

    def lacking(self, tiers: Mapping[str, str]) -> dict[str, str]:
        apart = _by(self._cluster, tiers)
        found = self._reached({name: ("lacking", (mine,)) for name, mine in apart.items()})
        return {member: command for mine in found.values() for member, command in mine.items()}

    def demand(self, members: Collection[str]) -> None:
        needed = {self._owner.get(site_of(member)) for member in members}
        if lost := [why for name, why in self.unreachable.items() if name in needed]:
            raise EnvironmentFailed("\n".join(lost))

    def check_sites(self, tiers: Mapping[str, str]) -> None:
        self.demand(tiers)
        apart = _by(self._cluster, tiers)
        self._all({name: ("check_sites", (mine,)) for name, mine in apart.items()})

    def place(self, member: str, kind: type[Any], *args: object, name: str = "") -> RemoteActor:
        """One without a `name` ends with its cluster's delegate, and so with this process, however that ends."""
        cluster = self._cluster(member)
        return RemoteActor(cluster, self._delegates[cluster].ask(CALL_LIMIT, "place", member, kind, args, name))

    def named(self, prefix: str) -> dict[str, RemoteActor]:
        found = self._reached({name: ("named", (prefix,)) for name in self._delegates})
        return {rest: RemoteActor(name, prefix + rest) for name, mine in found.items() for rest in mine}

    def call(
        self, actors: Mapping[str, RemoteActor], method: str, *args: object, limit: float = CALL_LIMIT
    ) -> dict[str, Any]:
        return self.gather({member: Asked(actor, method, args) for member, actor in actors.items()}, limit)

    def gather(self, refs: Mapping[str, Asked], limit: float = CALL_LIMIT) -> dict[str, Any]:
        apart = _by(lambda key: refs[key].actor.cluster, refs)
        longest = limit * max(map(len, apart.values()), default=0)  # one after the other
        found = self._all({name: ("gather", (mine, limit)) for name, mine in apart.items()}, longest + MARGIN)
        return {key: found[asked.actor.cluster][key] for key, asked in refs.items()}

    def ask(self, refs: Mapping[str, Asked], limit: float) -> tuple[dict[str, Any], dict[str, str]]:
        apart = _by(lambda key: refs[key].actor.cluster, refs)
        found = self._reached({name: ("ask", (mine, limit)) for name, mine in apart.items()}, limit + MARGIN)
        results = {key: value for answers, _ in found.values() for key, value in answers.items()}
        return results, {key: reason for _, died in found.values() for key, reason in died.items()}

    def kill(self, actors: Sequence[RemoteActor]) -> None:
        apart: dict[str, list[str]] = {}
        for actor in actors:
            apart.setdefault(actor.cluster, []).append(actor.name)
        self._reached({cluster: ("kill", (names,)) for cluster, names in apart.items()})

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
    """The process that is in one cluster; it ends with this one, however that ends. `lost` is why it cannot be asked
    any more, "" while it can.
    """

    def __init__(self, cluster: str, address: str, place: Place | None) -> None:
        self._cluster = cluster
        self.lost = ""
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

    def ask(self, limit: float, verb: str, *args: object) -> Any:
        """What `verb` of `Agent` returns or raises. Raises ClusterLost where the cluster cannot be asked, or nothing
        comes back in `limit` seconds: from then on it is not asked again.
        """
        if self.lost:
            raise ClusterLost(self.lost)
        try:
            self._pipe.send((verb, args))
            if not self._pipe.poll(limit):
                raise self._lose(f"it did not answer within {limit:.0f} s")
            answer, error = self._pipe.recv()
        except (EOFError, OSError) as failed:
            raise self._lose("the process that is in it has died") from failed
        if isinstance(error, ClusterLost):
            raise self._lose(str(error)) from error
        if isinstance(error, EnvironmentFailed):
            raise EnvironmentFailed(f"cluster {self._cluster}: {error}") from error
        if error is not None:
            raise error
        return answer

    def _lose(self, reason: str) -> ClusterLost:
        self.lost = f"cluster {self._cluster}: {reason}"
        self._process.kill()  # an answer that is late would be taken for that of the next question
        return ClusterLost(self.lost)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.close()
        try:
            self._process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Agent:
    """In the delegate: does what is asked. Actors are known by their whole names, others by names of ours."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._actors: dict[str, Any] = {}

    def joined(self) -> None:
        """The first question: whether the cluster could be joined."""

    def lacking(self, tiers: Mapping[str, str]) -> dict[str, str]:
        return self._connection.lacking(tiers)

    def check_sites(self, tiers: Mapping[str, str]) -> None:
        self._connection.check_sites(tiers)

    def place(self, member: str, kind: type[Any], args: Sequence[object], name: str) -> str:
        """What the actor is known by."""
        known = name or uuid4().hex
        self._actors[known] = self._connection.place(member, kind, *args, name=name)
        return known

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


def _joined(address: str, node: str) -> Connection:
    try:
        return Connection(address, local=False, node=node)
    except EnvironmentFailed as error:
        raise ClusterLost(str(error)) from error


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
                agent = agent or Agent(_joined(address, place[1] if place else ""))
                pipe.send((getattr(agent, verb)(*args), None))
            except Exception as error:  # for the command to tell
                _send(pipe, error)
    except (EOFError, OSError):
        os._exit(0)  # Ray would take its time


if __name__ == "__main__":
    sys.exit(main())
