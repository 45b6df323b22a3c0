"""What tuning left in a store: trials by workload, and by model the choices that compiling takes from then on."""

from __future__ import annotations

import json
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


def _tuning_file(job: Job, store: Store) -> Path:
    key = digest_value({"artefact": plain(job).key, "cpu": host().cpu})
    return store.root / FOLDER / "models" / f"{key}.json"


def _trials_file(workload: str, place: TimedOn, store: Store) -> Path:
    key = digest_value({"workload": workload, "place": place.dump()})
    return store.root / FOLDER / "workloads" / f"{key}.json"


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
