"""Codecs: what is decoded is what was encoded, within the codec's bound; and bytes from outside can do no harm."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.stages.codec import decode, encode
from specs.codec import CODECS, codec_of, codec_of_cut, encoded_name, on_wire, plain_name, plain_names
from specs.errors import InputError
from specs.tensors import DTYPES, TensorType, from_numpy_name, parse_type

shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=8)
finite = hnp.arrays(np.float32, shapes, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
any_floats = hnp.arrays(np.float32, shapes, elements=st.floats(width=32))
KIND = TensorType("f32", (4, 3))


def tried(data: np.ndarray, codec: str) -> np.ndarray | str:
    """The tensor, or what the error says."""
    try:
        return decode(data, codec, KIND)
    except InputError as error:
        return str(error)


def kind_of(array: np.ndarray) -> TensorType:
    return TensorType(from_numpy_name(array.dtype.name), array.shape)


@given(st.data())
def test_zlib_keeps_every_bit_of_every_type(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(DTYPES.values())))
    array = data.draw(hnp.arrays(dtype, shapes))
    found = decode(encode(array, "zlib"), "zlib", kind_of(array))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@given(any_floats)
def test_fp16_is_off_by_half_a_unit_of_half_precision_and_takes_two_bytes_each(array: np.ndarray) -> None:
    data = encode(array, "fp16")
    assert data.nbytes == 2 * array.size
    found = decode(data, "fp16", kind_of(array))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.array_equal(np.isnan(found), np.isnan(array))
    assert np.array_equal(found[np.isinf(array)], array[np.isinf(array)])
    known = np.isfinite(array)
    wide, exact = found[known].astype(np.float64), array[known].astype(np.float64)
    inside = np.abs(exact) <= 65504
    bound = np.maximum(2.0**-11 * np.abs(exact), 2.0**-25)
    assert (np.abs(wide - exact) <= bound)[inside].all()
    assert (wide == np.sign(exact) * 65504)[~inside].all()


@given(finite)
def test_int8_is_off_by_half_a_step_and_takes_a_byte_each(array: np.ndarray) -> None:
    data = encode(array, "int8")
    assert data.nbytes == 8 + array.size
    found = decode(data, "int8", kind_of(array))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    exact = array.astype(np.float64)
    step = (exact.max() - exact.min()) / 255
    rounding = 2.0**-22 * np.abs(exact).max() + 2.0**-140  # of the step and of the answer, in f32
    assert np.abs(found - exact).max() <= step / 2 + rounding


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_int8_refuses_what_has_no_place_between_two_ends(value: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        encode(np.array([1.0, value], np.float32), "int8")


@settings(max_examples=300)
@given(st.sampled_from(CODECS), st.binary(max_size=80))
def test_any_bytes_are_a_tensor_of_the_type_or_an_error(codec: str, data: bytes) -> None:
    found = tried(np.frombuffer(data, np.uint8), codec)
    if isinstance(found, str):
        assert f"not a f32[4,3] encoded with {codec}" in found
    else:
        assert (found.dtype.name, found.shape) == ("float32", (4, 3))


@given(st.sampled_from(CODECS), st.integers(0, 60), st.integers(1, 255))
def test_encoded_bytes_that_were_changed_or_cut_off_are_a_tensor_or_an_error(codec: str, at: int, by: int) -> None:
    data = encode(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), codec).copy()
    with pytest.raises(InputError):
        decode(data[: min(at, data.size - 1)], codec, KIND)
    data[at % data.size] ^= by
    found = tried(data, codec)
    assert f"encoded with {codec}" in found if isinstance(found, str) else found.shape == (4, 3)


def test_a_small_message_cannot_make_the_receiver_allocate_more_than_the_tensor_takes() -> None:
    bomb = np.frombuffer(zlib.compress(bytes(200_000_000), 9), np.uint8)
    assert bomb.size < 250_000
    tracemalloc.start()
    with pytest.raises(InputError, match="expected 48 bytes, got more"):
        decode(bomb, "zlib", KIND)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("extra", [b"x", zlib.compress(b"")])
def test_bytes_after_the_tensor_are_an_error(extra: bytes) -> None:
    whole = zlib.compress(bytes(48)) + extra
    with pytest.raises(InputError, match="does not end where the tensor does"):
        decode(np.frombuffer(whole, np.uint8), "zlib", KIND)


@pytest.mark.parametrize("head", [(np.nan, 1.0), (0.0, np.inf), (0.0, -1.0)])
def test_a_range_that_no_tensor_has_is_an_error(head: tuple[float, float]) -> None:
    data = np.array(head, "<f4").tobytes() + bytes(12)
    with pytest.raises(InputError, match="in steps of"):
        decode(np.frombuffer(data, np.uint8), "int8", KIND)


@given(st.text(max_size=12), st.sampled_from(CODECS))
def test_a_name_on_the_wire_tells_the_tensor_and_the_codec(tensor: str, codec: str) -> None:
    name = encoded_name(tensor, codec)
    assert (codec_of(name), plain_name(name)) == (codec, tensor)


def test_a_codec_takes_the_tensors_it_can_and_leaves_the_others_as_they_are() -> None:
    tensors = {"h": parse_type("f32[8]"), "ids": parse_type("i64[4]")}
    assert on_wire(tensors, "fp16") == ("h~fp16", "ids")
    assert on_wire(tensors, "zlib") == ("h~zlib", "ids~zlib")
    assert on_wire({"ids": parse_type("i64[4]")}, "int8") is None
    assert on_wire({"h": parse_type("f32[n]")}, "zlib") is None
    assert codec_of_cut(("ids", "h~fp16")) == "fp16"
    assert plain_names(("h~fp16", "ids")) == ("h", "ids")
    assert codec_of("decoder/out~2") == "none"
