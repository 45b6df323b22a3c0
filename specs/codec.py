"""Codecs of what crosses a cut between two sites, and how a tensor is called once it is encoded.

``relu3~fp16`` is what `fp16` makes of the tensor ``relu3``: a segment that ends there encodes, one that begins there
decodes. A tensor that the codec does not take crosses as it is, under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from specs.artefact import Segment
from specs.tensors import TensorType

Codec = Literal["none", "fp16", "int8", "zlib"]
"""``none``: as it is. ``fp16``: half precision. ``int8``: 256 even steps between the least and the greatest value.
``zlib``: every bit kept (RFC 1950)."""

CODECS: Final = tuple(c for c in get_args(Codec) if c != "none")
LOSSLESS: Final = frozenset({"none", "zlib"})
_MARK: Final = "~"


def encoded_name(tensor: str, codec: str) -> str:
    return f"{tensor}{_MARK}{codec}"


def codec_of(name: str) -> str:
    """Of a tensor by its name on the wire; ``none`` where it crosses as it is."""
    _, mark, codec = name.rpartition(_MARK)
    return codec if mark and codec in CODECS else "none"


def plain_name(name: str) -> str:
    """The model's tensor behind a name on the wire."""
    codec = codec_of(name)
    return name if codec == "none" else name.removesuffix(encoded_name("", codec))


def takes(codec: str, kind: TensorType) -> bool:
    """Whether a codec encodes tensors of this type: those of a fixed shape, the lossy ones f32 alone."""
    fixed = kind.size is not None
    return fixed and (codec in LOSSLESS or kind.dtype == "f32")


def on_wire(tensors: Mapping[str, TensorType], codec: str) -> tuple[str, ...] | None:
    """The names on the wire of tensors that cross together; None where the codec takes none of them."""
    names = tuple(encoded_name(n, codec) if takes(codec, kind) else n for n, kind in tensors.items())
    return None if names == tuple(tensors) else names


def codec_of_cut(names: tuple[str, ...]) -> str:
    """Of what crosses together: one codec, for all that it takes."""
    return next((codec for name in names if (codec := codec_of(name)) != "none"), "none")


def plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(plain_name, names))


def plain_segment(segment: Segment) -> Segment:
    """The part of the model behind a segment whose ends may be encoded: the one that is compiled."""
    return Segment(begin=plain_names(segment.begin), end=plain_names(segment.end))
