"""Train vision and the trees, and write models/vision_small.onnx, models/vision_large.onnx and models/decide.onnx.

    python examples/blog_upload/training/train.py       # about 15 minutes on one core

Nothing here sees a held-out digit, region or caption template. Needs training/requirements.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from data.splits import Split  # noqa: E402
from models import make_language  # noqa: E402
from training import networks, trees, vision  # noqa: E402

PRECISION = 0.99
"""Of the pictures about which vision says it is sure, so many must be right on the split DECIDE."""

DECIDE_SCENES = 8  # for each digit


def main() -> None:
    """Train everything in order; progress on stderr."""
    torch.set_num_threads(1)
    if not make_language.is_made():
        make_language.make()
    pixels, written = vision.pixels_and_digits(Split.VISION, vision.SCENES_PER_DIGIT, seed=1)
    seen, seen_digits = vision.pixels_and_digits(Split.DECIDE, DECIDE_SCENES, seed=2)
    marks = networks.mark_of_digit().argmax(1)[seen_digits].astype(np.int64)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    language = onnxruntime.InferenceSession(str(make_language.OUTPUT), options)
    vectors = trees.caption_vectors(language)

    parts = []
    for seed, (name, layers, epochs, rate) in enumerate(
        (("vision_small", networks.SMALL, 12, 0.004), ("vision_large", networks.LARGE, 10, 0.003))
    ):
        print(f"{name}: {networks.mflop(layers):.0f} MFLOP", file=sys.stderr)
        net = vision.train(layers, pixels, written, epochs, rate)
        scores = vision.probabilities(net, seen)
        threshold = surest(scores, marks)
        sure = scores[:, :2].max(1) > threshold
        right = scores.argmax(1) == marks
        print(
            f"{name}: {right.mean():.3f} of the pictures right, sure of {sure.mean():.3f} above {threshold:.3f}, "
            f"{right[sure].mean():.3f} of those right",
            file=sys.stderr,
        )
        onnx.save(networks.to_onnx(net, layers, threshold, name), ROOT / "models" / f"{name}.onnx")
        parts.append(trees.examples(scores, sure, marks, vectors, trees.SEED + seed))

    given = trees.Examples(*(np.concatenate(p) for p in zip(*((e.inputs, e.verdicts) for e in parts), strict=True)))
    decide = trees.train(given)
    made = trees.to_onnx(decide)
    onnx.save(made, ROOT / "models" / "decide.onnx")
    session = onnxruntime.InferenceSession(made.SerializeToString(), options)
    written_the_same = [
        int(session.run(None, {"score": x[None, :4], "vector": x[None, 4:]})[0][0, 0]) for x in given.inputs[:2000]
    ]
    assert written_the_same == decide.predict(given.inputs[:2000]).tolist(), "the ONNX trees answer otherwise"
    print(f"decide: {decide.n_iter_ * len(decide.classes_)} trees from {len(given.verdicts)} examples", file=sys.stderr)


def surest(scores: NDArray[np.float32], marks: NDArray[np.int64]) -> float:
    """The lowest threshold, in steps of 0.005, above which plain or banned is right with `PRECISION`."""
    for threshold in np.arange(0.5, 1, 0.005):
        sure = scores[:, :2].max(1) > threshold
        if (scores[sure].argmax(1) == marks[sure]).mean() >= PRECISION:
            return float(threshold)
    raise SystemExit("no threshold is good enough: vision has not learnt its task")


if __name__ == "__main__":
    main()
