"""Making an artefact's files, in this process. `build` does it in a child with limits."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from compiler.cut import extract
from compiler.job import Job, versions
from compiler.model import load_model, prepare
from compiler.signature import check_static, signature_of
from compiler.store import Store
from specs.artefact import Artefact
from specs.digest import digest_file
from specs.errors import EnvironmentFailed, InputError, Issue, Place


def make(job: Job, store: Store) -> Path:
    """Build `job` and publish it in `store`; returns its folder.

    Raises InputError for a model that is invalid, dynamic or beyond what the backend can do, and EnvironmentFailed
    where a tool is missing.
    """
    if (folder := store.find(job.key)) is not None:
        return folder
    whole = prepare(load_model(Path(job.model)), job.dims, job.model)
    model = extract(whole, job.segment, job.model)
    signature = signature_of(model, job.model)
    check_static(signature, job.model)
    with store.workspace() as folder:
        if job.backend == "tvm":
            file, fallback = _tvm(model, job, folder)
        else:
            file, fallback = _onnx(model, folder), ()
        artefact = Artefact(
            key=job.key,
            backend=job.backend,
            target=job.target,
            threads=job.threads,
            source=job.source,
            segment=job.segment,
            inputs=signature.inputs,
            outputs=signature.outputs,
            versions=versions(job.backend),
            files={file.name: digest_file(file)},
            fallback=fallback,
        )
        return store.add(folder, artefact)


def _tvm(model: onnx.ModelProto, job: Job, folder: Path) -> tuple[Path, tuple[str, ...]]:
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("gcc") or shutil.which("cc")):
        raise EnvironmentFailed("no C compiler found to link with; install gcc or clang")
    from compiler.importer import import_model
    from compiler.lower import lower

    imported = import_model(model, job.model)
    try:
        lowered = lower(imported, job.target, job.threads)
    except Exception as error:  # TVM raises many kinds; each is about this model
        first = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        message = f"TVM cannot compile the model: {first}"
        raise InputError(Issue(message, Place(job.model), "use backend onnxruntime")) from error
    file = folder / "model.so"
    lowered.save(file)
    return file, lowered.fallback


def _onnx(model: onnx.ModelProto, folder: Path) -> Path:
    file = folder / "model.onnx"
    onnx.save(model, str(file))
    return file
