"""The end of a classifier of trees in one function: each call of the virtual machine costs as much as several trees."""

# TVMScript writes types as values, which is no Python typing.
# mypy: disable-error-code="valid-type,no-untyped-def"
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tvm.script import tirx as T

Post = Literal["NONE", "LOGISTIC", "SOFTMAX"]
"""What becomes of scores at last, as ai.onnx.ml names it."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How sums become labels and scores.

    The label is that of the largest sum, the first of equals; of two classes with `beyond`, the second where its score
    is larger than that. With `first` the sum s of class 0 is the second class's score, and class 0 has `first` - s.
    """

    post: Post
    beyond: float | None = None
    first: float | None = None


def classes_function(batch: int, classes: int, ends: Ends) -> Any:
    """TIR of (sums [N, classes], base [classes], labels [classes]) -> (label [N] in int64, scores [N, classes])."""
    of_two, one_sum = ends.beyond is not None, ends.first is not None

    @T.prim_func(private=True, s_tir=True)
    def end(
        sum_: T.Buffer((batch, classes), "float32"),
        base: T.Buffer((classes,), "float32"),
        labels: T.Buffer((classes,), "int64"),
        label: T.Buffer((batch,), "int64"),
        scores: T.Buffer((batch, classes), "float32"),
    ):
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, "tirx.is_scheduled": 1})
        for n in range(batch):
            best = T.alloc_buffer((1,), "int32", scope="local")
            total = T.alloc_buffer((1,), "float32", scope="local")
            if one_sum:
                scores[n, 1] = sum_[n, 0] + base[0]
                scores[n, 0] = T.float32(ends.first) - scores[n, 1]
            else:
                for c in range(classes):
                    scores[n, c] = sum_[n, c] + base[c]
            best[0] = 0
            if of_two:
                best[0] = T.Cast("int32", scores[n, 1] > T.float32(ends.beyond))
            else:
                for c in range(classes - 1):
                    if scores[n, c + 1] > scores[n, best[0]]:
                        best[0] = c + 1
            label[n] = labels[best[0]]
            if ends.post == "LOGISTIC":
                for c in range(classes):
                    scores[n, c] = T.float32(1) / (T.float32(1) + T.exp(T.float32(0) - scores[n, c]))
            if ends.post == "SOFTMAX":
                total[0] = scores[n, 0]
                for c in range(classes - 1):
                    total[0] = T.max(total[0], scores[n, c + 1])
                for c in range(classes):
                    scores[n, c] = T.exp(scores[n, c] - total[0])
                total[0] = 0.0
                for c in range(classes):
                    total[0] = total[0] + scores[n, c]
                for c in range(classes):
                    scores[n, c] = scores[n, c] / total[0]

    return end
