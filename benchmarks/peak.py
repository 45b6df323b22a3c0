"""What this machine can do at most: multiply-adds in registers, and reading memory that no cache holds."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

_SOURCE = r"""
#ifdef __AVX512F__
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#include <string.h>
typedef float vec __attribute__((vector_size(BYTES)));
#define STEP(s) s = s * a + b; __asm__ volatile("" : "+v"(s));
float multiply_adds(long steps) {
    vec a, b, c, d, e, f, g, h, i, j, k, l;
    for (int at = 0; at < BYTES / 4; at++) { a[at] = 0.999f; b[at] = 0.001f; }
    c = d = e = f = g = h = i = j = k = l = a;
    for (long n = 0; n < steps; n++) { STEP(c) STEP(d) STEP(e) STEP(f) STEP(g) STEP(h) STEP(i) STEP(j) STEP(k) STEP(l) }
    return (c + d + e + f + g + h + i + j + k + l)[0];
}
float read_all(const float *data, long count) {
    vec s[8] = {0}, v;
    for (long n = 0; n < count; n += 8 * (BYTES / 4))
        _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) {
            memcpy(&v, data + n + i * (BYTES / 4), BYTES);
            s[i] += v;
        }
    float total = 0;
    for (int i = 0; i < 8; i++) total += s[i][0];
    return total;
}
long add_up(long steps) {
    long sum = 0, one = steps | 1;
    for (long n = 0; n < steps; n++)
        _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) { sum += one; __asm__ volatile("" : "+r"(sum)); }
    return sum;
}
int width(void) { return BYTES / 4; }
"""
_BYTES = 64 << 20


@cache
def peak(threads: int, march: str = "native") -> tuple[float, float]:
    """(floating-point operations, bytes) a second of `threads` threads together, measured: the best of forty tries.

    In processor seconds of the slowest thread, so that a busy machine counts as a free one. `march` is what the
    compiler is told of the processor: of a lower level, only its instructions are used.
    """
    library = _library(march)
    steps = 500_000
    operations = steps * 10 * library.width() * 2 * threads
    data = np.ones(_BYTES // 4 * threads, np.float32).reshape(threads, -1)
    addresses = [ctypes.c_void_p(row.ctypes.data) for row in data]
    with ThreadPoolExecutor(threads) as pool:

        def timed(work: Any, argument: Any) -> float:
            started = time.thread_time()
            work(argument)
            return time.thread_time() - started

        def best(work: Any, arguments: list[Any]) -> float:
            return min(max(pool.map(partial(timed, work), arguments)) for _ in range(40))

        rate = operations / best(lambda _: library.multiply_adds(ctypes.c_long(steps)), list(range(threads)))
        read = best(lambda address: library.read_all(address, ctypes.c_long(_BYTES // 4)), addresses)
    return rate, _BYTES * threads / read


@cache
def clock() -> float:
    """Cycles a second of one core: additions that wait for each other take one each. The best of forty tries."""
    library, steps = _library("native"), 1_000_000

    def once() -> float:
        started = time.thread_time()
        library.add_up(ctypes.c_long(steps))
        return time.thread_time() - started

    return 16 * steps / min(once() for _ in range(40))


@cache
def _library(march: str) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        source, file = Path(folder) / "peak.c", Path(folder) / "peak.so"
        source.write_text(_SOURCE, "utf-8")
        flags = ["-O3", f"-march={march}", "-ffast-math", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, "-o", str(file), str(source)], check=True)
        library = ctypes.CDLL(str(file))
    library.multiply_adds.restype = library.read_all.restype = ctypes.c_float
    library.add_up.restype = ctypes.c_long
    return library
