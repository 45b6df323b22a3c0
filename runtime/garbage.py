"""Python's search for garbage, in processes that answer within milliseconds."""

from __future__ import annotations

import gc


def settle() -> None:
    """Leave all objects that are there now out of the search, which else holds up whatever is being answered: among
    the objects of Ray and of models it takes a tenth of a second, on a slow site ten times that.
    """
    gc.freeze()


def unsettle() -> None:
    """Have them looked at once more: much of what was there is no longer needed."""
    gc.unfreeze()
