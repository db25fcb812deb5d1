"""Copies of what other threads change meanwhile."""

from __future__ import annotations

from typing import Iterable, List, TypeVar

__all__ = ["copied"]

T = TypeVar("T")


def copied(some: Iterable[T]) -> List[T]:
    """What is in *some*, a queue or a view of a table, at one moment. On any thread."""
    while True:
        try:
            return list(some)
        except RecursionError:
            raise
        except RuntimeError:
            # It changed under the copy: take it again.
            continue
