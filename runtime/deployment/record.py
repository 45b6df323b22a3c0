"""What was asked for, kept in a folder of state under a lock: the one thing that a deployment leaves on the disk."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from runtime.observe.request_log import LogLevel
from specs.base import Spec
from specs.clusters import Cluster
from specs.digest import digest_value
from specs.errors import EnvironmentFailed, InputError, Issue, Place
from specs.output_file import write_whole
from specs.quantities import Number

RECORD: Final = "deployment.json"
MOVING: Final = "moving.json"
ANNOUNCED: Final = "cluster.json"
LINKS: Final = "links"
LOGS: Final = "logs"
PORTS: Final = "ports"
ALTERNATIVES: Final = "without"
BUNDLES: Final = "bundles"
"""On a machine of its own: what records call bundles, by the key of the record."""
GIVEN: Final = "given"
"""There, too: the files that a record names, such as that of tokens."""
HOSTED: Final = ".hosted"
"""Beside the folders of deployments: copies of those that other machines deployed."""
VERSION: Final = 3
"""Raised when processes of a deployment come to speak otherwise with each other, or with the commands that ask them."""


class Listening(Spec):
    """Where doors listen and whom they let in: paths of files, never what is in them. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    http_port: int = 0
    grpc_port: int = 0
    token_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure: bool = False


class Seeing(Spec):
    """What is written down of requests, and where traces go; see `runtime.observe`."""

    log: LogLevel = "requests"
    trace: str = ""
    trace_sample: Number = 0.01


class Record(Spec):
    """`bundle` is a folder, `address` of an existing cluster, `members` how many of each class. With `clusters` there
    are several of them; with neither it has nodes of its own.

    `alternatives` are the digests of the plans without a site, by site; their bundles are in the folder of state.
    `manifest` is the digest of the bundle's manifest, and so of all that is in it; "" where any will do.
    `version` is `VERSION` of whoever deployed; before there were versions there is none.
    `state` is the folder of the checkpoints of components that keep state, "" where none does.
    `deadline` in seconds bounds each request; `shape` slows links and processors as the infrastructure says.
    """

    schema_: Literal["tierplan.deployment/v1"] = Field(alias="schema", default="tierplan.deployment/v1")
    version: int = VERSION
    name: str
    plan: str
    bundle: str
    manifest: str = ""
    address: str = ""
    clusters: dict[str, Cluster] = Field(default_factory=dict)
    members: dict[str, int] = Field(default_factory=dict)
    shape: bool = True
    deadline: float = 30.0
    queue_limit: int = 256
    listening: Listening = Field(default_factory=Listening)
    alternatives: dict[str, str] = Field(default_factory=dict)
    seeing: Seeing = Field(default_factory=Seeing)
    state: str = ""

    @property
    def foreign(self) -> bool:
        """Whether it runs on clusters that somebody else started, which may have nodes on other machines."""
        return bool(self.address or self.clusters)

    @property
    def digest(self) -> str:
        return digest_value(self.dump())

    @property
    def key(self) -> str:
        """What messages and files call what is deployed by."""
        return self.digest[:16]


class Moving(Spec):
    """A move that is not finished. Which of both is in force stands in the file of the record."""

    schema_: Literal["tierplan.moving/v1"] = Field(alias="schema", default="tierplan.moving/v1")
    old: Record
    new: Record


def check_name(name: str) -> str:
    """Raises InputError for what cannot be the name of a folder and an actor."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise InputError(Issue(f"expected a deployment's name of letters, digits, - and _ (63 at most), got {name!r}"))
    return name


def state_root() -> Path:
    """``$TIERPLAN_STATE``, or where the user's state belongs."""
    given = os.environ.get("TIERPLAN_STATE")
    if given:
        return Path(given).absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base).absolute() / "tierplan" / "deployments"


def state_folder(name: str) -> Path:
    return state_root() / check_name(name)


def alternative_folder(folder: Path, digest: str) -> Path:
    """Where, in a deployment's `folder` of state, the bundle of the alternative plan of that digest is."""
    return folder / ALTERNATIVES / digest[:16]


def hosted_folder(name: str, mark: str) -> Path:
    """Where a machine keeps its copy of the state of a deployment, of which it does not share the folder."""
    return state_root() / HOSTED / f"{check_name(name)}-{mark[:12]}"


