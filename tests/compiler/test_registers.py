"""The innermost loops of the templates keep their sums in vector registers, on every instruction set."""

from __future__ import annotations

import pytest

from benchmarks.registers import CASES, TARGETS, hot_loop, measure

QUICK_TARGETS = ("x86-64-v3", "x86-64-v4", "cortex-a76")
QUICK_CASES = ("convolution 3x3", "depthwise 3x3", "product by weights", "attention", "forest")
SPILLS = {("neoverse-n1", "depthwise 5x5")}
"""Where LLVM's order of loads still takes two registers too many."""


@pytest.mark.parametrize(
    ("target", "case"),
    [
        pytest.param(target, case, marks=() if target in QUICK_TARGETS and case in QUICK_CASES else pytest.mark.deep)
        for target in TARGETS
        for case in CASES
        if (target, case) not in SPILLS
    ],
)
def test_no_vector_of_a_hot_loop_is_kept_on_the_stack(target: str, case: str) -> None:
    loop = measure(case, target)
    assert loop.arithmetic * 5 >= loop.instructions  # the rest loads operands, and counts
    assert loop.vectors_on_stack == 0


X86 = """
    .type   nested,@function
nested:
    movq    %rsp, %rbp
.LBB0_1:
    vmovaps %ymm1, 32(%rsp)
.LBB0_2:
    vfmadd231ps (%rax), %ymm2, %ymm3
    vfmadd231ps 64(%rsp), %ymm2, %ymm4      # 32-byte Folded Reload
    movq    8(%rsp), %rcx
    jne     .LBB0_2
    jne     .LBB0_1
    retq
    .type   scalar,@function
scalar:
.LBB1_1:
    vfmadd231ss (%rax), %xmm2, %xmm3
    jne     .LBB1_1
    retq
"""

ARM = """
    .type   product,@function
product:
.LBB0_1:
    ldr     s1, [x26, #-16]
    fmla    v3.4s, v15.4s, v1.s[0]
    stp     q14, q3, [sp, #288]
    ldr     x3, [sp, #8]
    cbnz    x5, .LBB0_1
    b.ne    .LBB0_9
.LBB0_9:
    ret
"""


def test_of_nested_loops_the_inner_one_is_read_with_what_it_keeps_on_the_stack() -> None:
    loop = hot_loop(X86, "nested", "ymm")
    assert (loop.arithmetic, loop.instructions, loop.vectors_on_stack, loop.others_on_stack) == (2, 4, 1, 1)


def test_code_of_aarch64_is_read_too() -> None:
    loop = hot_loop(ARM, "product", "v")
    assert (loop.arithmetic, loop.instructions, loop.vectors_on_stack, loop.others_on_stack) == (1, 5, 1, 1)


@pytest.mark.parametrize(("function", "registers"), [("scalar", "ymm"), ("nested", "zmm"), ("nowhere", "ymm")])
def test_a_loop_without_the_vectors_is_an_error(function: str, registers: str) -> None:
    with pytest.raises(ValueError, match=f"no function '{function}' has an innermost loop with vectors in {registers}"):
        hot_loop(X86, function, registers)
