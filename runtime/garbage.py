"""Python's search for garbage, in processes that answer within milliseconds."""

from __future__ import annotations

import gc


def settle() -> None:
    """Leave all objects that are there now out of the search, which else holds up whatever is being answered: among
    the objects of Ray and of models it takes a tenth of a second, on a slow site ten times that.
    """
    gc.freeze()


def settle_anew() -> None:
    """The same, once what is no longer needed of what was left out before has been found."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
