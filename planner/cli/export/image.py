"""What an image is built of: the runtime, one bundle, and what becomes of a container."""

from __future__ import annotations

import platform
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Final

from planner.cli.export.requirements import OURS, pinned
from planner.cli.export.shape import STATE_MOUNT, Shape
from runtime.cluster.settings import SETTINGS
from specs.artefact_folder import read_description
from specs.manifest import MANIFEST_FILE

Content = bytes | Path
"""Of a file: itself, or where it is copied from."""
PACKAGES: Final = ("specs", "runtime", "planner")
"""Of tierplan: what `planner deploy` takes. No compiler goes into an image."""
SCRIPTS: Final = ("entrypoint.sh", "ready.py")
MORE: Final = """\
# Packages that functions use without naming them under `requirements`, each as name==version. Installed without what
# these require, as all above them.
"""
MACHINES: Final = {"x86-64": "amd64", "aarch64": "arm64"}
"""By how levels of instruction sets begin, what containers call the machine."""


def image_files(shape: Shape) -> dict[str, Content]:
    """By their names in the folder that the image is built from. Raises as `pinned` does."""
    found: dict[str, Content] = {
        "Dockerfile": _dockerfile(shape).encode(),
        "requirements.txt": "".join(f"{line}\n" for line in pinned(shape.bundle)).encode(),
        "requirements-more.txt": MORE.encode(),
        ".dockerignore": b"**/__pycache__\n",
    }
    for script in SCRIPTS:
        found[script] = (files("planner.cli.export") / "files" / script).read_bytes()
    for package in PACKAGES:
        root = Path(str(files(package)))
        for file in sorted(root.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found[f"tierplan/{package}/{file.relative_to(root).as_posix()}"] = file
    # Doors tell their version, which Python looks for in a package's metadata.
    metadata = f"Metadata-Version: 2.1\nName: {OURS}\nVersion: {version(OURS)}\n"
    found[f"tierplan/{OURS}-{version(OURS)}.dist-info/METADATA"] = metadata.encode()
    for name in (*shape.bundle.manifest.files, MANIFEST_FILE):
        found[f"bundle/{name}"] = shape.bundle.folder / name
    return found


def instruction_sets(shape: Shape) -> list[str]:
    """What the compiled code in the bundle needs of a processor, such as ``x86-64-v3``."""
    root = shape.bundle.folder
    folders = {a.folder for a in shape.bundle.manifest.artefacts if a.key}
    targets = [read_description(root / folder).target for folder in sorted(folders)]
    return sorted({str(t.get("mcpu") or t.get("mtriple")) for t in targets if t.get("mcpu") or t.get("mtriple")})


def machine(shape: Shape) -> str:
    """What containers call the machine: that of the compiled code, else this one."""
    sets = instruction_sets(shape) or [platform.machine().replace("_", "-")]
    return next((name for level, name in MACHINES.items() if sets[0].startswith(level)), "amd64")


def _dockerfile(shape: Shape) -> str:
    labels = " \\\n      ".join(f'{key}="{value}"' for key, value in shape.annotations.items())
    settings = {
        **SETTINGS,
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": "/srv/tierplan",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
        "TIERPLAN_STATE": STATE_MOUNT,
    }
    environment = " \\\n    ".join(f'{key}="{value}"' for key, value in settings.items())
    return f"""\
# {shape.name}: tierplan's runtime and one bundle. The same image serves every site; the environment says which.
# To be exact to the byte, give BASE with its digest: --build-arg BASE=python@sha256:...
ARG BASE=python:{platform.python_version()}-slim
FROM ${{BASE}}
LABEL {labels}
WORKDIR /srv
COPY requirements.txt requirements-more.txt ./
RUN pip install --no-cache-dir --no-deps -r requirements.txt -r requirements-more.txt
COPY tierplan tierplan
COPY bundle bundle
COPY {" ".join(SCRIPTS)} ./
# A volume that is mounted here takes this mode, so that any user may have a folder of its own in it.
RUN mkdir -p {STATE_MOUNT} && chmod 1777 {STATE_MOUNT}
ENV {environment}
USER 10001
ENTRYPOINT ["sh", "/srv/entrypoint.sh"]
"""
