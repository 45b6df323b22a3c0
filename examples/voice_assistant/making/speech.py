"""Synthetic commands: a buzzing source through three resonances that glide from sound to sound, as in Klatt (1980)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 16_000
SOUNDS: Final = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "m": (250, 1200, 2100),
}
"""Resonances in Hz of a grown man: G. Peterson and H. Barney, 1952; of m, roughly."""
COMMANDS: Final = ("ai", "ou", "ime", "uma", "oma", "eu", "ami", "iao", "mue", "eio")
"""What can be said; class n + 1 of the model. Class 0 is anything else: a babble of sounds that is no command."""
HARMONICS: Final = 30
Clip = NDArray[np.int16]


def clip(rng: np.random.Generator) -> tuple[Clip, int]:
    """One second, and what it is: 0 (background or babble), or the number of a command."""
    kind = rng.random()
    background = _background(rng)
    if kind < 0.4:
        return _samples(background), 0
    command = int(rng.integers(len(COMMANDS))) + 1 if kind < 0.92 else 0
    voice = _voice(COMMANDS[command - 1] if command else _babble(rng), rng)
    start = int(rng.integers(800, RATE - len(voice) - 800))
    background[start : start + len(voice)] += voice
    return _samples(background), command


def _babble(rng: np.random.Generator) -> str:
    while True:
        sounds = "".join(rng.choice(list(SOUNDS), int(rng.integers(2, 4))))
        if sounds not in COMMANDS:
            return sounds


def _background(rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise, duller or sharper, with a hum."""
    noise = rng.standard_normal(RATE).astype(np.float32)
    noise = noise + float(rng.uniform(0, 0.9)) * np.roll(noise, 1)
    time = np.arange(RATE, dtype=np.float32) / RATE
    hum = np.sin(2 * np.pi * float(rng.uniform(50, 120)) * time, dtype=np.float32)
    return float(np.exp(rng.uniform(-6.2, -4.4))) * (noise + float(rng.uniform(0, 1.5)) * hum)


def _voice(sounds: str, rng: np.random.Generator) -> NDArray[np.float32]:
    length = int(rng.uniform(0.45, 0.75) * RATE)
    at = np.linspace(0, len(sounds) - 1, length)
    tract = float(rng.uniform(0.9, 1.25))  # shorter than that man's
    formants = np.array([SOUNDS[s] for s in sounds]) * tract * rng.uniform(0.96, 1.04, (len(sounds), 3))
    # Rest on each sound, glide in between.
    eased = np.floor(at) + np.clip((at - np.floor(at) - 0.25) / 0.5, 0, 1)
    tracks = [np.interp(eased, np.arange(len(sounds)), formants[:, k]) for k in range(3)]
    pitch = float(rng.uniform(90, 230)) * (1 + float(rng.uniform(-0.25, 0.15)) * np.linspace(0, 1, length))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = np.zeros(length)
    for n in range(1, HARMONICS + 1):
        hertz = n * pitch
        gain = sum(
            strength / (1 + ((hertz - track) / width) ** 2)
            for track, width, strength in zip(tracks, (60, 90, 130), (1.0, 0.6, 0.35), strict=True)
        )
        voice += np.where(hertz < 3800, gain, 0) * np.sin(n * phase)
    edge = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 640)
    voice *= edge / np.sqrt((voice**2).mean())
    return (float(np.exp(rng.uniform(-2.6, -1.6))) * voice).astype(np.float32)


def _samples(sound: NDArray[np.float32]) -> Clip:
    return np.clip(sound * 32767, -32768, 32767).astype(np.int16)
