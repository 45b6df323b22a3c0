"""The cuts of models that may be split anywhere: what is known of exactly these models, else found now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from compiler.host import host
from compiler.indices import index_bounds
from compiler.model import load_model
from compiler.splitting.cuts import MOST
from compiler.splitting.timing import METHOD, measured_cuts
from planner.cli.ledger import Ledger
from planner.cli.profiling.model import some_inputs
from planner.situation import CutPoints, source_digests
from specs.codec import codec_of_cut
from specs.cuts import CUTS_FILE, FoundCut, FoundCuts
from specs.profile import read_jsonl

if TYPE_CHECKING:
    from planner.cli.profiling.profiler import Profiler


def found_cuts(profiler: Profiler) -> dict[tuple[str, str], CutPoints]:
    """By (component, variant) that may be split anywhere, its cuts. What was found once stays, so that plans do.

    Raises as `measured_cuts` does.
    """
    file = profiler.folder / CUTS_FILE
    digests = source_digests(profiler.app)
    known = {f.source: f for f in read_jsonl(file, FoundCuts)} if file.exists() else {}
    found: dict[tuple[str, str], CutPoints] = {}
    for name, component in profiler.app.value.components.items():
        for variant in component.realisations if component.cut_anywhere else ():
            source = digests[f"{name}/{variant}"]
            if source not in known:
                known[source] = _find(profiler, name, variant, source)
                Ledger(file).append(known[source])
            found[name, variant] = tuple(cut.names for cut in known[source].cuts)
    return found


def _find(profiler: Profiler, component: str, variant: str, source: str) -> FoundCuts:
    model = profiler.models[component, variant]
    profiler.step(f"timing the operators of {component}/{variant}")
    bounds = index_bounds(load_model(model.file))
    samples = some_inputs(profiler.signatures[component, variant], model.name, bounds)
    every = (FoundCut(tensors=dict(c.tensors), before=c.before) for c in measured_cuts(model, samples, MOST))
    cuts = tuple(cut for cut in every if codec_of_cut(cut.names) == "none")  # nobody could tell it from an encoded one
    where = ", ".join(f"{'+'.join(cut.names)} after {cut.before:.0%} of the work" for cut in cuts)
    profiler.say(f"{component}/{variant} may be cut at: {where or 'no place where fewer bytes pass than enter'}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return FoundCuts(source=source, cuts=cuts, method=METHOD, host=str(host()), measured_at=now)
