"""`planner validate`: is what the files say right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import AppFile
from planner.cli.output import Format, FormatOption, emit
from specs.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import Console

    from specs.infrastructure import Infrastructure


def validate(
    app: AppFile,
    infra: Annotated[
        Path | None, typer.Option("--infra", "-i", metavar="INFRA", help="Check against this infrastructure as well.")
    ] = None,
    fmt: FormatOption = Format.table,
) -> None:
    """Check an application (and an infrastructure): words, units, references, cycles, types of every edge.

    Example: planner validate app.yaml --infra infra.yaml
    """
    from planner.cli.devices import lent_classes
    from planner.cli.loading import load_checked
    from planner.cli.results import ValidateResult, located
    from specs.emulation import NOT_HERE

    try:
        loaded = load_checked(app, infra, models=True, convert=False)
        lent = lent_classes(loaded.infra) if loaded.infra else {}
    except InputError as error:
        if fmt is not Format.table:
            result = ValidateResult(ok=False, issues=tuple(located(i) for i in error.issues))
            emit(result.dump(), fmt, lambda _: None)
        raise
    spec = loaded.app.value
    sites = loaded.infra.value.sites if loaded.infra else {}
    result = ValidateResult(
        ok=True,
        application=spec.name,
        components=len(spec.components),
        models=sum(v.is_model for c in spec.components.values() for v in c.realisations.values()),
        sites=len(sites),
        constraints=len(spec.constraints),
        elsewhere=_elsewhere(loaded.infra.value, lent) if loaded.infra else (),
        lent=tuple(lent),
        unconverted=tuple(
            dict.fromkeys(
                variant.model
                for name, component in spec.components.items()
                for key, variant in component.realisations.items()
                if variant.model is not None and (name, key) not in loaded.models
            )
        ),
    )

    def show(out: Console) -> None:
        count = {"components": result.components, "models": result.models, "constraints": result.constraints}
        text = ", ".join(f"{n} {what.removesuffix('s') if n == 1 else what}" for what, n in count.items())
        out.print(f"{spec.name} is valid: {text}" + (f"; {result.sites} sites" if infra else ""))
        if result.unconverted:
            out.print(
                f"not checked before planner profile converts them: the tensors of {', '.join(result.unconverted)}"
            )
        if result.elsewhere:
            out.print(f"to be profiled elsewhere: {', '.join(result.elsewhere)}, which say {NOT_HERE}")
        if result.lent:
            out.print(f"to be profiled on devices that are lent, with --tracker: {', '.join(result.lent)}")

    emit(result.dump(), fmt, show)


def _elsewhere(infra: Infrastructure, lent: Collection[str]) -> tuple[str, ...]:
    """Hardware of pools that `planner profile` on this machine leaves out, but for what is `lent`."""
    used = dict.fromkeys(pool.hardware for site in infra.sites.values() for pool in site.pools.values())
    known = ((name, infra.hardware[name]) for name in used if name in infra.hardware and name not in lent)
    return tuple(name for name, hardware in known if hardware.emulate is None and hardware.device != "here")
