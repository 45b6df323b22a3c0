"""The traffic example: its files are valid, it finds what is drawn, and its network tells kinds apart."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime

from specs.check import check
from specs.load import load_application, load_infrastructure
from specs.support import unsupported

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "traffic"
sys.path.insert(0, str(FOLDER))

from drawing import networks  # noqa: E402
from drawing.scenes import scene  # noqa: E402
from traffic.frames import KINDS, count, find  # noqa: E402
from traffic.gallery import MOST, PARTS, Gallery  # noqa: E402


def test_its_files_are_right_once_its_model_and_data_are_made() -> None:
    app, infra = load_application(FOLDER / "app.yaml"), load_infrastructure(FOLDER / "infra.yaml")
    assert unsupported(app, infra) == []
    assert all("is missing" in issue.message for issue in check(app, infra))  # what prepare.py makes


def test_every_vehicle_of_a_frame_is_found_and_told_apart_from_other_kinds() -> None:
    random = np.random.default_rng(3)
    training = [scene(random) for _ in range(200)]
    cut = [(vehicle, kind) for s in training for vehicle, kind in _cut_out(s.pixels, s.middles, s.kinds)]
    model = networks.classifier(np.array([v for v, _ in cut]), np.array([k for _, k in cut]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    numbers = set[int]()
    right = 0
    for each in (scene(random) for _ in range(60)):
        vehicles = find(each.pixels)["vehicles"]
        assert len(vehicles) == len(each.kinds)
        kinds = [session.run(None, {"vehicle": vehicle[None]})[0] for vehicle in vehicles]
        right += count(np.array(kinds, np.int64).reshape(-1, 1))["counts"].tolist() == each.counts
        numbers.add(len(vehicles))
    assert right >= 57
    assert {0, 1, 2, 3, 4} <= numbers
    assert len(KINDS) == 3


def test_the_gallery_knows_a_vehicle_again_and_no_other() -> None:
    random = np.random.default_rng(5)
    frames = [s.pixels for s in (scene(random) for _ in range(30))]
    gallery = Gallery()
    fresh = [int(gallery(vehicles=find(frame)["vehicles"])["again"][0]) for frame in frames]
    numbers = [len(find(frame)["vehicles"]) for frame in frames]
    assert sum(fresh) <= 0.2 * sum(numbers)
    noise = random.integers(-4, 5, frames[0].shape)
    again = [np.clip(frame.astype(int) + noise, 0, 255).astype(np.uint8) for frame in frames]
    there = Gallery()
    there.load(gallery.save())
    found = [[int(g(vehicles=find(frame)["vehicles"])["again"][0]) for frame in again] for g in (gallery, there)]
    assert found[0] == found[1]
    assert sum(found[0]) >= 0.9 * sum(numbers)


def test_the_gallery_never_outgrows_what_is_declared() -> None:
    app = load_application(FOLDER / "app.yaml").value
    gallery = Gallery()
    random = np.random.default_rng(7)
    for _ in range(300):
        gallery(vehicles=random.integers(0, 256, (9, 16, 16)).astype(np.uint8))
    size = app.components["gallery"].state_size
    assert size is not None
    assert MOST * PARTS == len(gallery.save()) <= size


def _cut_out(pixels: np.ndarray, middles: list[tuple[int, int]], kinds: list[int]) -> list[tuple[np.ndarray, int]]:
    padded = np.pad(pixels, 8, mode="edge")
    return [(padded[r : r + 16, c : c + 16], kind) for (r, c), kind in zip(middles, kinds, strict=True)]
