"""The driver's connection to a Ray cluster: nodes by label, actors placed on them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.cluster.settings import apply_settings
from specs.errors import EnvironmentFailed, InputError, Issue

PROBE_LIMIT: Final = 3.0
CALL_LIMIT: Final = 60.0
NAMESPACE: Final = "tierplan"
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""What an HTTP/2 client says first: the preface and an empty frame of settings (RFC 9113, section 3.4)."""
HTTP2_SETTINGS: Final = 4
NOT_STARTED: Final = "it could not start"
"""How the reason begins why an actor died that Ray does not start again, for its constructor raised."""
_OURS: Final = re.compile(r"specs\.errors\.\w+: ")
_LOG: Final = logging.getLogger(__name__)


class ClusterLost(EnvironmentFailed):
    """A cluster could not be joined, or cannot be asked any more."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``HOST:PORT``. Raises InputError for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(Issue(f"expected the address of a Ray head as HOST:PORT, got {text!r}"))
    return Address(host, int(port))


def probe(address: Address) -> None:
    """Raises EnvironmentFailed where nobody listens, or what listens speaks no HTTP/2 (as a Ray head does).

    ray.init would try either for minutes. Over TLS only the connection is tried.
    """
    try:
        with socket.create_connection((address.host, address.port), PROBE_LIMIT) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                connection.settimeout(PROBE_LIMIT)
                connection.sendall(HTTP2_PREFACE)
                answer = connection.recv(9, socket.MSG_WAITALL)
                if len(answer) < 9 or answer[3] != HTTP2_SETTINGS:
                    raise OSError("what listens there is no Ray head")
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvironmentFailed(
            f"no Ray cluster at {address}: {reason} (start its head with `ray start --head --port={address.port}`)"
        ) from error


def _first_line(error: BaseException) -> str:
    """Ray says much: what happened comes first."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _death(error: Any) -> str:
    """Why an actor died, of Ray's error. What a constructor raised stands last in it, after the traceback: from
    the line that names an error of ours, else the last line.
    """
    if not error.actor_init_failed:
        return _first_line(error)
    lines = str(error).strip().splitlines()
    begins = max((i for i, line in enumerate(lines) if _OURS.search(line)), default=-1)
    return f"{NOT_STARTED}: {_OURS.sub('', ' '.join(lines[begins:]))[:500]}"


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Raises ClusterLost for what Ray raises, of many kinds, where its head does not answer."""
    try:
        yield
    except Exception as error:
        raise ClusterLost(f"{type(error).__name__}: {_first_line(error)}") from error


def _hush() -> None:
    """Have Ray print nothing to stdout, which is for what the command answers: by itself it does when a node dies."""
    from ray._private import worker

    def unsaid(data: object, ignore_prefix: bool) -> None:
        _LOG.info("%s", data)

    worker.print_to_stdstream = unsaid


class Connection:
    """Connected from construction to `close`."""

    def __init__(self, address: str, *, local: bool, node: str = "") -> None:
        """`node` is this machine's address in the cluster, where Ray cannot find it. Raises EnvironmentFailed where the
        cluster cannot be reached or does not accept us.
        """
        apply_settings(local=local)
        parsed = parse_address(address)
        probe(parsed)
        import ray

        self._ray = ray
        self.address = parsed
        _hush()
        if ray.is_initialized():
            raise EnvironmentFailed("this process is connected to a Ray cluster already: one run at a time")
        try:
            ray.init(
                address=str(parsed),
                log_to_driver=False,
                logging_level="error",
                configure_logging=False,
                _node_ip_address=node or None,
            )
        except Exception as error:  # Ray raises many kinds: wrong version, wrong token, no node here
            reason = str(error).strip().splitlines()
            raise EnvironmentFailed(
                f"cannot join the Ray cluster at {parsed}: {reason[0] if reason else type(error).__name__}"
            ) from error

    @property
    def unreachable(self) -> Mapping[str, str]:
        """None: what cannot be reached at all is told at construction."""
        return {}

    def rejoin(self) -> None:
        """There is nothing to join again."""

    def demand(self, members: Collection[str]) -> None:
        """Nothing is passed over."""

    def lacking(self, tiers: Mapping[str, str]) -> dict[str, str]:
        """Of the members (with the tier of each) those without a live node labelled ``site=MEMBER``, and the command
        that starts one. Raises ClusterLost where the head does not answer.
        """
        with _asking():
            have = {node["Labels"].get("site") for node in self._ray.nodes() if node["Alive"]}
        return {
            member: f"ray start --address={self.address} --labels=site={member},tier={tier}"
            for member, tier in tiers.items()
            if member not in have
        }

    def check_sites(self, tiers: Mapping[str, str]) -> None:
        """Raises EnvironmentFailed naming the members without a node: Ray itself would wait for one for ever."""
        if missing := self.lacking(tiers):
            lines = "\n".join(f"  {command}" for command in missing.values())
            raise EnvironmentFailed(
                f"no Ray node stands for {', '.join(missing)} at {self.address}; on the machine of each, run\n{lines}"
            )

    def place(self, member: str, kind: type[Any], *args: object, name: str = "") -> Any:
        """An actor of class `kind` on the node of `member`.

        One with a `name` outlives this connection, and Ray starts its process again, with the same `args`, when it
        dies. What it was doing then is not done again: who called hears of it.
        """
        detached = {"name": name, "namespace": NAMESPACE, "lifetime": "detached"} if name else {}
        actor = self._ray.remote(kind).options(
            **detached,
            num_cpus=0,
            max_concurrency=10_000,
            max_restarts=-1 if name else 0,
            max_task_retries=0,
            label_selector={"site": member},
        )
        return actor.remote(*args)

    def named(self, prefix: str) -> dict[str, Any]:
        """Living actors that were placed under a name that begins with `prefix`, by the rest of their name.

        Raises ClusterLost where the head does not answer.
        """
        from ray.util import list_named_actors

        found: dict[str, Any] = {}
        with _asking():
            for entry in list_named_actors(all_namespaces=True):
                if entry["namespace"] == NAMESPACE and entry["name"].startswith(prefix):
                    with contextlib.suppress(ValueError):  # it died meanwhile
                        found[entry["name"].removeprefix(prefix)] = self._ray.get_actor(entry["name"], NAMESPACE)
        return found

    def call(self, actors: Mapping[str, Any], method: str, *args: object, limit: float = CALL_LIMIT) -> dict[str, Any]:
        """`method` of every actor at once; results by member.

        Raises what an actor's own code raised; EnvironmentFailed for one that died or did not answer in `limit` s.
        """
        return self.gather({member: getattr(actor, method).remote(*args) for member, actor in actors.items()}, limit)

    def gather(self, refs: Mapping[str, Any], limit: float = CALL_LIMIT) -> dict[str, Any]:
        """The results behind `refs`, with errors as in `call`."""
        results: dict[str, Any] = {}
        for member, ref in refs.items():
            try:
                results[member] = self._ray.get(ref, timeout=limit)
            except self._ray.exceptions.RayTaskError as error:
                cause = error.cause if error.cause is not None else error
                raise cause from None
            except self._ray.exceptions.GetTimeoutError as error:
                raise EnvironmentFailed(
                    f"the host at {member} did not answer within {limit:.0f} s (it hangs, or the machine is too busy"
                    " with other work: try again when it is not)"
                ) from error
            except self._ray.exceptions.RayActorError as error:
                raise EnvironmentFailed(f"the host at {member} died: {_death(error)}") from error
            except self._ray.exceptions.RayError as error:
                raise EnvironmentFailed(f"the host at {member} died: {_first_line(error)}") from error
        return results

    def ask(self, refs: Mapping[str, Any], limit: float) -> tuple[dict[str, Any], dict[str, str]]:
        """Results by member, and the reasons of those that died; one that begins with `NOT_STARTED` is final. Who does
        not answer in time is in neither.
        """
        results: dict[str, Any] = {}
        died: dict[str, str] = {}
        done, _ = self._ray.wait(list(refs.values()), num_returns=len(refs), timeout=limit)
        for member, ref in refs.items():
            if ref in done:
                try:
                    results[member] = self._ray.get(ref)
                except self._ray.exceptions.RayTaskError as error:
                    cause = error.cause if error.cause is not None else error
                    raise cause from None
                except self._ray.exceptions.RayActorError as error:
                    died[member] = _death(error)
        return results, died

    def kill(self, actors: Sequence[Any]) -> None:
        """End the actors' processes."""
        for actor in actors:
            self._ray.kill(actor)

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()
