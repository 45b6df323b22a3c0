"""The base of every model that is read from or written to a file."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from specs.tensors import TensorType, parse_type


class Spec(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, defer_build=True)

    def dump(self) -> dict[str, Any]:
        """As written to a file: aliases, JSON values, nothing that is unset and None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _name(text: str) -> str:
    if not re.match(r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$", text):
        raise ValueError(f"expected a name of letters, digits, _ and - (63 at most), got {text!r}")
    return text


def _type(value: object) -> TensorType:
    if isinstance(value, TensorType):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected a type such as f32[384], bool or jpeg, got {value!r}")
    return parse_type(value)


Name = Annotated[str, AfterValidator(_name)]
TypeText = Annotated[
    TensorType,
    BeforeValidator(_type),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["u8[3,64,64]", "bool", "jpeg"]}),
]
