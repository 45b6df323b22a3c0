"""Values as JSON and raw data: what is written is read back, and what does not fit is refused."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from runtime.open_inference.models import Port
from runtime.open_inference.protocol import ProtocolError
from runtime.open_inference.tensors import (
    check_header,
    datatype,
    from_json,
    from_raw,
    shape_of,
    to_json,
    to_raw,
)
from specs.tensors import DTYPES, TensorType, parse_type


@st.composite
def ports_and_values(draw: st.DrawFn) -> tuple[Port, Any]:
    dtype = draw(st.sampled_from([*sorted(DTYPES), "string", "bytes", "jpeg"]))
    if dtype == "string":
        return Port("x", TensorType(dtype)), draw(st.text(max_size=50))
    if dtype in ("bytes", "jpeg"):
        return Port("x", TensorType(dtype)), draw(st.binary(max_size=50))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=3, max_side=4))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.startswith("f") else {}
    value = draw(npst.arrays(DTYPES[dtype], shape, elements=npst.from_dtype(np.dtype(DTYPES[dtype]), **elements)))  # type: ignore[arg-type]
    return Port("x", TensorType(dtype, shape)), value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, (bytes, str)):
        return type(one) is type(other) and bool(one == other)
    return one.dtype == other.dtype and one.shape == other.shape and bool(np.array_equal(one, other))


@settings(suppress_health_check=[HealthCheck.too_slow])  # numpy's strategies are built on first use
@given(ports_and_values())
def test_every_value_survives_json_and_raw(pair: tuple[Port, Any]) -> None:
    port, value = pair
    dims = check_header(port, datatype(port.type), shape_of(value))
    assert same(from_raw(port, dims, to_raw(value)), value)
    data, content_type = to_json("x", value)
    over_the_wire = json.loads(json.dumps(data, allow_nan=False))
    assert same(from_json(port, dims, over_the_wire, content_type or None), value)


@given(ports_and_values(), st.binary(max_size=40))
def test_raw_data_of_another_length_is_refused_not_read(pair: tuple[Port, Any], extra: bytes) -> None:
    port, value = pair
    dims = check_header(port, datatype(port.type), shape_of(value))
    if extra:
        with pytest.raises(ProtocolError):
            from_raw(port, dims, to_raw(value) + extra)


class Planted:
    """Makes a file where it is unpickled."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.file, "w")


def test_nothing_that_comes_in_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle as raw data, as text, as base64 and as numbers, for ports of every type."""

    def loads(*_: object, **__: object) -> None:
        raise AssertionError("something is unpickled")

    pickled = pickle.dumps(Planted(str(tmp_path / "made")), 0)  # all of it ASCII
    monkeypatch.setattr(pickle, "loads", loads)
    monkeypatch.setattr(pickle, "load", loads)
    padded = pickled + b"." * (-len(pickled) % 8)
    for dtype in (*sorted(DTYPES), "string", "bytes", "jpeg"):
        blob = dtype in ("string", "bytes", "jpeg")
        width = 1 if blob else np.dtype(DTYPES[dtype]).itemsize
        shape = () if blob else (len(padded) // width,)
        port = Port("x", TensorType(dtype, shape))
        framed = len(padded).to_bytes(4, "little") + padded if blob else padded
        if dtype == "bool":
            with pytest.raises(ProtocolError):
                from_raw(port, shape, framed)
        else:
            assert to_raw(from_raw(port, shape, framed))[-len(padded) :] == padded or dtype.startswith("f")
        for data, kind in (
            (padded.decode(), None),
            (base64.b64encode(padded).decode(), "base64"),
            (list(padded), None),
        ):
            with contextlib.suppress(ProtocolError):
                from_json(port, shape, data if isinstance(data, list) else [data], kind)
    assert not (tmp_path / "made").exists()
    monkeypatch.undo()
    pickle.loads(pickled).close()
    assert (tmp_path / "made").exists(), "it would have shown"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("i8", [300]),
        ("u8", [-1]),
        ("i64", [2**70]),
        ("i64", [0.5]),
        ("i64", [True]),
        ("bool", [1]),
        ("f32", [1e300]),
        ("f32", ["1"]),
        ("f32", [None]),
        ("f32", [{}]),
        ("f32", [1, 2]),
        ("f32", [[1], [2, 3]]),
        ("f32", 1.0),
        ("f32", None),
        ("string", [1]),
        ("string", ["\ud800"]),
        ("string", ["a", "b"]),
    ],
)
def test_json_that_the_type_cannot_hold_is_refused(kind: str, data: Any) -> None:
    port = Port("x", TensorType(kind) if kind == "string" else TensorType(kind, (1,)))
    with pytest.raises(ProtocolError, match=r"^x: "):
        from_json(port, () if kind == "string" else (1,), data)


def test_one_long_text_among_many_numbers_takes_no_memory() -> None:
    """Numpy would make texts of all of them, each as long as the longest."""
    port = Port("x", parse_type("f32[5000]"))
    for data in (["a" * 1_000_000, *[0] * 4999], [["a" * 1_000_000], *[[0]] * 4999]):
        tracemalloc.start()
        with pytest.raises(ProtocolError, match="expected numbers for FP32"):
            from_json(port, (5000,), data)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 10_000_000


@pytest.mark.parametrize("shape", [[0], [-1], [2**40], [True], ["1"], [1.0], [1] * 20, [3], [2, 2, 2], []])
def test_shapes_that_are_not_the_types_are_refused(shape: list[Any]) -> None:
    with pytest.raises(ProtocolError, match="shape"):
        check_header(Port("x", TensorType("f32", (2, "n"))), "FP32", shape)
    assert check_header(Port("x", TensorType("f32", (2, "n"))), "FP32", [2, 7]) == (2, 7)


def test_a_boolean_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(ProtocolError, match="0 or 1"):
        from_raw(Port("x", TensorType("bool", (1,))), (1,), b"\x02")


def test_numbers_that_json_does_not_have_are_not_written_as_json() -> None:
    with pytest.raises(ProtocolError, match="binary_data"):
        to_json("x", np.array([np.nan]))
