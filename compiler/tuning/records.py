"""What tuning left in a store: trials by workload, and by model the choices that compiling takes from then on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from compiler.host import host
from compiler.job import Job, versions
from compiler.store import Store
from specs.base import Spec
from specs.digest import digest_value
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input
from specs.output_file import write_whole
from specs.refusal import refusal
from specs.tuning import MAX_BYTES, TimedOn, Trials, Tuning

FOLDER: Final = "tuned"
KINDS: Final[Mapping[str, type[Spec]]] = {"models": Tuning, "workloads": Trials}
HINT: Final = "remove the file: tuning again makes it anew"

T = TypeVar("T", bound=Spec)


def place_of(job: Job) -> TimedOn:
    """Where times of a job on this machine hold."""
    return TimedOn(cpu=host().cpu, target=job.target, threads=job.threads, versions=versions(job.backend))


def is_timed_here(job: Job) -> bool:
    """Whether this machine is what the job is compiled for, so that its own times say something."""
    return job.backend == "tvm" and job.target == host().target


def plain(job: Job) -> Job:
    """The same with analytic choices alone."""
    return job.model_copy(update={"tuned": {}})


def as_tuned(job: Job, store: Store) -> Job:
    """`job` with the choices that tuning confirmed for exactly this model, target, threads, versions and CPU; as it is
    where there are none. Raises InputError for a record that was changed into none."""
    if not is_timed_here(job) or not (store.root / FOLDER).is_dir():
        return job
    found = read_tuning(job, store)
    return job if found is None else job.model_copy(update={"tuned": found.choices})


def read_tuning(job: Job, store: Store) -> Tuning | None:
    """The record of a job's model, None where it was never tuned on this CPU."""
    return _read(_tuning_file(job, store), Tuning)


def write_tuning(job: Job, store: Store, tuning: Tuning) -> None:
    """Raises EnvironmentFailed where it cannot be written."""
    _write(_tuning_file(job, store), tuning)


def forget_tuning(job: Job, store: Store) -> None:
    """Compiling takes analytic choices from then on."""
    _tuning_file(job, store).unlink(missing_ok=True)


def read_trials(workload: str, place: TimedOn, store: Store) -> Trials:
    """All that was tried of a workload at this place, by whichever model; nothing yet, where none was."""
    return _read(_trials_file(workload, place, store), Trials) or Trials(workload=workload, place=place)


def write_trials(trials: Trials, store: Store) -> None:
    """Raises EnvironmentFailed where it cannot be written."""
    _write(_trials_file(trials.workload, trials.place, store), trials)


def record_files(store: Path) -> Iterator[tuple[str, Path]]:
    """Every record of tuning in a store, by its name: the path there, with slashes."""
    for kind in KINDS:
        for file in sorted((store / FOLDER / kind).glob("*.json")):
            yield f"{FOLDER}/{kind}/{file.name}", file


def check_record(name: str, file: Path) -> None:
    """Raises InputError where `file` is no record of tuning, or not the one whose name it would have."""
    kind = name.split("/")[1]
    record = _read(file, KINDS[kind])
    if isinstance(record, Tuning):
        own = _tuning_name(record.artefact, record.place.cpu)
    else:
        assert isinstance(record, Trials)
        own = _trials_name(record.workload, record.place)
    if own != name:
        raise InputError(Issue(f"not the record of tuning that it is named as, which is {own}", Place(str(file)), HINT))


def _tuning_file(job: Job, store: Store) -> Path:
    return store.root / _tuning_name(plain(job).key, host().cpu)


def _trials_file(workload: str, place: TimedOn, store: Store) -> Path:
    return store.root / _trials_name(workload, place)


def _tuning_name(artefact: str, cpu: str) -> str:
    return f"{FOLDER}/models/{digest_value({'artefact': artefact, 'cpu': cpu})}.json"


def _trials_name(workload: str, place: TimedOn) -> str:
    return f"{FOLDER}/workloads/{digest_value({'workload': workload, 'place': place.dump()})}.json"


def _write(file: Path, value: Spec) -> None:
    write_whole(file, json.dumps(value.dump(), indent=2, ensure_ascii=False) + "\n")


def _read(file: Path, kind: type[T]) -> T | None:
    if not file.exists():
        return None
    try:
        return kind.model_validate_json(read_input(file, MAX_BYTES, file.name))
    except ValidationError as error:
        message = f"not a record of tuning: {refusal(error.errors()[0])}"
        raise InputError(Issue(message, Place(str(file)), HINT)) from error
