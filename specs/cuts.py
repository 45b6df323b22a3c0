"""Cuts that were found in a model, with what they carry: facts that stand beside the profiles."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from specs.base import Spec, TypeText

CUTS_FILE: Final = "cuts.jsonl"
MOST_CUTS: Final = 64
"""Of one model, declared or found."""


class FoundCut(Spec):
    """Tensors that cross together, each with its type, and the share of the model's work that lies before them."""

    tensors: dict[str, TypeText] = Field(min_length=1)
    before: float = Field(ge=0, le=1)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.tensors)


class FoundCuts(Spec):
    """The cuts worth trying of the model with this digest, in order from its inputs: each within the next."""

    schema_: Literal["tierplan.cuts/v1"] = Field(alias="schema", default="tierplan.cuts/v1")
    source: str
    cuts: tuple[FoundCut, ...] = Field(max_length=MOST_CUTS)
    method: str
    host: str
    measured_at: str
