"""A picture as a phone would take it: a region of a photograph with a handwritten mark and scribbles on it."""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from data.splits import ORIGINALS, PHOTOGRAPHS, Split, columns

CANVAS: Final = (256, 192)
"""Width and height at which a scene is put together, before it is enlarged to the size of an upload."""


@functools.cache
def digit_images() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 1797 handwritten digits: images [1797,8,8] with ink from 0 to 16, and labels [1797]."""
    with np.load(ORIGINALS / "digits.npz", allow_pickle=False) as stored:
        return stored["images"], stored["labels"]


@functools.cache
def _photograph(name: str) -> Image.Image:
    return Image.open(ORIGINALS / name).convert("RGB")


def _region(split: Split, rng: np.random.Generator) -> Image.Image:
    """A random 4:3 part of a photograph inside the split's columns, enlarged or reduced to the canvas."""
    photograph = _photograph(PHOTOGRAPHS[int(rng.integers(len(PHOTOGRAPHS)))])
    first, end = columns(split)
    width = int(rng.integers(80, end - first + 1))
    height = width * CANVAS[1] // CANVAS[0]
    left = int(rng.integers(first, end - width + 1))
    top = int(rng.integers(0, photograph.height - height + 1))
    region = photograph.resize(CANVAS, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if rng.random() < 0.5:
        region = region.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return region


def mark(digit: int, rng: np.random.Generator) -> Image.Image:
    """The digit's ink as a mask of the canvas' size, moved, turned, slanted and scaled."""
    ink = Image.fromarray((digit_images()[0][digit] * np.uint8(15)).astype(np.uint8))
    size = rng.uniform(90, 140)  # height of the written digit in canvas pixels
    angle, slant = rng.uniform(-0.26, 0.26), rng.uniform(-0.2, 0.2)
    room = (CANVAS[1] - size) / 2  # keeps the mark inside the centre square, which is what moderation looks at
    centre = np.array([CANVAS[0] / 2 + rng.uniform(-room, room), CANVAS[1] / 2 + rng.uniform(-room, room)])
    turn = np.array([[np.cos(angle), np.sin(angle) + slant], [-np.sin(angle), np.cos(angle)]])
    source = turn * (8 / size)  # canvas to digit pixels
    offset = np.array([4.0, 4.0]) - source @ centre
    matrix = (*source[0], offset[0], *source[1], offset[1])
    return ink.transform(CANVAS, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _scribbles(rng: np.random.Generator) -> Image.Image:
    """A mask with a few strokes that mean nothing but cross the mark now and then."""
    mask = Image.new("L", CANVAS)
    draw = ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(0, 4))):
        x, y, angle = rng.uniform(0, CANVAS[0]), rng.uniform(0, CANVAS[1]), rng.uniform(0, 2 * np.pi)
        points = [(x, y)]
        for _ in range(int(rng.integers(2, 5))):
            angle += rng.uniform(-0.9, 0.9)
            x, y = x + 26 * np.cos(angle), y + 26 * np.sin(angle)
            points.append((x, y))
        draw.line(points, fill=int(rng.integers(140, 256)), width=int(rng.integers(5, 13)), joint="curve")
    return mask


def scene(split: Split, digit: int, rng: np.random.Generator) -> Image.Image:
    """Put a scene together: an RGB picture of `CANVAS` size with digit image number `digit` on it."""
    region = np.asarray(_region(split, rng), np.float32)
    ink = np.asarray(mark(digit, rng), np.float32)[:, :, None] / 255
    behind = float((region * ink).sum() / (3 * ink.sum() + 1e-6))
    # Chalk on dark and charcoal on light, as somebody would who wants to be read; now and then not.
    light = (behind < 128) != (rng.random() < 0.03)
    colour = rng.uniform(190, 255, 3) if light else rng.uniform(0, 70, 3)
    drawn = ink * rng.uniform(0.6, 1.0)
    scribbles = np.asarray(_scribbles(rng), np.float32)[:, :, None] / 255 * rng.uniform(0.3, 0.7)
    other = colour + rng.uniform(-60, 60, 3)
    picture = region * (1 - scribbles) + np.clip(other, 0, 255) * scribbles
    picture = picture * (1 - drawn) + colour * drawn
    exposure, contrast = rng.uniform(-20, 20), rng.uniform(0.8, 1.15)
    picture = (picture - 128) * contrast + 128 + exposure
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
