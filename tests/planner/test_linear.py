"""Linear relaxations: their bounds are below every answer, and what they fix no better answer uses."""

from __future__ import annotations

import itertools

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.solver.linear import LinearRelaxation
from planner.solver.model import Model, Terms

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


@settings(max_examples=50, deadline=None)
@given(models(), st.integers(1, 3))
def test_of_literals_of_which_one_is_true_so_many_are_kept_as_asked_for(made: tuple[Model, Terms], number: int) -> None:
    model, objective = made
    assume(answers(model))
    bound = LinearRelaxation(model, objective, []).solve([], 10.0)
    assert bound is not None
    domains = bound.cheapest(number, model, model.domains)
    assert sum(domains[v] == (0, 1) for v in range(3)) == number
    assert domains[3:] == model.domains[3:]


def test_a_bound_is_exact_where_numbers_are_large() -> None:
    model = Model()
    x = model.integer(0, 10**12)
    model.add([(x, 3 * 10**9)], 10**18 + 1, None)
    bound = LinearRelaxation(model, [(x, 7)], []).solve([], 10.0)
    assert bound is not None
    assert bound.value <= 7 * (-(-(10**18 + 1) // (3 * 10**9)))
    assert bound.value >= 7 * (10**18 // (3 * 10**9)) - 1
