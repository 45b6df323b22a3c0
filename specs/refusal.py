"""What pydantic refuses, in the words of the files: which field, what was expected, and what stands there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Step = str | int

EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "nothing",
}
"""By pydantic's kind of error."""

_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("gt", "a number above {:g}"),
    "greater_than_equal": ("ge", "a number of at least {:g}"),
    "less_than": ("lt", "a number below {:g}"),
    "less_than_equal": ("le", "a number of at most {:g}"),
    "too_short": ("min_length", "a length of at least {:g}"),
    "too_long": ("max_length", "a length of at most {:g}"),
    "string_too_short": ("min_length", "text of at least {:g} characters"),
    "string_too_long": ("max_length", "text of at most {:g} characters"),
}


def field_name(path: Sequence[Step]) -> str:
    """``("assignments", 0, "site")`` as ``assignments[0].site``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def refusal(error: Mapping[str, Any], path: Sequence[Step] | None = None) -> str:
    """One of a ValidationError's ``errors()`` as a sentence that names the field; `path` where its own is not right."""
    kind = str(error["type"])
    steps = [s for s in error["loc"] if isinstance(s, int) or _is_word(s)] if path is None else list(path)
    if kind == "missing":
        outer = field_name(steps[:-1])
        return f"{outer}: the key {steps[-1]!r} is missing" if outer else f"the key {steps[-1]!r} is missing"
    if kind == "extra_forbidden":
        outer = field_name(steps[:-1])
        return f"{outer}: unknown key {steps[-1]!r}" if outer else f"unknown key {steps[-1]!r}"
    name = field_name(steps)
    return f"{name}: {problem(error)}" if name else problem(error)


def problem(error: Mapping[str, Any]) -> str:
    """What is wrong with the value itself."""
    kind, given, context = str(error["type"]), error.get("input"), error.get("ctx") or {}
    if kind == "json_invalid":
        return f"not JSON: {context.get('error', error['msg'])}"
    if kind == "literal_error":
        return f"expected {context.get('expected', '')}, got {shown(given)}"
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}, got {shown(given)}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"expected {words.format(context.get(key, 0))}, got {shown(given)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]}"


def shown(value: object) -> str:
    """A value as it may stand in a message: its kind alone where it is large."""
    if isinstance(value, dict):
        return "keys with values" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_word(step: object) -> bool:
    """Whether a step of a location is a key, not the name of a type or validator that pydantic puts in."""
    text = str(step)
    return not any(c in text for c in "[](") and not text.startswith("function-")
