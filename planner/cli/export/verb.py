"""`planner export`: a bundle as ordinary artefacts: an image, and a Compose file or Kubernetes manifests."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.output import Format, FormatOption, emit, table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.export.image import Content
    from specs.application import Application
    from specs.export import ExportResult
    from specs.load import Document


class To(StrEnum):
    compose = "compose"
    kubernetes = "kubernetes"


def export(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that `planner compile` made.")],
    to: Annotated[To, typer.Option("--to", help="What runs the containers.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder.")] = Path("export"),
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Default: the application's.")] = None,
    members: Annotated[
        list[str] | None,
        typer.Option("--members", "-m", metavar="SITE=N", help="How many of a class of sites; default 1."),
    ] = None,
    http_port: Annotated[int, typer.Option(metavar="PORT", min=1024, max=65000, help="Of the first door.")] = 8000,
    grpc_port: Annotated[int, typer.Option(metavar="PORT", min=1024, max=65000, help="Of the first door.")] = 9000,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Doors without tokens and TLS, on a network that you trust.")
    ] = False,
    fmt: FormatOption = Format.table,
) -> None:
    """Write a bundle as a Dockerfile, and a Compose file or Kubernetes manifests; a README says what to fill in.

    Equal bundles give equal files. No secret is in them. What the runtime cannot do yet is said plainly.

    Example: planner export bundle --to compose -o export

    Example: planner export bundle --to kubernetes --members phones=2 -o manifests
    """
    from planner.cli.export.compose import compose_files
    from planner.cli.export.folder import check_folder, digest_of, write_folder
    from planner.cli.export.image import image_files
    from planner.cli.export.kubernetes import kubernetes_files
    from planner.cli.export.monitoring import monitoring_files
    from planner.cli.export.readme import fill_in_of, limits_of, readme
    from planner.cli.export.shape import shape_of
    from planner.cli.run import parse_members
    from runtime.bundle import open_bundle
    from specs.export import ExportResult

    chosen = parse_members(members or [])
    opened = open_bundle(bundle)
    _check_states(opened.app)
    check_folder(output, bundle)
    shape = shape_of(opened, name or opened.plan.application, chosen, http_port, grpc_port, insecure)
    files: dict[str, Content] = {**(compose_files(shape) if to is To.compose else kubernetes_files(shape))}
    files |= {f"image/{file}": content for file, content in image_files(shape).items()}
    files |= monitoring_files()
    files["README.md"] = readme(shape, to).encode()
    result = ExportResult(
        to=to.value,
        name=shape.name,
        application=opened.manifest.application,
        plan=opened.plan.digest,
        bundle=shape.annotations["tierplan.dev/bundle"],
        image=shape.image,
        members=shape.exported(),
        files={file: digest_of(files[file]) for file in sorted(files)},
        fill_in=fill_in_of(shape, to),
        limits=limits_of(shape, to),
    )
    write_folder(output.absolute(), files, result)
    emit(result.dump(), fmt, lambda out: _show(result, output, out))


def _check_states(app: Document[Application]) -> None:
    """What is exported runs on several machines, and has no folder that keeps checkpoints on all of them."""
    from specs.errors import InputError, Issue
    from specs.state import stateful

    places = [app.place("components", name, "state") for name in sorted(stateful(app.value))]
    if places:
        hint = "planner deploy --state DIR runs it on this machine"
        raise InputError(*(Issue("not supported yet: an export of what keeps state", at, hint) for at in places))


def _show(result: ExportResult, folder: Path, out: Console) -> None:
    rows = []
    for m in result.members:
        doors = f"HTTP {m.http}, gRPC {m.grpc}" if m.http else ""
        rows.append([m.member + (" (head)" if m.head else ""), m.tier, ", ".join(m.stages), doors])
    out.print(table(["member", "tier", "stages", "door"], rows))
    for title, texts in (("to be filled in", result.fill_in), ("what this cannot do", result.limits)):
        out.print(f"{title}:")
        for text in texts:
            out.print(f"  {text}", soft_wrap=True)
    out.print(f"wrote {folder}: {len(result.files)} files, image {result.image}; its README.md says how to run it")
