"""Linear relaxations: their bounds are below every answer, and what they fix no better answer uses."""

from __future__ import annotations

import itertools

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.solver.linear import LinearRelaxation
from planner.solver.model import Model, Norm, Terms

FACTORS = st.integers(-(10**6), 10**6)


@st.composite
def models(draw: st.DrawFn) -> tuple[Model, Terms]:
    """Three literals of which one is true, two others, an integer, rows of them, some of which hold only at times."""
    model = Model()
    literals = [model.boolean() for _ in range(5)]
    model.one_of.append(tuple(literals[:3]))
    variables = [*literals, model.integer(0, draw(st.integers(1, 4)))]
    terms = st.lists(st.tuples(st.sampled_from(variables), FACTORS), min_size=1, max_size=6)
    for _ in range(draw(st.integers(0, 4))):
        low, high = draw(st.none() | FACTORS), draw(st.none() | FACTORS)
        model.add(draw(terms), low, high, draw(st.none() | st.sampled_from(literals)))
    return model, draw(terms)


def answers(model: Model) -> list[tuple[int, ...]]:
    """All that keep the model."""
    return [
        values
        for values in itertools.product(*(range(low, high + 1) for low, high in model.domains))
        if all(sum(values[v] for v in one) == 1 for one in model.one_of)
        and all(
            (row.when is not None and not values[row.when])
            or ((row.low is None or total >= row.low) and (row.high is None or total <= row.high))
            for row in model.rows
            for total in [sum(f * values[v] for v, f in row.terms)]
        )
    ]


def worth(objective: Terms, values: tuple[int, ...]) -> int:
    return sum(f * values[v] for v, f in objective)


@settings(max_examples=200, deadline=None)
@given(models(), st.data())
def test_no_answer_is_below_the_bound_and_what_is_better_than_the_ceiling_is_kept(
    made: tuple[Model, Terms], data: st.DataObject
) -> None:
    model, objective = made
    found = answers(model)
    assume(found)
    relaxation = LinearRelaxation(model, objective, [[(5, 1)]])
    for limits in ((0, model.domains[5][1]), data.draw(st.sampled_from([(0, 0), (1, 4), (0, 1)]))):
        within = [values for values in found if limits[0] <= values[5] <= limits[1]]
        bound = relaxation.solve([limits], 10.0)
        if bound is None:
            assert not within, "only where there is no answer there is no bound"
            continue
        assert all(worth(objective, values) >= bound.value for values in within)
        for ceiling in {worth(objective, values) + 1 for values in within} | {bound.value + 1}:
            domains = bound.below(ceiling, model.domains)
            for values in within:
                if worth(objective, values) < ceiling:
                    assert all(low <= v <= high for v, (low, high) in zip(values, domains, strict=True))


@st.composite
def deviations(draw: st.DrawFn) -> tuple[Model, Terms]:
    """Two or three steps of two literals each, with a price and a deviation; their variances keep a row of a table."""
    model = Model()
    price: Terms = []
    variance: Terms = []
    parts: Terms = []
    for _ in range(draw(st.integers(2, 3))):
        literals = (model.boolean(), model.boolean())
        model.one_of.append(literals)
        own = [(v, draw(st.integers(0, 1000))) for v in literals]
        price += [(v, draw(st.integers(0, 1000))) for v in literals]
        variance += [(v, f * f) for v, f in own]
        parts.append((model.total(own), 1))
    own = [(literals[0], 300)]
    variance.append((literals[0], 300**2))
    parts += own  # what a literal says twice
    rows = tuple((model.boolean(), draw(st.integers(0, 2 * 10**6))) for _ in range(3))
    model.one_of.append(tuple(v for v, _ in rows))
    price += [(v, draw(st.integers(0, 300))) for v, _ in rows]
    model.add([*variance, *((v, -n) for v, n in rows)], None, 0)
    model.norms.append(Norm(tuple(parts), rows))
    return model, price


@settings(max_examples=100, deadline=None)
@given(deviations())
def test_tangents_leave_all_answers_and_lift_the_bound_at_most_to_the_best(made: tuple[Model, Terms]) -> None:
    model, objective = made
    literals = [v for one in model.one_of for v in one]
    found = [values for values in (_completed(model, dict(zip(literals, c, strict=True)))
                                   for c in itertools.product((0, 1), repeat=len(literals))) if values]  # fmt: skip
    assume(found)
    relaxation = LinearRelaxation(model, objective, [])
    first, last = relaxation.solve([], 10.0), relaxation.solve([], 10.0, rounds=5)
    assert first is not None
    assert last is not None
    assert first.value <= last.value <= min(worth(objective, values) for values in found)
    for row in relaxation.tangents:
        assert all(sum(f * values[v] for v, f in row.terms) <= 0 for values in found)


def _completed(model: Model, literals: dict[int, int]) -> tuple[int, ...] | None:
    """The values of all variables, or None where a row is broken: totals follow from the literals."""
    values = [literals.get(v, 0) for v in range(len(model.domains))]
    for row in model.rows:
        total = next((v for v, f in row.terms if f == -1 and v not in literals), None)
        if total is not None and row.low == row.high == 0:
            values[total] = sum(f * values[v] for v, f in row.terms if v != total)
    fits = all(sum(values[v] for v in one) == 1 for one in model.one_of)
    kept = all((row.high is None or sum(f * values[v] for v, f in row.terms) <= row.high) for row in model.rows)
    return tuple(values) if fits and kept else None


def test_a_tangent_sees_what_the_chord_of_a_table_does_not() -> None:
    """A deviation of 130 needs 65 % of a row of 200, though 43 % of its variance are enough for the chord."""
    model = Model()
    loud, quiet = model.boolean(), model.boolean()
    model.one_of.append((loud, quiet))
    deviation = model.total([(loud, 130), (quiet, 20)])
    high, low = model.boolean(), model.boolean()
    model.one_of.append((high, low))
    model.add([(loud, 130**2), (quiet, 20**2), (high, -(200**2)), (low, 0)], None, 0)
    model.norms.append(Norm(((deviation, 1),), ((high, 200**2), (low, 0))))
    objective = [(quiet, 1000), (high, 1000)]
    relaxation = LinearRelaxation(model, objective, [])
    before, after = relaxation.solve([], 10.0), relaxation.solve([], 10.0, rounds=3)
    assert before is not None
    assert after is not None
    assert before.value < 450
    assert after.value >= 640  # 130 of 200 is needed, not 130^2 of 200^2


def test_where_nothing_keeps_the_limits_the_bound_is_above_what_anything_costs() -> None:
    model = Model()
    x, free = model.integer(0, 5), model.boolean()
    model.add([(x, 1), (free, 3)], 3, None)
    relaxation = LinearRelaxation(model, [(x, 7)], [[(x, 1)]])
    for limits, barred, least in (((0, 2), [free], 7 * 5), ((0, 3), [free], 21), ((0, 2), [], 0), ((4, 5), [], 28)):
        bound = relaxation.solve([limits], 10.0, barred=barred)
        assert bound is not None
        assert bound.value > least if least == 7 * 5 else bound.value == least


def test_a_bound_is_exact_where_numbers_are_large() -> None:
    model = Model()
    x = model.integer(0, 10**12)
    model.add([(x, 3 * 10**9)], 10**18 + 1, None)
    bound = LinearRelaxation(model, [(x, 7)], []).solve([], 10.0)
    assert bound is not None
    assert bound.value <= 7 * (-(-(10**18 + 1) // (3 * 10**9)))
    assert bound.value >= 7 * (10**18 // (3 * 10**9)) - 1
