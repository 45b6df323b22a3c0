"""Iterators that hold something open, such as a child process, and must be ended whatever happens."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def ended(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Leaving the context runs what a generator does last, an interruption included."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()
