"""Cutting a model: the parts, one after the other, compute what the whole does."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.cut import extract
from compiler.model import prepare
from compiler.signature import signature_of
from specs.artefact import Segment
from specs.errors import InputError
from tests.compiler.models import cnn, ours, pixels, reference


@pytest.mark.parametrize("at", [("r1",), ("p2",), ("a3", "c4"), ("logits",)])
def test_two_parts_compose_to_the_whole(at: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    whole, x = prepare(cnn(rng), {}, "m.onnx"), pixels(rng)
    first = extract(whole, Segment(end=at), "m.onnx")
    second = extract(whole, Segment(begin=at), "m.onnx")
    between = dict(zip(at, reference(first, x), strict=True))
    (expected,) = reference(whole, x)
    np.testing.assert_array_equal(reference(second, between)[0], expected)
    compiled = dict(zip(at, ours(first, x)[0], strict=True))
    np.testing.assert_allclose(ours(second, compiled)[0][0], expected, rtol=1e-4, atol=1e-6)


def test_a_middle_part_has_the_cut_tensors_as_inputs_and_outputs() -> None:
    whole = prepare(cnn(np.random.default_rng(1)), {}, "m.onnx")
    signature = signature_of(extract(whole, Segment(begin=("r1",), end=("p2",)), "m.onnx"), "m.onnx")
    assert {k: str(v) for k, v in signature.inputs.items()} == {"r1": "f32[16,16,16]"}
    assert {k: str(v) for k, v in signature.outputs.items()} == {"p2": "f32[32,8,8]"}


def test_an_unknown_tensor_is_refused_with_the_nearest_name() -> None:
    whole = prepare(cnn(np.random.default_rng(1)), {}, "m.onnx")
    with pytest.raises(InputError, match="did you mean 'logits'"):
        extract(whole, Segment(end=("logit",)), "m.onnx")


def test_the_whole_segment_is_the_model_itself() -> None:
    whole = prepare(cnn(np.random.default_rng(1)), {}, "m.onnx")
    assert extract(whole, Segment(), "m.onnx") is whole
