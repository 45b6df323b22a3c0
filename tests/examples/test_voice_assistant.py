"""The voice assistant: its files are valid, its steps do what they say, and its model has the cut that it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from compiler.model import prepare
from compiler.splitting.cuts import find_cuts
from compiler.splitting.operators import operators_of
from specs.load import load_application, load_infrastructure
from specs.support import unsupported

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "voice_assistant"
sys.path.insert(0, str(FOLDER))

from making import network, speech  # noqa: E402
from voice.steps import SAMPLES, START, decide, listen  # noqa: E402


def test_its_files_ask_for_nothing_that_is_not_built() -> None:
    app, infra = load_application(FOLDER / "app.yaml"), load_infrastructure(FOLDER / "infra.yaml")
    assert unsupported(app, infra) == []
    assert app.value.components["spotter"].split == "allowed"


def test_a_command_is_heard_and_begins_where_the_model_expects_it() -> None:
    heard = 0
    for number in range(40):
        clip, command = speech.clip(np.random.default_rng([9, number]))
        found = listen(clip.astype("<i2").tobytes())
        if command:
            heard += 1
            assert not found["silent"]
            loud = np.abs(found["samples"].astype(float))
            before, after = loud[: START - 400].mean(), loud[START : START + 4000].mean()
            assert after > 2 * before
        assert found["samples"].shape == (SAMPLES,)
    assert heard > 10


def test_silence_is_no_command_whatever_the_score() -> None:
    score = np.eye(11, dtype=np.float32)[4]
    assert decide(np.array(True), score)["command"].tolist() == [0]
    assert decide(np.array(False), score)["command"].tolist() == [4]


def test_the_spectrogram_is_the_narrowest_place_of_the_model() -> None:
    model = prepare(network.features_of(), {}, "spotter.onnx")
    operators = operators_of(model, "spotter.onnx")
    cuts = find_cuts(operators, [1e-5] * len(operators.names), 8)
    narrowest = min(cuts, key=lambda cut: cut.bytes)
    assert narrowest.bytes == 4 * network.BANDS * network.FRAMES
    assert narrowest.bytes < 2 * SAMPLES / 5
