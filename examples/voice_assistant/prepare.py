"""Make what the example needs and the repository does not hold: the voices, and the model trained on them.

    python examples/voice_assistant/prepare.py

Nothing is downloaded; what is already there is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from making import network, speech
from voice.steps import listen

HERE: Final = Path(__file__).parent
TRAINING: Final = 1200
HELD_OUT: Final = 300


def main() -> None:
    """Make what is missing, with a line for each on stderr."""
    stamp = HERE / "data" / "recipe.txt"
    if stamp.is_file() and stamp.read_text() == recipe() and (HERE / "models" / "spotter.onnx").is_file():
        _say("models/spotter.onnx and data: there")
        return
    (HERE / "models").mkdir(exist_ok=True)
    onnx.save(trained(), str(HERE / "models" / "spotter.onnx"))
    _say(f"models/spotter.onnx: trained on {TRAINING} clips")
    _write_held_out(HERE / "data")
    _say(f"data: {HELD_OUT} held-out clips written")


def recipe() -> str:
    """Digest of all that the model and the data depend on."""
    digest = hashlib.sha256(f"{TRAINING} {HELD_OUT} numpy {np.__version__}".encode())
    for file in (Path(__file__), *sorted((HERE / "making").glob("*.py")), HERE / "voice" / "steps.py"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def clips(count: int, seed: int) -> Iterator[tuple[NDArray[np.int16], int]]:
    """Clip n depends on `seed` and n alone."""
    return (speech.clip(np.random.default_rng([seed, n])) for n in range(count))


def trained() -> onnx.ModelProto:
    """The model with its read-out fitted to `TRAINING` clips."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    body = onnxruntime.InferenceSession(network.features_of().SerializeToString(), options)
    rows: list[NDArray[Any]] = []
    labels: list[int] = []
    for number, (samples, label) in enumerate(clips(TRAINING, seed=1), 1):
        heard = listen(samples.astype("<i2").tobytes())
        if not heard["silent"]:
            rows.append(body.run(None, {"samples": heard["samples"][np.newaxis]})[0][0])
            labels.append(label)
        if number % 400 == 0:
            _say(f"models/spotter.onnx: heard {number} of {TRAINING} clips")
    return network.with_read_out(*network.fit(np.array(rows), np.array(labels)))


def _write_held_out(folder: Path) -> None:
    """held_out.jsonl and its clips, all at once and only when everything is there."""
    partial = folder.with_name(f"data.{os.getpid()}.partial")
    try:
        (partial / "clips").mkdir(parents=True)
        with (partial / "held_out.jsonl").open("w", encoding="utf-8") as lines:
            for number, (samples, label) in enumerate(clips(HELD_OUT, seed=2)):
                name = f"clips/{number:04d}.pcm"
                (partial / name).write_bytes(samples.astype("<i2").tobytes())
                lines.write(json.dumps({"clip": name, "command": label}) + "\n")
        (partial / "recipe.txt").write_text(recipe())
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
