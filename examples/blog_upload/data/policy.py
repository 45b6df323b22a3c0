"""The house rules of the blog: what is decided about a picture of one kind under a caption of one kind."""

from __future__ import annotations

from typing import Final

from data.captions import KINDS

VERDICTS: Final = ("publish", "review", "reject")
"""A verdict's number is its place here."""

MARKS: Final = ("plain", "banned", "price", "phone")
"""Kinds of pictures, by the mark written on them; a kind's number is its place here and in vision's `score`."""

MARK_OF_DIGIT: Final = (0, 0, 0, 0, 2, 2, 3, 1, 1, 3)
"""The handwritten digit that stands for each mark: 0-3 plain, 4 and 5 price, 6 and 9 phone, 7 and 8 banned."""

_PUBLISH, _REVIEW, _REJECT = range(3)
_RULES: Final = {
    # caption:  story     question   advert    insult
    "plain": (_PUBLISH, _PUBLISH, _PUBLISH, _PUBLISH),
    "banned": (_REJECT, _REJECT, _REJECT, _REJECT),
    "price": (_PUBLISH, _REVIEW, _REJECT, _REVIEW),
    "phone": (_REVIEW, _PUBLISH, _REJECT, _REJECT),
}


def verdict(mark: int, caption_kind: int) -> int:
    """What a moderator who sees both would decide: a number of `VERDICTS`.

    A price under a story is part of the story, under an advert it is trade, otherwise somebody should look. A phone
    number under a question is lost property, under a story it may be private, under an insult it is a call to harass.
    """
    assert len(KINDS) == len(_RULES[MARKS[mark]])
    return _RULES[MARKS[mark]][caption_kind]
