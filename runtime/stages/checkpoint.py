"""Checkpoints: what a component that keeps state remembered, in a file for each member that runs it.

A file has a head of one line of JSON, then the bytes that the function gave. The head says who owns the state: of two
releases of a deployment, between which it moves, the one that may go on from it and write it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from specs.base import Spec
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input
from specs.kinds import another_version
from specs.output_file import cannot_write, write_whole
from specs.quantities import Number
from specs.refusal import refusal

SCHEMA: Final = "tierplan.checkpoint/v1"
SUFFIX: Final = ".checkpoint"
MOST_HEAD: Final = 4096
"""Bytes of a head."""
_HINT: Final = "put a copy of it there, or remove it: the component then begins with nothing remembered"


class Head(Spec):
    """`saved_at` is in seconds since 1970; `owner` is the key of a release."""

    schema_: Literal["tierplan.checkpoint/v1"] = Field(alias="schema", default=SCHEMA)
    component: str
    member: str
    owner: str
    size: int = Field(ge=0)
    sha256: str
    saved_at: Number


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was remembered, and what the file says of it."""

    head: Head
    data: bytes


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Of one component at one member, in `folder`. `members` are all that run it; `limit` is the bytes of its state."""

    folder: Path
    component: str
    member: str
    members: frozenset[str]
    owner: str
    limit: float

    @property
    def file(self) -> Path:
        return self.folder / f"{self.component}@{self.member}{SUFFIX}"

    @property
    def owned(self) -> bool:
        """Whether the state is there and `owner`'s. Raises InputError for a damaged file."""
        return self.file.exists() and read_checkpoint(self.file, self.limit).head.owner == self.owner

    def find(self) -> Checkpoint | None:
        """The member's own; else the one of a member that no longer runs it; None where there is neither.

        Raises InputError for a damaged file, one that is larger than `limit`, or several to choose from.
        """
        if self.file.exists():
            return read_checkpoint(self.file, self.limit)
        left = sorted(self._of_others())
        if len(left) > 1 or (left and len(self.members) > 1):
            names = ", ".join(file.name for file in left)
            hint = "states are not joined or divided: rename the one to go on with, and remove the others"
            message = f"{self.component} at {self.member} does not know from which state to go on: {names}"
            raise InputError(Issue(message, Place(str(self.folder)), hint))
        return read_checkpoint(left[0], self.limit) if left else None

    def write(self, data: bytes) -> None:
        """In one step: from here on `owner` has the state. Raises EnvironmentFailed where it cannot be written."""
        head = Head(
            component=self.component,
            member=self.member,
            owner=self.owner,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            saved_at=time.time(),
        )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.file, error) from error
        write_whole(self.file, json.dumps(head.dump()).encode() + b"\n" + data, durable=True)

    def remove_parts(self) -> None:
        """What a process left that died while it wrote."""
        for file in self.folder.glob(f"{self.file.name}.*.part"):
            file.unlink(missing_ok=True)

    def remove_others(self) -> None:
        """What members remembered that no longer run the component."""
        for file in self._of_others():
            file.unlink(missing_ok=True)

    def _of_others(self) -> Iterator[Path]:
        ours = {f"{self.component}@{member}{SUFFIX}" for member in self.members}
        return (file for file in self.folder.glob(f"{self.component}@*{SUFFIX}") if file.name not in ours)


def read_checkpoint(file: Path, limit: float) -> Checkpoint:
    """Raises InputError for a file that is no checkpoint, is damaged, or holds more than `limit` bytes of state."""
    place = Place(str(file))
    text, _, data = read_input(file, MOST_HEAD + int(limit)).partition(b"\n")
    try:
        head = Head.model_validate_json(text)
    except ValidationError as error:
        other = _of_another_version(text, place)
        raise InputError(other or Issue(f"not a checkpoint: {refusal(error.errors()[0])}", place, _HINT)) from error
    if len(data) != head.size or hashlib.sha256(data).hexdigest() != head.sha256:
        raise InputError(Issue("the checkpoint is damaged: it is not what was written", place, _HINT))
    if len(data) > limit:
        message = f"the checkpoint has {len(data):,} bytes; the state of {head.component} may have {int(limit):,}"
        raise InputError(Issue(message, place, "raise state: {size: ...} in the application"))
    return Checkpoint(head, data)


def _of_another_version(text: bytes, place: Place) -> Issue | None:
    try:
        return another_version(json.loads(text), SCHEMA, place, _HINT)
    except (ValueError, RecursionError):
        return None
