"""Values: types, sizes and their way through a message."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.message import SMALL, Message, StageTime, Trace, TransferTime, decode, encode, frames, from_frames
from runtime.values import Value, conform, equal, filled, size, with_batch, without_batch
from specs.errors import InputError
from specs.tensors import DTYPES, parse_type

ARRAYS = hnp.arrays(
    dtype=st.sampled_from(sorted(DTYPES.values())).map(np.dtype),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
VALUES = st.one_of(st.binary(max_size=200), st.text(max_size=80), ARRAYS)


@given(st.dictionaries(st.text(min_size=1, max_size=10), VALUES, max_size=4))
def test_values_come_out_of_a_message_as_they_went_in(values: dict[str, Value]) -> None:
    message = Message(
        kind="values",
        request="r/1",
        flow="f",
        origin="phones-0",
        consumer="c",
        deadline=12.5,
        producer="p",
        sent=1.25,
        clock="k",
        queued=0.5,
        values=values,
        skipped=("a", "b"),
        trace=Trace((StageTime("s", "m", 0.1, 0.2, 3.0),), (TransferTime("e", "m", 0.3, 0.1),)),
        reason="why",
    )
    found = decode(encode(message))
    assert set(found.values) == set(values)
    for name, value in values.items():
        other = found.values[name]
        assert type(other) is type(value)
        if isinstance(value, np.ndarray):
            assert isinstance(other, np.ndarray)
            assert (other.dtype, other.shape) == (value.dtype, value.shape)
            assert other.tobytes() == value.tobytes()
        else:
            assert other == value
    assert found.payload == message.payload == sum(map(size, values.values()))
    assert (found.trace, found.skipped, found.deadline, found.queued) == (message.trace, ("a", "b"), 12.5, 0.5)


def test_large_values_have_frames_of_their_own_which_must_all_come() -> None:
    array = np.arange(SMALL, dtype=np.uint16)
    message = Message("values", "r", "f", "o", "c", 1.0, values={"x": array, "y": b"small"})
    head, *buffers = frames(message)
    found = from_frames(head, [memoryview(b).cast("B") for b in buffers])
    assert np.array_equal(found.values["x"], array)
    assert found.values["y"] == b"small"
    with pytest.raises(ValueError, match="2 values are described, 1 came"):
        from_frames(head, [memoryview(b"small")])
    with pytest.raises(ValueError, match="the message ends within 'x'"):
        from_frames(head, [])


def test_a_transposed_array_arrives_with_its_own_elements() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    message = Message("values", "r", "f", "o", "c", 1.0, values={"x": array})
    assert np.array_equal(decode(encode(message)).values["x"], array)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(data)


@pytest.mark.parametrize("kind", ["|O", "object", "V99999999999", "i4,,", "i4,("])
def test_a_message_cannot_smuggle_objects(kind: str) -> None:
    plain = encode(Message("values", "r", "f", "o", "c", 1.0, values={"x": np.zeros(8, np.uint8)}))
    wanted = b'"|u1"'
    padding = max(0, len(json.dumps(kind)) - len(wanted))
    swapped = json.dumps(kind).encode().ljust(len(wanted))
    assert wanted in plain
    fixed = plain.replace(wanted, swapped)
    if padding:  # the header says how long its description is
        at = 36
        fixed = (
            fixed[:at]
            + (int.from_bytes(plain[at : at + 4], "little") + padding).to_bytes(4, "little")
            + fixed[at + 4 :]
        )
    with pytest.raises(ValueError, match=r".+"):
        decode(fixed)


def test_a_value_of_the_wrong_type_says_what_was_expected_and_found() -> None:
    with pytest.raises(InputError, match=r"shrink: expected u8\[3,64,64\], got f64\[64,64,3\]"):
        conform(np.zeros((64, 64, 3)), parse_type("u8[3,64,64]"), "shrink")
    with pytest.raises(InputError, match="photo: expected jpeg, got str"):
        conform("text", parse_type("jpeg"), "photo")
    with pytest.raises(InputError, match="got bytes"):
        conform(b"x", parse_type("f32[1]"), "x")
    with pytest.raises(InputError, match=r"got f32\[1,64\] \(leave out the batch"):
        conform(np.zeros((1, 64), np.float32), parse_type("f32[64]"), "x")


def test_text_that_utf_8_cannot_hold_is_refused_before_it_is_sent() -> None:
    """json.loads makes it of an escape: whoever writes the message would fail, and all requests after this one."""
    with pytest.raises(InputError, match=r"t: expected string, got one with half of a surrogate pair"):
        conform(json.loads('"\\ud800"'), parse_type("string"), "t")
    assert conform(json.loads('"\\ud83d\\ude00"'), parse_type("string"), "t") == "\U0001f600"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "bool"), (3, "i64"), ([1, 2], "i64[2]"), (0.5, "f32"), ([1, 2], "f32[N]"), (np.bool_(1), "bool")],
)
def test_plain_numbers_become_arrays_of_the_declared_type(value: object, kind: str) -> None:
    expected = parse_type(kind)
    found = conform(value, expected, "x")
    assert isinstance(found, np.ndarray)
    assert found.dtype.name == expected.numpy
    assert np.array_equal(found, np.asarray(value))


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0.5, "i64"), (300, "u8"), (-1, "u8"), ([1, 2], "i64[3]"), ("a", "i64"), ([[1], [1, 2]], "i64[2]"), (2, "bool")],
)
def test_what_a_type_cannot_hold_is_refused(value: object, kind: str) -> None:
    with pytest.raises(InputError, match="expected"):
        conform(value, parse_type(kind), "x")


def test_one_name_stands_for_one_size() -> None:
    conform(np.zeros((2, 2)), parse_type("f64[N,N]"), "x")
    with pytest.raises(InputError, match="expected"):
        conform(np.zeros((2, 3)), parse_type("f64[N,N]"), "x")


def test_the_batch_comes_and_goes() -> None:
    item = np.arange(3, dtype=np.float32)
    assert with_batch(item).shape == (1, 3)
    assert np.array_equal(without_batch(with_batch(item), parse_type("f32[3]"), "x"), item)
    assert without_batch(np.array([True]), parse_type("bool"), "x").shape == ()
    with pytest.raises(InputError, match=r"expected f32\[4\]"):
        without_batch(with_batch(item), parse_type("f32[4]"), "x")


def test_a_skipped_input_is_filled_only_where_its_shape_is_fixed() -> None:
    assert filled(parse_type("f32[2]"), 1.5, "x").tolist() == [1.5, 1.5]
    for kind in ("string", "i64[T]"):
        with pytest.raises(InputError, match="if_skipped"):
            filled(parse_type(kind), 0, "x")


def test_integers_must_be_equal_and_floats_nearly() -> None:
    assert equal(np.float32([1]), np.float32([1.00001]))  # type: ignore[arg-type]
    assert not equal(np.array([1]), np.array([2]))
    assert not equal(np.array([1.0]), np.array([1.1]))
    assert not equal("a", b"a")
