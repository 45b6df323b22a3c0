"""What a conversion to ONNX did: stands beside the ONNX file that it made."""

from __future__ import annotations

from pydantic import Field

from specs.base import Spec


class Conversion(Spec):
    """`model` was turned into `file` by `library`.

    `difference` is the greatest one between ONNX Runtime and the library over `items` inputs, as a share of an output's
    largest value; None where there was nothing to compare with. `edges` of these inputs lie on a threshold of a tree or
    between equally good classes, where rounding decides, and were answered otherwise. `classes` says what the numbers
    of the output ``label`` stand for, where they are not the classes themselves. `reads` are the files of the project
    that a function read, by digest.
    """

    model: str
    library: str
    file: str
    digest: str
    difference: float | None = None
    items: int = 0
    edges: int = 0
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reads: dict[str, str] = Field(default_factory=dict)
