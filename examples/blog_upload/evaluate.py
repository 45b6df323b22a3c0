"""Measure the example on its held-out uploads: accuracy of each variant, and what each model is worth.

    python examples/blog_upload/evaluate.py

Runs everything with ONNX Runtime, one upload after another, as the application does. Needs prepare.py to have run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from blog.images import shrink
from blog.text import tokens
from data import make_data
from data.policy import MARKS, VERDICTS

MODELS: Final = Path(__file__).parent / "models"
VARIANTS: Final = ("small", "large")
_RESAMPLES: Final = 2000


@dataclass(frozen=True)
class HeldOut:
    """The held-out uploads, as the models see them."""

    pixels: NDArray[np.uint8]  # [N,3,64,64]
    vectors: NDArray[np.float32]  # [N,384], of every caption, needed or not
    verdicts: NDArray[np.int64]  # [N], the right ones
    groups: NDArray[np.int64]  # [N], number of the caption's template: uploads of one group are alike


@dataclass(frozen=True)
class Sight:
    """What one variant of vision says about them."""

    score: NDArray[np.float32]  # [N,4]
    sure: NDArray[np.bool_]  # [N]


def session(name: str) -> onnxruntime.InferenceSession:
    """One of the example's models, on one thread. Raises FileNotFoundError where it is not there."""
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: run prepare.py")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def held_out() -> HeldOut:
    """Read the held-out uploads and run the functions and the language model on them.

    Raises FileNotFoundError where they or the model were not made yet.
    """
    if not make_data.is_made():
        raise FileNotFoundError(f"{make_data.GENERATED} does not hold the present data: run prepare.py")
    language = session("language")
    lines = (make_data.GENERATED / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    pixels = [shrink((make_data.GENERATED / row["photo"]).read_bytes())["pixels"] for row in rows]
    vectors = [language.run(["vector"], {"ids": tokens(row["caption"])["ids"][None]})[0][0] for row in rows]
    verdicts = np.array([row["verdict"] for row in rows], np.int64)
    groups = np.unique([make_data.caption(n).template for n in range(len(rows))], return_inverse=True)[1]
    return HeldOut(np.stack(pixels), np.stack(vectors), verdicts, groups.astype(np.int64))


def look(variant: str, pixels: NDArray[np.uint8]) -> Sight:
    """Run one variant of vision."""
    vision = session(f"vision_{variant}")
    answers = [vision.run(["score", "sure"], {"pixels": p[None]}) for p in pixels]
    return Sight(np.concatenate([a[0] for a in answers]), np.concatenate([a[1] for a in answers]))


def decide(score: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Run the trees: a verdict [N] for each row."""
    trees = session("decide")
    return np.array(
        [
            trees.run(["verdict"], {"score": s[None], "vector": v[None]})[0].item()
            for s, v in zip(score, vectors, strict=True)
        ]
    )


def whole(sight: Sight, data: HeldOut) -> NDArray[np.int64]:
    """The application's verdicts: captions are read only where vision is not sure."""
    return decide(sight.score, np.where(sight.sure[:, None], np.float32(0), data.vectors))


def without_vision(data: HeldOut) -> NDArray[np.int64]:
    """Verdicts with one score for all, the constant that does best here; every caption is read."""
    constants = [*np.eye(len(MARKS), dtype=np.float32), np.full(len(MARKS), 1 / len(MARKS), np.float32)]
    tries: list[NDArray[np.int64]] = [decide(np.tile(c, (len(data.vectors), 1)), data.vectors) for c in constants]
    return max(tries, key=lambda verdicts: float((verdicts == data.verdicts).mean()))


def without_language(sight: Sight, data: HeldOut) -> NDArray[np.int64]:
    """Verdicts with zeros for every caption."""
    return decide(sight.score, np.zeros_like(data.vectors))


def without_trees(sight: Sight, data: HeldOut) -> NDArray[np.int64]:
    """Verdicts of the best rule "vision's likeliest mark means this verdict", chosen here, which favours it."""
    marks = sight.score.argmax(1)
    rule = [np.bincount(data.verdicts[marks == m], minlength=len(VERDICTS)).argmax() for m in range(len(MARKS))]
    verdicts: NDArray[np.int64] = np.array(rule, np.int64)[marks]
    return verdicts


def interval(values: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of the mean of `values`: bootstrap over caption templates (uploads of one are not independent)."""
    rng = np.random.default_rng(0)
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    drawn = rng.integers(len(sums), size=(_RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Print the tables of the README."""
    data = held_out()
    blind = without_vision(data)
    print("| vision | accuracy | sure | right when sure | vision right |\n| --- | --- | --- | --- | --- |")
    sights = {variant: look(variant, data.pixels) for variant in VARIANTS}
    marks = np.array([make_data.mark(n) for n in range(make_data.COUNT)])
    for variant, sight in sights.items():
        hits = whole(sight, data) == data.verdicts
        seen = sight.score.argmax(1) == marks
        print(
            f"| {variant} | {_share(hits, data)} | {_share(sight.sure, data)} "
            f"| {hits[sight.sure].mean():.3f} | {_share(seen, data)} |"
        )
    print("\n| left out | " + " | ".join(VARIANTS) + " |\n| --- |" + " --- |" * len(VARIANTS))
    rows = {
        "vision": [blind for _ in VARIANTS],
        "language": [without_language(sight, data) for sight in sights.values()],
        "trees": [without_trees(sight, data) for sight in sights.values()],
    }
    for name, cells in rows.items():
        told = []
        for sight, verdicts in zip(sights.values(), cells, strict=True):
            full, less = whole(sight, data) == data.verdicts, verdicts == data.verdicts
            low, high = interval(full.astype(float) - less, data.groups)
            told.append(f"{less.mean():.3f}: {full.mean() - less.mean():.3f} less ({low:.3f} to {high:.3f})")
        print(f"| {name} | " + " | ".join(told) + " |")


def _share(hits: NDArray[np.bool_], data: HeldOut) -> str:
    low, high = interval(hits.astype(float), data.groups)
    return f"{hits.mean():.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as failure:
        sys.exit(str(failure))
