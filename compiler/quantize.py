"""A model in float32 becomes one in int8: static quantization after training, calibrated with real inputs.

ONNX Runtime's quantizer does it, in a child process with limits; the result lies in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from compiler.child import Child, Limits
from compiler.given import Given
from compiler.made import publish
from compiler.samples import Sample, save_samples
from compiler.store import Store
from specs.artefact import Buckets
from specs.digest import digest_bytes, digest_file, digest_value
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input
from specs.quantization import Quantization

FOLDER: Final = "quantized"
"""In the store."""
LIMITS: Final = Limits(seconds=600)
_WORKER: Final = "compiler.quantize_worker"
_NOTE: Final = "quantization.json"
_MODEL: Final = "model.onnx"
_MOST_BYTES: Final = 1 << 22
_PACKAGES: Final = ("onnxruntime", "onnx", "numpy")


def quantize(
    name: str,
    base: Given,
    source: str,
    samples: Sequence[Sample],
    store: Store,
    limits: Limits = LIMITS,
    buckets: Buckets | None = None,
) -> Given:
    """`base` in int8, called `name`. `source` is the digest of all that it is made from, `samples` are inputs, whose
    lengths may differ in the dimension of `buckets`.

    Raises InputError where nothing in the model can be computed with integers, or there is no sample; NotKnown beyond
    the limits.
    """
    if (known := quantized(name, source, store)) is not None:
        return known
    if not samples:
        raise InputError(Issue(f"{name}: expected at least one input to calibrate with", Place(str(base.file))))
    folder = quantization_folder(source, store)
    with store.workspace() as work:
        save_samples(work / "samples.npz", samples)
        request = {
            "model": str(base.file.resolve()),
            "name": base.name,
            "buckets": None if buckets is None else buckets.dump(),
            "samples": str((work / "samples.npz").resolve()),
            "file": str((work / _MODEL).resolve()),
        }
        with Child(_WORKER, limits) as child:
            answer = child.ask(request, f"quantizing {base.name}")
        made = Quantization(
            model=base.name, file=_MODEL, digest=digest_file(work / _MODEL), samples=len(samples), **answer
        )
        publish(work, folder, made, _NOTE)
    return Given(name, folder / made.file, source, quantization=made)


def quantized(name: str, source: str, store: Store) -> Given | None:
    """What `quantize` made of `source` before, if it is whole."""
    folder = quantization_folder(source, store)
    try:
        found = Quantization.model_validate_json(read_input(folder / _NOTE, _MOST_BYTES))
        whole = found.file == _MODEL and digest_file(folder / _MODEL) == found.digest
    except (InputError, ValidationError):
        return None
    return Given(name, folder / found.file, source, quantization=found) if whole else None


def quantization_folder(source: str, store: Store) -> Path:
    """Where the quantized variant whose digest is `source` lies, if it was made."""
    return store.root / FOLDER / digest_value([source, _versions()])


@cache
def _versions() -> dict[str, str]:
    """Versions of all that decides what quantizing gives, our own code by its digest."""
    here = Path(__file__).parent
    files = [
        here / name
        for name in (
            "quantize_worker.py",
            "quantizable.py",
            "batch_norm.py",
            "constants.py",
            "model.py",
            "buckets.py",
            "schedules/short_sums.py",
        )
    ]
    found = {package: version(package) for package in _PACKAGES}
    return found | {"compiler": digest_bytes(b"".join(f.read_bytes() for f in files))[:16]}
