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

from data.scenes import CANVAS, digit_images, mark, scene
from data.splits import Split, digits
from training.networks import MEAN, SCALE, Layer, mark_of_digit, network

SEED: Final = 7
SCENES_PER_DIGIT: Final = 20
BATCH: Final = 32
WARM_UP: Final = 200
"""Steps on marks alone, without a photograph behind them: from scenes alone the large network learns nothing."""


def pixels_and_digits(split: Split, per_digit: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Scenes of one split as the application sees them: pixels u8[N,3,64,64] and digits i64[N]."""
    pixels, written = [], []
    for turn in range(per_digit):
        for digit in digits(split):
            rng = np.random.default_rng([seed, turn, int(digit)])
            small = _reduced(scene(split, int(digit), rng))
            small = np.clip(small + rng.normal(0, rng.uniform(0, 3), small.shape), 0, 255)
            pixels.append(small.round().astype(np.uint8).transpose(2, 0, 1))
            written.append(int(digit_images()[1][digit]))
    return np.stack(pixels), np.array(written, np.int64)


def _marks_alone() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vision's marks as ink f32[N,64,64] from 0 to 1, and their digits i64[N]."""
    rng = np.random.default_rng(SEED)
    chosen = np.repeat(digits(Split.VISION), 4)
    ink = np.stack([_reduced(mark(int(digit), rng)) for digit in chosen]) / 255
    return ink.astype(np.float32), digit_images()[1][chosen].astype(np.int64)


def _reduced(picture: Image.Image) -> NDArray[np.float32]:
    """The centre square of a canvas at 64 x 64, as blog.images:shrink sees it."""
    edge = (CANVAS[0] - CANVAS[1]) // 2
    box = (edge, 0, edge + CANVAS[1], CANVAS[1])
    return np.asarray(picture.resize((64, 64), Image.Resampling.BOX, box=box), np.float32)


def normalise(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Pixels as the networks' first convolution wants them, as the ONNX graph does it."""
    return (torch.from_numpy(pixels).float() - MEAN) * SCALE


def train(
    layers: Sequence[Layer], pixels: NDArray[np.uint8], written: NDArray[np.int64], epochs: int, rate: float
) -> nn.Sequential:
    """Train one network with AdamW and a one-cycle rate. The same seed gives the same network on the same machine."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    net = network(layers)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub lacks this
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.02)
    ink, inked = _marks_alone()
    for _ in range(WARM_UP):
        chosen = rng.integers(len(ink), size=BATCH)
        batch = torch.from_numpy(ink[chosen][:, None] * 3 - 0.5).repeat(1, 3, 1, 1)
        _step(net, optimizer, batch, torch.from_numpy(inked[chosen]))
    steps = epochs * (len(pixels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.15)
    for epoch in range(epochs):
        begun, losses = time.monotonic(), []
        order = rng.permutation(len(pixels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            batch = _vary(normalise(pixels[chosen]), rng)
            losses.append(_step(net, optimizer, batch, torch.from_numpy(written[chosen])))
            schedule.step()
        seconds = time.monotonic() - begun
        print(f"  epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {seconds:.0f} s", file=sys.stderr)
    net.eval()
    return net


def _step(net: nn.Sequential, optimizer: torch.optim.Optimizer, batch: torch.Tensor, target: torch.Tensor) -> float:
    """One step of training; its loss. bfloat16 halves the time on CPUs that have it, and changes no result here."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(batch.contiguous(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits.float(), target)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def probabilities(net: nn.Sequential, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores f32[N,4] of trained network `net`."""
    with torch.no_grad():
        parts = [functional.softmax(net(normalise(p)), 1).numpy() for p in np.array_split(pixels, len(pixels) // 64)]
    return np.asarray(np.concatenate(parts) @ mark_of_digit(), np.float32)


def _vary(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Other colours, light and places, so that it does not matter how few the photographs are."""
    n = len(batch)
    shift = rng.integers(-4, 5, 2)
    batch = torch.roll(batch, (int(shift[0]), int(shift[1])), (2, 3))
    batch = batch[:, torch.from_numpy(rng.permutation(3))]
    sign = rng.choice([-1.0, 1.0], (n, 1, 1, 1)) * rng.uniform(0.75, 1.25, (n, 1, 1, 1))
    batch = batch * torch.from_numpy(sign).float() + torch.from_numpy(rng.uniform(-0.4, 0.4, (n, 3, 1, 1))).float()
    top, left = rng.integers(0, 56, 2)
    batch[:, :, top : top + 8, left : left + 8] = 0
    return batch
