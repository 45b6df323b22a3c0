"""Make what the example needs and the repository does not hold: a model, and frames to measure it on.

    python examples/traffic/prepare.py

Nothing is downloaded; what is already there is left alone.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from PIL import Image

from drawing import networks
from drawing.scenes import Scene, scene
from traffic.frames import SIDE

HERE: Final = Path(__file__).parent
TRAINING: Final = 600
HELD_OUT: Final = 300
SEED: Final = 11


def main() -> None:
    """Make what is missing, with a line for each on stderr."""
    models, data = HERE / "models", HERE / "data"
    if (data / "held_out.jsonl").is_file():
        _say("models and data: there")
        return
    random = np.random.default_rng(SEED)
    scenes = [scene(random) for _ in range(TRAINING)]
    models.mkdir(exist_ok=True)
    vehicles, kinds = cut_out(scenes, random)
    onnx.save(networks.classifier(vehicles, kinds), str(models / "classify.onnx"))
    _say(f"models/classify.onnx: trained on {len(kinds)} vehicles")
    write([scene(random) for _ in range(HELD_OUT)], data)
    _say(f"data: {HELD_OUT} frames held out")


def cut_out(scenes: list[Scene], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Each vehicle as `find` may cut it out, up to 2 pixels beside its middle, and its kind."""
    found, kinds = [], []
    for each in scenes:
        padded = np.pad(each.pixels, SIDE, mode="edge")
        for (row, column), kind in zip(each.middles, each.kinds, strict=True):
            for down, right in random.integers(-2, 3, (3, 2)).tolist():
                top, left = row + down + SIDE // 2, column + right + SIDE // 2
                found.append(padded[top : top + SIDE, left : left + SIDE])
                kinds.append(kind)
    return np.array(found, np.uint8), np.array(kinds, np.int64)


def write(scenes: list[Scene], folder: Path) -> None:
    """Frames as PNG, and a line for each with its name and how many vehicles of each kind it holds."""
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, each in enumerate(scenes):
        file = f"frames/{number:03}.png"
        buffer = io.BytesIO()
        Image.fromarray(each.pixels).save(buffer, "PNG")
        (folder / file).write_bytes(buffer.getvalue())
        lines.append(json.dumps({"frame": file, "counts": each.counts}))
    (folder / "held_out.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
