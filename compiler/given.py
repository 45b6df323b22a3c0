"""A model that was handed in, as what is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from specs.conversion import Conversion
from specs.quantization import Quantization


@dataclass(frozen=True, slots=True)
class Given:
    """A model that was handed in: what it is called, the ONNX file to compile, and the digest of what it comes from.

    `conversion` says how the file was made of a model of another library, `quantization` how of a model in float32;
    both are None where the ONNX file itself was handed in.
    """

    name: str
    file: Path
    source: str
    conversion: Conversion | None = None
    quantization: Quantization | None = None

    @property
    def content(self) -> str:
        """Digest of the ONNX file, where it is not what was handed in; else empty."""
        made = self.quantization or self.conversion
        return made.digest if made else ""
