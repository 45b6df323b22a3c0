"""What ``model:`` may name: a file that is data, or a function of the user's project that returns a model.

A file is only taken in a format that cannot run code: ONNX, XGBoost's own (.json, .ubj), LightGBM's own (.txt). What a
library stores by pickling is code, and so is loaded by a function of the project, ``module:function``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from specs.digest import digest_file, digest_model, digest_value
from specs.errors import InputError, Issue, Place
from specs.function_files import is_function_name, module_file, package_files

ModelForm = Literal["onnx", "xgboost", "lightgbm", "factory"]

_FORMS: Final[dict[str, ModelForm]] = {".json": "xgboost", ".ubj": "xgboost", ".txt": "lightgbm"}
_CODE: Final = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "joblib.load"),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "torch.load"),
    ".pt2": "torch.export.load",
    **dict.fromkeys((".h5", ".keras"), "keras.models.load_model"),
}
"""Endings of files that run code where they are loaded, and what loads them."""
FORMS: Final = "ONNX (.onnx), XGBoost (.json, .ubj), LightGBM (.txt), or module:function of the project"


def form_of(model: str) -> ModelForm:
    """How `model` is given; a file of unknown ending is taken for ONNX.

    Raises InputError for a file that would run code.
    """
    if is_function_name(model):
        return "factory"
    ending = Path(model).suffix.lower()
    if (loader := _CODE.get(ending)) is not None:
        message = f"a file {ending} runs code where it is loaded, so it is not taken as data"
        hint = f"write a function of the project that returns {loader}(...), and give module:function"
        raise InputError(Issue(message, Place(model), hint))
    return _FORMS.get(ending, "onnx")


def files_of(project: Path, model: str, reads: Sequence[str] = ()) -> Iterator[Path]:
    """What `model` consists of under `project`: its file; or, of a function, its package and what it `reads`.

    Folders in `reads` stand for all files in them. Raises InputError for what is missing or leaves the project.
    """
    if form_of(model) != "factory":
        yield project / model
        return
    yield from package_files(project, model)
    for text in reads:
        path = (project / text).resolve()
        if not path.is_relative_to(project.resolve()):
            raise InputError(Issue(f"{model} reads {text!r}, which is outside the project", Place(str(path))))
        if not path.exists():
            raise InputError(Issue(f"{model} reads {text!r}, which is missing", Place(str(path))))
        yield from (f for f in sorted(path.rglob("*")) if f.is_file()) if path.is_dir() else [path]


def digest_source(
    project: Path, model: str, reads: Sequence[str] = (), digest: Callable[[Path], str] = digest_file
) -> str:
    """Digest of what `model` is made from, each file by `digest`.

    Of an ONNX file, its bytes and those of its external data; of a function, its name and all files of `files_of`.
    """
    form = form_of(model)
    if form == "onnx":
        return digest_model(project / model, digest)
    if form != "factory":
        return digest(project / model)
    root = project.resolve()
    found = {str(f.resolve().relative_to(root)): digest(f) for f in files_of(project, model, reads)}
    return digest_value([model, found])


def main_file(project: Path, model: str) -> Path:
    """The file that errors about `model` name: its own, or that of its function's module."""
    return module_file(project, model) if form_of(model) == "factory" else project / model
