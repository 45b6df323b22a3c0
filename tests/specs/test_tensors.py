"""Types of values, as written in YAML."""

import pytest

from specs.tensors import DTYPES, parse_type


@pytest.mark.parametrize(("short", "numpy"), [(s, n) for s, n in DTYPES.items() if s != n])
def test_an_element_named_as_numpy_does_is_answered_with_its_short_name(short: str, numpy: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean '{short}\[3,4\]'\?"):
        parse_type(f"{numpy}[3,4]")
    with pytest.raises(ValueError, match=rf"did you mean '{short}'\?"):
        parse_type(numpy)


def test_a_word_that_is_no_element_is_not_guessed() -> None:
    with pytest.raises(ValueError, match=r"got 'picture'$"):
        parse_type("picture")
