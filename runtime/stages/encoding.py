"""A part of a model whose tensors cross a cut encoded: it decodes what it takes, and encodes what it hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from runtime.stages.codec import NotEncodable, decode, encode
from runtime.stages.work import Given, Made, ModelWork, tried
from runtime.values import Array, Value, conform
from specs.artefact import Segment
from specs.codec import codec_of, codec_of_cut, plain_name
from specs.tensors import TensorType

ENCODED = TensorType("u8", ("n",))


@dataclass(frozen=True)
class EncodedWork:
    """`work` knows the tensors as the model does; `segment` says which of them are encoded outside."""

    work: ModelWork
    segment: Segment

    @property
    def batch(self) -> int:
        return self.work.batch

    @cached_property
    def outputs(self) -> Mapping[str, TensorType]:
        """By name on the wire."""
        inner = self.work.outputs
        if not self.segment.end:
            return inner
        return {name: inner[name] if codec_of(name) == "none" else ENCODED for name in self.segment.end}

    def run(self, inputs: Given) -> dict[str, Value]:
        """As `Work.run`; raises InputError also for what no tensor is encoded so."""
        return self._encoded(self.work.run(self._decoded(inputs)))

    def rehearse(self, inputs: Given) -> None:
        """A model remembers nothing."""
        self.run(inputs)

    def run_batch(self, batch: Sequence[Given]) -> list[Made]:
        """Each alone: models that take several requests at once are not cut with a codec."""
        return [tried(self.run, one) for one in batch]

    def close(self) -> None:
        self.work.close()

    def _decoded(self, inputs: Given) -> Given:
        if not self.segment.begin:
            return inputs
        found: dict[str, Value | None] = dict(inputs)
        for name in self.segment.begin:
            codec, tensor = codec_of(name), plain_name(name)
            if codec != "none":
                data = conform(found.pop(name), ENCODED, f"{self.work.name}: {name}")
                found[tensor] = decode(_array(data), codec, self.work.inputs[tensor])
        return found

    def _encoded(self, made: Mapping[str, Value]) -> dict[str, Value]:
        if not self.segment.end:
            return dict(made)
        try:
            return {
                name: encode(_array(made[plain_name(name)]), codec_of(name)) if codec_of(name) != "none" else made[name]
                for name in self.segment.end
            }
        except NotEncodable as error:
            raise NotEncodable(*error.issues, component=self.work.name) from error


def as_on_wire(work: ModelWork, segment: Segment) -> ModelWork | EncodedWork:
    """`work` as the plan's `segment` has it: what crosses its ends may be encoded."""
    ends = (segment.begin, segment.end)
    return work if all(codec_of_cut(end) == "none" for end in ends) else EncodedWork(work, segment)


def _array(value: Value) -> Array:
    assert not isinstance(value, bytes | str)  # tensors of models, or conform refused them
    return value


def sample_on_wire(sample: Mapping[str, Any], begin: Sequence[str]) -> dict[str, Any]:
    """Real inputs of a part, each with a first axis of 1, as they come over the wire."""
    return {
        name: sample[name] if codec_of(name) == "none" else encode(sample[plain_name(name)][0], codec_of(name))[None]
        for name in begin
    }
