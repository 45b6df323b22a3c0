"""The one exception family of tierplan, and the exit code that each member means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands. Lines and columns count from 1; 0 means "not known"."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong: where, what, and the way out."""

    message: str
    place: Place | None = None
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        way_out = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{way_out}"


class TierplanError(Exception):
    """Base of every error that tierplan raises on purpose. `exit_code` is what the command returns."""

    exit_code = 3


class AnswerIsNo(TierplanError):
    """The question was understood and the answer is no: infeasible, a limit missed, coverage too low."""

    exit_code = 1


class InputError(TierplanError):
    """What the user gave is wrong. Carries every issue found, not only the first."""

    exit_code = 2

    def __init__(self, *issues: Issue | str) -> None:
        self.issues = tuple(i if isinstance(i, Issue) else Issue(i) for i in issues)
        super().__init__("\n".join(str(i) for i in self.issues))


class EnvironmentFailed(TierplanError):
    """The surroundings failed: no cluster, no compiler, a lost connection, a port in use."""

    exit_code = 3


class NotKnown(TierplanError):
    """No answer within the limits given."""

    exit_code = 4
