"""The functions of this application: named inputs come in, a mapping of outputs goes out."""

import numpy as np
from numpy.typing import NDArray

WORDS = ("now", "urgent", "immediately", "help", "down")


def urgency(text: str) -> dict[str, NDArray[np.int64]]:
    """1 where the text asks for something at once, else 0."""
    words = text.lower().split()
    return {"urgent": np.array([int(any(w.strip(".,!?") in WORDS for w in words))], dtype=np.int64)}
