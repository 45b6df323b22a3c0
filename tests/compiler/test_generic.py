"""The generic schedule: what is worth splitting over threads."""

from __future__ import annotations

import pytest
import tvm
from tvm import te, tirx

from compiler.schedules.generic import schedule_block
from compiler.schedules.machine import Machine


@pytest.mark.parametrize(("rows", "threads", "split"), [(225, 2, True), (225, 1, False), (8, 2, False)])
def test_padding_a_large_image_of_few_channels_is_split_over_threads(rows: int, threads: int, split: bool) -> None:
    """Its rows are long: they, not their number alone, are the work."""
    image = te.placeholder((1, 3, rows - 1, rows - 1, 1), name="image")
    padded = te.compute(
        (1, 3, rows, rows, 1),
        lambda n, c, y, x, i: tirx.if_then_else(tirx.all(y > 0, x > 0), image[n, c, y - 1, x - 1, i], 0.0),
        name="pad",
    )
    schedule = tvm.s_tir.Schedule(te.create_prim_func([image, padded]))
    assert schedule_block(schedule, schedule.get_sblock("pad"), Machine(lanes=8, registers=16, threads=threads))
    assert ("T.parallel" in schedule.mod["main"].script()) == split
