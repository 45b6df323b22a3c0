"""Making an artefact's files, in this process. `build` does it in a child with limits."""

from __future__ import annotations

from pathlib import Path

import onnx

from compiler.backends import backend
from compiler.buckets import in_buckets
from compiler.cut import extract
from compiler.job import Job, versions
from compiler.model import load_model, prepare
from compiler.signature import check_static, signature_of
from compiler.store import Store
from specs.artefact import Artefact
from specs.digest import digest_file


def make(job: Job, store: Store) -> Path:
    """Build `job` and publish it in `store`; returns its folder.

    Raises InputError for a model that is invalid, dynamic, beyond what the backend can do, or of which several requests
    at once cannot be run, and EnvironmentFailed where a tool is missing.
    """
    if (folder := store.find(job.key)) is not None:
        return folder
    read = load_model(Path(job.file or job.model))
    if job.buckets is not None:
        bucketed = in_buckets(read, job.buckets, job.model)
        signature = bucketed.signature
    else:
        model = _segment(read, job)
        signature = signature_of(model, job.model, job.batch)
        check_static(signature, job.model)
    with store.workspace() as folder:
        if job.buckets is not None:
            made = backend(job.backend).build_buckets(bucketed, job, folder)
        else:
            made = backend(job.backend).build(model, job, folder)
        artefact = Artefact(
            key=job.key,
            backend=job.backend,
            target=job.target,
            threads=job.threads,
            batch=job.batch,
            source=job.source,
            segment=job.segment,
            buckets=job.buckets,
            inputs=signature.inputs,
            outputs=signature.outputs,
            versions=versions(job.backend),
            files={file.name: digest_file(file) for file in made.files},
            fallback=made.fallback,
            winograd=made.winograd,
            tuned=job.tuned or None,
        )
        return store.add(folder, artefact)


def model_of(job: Job) -> onnx.ModelProto:
    """What a job without buckets compiles: its segment with static shapes. Raises InputError as `make` does."""
    return _segment(load_model(Path(job.file or job.model)), job)


def _segment(read: onnx.ModelProto, job: Job) -> onnx.ModelProto:
    return extract(prepare(read, job.dims, job.model, job.batch), job.segment, job.model)
