"""Scenarios and options: one scenario for each flow, one option for each task."""

from __future__ import annotations

from planner.problem import End, Step
from planner.solver.candidates import Candidate
from planner.solver.draft import Draft, Visitor
from planner.solver.model import Terms


def take(draft: Draft) -> None:
    """Each flow takes exactly one of its scenarios; a group is present if one of its own is taken."""
    model = draft.model
    for flow in range(len(draft.problem.flows)):
        ours = [(g, group) for g, group in enumerate(draft.groups) if group.flow == flow]
        if not ours:
            model.impossible = True
            return
        for g, group in ours:
            for s in group.scenarios:
                draft.taken[s] = model.boolean()
            draft.present[g] = (
                model.any_of([draft.taken[s] for s in group.scenarios]) if len(ours) > 1 else model.integer(1, 1)
            )
        model.one_of.append(tuple(draft.taken[s] for _, group in ours for s in group.scenarios))


def cover(draft: Draft, g: int) -> None:
    """Every task of a step is covered by exactly one option, in the form that the scenario taken has."""
    model, group = draft.model, draft.groups[g]
    for i, forms in enumerate(group.slots):
        for j, slot in enumerate(forms):
            picked = draft.picked[g, i, j] = [(model.boolean(), c) for c in draft.candidates[g, i, j]]
            for x, c in picked:
                option = slot.step.options[c.option]
                draft.step_of[x] = (g, i)
                draft.users.setdefault(option.station, []).append((x, c, option))
                draft.cost.append((x, option.cost))
                draft.energy.append((x, option.energy))
                for visit in option.visits:
                    draft.visitors.setdefault(visit.server, []).append(
                        Visitor(x, visit.work_ns, visit.load_ppb, group.flow)
                    )
            taken: Terms = (
                [(draft.present[g], -1)] if len(forms) == 1 else [(draft.taken[s], -1) for s in slot.scenarios]
            )
            for task in range(slot.step.tasks):
                options = slot.step.options
                here = [x for x, c in picked if options[c.option].first <= task <= options[c.option].last]
                if len(forms) == 1 and model.domains[draft.present[g]] == (1, 1) and here:
                    model.one_of.append(tuple(here))
                else:
                    model.add([*((x, 1) for x in here), *taken], 0, 0)
            if slot.step.tasks > 1:
                _part(draft, slot.step, picked)


def _part(draft: Draft, step: Step, picked: list[tuple[int, Candidate]]) -> None:
    """Of neighbouring parts of a step, at most one is in a pool: two there would be one part, not cut at all."""
    for task in range(step.tasks - 1):
        beside: dict[int, list[int]] = {}
        for x, c in picked:
            option = step.options[c.option]
            if (option.last == task or option.first == task + 1) and option.site not in draft.merged:
                beside.setdefault(draft.problem.stations[option.station].pool, []).append(x)
        for literals in beside.values():
            if len(literals) > 1:
                draft.model.add([(x, 1) for x in literals], None, 1)


def sites(draft: Draft, g: int, end: End) -> dict[int, int]:
    """By site, the literal that says that this end of a message is there."""
    if end.step < 0:
        return {end.site: draft.present[g]}
    key = (g, end.step, end.task)
    if key not in draft.sites:
        at: dict[int, list[int]] = {}
        for x, _, option in draft.picks(g, end.step):
            if option.first <= end.task <= option.last:
                at.setdefault(option.site, []).append(x)
        draft.sites[key] = {site: draft.model.any_of(literals) for site, literals in at.items()}
    return draft.sites[key]
