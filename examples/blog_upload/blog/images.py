"""Pictures: what vision looks at."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE: Final = 64
MOST_BYTES: Final = 32_000_000
MOST_PIXELS: Final = 60_000_000
LEAST_SIDE: Final = 16
MOST_SCANS: Final = 64
"""A progressive JPEG may have any number of scans, each as costly as the whole picture; phones use about ten."""

_ORIENTATION: Final = 0x0112  # the EXIF tag: how the phone was held
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shrink(photo: bytes) -> dict[str, NDArray[np.uint8]]:
    """Decode a JPEG and reduce its centre square: `pixels` u8[3,64,64], red, green and blue.

    Raises ValueError for what is not a whole JPEG of ordinary size: nothing big is decoded before that is known.
    """
    if len(photo) > MOST_BYTES:
        raise ValueError(f"the picture has {len(photo)} bytes, expected {MOST_BYTES} at most")
    if photo.count(b"\xff\xda") > MOST_SCANS:
        raise ValueError(f"the picture has more than {MOST_SCANS} scans")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return {"pixels": _centre(photo)}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as failure:
        raise ValueError(f"the picture is too large: {failure}") from failure
    except (OSError, SyntaxError, EOFError, struct.error, IndexError, KeyError, TypeError) as failure:
        raise ValueError(f"not a JPEG that can be decoded: {failure}") from failure


def _centre(photo: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(photo), formats=["JPEG"]) as picture:
        width, height = picture.size
        if width * height > MOST_PIXELS or min(width, height) < LEAST_SIDE:
            raise ValueError(
                f"the picture has {width} x {height} pixels, expected {LEAST_SIDE} a side at least "
                f"and {MOST_PIXELS} in all at most"
            )
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
        # The decoder reduces by 2, 4 or 8 while it decodes, which is most of the work saved.
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        box = (left, top, left + side, top + side)
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, box=box)
    if turn is not None:
        small = small.transpose(turn)
    return np.ascontiguousarray(np.asarray(small, np.uint8).transpose(2, 0, 1))
