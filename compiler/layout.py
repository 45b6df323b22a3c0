"""Image models in blocks of channels: NCHW becomes NCHW[b]c from the first convolution until an operator needs NCHW.

Relax's own ConvertLayout fails on tuples; this pass walks the bindings once and keeps, beside each value, its blocked
form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tvm
from tvm import relax

from compiler.schedules import integer_conv2d
from compiler.schedules.anchor import FUSE_WHAT_FOLLOWS, round_up
from compiler.schedules.conv2d import window_of
from compiler.schedules.machine import GROUP, Machine

_ELEMENTWISE = {
    f"relax.{name}"
    for name in (
        *("nn.relu", "nn.leakyrelu", "nn.gelu", "nn.silu", "sigmoid", "tanh", "exp", "abs", "negative", "sqrt", "clip"),
        *("erf", "floor", "ceil", "round", "astype"),
    )
}
_BINARY = {f"relax.{name}" for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")}
_POOLS: dict[str, Callable[..., Any]] = {
    "relax.nn.max_pool2d": relax.op.nn.max_pool2d,
    "relax.nn.avg_pool2d": relax.op.nn.avg_pool2d,
}


def block_channels(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    """Rewrite `main` so that its convolutions with constant weights work on blocks of channels."""
    return _Blocking(machine).rewrite(mod)


class _Blocking:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._builder = relax.BlockBuilder()
        self._plain: dict[Any, Any] = {}
        """Old variable -> new expression in its own layout."""
        self._blocked: dict[Any, Any] = {}
        """Old variable -> new variable in blocks of channels."""
        self._groups: dict[Any, int] = {}
        """Old variable -> the groups of channels that are padded to whole blocks one by one, where not all together."""
        self._paddings: dict[Any, tuple[Any, tuple[int, int, int, int], int]] = {}
        """Old variable of padded bytes -> what is padded, by how much (top, left, bottom, right), and with what."""
        self._wanted: dict[Any, int] = {}
        """Old variable -> the groups in which a grouped convolution downstream reads it."""

    def rewrite(self, mod: tvm.IRModule) -> tvm.IRModule:
        main = mod["main"]
        bindings = [binding for block in main.body.blocks for binding in block.bindings]
        for binding in reversed(bindings):
            self._look_ahead(binding.var, binding.value)
        with self._builder.function("main", main.params, attrs=dict(main.attrs) if main.attrs else None):
            with self._builder.dataflow():
                for binding in bindings:
                    self._bind(binding.var, binding.value)
                result = self._builder.emit_output(self._use(main.body.body))
            self._builder.emit_func_output(result)
        new = self._builder.get()
        for gvar, function in mod.functions_items():
            if gvar.name_hint != "main":
                new.update_func(gvar, function)
        return new

    def _look_ahead(self, var: Any, value: Any) -> None:
        """Note for what `value` reads how many groups the next grouped convolution splits it into."""
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return
        if value.op.name == "relax.nn.conv2d":
            groups, data = int(value.attrs.groups), value.args[0]
            depthwise = groups == _shape(data)[1]
            wanted = self._wanted.get(var, 1) if depthwise else groups
            if wanted > 1:
                self._wanted[data] = wanted
        elif value.op.name in _ELEMENTWISE | _BINARY and var in self._wanted:
            for arg in value.args:
                if isinstance(arg, relax.Var) and _shape(arg) == _shape(var):
                    self._wanted.setdefault(arg, self._wanted[var])

    def _bind(self, var: Any, value: Any) -> None:
        if isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op):
            blocked = self._try_blocked(value)
            if blocked is not None:
                result, groups = blocked if isinstance(blocked, tuple) else (blocked, self._grouping(value))
                self._blocked[var] = self._builder.emit(result)
                self._groups[var] = groups
                return
            if (padding := _padding(value)) is not None:
                self._paddings[var] = padding
        self._plain[var] = self._builder.emit(self._substitute(value))

    def _grouping(self, call: Any) -> int:
        """The groups of a result that has those of its first blocked argument."""
        return next((self._groups[arg] for arg in call.args if isinstance(arg, relax.Var) and arg in self._groups), 1)

    def _substitute(self, value: Any) -> Any:
        """`value` with its variables replaced by their new expressions."""
        if isinstance(value, relax.Call):
            return relax.Call(value.op, [self._use(a) for a in value.args], value.attrs, value.ty_args)
        if isinstance(value, relax.TupleGetItem):
            return relax.TupleGetItem(self._use(value.tuple_value), value.index)
        return self._use(value)

    def _use(self, expr: Any) -> Any:
        """`expr` in its own layout; a blocked value is unblocked once."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._use(field) for field in expr.fields])
        if not isinstance(expr, relax.Var):
            return expr
        if expr not in self._plain and expr in self._blocked:
            self._plain[expr] = self._builder.emit(self._unblock(self._blocked[expr], expr))
        return self._plain.get(expr, expr)

    def _unblock(self, value: Any, var: Any) -> Any:
        """[N, C/b, H, W, b] -> [N, C, H, W], without the channels that padding added."""
        batch, blocks, height, width, lanes = _shape(value)
        channels, groups = _shape(var)[1], self._groups[var]
        flat = self._builder.emit(relax.op.permute_dims(value, [0, 1, 4, 2, 3]))
        if channels == blocks * lanes:
            return relax.op.reshape(flat, (batch, channels, height, width))
        full = self._builder.emit(relax.op.reshape(flat, (batch, groups, blocks * lanes // groups, height, width)))
        cut = relax.op.strided_slice(full, axes=[2], begin=[0], end=[channels // groups])
        return relax.op.reshape(self._builder.emit(cut), (batch, channels, height, width))

    def _block(self, var: Any, lanes: int, groups: int = 1) -> Any:
        """`var` in blocks of `lanes` channels, each of its groups padded with zeros to whole blocks."""
        batch, channels, height, width = _shape(var)
        blocked = self._blocked.get(var) if isinstance(var, relax.Var) else None
        if blocked is not None and _shape(blocked)[-1] == lanes and _alike(channels, lanes, groups, self._groups[var]):
            return blocked
        value = self._use(var)
        if lanes == 1:
            return self._builder.emit(relax.op.reshape(value, (batch, channels, height, width, 1)))
        own = channels // groups
        if missing := -own % lanes:
            grouped = self._builder.emit(relax.op.reshape(value, (batch, groups, own, height, width)))
            value = self._builder.emit(relax.op.nn.pad(grouped, [0, 0, 0, 0, 0, missing, 0, 0, 0, 0]))
        blocks = groups * (own + missing) // lanes
        split = self._builder.emit(relax.op.reshape(value, (batch, blocks, lanes, height, width)))
        return self._builder.emit(relax.op.permute_dims(split, [0, 1, 3, 4, 2]))

    def _try_blocked(self, call: Any) -> Any | None:
        """The call on blocked values, or None where it must see its own layout."""
        name = call.op.name
        if name == "relax.nn.conv2d":
            return self._conv2d(call)
        if name in _ELEMENTWISE and call.args[0] in self._blocked:
            # Padded channels hold what the operator makes of zero; the next convolution's weights there are zero.
            return relax.Call(call.op, [self._blocked[call.args[0]], *call.args[1:]], call.attrs, call.ty_args)
        if name in _POOLS and call.args[0] in self._blocked:
            return self._pool(call)
        if self._grouping(call) > 1 and name not in _BINARY:
            return None  # below, channels are padded at the end only
        if name == "relax.nn.adaptive_avg_pool2d" and call.args[0] in self._blocked:
            size = call.attrs.output_size
            if size is None or [int(s) for s in size] != [1, 1]:
                return None
            return relax.op.mean(self._blocked[call.args[0]], axis=[2, 3], keepdims=True)
        if name == "relax.mean" and call.args[0] in self._blocked and call.attrs.keepdims:
            axes = sorted(int(a) % 4 for a in call.attrs.axis or ())
            if axes == [2, 3]:
                return relax.op.mean(self._blocked[call.args[0]], axis=[2, 3], keepdims=True)
        if name in _BINARY:
            return self._binary(call)
        if name == "relax.concat" and int(call.attrs.axis) == 1:
            return self._concat(call)
        return None

    def _conv2d(self, call: Any) -> Any | None:
        attrs, (data, weight) = call.attrs, call.args
        if not isinstance(weight, tvm.ir.GenericConst) or attrs.data_layout != "NCHW" or attrs.kernel_layout != "OIHW":
            return None
        if call.ty.dtype == "int32":
            return self._integer_conv2d(call, weight.value.numpy())
        if call.ty.dtype != "float32":
            return None
        lanes, groups = self._machine.lanes, int(attrs.groups)
        values = weight.value.numpy()
        out_channels, group_channels = values.shape[:2]
        in_channels = _shape(data)[1]
        depthwise = groups > 1 and groups == in_channels == out_channels and group_channels == 1
        if depthwise:
            inner, kept = lanes, self._groups.get(data) or self._wanted.get(data, 1)
            packed = _pack_depthwise(values, lanes, kept)
            groups = packed.shape[0] * lanes
        else:
            inner, kept = self._inner(data, in_channels, groups), groups
            packed = np.concatenate([_pack(part, inner, lanes) for part in np.split(values, groups)])
        convolution = relax.op.nn.conv2d(
            self._block(data, inner, kept),
            relax.const(packed),
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=groups,
            data_layout=f"NCHW{inner}c",
            kernel_layout=f"OIHW{packed.shape[4]}i{lanes}o",
            out_layout=f"NCHW{lanes}c",
            out_dtype="float32",
        )
        return convolution, kept

    def _integer_conv2d(self, call: Any, values: np.ndarray) -> Any | None:
        """A convolution of bytes; the padding before it, which says which byte means zero, becomes part of it."""
        data, machine, window = call.args[0], self._machine, window_of(call)
        if values.dtype != np.int8 or machine.dot is None or window.groups != 1:
            return None
        outside = 0
        if (padding := self._paddings.get(data)) is not None:
            data, around, outside = padding
            window = replace(window, padding=around)
        channels = _shape(data)[1]
        blocked = data in self._blocked and self._groups[data] == 1
        inner = _shape(self._blocked[data])[-1] if blocked else machine.lanes if channels > GROUP else GROUP
        packed = relax.const(integer_conv2d.pack(values, inner, machine), "int8")
        return self._builder.call_te(
            lambda d, w: integer_conv2d.integer_conv2d(machine, window, outside, d, w),
            self._block(data, inner),
            packed,
            primfunc_name_hint="integer_conv2d",
            primfunc_attrs={"op_pattern": FUSE_WHAT_FOLLOWS},
        ), 1

    def _inner(self, data: Any, channels: int, groups: int) -> int:
        """Input channels a block: as the data is already, else a vector, else 1, for which no value has to move."""
        if data in self._blocked and groups == 1 == self._groups[data]:
            return _shape(self._blocked[data])[-1]
        lanes = self._machine.lanes
        return lanes if channels % lanes == 0 or groups > 1 else 1

    def _pool(self, call: Any) -> Any:
        attrs = call.attrs
        data = self._blocked[call.args[0]]
        layout = f"NCHW{_shape(data)[-1]}c"
        return _POOLS[call.op.name](
            data,
            pool_size=attrs.pool_size,
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            ceil_mode=attrs.ceil_mode,
            count_include_pad=attrs.count_include_pad,
            layout=layout,
            out_layout=layout,
        )

    def _binary(self, call: Any) -> Any | None:
        shapes = [_shape(arg) if isinstance(arg, relax.Var | tvm.ir.GenericConst) else None for arg in call.args]
        blocked = [isinstance(arg, relax.Var) and arg in self._blocked for arg in call.args]
        if not any(blocked) or None in shapes:
            return None
        guide = next(self._blocked[arg] for arg, is_blocked in zip(call.args, blocked, strict=True) if is_blocked)
        lanes, channels, groups = _shape(guide)[-1], _shape(call)[1], self._grouping(call)
        if call.op.name == "relax.divide" and channels // groups % lanes:
            return None  # 0 / 0 in padded channels would poison the next convolution
        arguments = []
        for arg, is_blocked in zip(call.args, blocked, strict=True):
            if is_blocked:
                if _shape(arg)[1] != channels or not _alike(channels, lanes, groups, self._groups[arg]):
                    return None
                arguments.append(self._blocked[arg])
            elif (
                isinstance(arg, tvm.ir.GenericConst)
                and (constant := _block_constant(arg.value.numpy(), channels, lanes, groups)) is not None
            ):
                arguments.append(relax.const(constant))
            elif (
                isinstance(arg, relax.Var)
                and len(_shape(arg)) == 4
                and _shape(arg)[1] == channels
                and (groups > 1 or channels % lanes == 0)
            ):
                arguments.append(self._block(arg, lanes, groups))
            else:
                return None
        return relax.Call(call.op, arguments, call.attrs, call.ty_args)

    def _concat(self, call: Any) -> Any | None:
        fields = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else None
        if not fields or not all(f in self._blocked for f in fields):
            return None
        values = [self._blocked[f] for f in fields]
        if any(self._groups[f] > 1 and _shape(f)[1] % _shape(v)[-1] for f, v in zip(fields, values, strict=True)):
            return None
        if any(
            not _alike(_shape(f)[1], _shape(v)[-1], self._groups[f], 1) for f, v in zip(fields, values, strict=True)
        ):
            return None
        if any(_shape(f)[1] != _shape(v)[1] * _shape(v)[-1] for f, v in zip(fields[:-1], values[:-1], strict=True)):
            return None  # a padded block in the middle would shift the channels after it
        return relax.op.concat(values, axis=1)


def _padding(call: Any) -> tuple[Any, tuple[int, int, int, int], int] | None:
    """(data, (top, left, bottom, right), value) where `call` pads images of bytes; None for anything else."""
    if call.op.name != "relax.nn.pad" or call.ty.dtype != "uint8" or len(_shape(call)) != 4:
        return None
    batch0, batch1, channel0, channel1, top, bottom, left, right = (int(w) for w in call.attrs.pad_width)
    if call.attrs.pad_mode != "constant" or any((batch0, batch1, channel0, channel1)):
        return None
    return call.args[0], (top, left, bottom, right), int(call.attrs.pad_value)


def _shape(expr: Any) -> list[int]:
    return [int(d) for d in expr.ty.shape]


def _alike(channels: int, lanes: int, groups: int, others: int) -> bool:
    """Whether two groupings of `channels` put them into the same places."""
    return groups == others or (channels // groups % lanes == 0 and channels // others % lanes == 0)


def _pack(weight: np.ndarray, inner: int, lanes: int) -> np.ndarray:
    """[O, I, H, W] -> [O/o, I/i, H, W, i, o], zeros for channels beyond O and I."""
    out, depth, height, width = weight.shape
    full = np.zeros((round_up(out, lanes), round_up(depth, inner), height, width), weight.dtype)
    full[:out, :depth] = weight
    split = full.reshape(-1, lanes, full.shape[1] // inner, inner, height, width)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def _pack_depthwise(weight: np.ndarray, lanes: int, groups: int) -> np.ndarray:
    """[C, 1, H, W] -> [C/o, 1, H, W, 1, o], each of `groups` of the channels padded with zeros to whole blocks."""
    full = _pad_groups(weight, lanes, groups)
    split = full.reshape(-1, lanes, 1, 1, *weight.shape[2:])
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def _pad_groups(values: np.ndarray, lanes: int, groups: int) -> np.ndarray:
    """[C, ...] -> [C', ...]: each of `groups` parts padded with zeros to a multiple of `lanes`."""
    parts = values.reshape(groups, -1, *values.shape[1:])
    missing = -parts.shape[1] % lanes
    widths = [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 1)]
    return np.pad(parts, widths).reshape(-1, *values.shape[1:])


def _block_constant(values: np.ndarray, channels: int, lanes: int, groups: int) -> np.ndarray | None:
    """A constant that broadcasts over images, in blocks; None where it varies by position."""
    if values.size == 1:
        return values.reshape(())
    shape = (1,) * (4 - values.ndim) + values.shape if values.ndim <= 4 else values.shape
    if len(shape) != 4 or shape[0] != 1 or shape[2:] != (1, 1) or shape[1] != channels:
        return None
    return _pad_groups(values.reshape(-1), lanes, groups).reshape(1, -1, 1, 1, lanes)
