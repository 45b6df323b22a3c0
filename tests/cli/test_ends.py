"""What the ends of a path are called."""

from dataclasses import dataclass

from planner.cli.ends import ends


@dataclass(frozen=True)
class Way:
    flow: str
    from_: str
    to: str


def test_the_site_is_named_only_where_requests_of_the_source_enter_at_several() -> None:
    one, other = Way("question@gateways", "question", "answer"), Way("question@office", "question", "answer")
    call = Way("call@office", "call", "answer")
    assert ends(one, [one, call]) == "question -> answer"
    assert ends(one, [one, other, call]) == "question@gateways -> answer"
    assert ends(call, [one, other, call]) == "call -> answer"
