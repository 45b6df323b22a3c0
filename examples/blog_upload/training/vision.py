"""Training of the two networks on scenes made from vision's digits and vision's areas of the photographs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional

from data.policy import MARK_OF_DIGIT
from data.scenes import CANVAS, digit_images, scene
from data.splits import Split, digits
from training.networks import MEAN, SCALE, Layer, network

SEED: Final = 7
SCENES_PER_DIGIT: Final = 14
BATCH: Final = 64


def pixels_and_marks(split: Split, per_digit: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Scenes of one split as the application sees them: pixels u8[N,3,64,64] and marks i64[N]."""
    labels = digit_images()[1]
    pixels, marks = [], []
    edge = (CANVAS[0] - CANVAS[1]) // 2
    for turn in range(per_digit):
        for digit in digits(split):
            rng = np.random.default_rng([seed, turn, int(digit)])
            picture = scene(split, int(digit), rng)
            box = (edge, 0, edge + CANVAS[1], CANVAS[1])
            small = np.asarray(picture.resize((64, 64), Image.Resampling.BOX, box=box), np.float32)
            small = np.clip(small + rng.normal(0, rng.uniform(0, 3), small.shape), 0, 255)
            pixels.append(small.round().astype(np.uint8).transpose(2, 0, 1))
            marks.append(MARK_OF_DIGIT[int(labels[digit])])
    return np.stack(pixels), np.array(marks, np.int64)


def normalise(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Pixels as the networks' first convolution wants them, as the ONNX graph does it."""
    return (torch.from_numpy(pixels).float() - MEAN) * SCALE


def train(
    layers: Sequence[Layer], pixels: NDArray[np.uint8], marks: NDArray[np.int64], epochs: int, rate: float
) -> nn.Sequential:
    """Train one network with AdamW and a one-cycle rate. The same seed gives the same network on the same machine."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    net = network(layers).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.02)
    steps = epochs * (len(pixels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for epoch in range(epochs):
        begun, losses, hits = time.monotonic(), 0.0, 0
        order = rng.permutation(len(pixels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            batch = _vary(normalise(pixels[chosen]), rng).contiguous(memory_format=torch.channels_last)
            target = torch.from_numpy(marks[chosen])
            logits = net(batch)
            loss = functional.cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses += float(loss)
            hits += int((logits.argmax(1) == target).sum())
        done = len(order) // BATCH
        print(
            f"  epoch {epoch + 1}/{epochs}: loss {losses / done:.3f}, accuracy {hits / done / BATCH:.3f}, "
            f"{time.monotonic() - begun:.0f} s",
            file=sys.stderr,
        )
    return net.eval()


def probabilities(net: nn.Sequential, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores f32[N,4] of trained network `net`."""
    with torch.no_grad():
        parts = [functional.softmax(net(normalise(p)), 1).numpy() for p in np.array_split(pixels, len(pixels) // 64)]
    return np.concatenate(parts)


def _vary(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shift by up to four pixels, change light and hide a square, one choice for a whole batch: cheap and enough."""
    shift = rng.integers(-4, 5, 2)
    batch = torch.roll(batch, (int(shift[0]), int(shift[1])), (2, 3))
    batch = batch * float(rng.uniform(0.8, 1.2)) + float(rng.uniform(-0.3, 0.3))
    top, left = rng.integers(0, 56, 2)
    batch[:, :, top : top + 8, left : left + 8] = 0
    return batch
