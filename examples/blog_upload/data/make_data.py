"""Make the held-out uploads: JPEG files as a phone would send them, captions, and the verdict that is right."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import PIL
from PIL import Image, ImageChops

from data.captions import KINDS, fill, templates
from data.policy import MARK_OF_DIGIT, verdict
from data.scenes import digit_images, scene
from data.splits import HELD_OUT_DIGITS, ORIGINALS, Split, digits

COUNT: Final = HELD_OUT_DIGITS
"""Held-out uploads: one for each held-out digit image."""

GENERATED: Final = Path(__file__).parent / "generated"
_SEED: Final = 11
_QUALITY: Final = 90
_WIDEST: Final = 3000
_GRAINS: Final = (5.0, 7.0, 9.0, 12.0)
"""Standard deviations of the film grain, of 255: what makes a JPEG large is its noise, not its picture."""


@dataclass(frozen=True)
class Caption:
    """A caption, and what it was made from."""

    text: str
    kind: int  # number of `KINDS`
    template: str


def caption(number: int) -> Caption:
    """The caption of held-out upload `number`, from 0 to `COUNT` - 1. It depends on its number alone."""
    rng = np.random.default_rng([_SEED, number, 0])
    kind = int(rng.integers(len(KINDS)))
    choices = templates(kind, Split.HELD_OUT)
    template = choices[int(rng.integers(len(choices)))]
    return Caption(fill(template, rng), kind, template)


def mark(number: int) -> int:
    """The kind of mark on held-out upload `number`: a number of `MARKS`."""
    return MARK_OF_DIGIT[int(digit_images()[1][digits(Split.HELD_OUT)[number]])]


def photo(number: int) -> bytes:
    """The JPEG of held-out upload `number`. It depends on its number alone."""
    rng = np.random.default_rng([_SEED, number, 1])
    return _jpeg(scene(Split.HELD_OUT, int(digits(Split.HELD_OUT)[number]), rng), rng)


def _jpeg(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """Enlarge a scene to some phone's size, add film grain and encode it."""
    width = int(np.clip(1150 * np.exp(rng.normal(0, 0.32)), 640, _WIDEST))
    height = width * picture.height // picture.width
    grain = _grain(_GRAINS[int(rng.integers(len(_GRAINS)))])
    left = int(rng.integers(grain.width - width + 1))
    top = int(rng.integers(grain.height - height + 1))
    large = picture.resize((width, height), Image.Resampling.BICUBIC)
    grainy = ImageChops.add(large, grain.crop((left, top, left + width, top + height)), 1, -128)
    encoded = io.BytesIO()
    grainy.save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()


@functools.cache
def _grain(deviation: float) -> Image.Image:
    noise = np.random.default_rng([_SEED, 1_000_000]).standard_normal((_WIDEST, _WIDEST), np.float32)
    grey = Image.fromarray(np.clip(noise * deviation + 128, 0, 255).astype(np.uint8))
    return Image.merge("RGB", (grey, grey, grey))


def recipe(count: int = COUNT) -> str:
    """Digest of all that the data depends on: originals, this folder's code, the libraries that draw and encode."""
    digest = hashlib.sha256(f"{count} numpy {np.__version__} pillow {PIL.__version__}".encode())
    for path in sorted([*Path(__file__).parent.glob("*.py"), *ORIGINALS.iterdir()]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def is_made(folder: Path = GENERATED) -> bool:
    """Whether `folder` holds the data of the present recipe. `recipe.txt` is there only when everything is."""
    stamp = folder / "recipe.txt"
    return stamp.is_file() and stamp.read_text() == recipe()


def make(folder: Path = GENERATED, count: int = COUNT) -> Generator[int, None, None]:
    """Write held_out.jsonl and photos/*.jpg into `folder`, yielding how many are done.

    What was in `folder` is replaced, at once and only when everything is there.
    """
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        (partial / "photos").mkdir(parents=True)
        with (partial / "held_out.jsonl").open("w", encoding="utf-8") as lines:
            for number in range(count):
                words = caption(number)
                name = f"photos/{number:04d}.jpg"
                (partial / name).write_bytes(photo(number))
                row = {"photo": name, "caption": words.text, "verdict": verdict(mark(number), words.kind)}
                lines.write(json.dumps(row) + "\n")
                yield number + 1
        (partial / "recipe.txt").write_text(recipe(count))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