def bundle_in(folder: Path, record: Record) -> str:
    """Where the bundle of `record` is, for who has its state in `folder`."""
    own = folder / BUNDLES / record.key
    return str(own) if own.exists() else record.bundle


def given_file(file: str) -> str:
    """In a copy of a folder of state: what has the place of a file that the record names."""
    return f"{GIVEN}/{digest_value(file)[:16]}"


def file_in(folder: Path, file: str) -> str:
    """Where a `file` that a record names is, for who has its state in `folder`; "" stays."""
    own = folder / given_file(file)
    return str(own) if file and own.exists() else file


def names() -> list[str]:
    """Of the deployments that this machine has state of."""
    return sorted(file.parent.name for file in state_root().glob(f"*/{RECORD}"))


def read_record(name: str) -> Record | None:
    """None where there is none. Raises InputError for a file that is no record, EnvironmentFailed for one of another
    version of tierplan."""
    return record_in(state_folder(name))


def record_in(folder: Path) -> Record | None:
    """As `read_record`, of the deployment whose state is in `folder`."""
    return _read(folder / RECORD, Record, "a deployment's record")


def moving_in(folder: Path) -> Moving | None:
    """The move that is not finished, of the deployment whose state is in `folder`; None where there is none."""
    return _read(folder / MOVING, Moving, "the record of a move")


_Kept = TypeVar("_Kept", Record, Moving)


def clusters_in(folder: Path) -> tuple[str, dict[str, Cluster]]:
    """The address of the cluster, or the clusters, of the deployment whose state is in `folder`, whatever version wrote
    it; neither where it has its own, or nothing can be read."""
    found = _plain(folder / RECORD)
    address, several = found.get("address"), found.get("clusters")
    clusters: dict[str, Cluster] = {}
    for name, cluster in several.items() if isinstance(several, dict) else ():
        with suppress(ValidationError):
            clusters[name] = Cluster.model_validate(cluster)
    return address if isinstance(address, str) else "", clusters


def state_of(folder: Path) -> str:
    """The folder of checkpoints of the deployment whose state is in `folder`, whatever version wrote it; "" if none."""
    kept = _plain(folder / RECORD).get("state", "")
    return kept if isinstance(kept, str) else ""


def _plain(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(file: Path, kind: type[_Kept], what: str) -> _Kept | None:
    found = _plain(file)
    record = found.get("new") if kind is Moving else found
    ours = str(found.get("schema")).startswith(("tierplan.deployment/", "tierplan.moving/"))
    if ours and isinstance(record, dict) and record.get("version") != VERSION:
        raise _of_another_version(file)
    try:
        return kind.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InputError(Issue(f"not {what}: {error.errors()[0]['msg']}", Place(str(file)))) from error


def _of_another_version(file: Path) -> EnvironmentFailed:
    name = file.parent.name
    return EnvironmentFailed(
        f"{name} was deployed by another version of tierplan, which its processes still run (ask it with that version, "
        f"or planner undeploy {name} and deploy it again)"
    )


def write_record(record: Record) -> None:
    """In one step, in a folder that nobody else may read."""
    folder = state_folder(record.name)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)  # it may have been there
    (folder / LOGS).mkdir(exist_ok=True)
    (folder / PORTS).mkdir(exist_ok=True)
    write_whole(folder / RECORD, json.dumps(record.dump(), indent=1) + "\n")


def write_moving(moving: Moving) -> None:
    """In one step: from here on the move is under way."""
    write_whole(state_folder(moving.new.name) / MOVING, json.dumps(moving.dump(), indent=1) + "\n")


def remove_moving(name: str) -> None:
    """The move is finished, or was given up."""
    (state_folder(name) / MOVING).unlink(missing_ok=True)


def remove_state(name: str) -> None:
    shutil.rmtree(state_folder(name), ignore_errors=True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One at a time deploys or undeploys `name`. Raises EnvironmentFailed where another does just now.

    The lock goes with its holder, however that ends; its file goes with the deployment.
    """
    file = state_root() / f".{check_name(name)}.lock"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EnvironmentFailed(f"another command deploys or undeploys {name} just now") from error
        try:
            yield
        finally:
            if not state_folder(name).exists():
                file.unlink(missing_ok=True)
