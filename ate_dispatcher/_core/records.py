"""The record of a reply: a plain tuple, made once on the hot path and then only read.

It is chained: its last field is the record of the reply before it in the same request, so the
request needs no list, and what it held at any moment is one reference. A listener gets the pair of
topic and value, and none of those before.
"""

from __future__ import annotations

from typing import Any, Iterator, Optional, Tuple

__all__ = [
    "BEGAN",
    "ERROR",
    "MEMBER",
    "PREVIOUS",
    "STAMP",
    "VALUE",
    "Close",
    "Part",
    "Record",
    "newest_first",
]

Record = Tuple[Any, ...]
"""``(value, error, member, began, stamp, previous record or None)``"""

VALUE, ERROR, MEMBER, BEGAN, STAMP, PREVIOUS = range(6)


class Part(Tuple[Any, ...]):
    """The record of a value that a stream yielded: not its producer's last word."""

    __slots__ = ()


class Close(Tuple[Any, ...]):
    """The record of a stream's end: a word without a value."""

    __slots__ = ()


def newest_first(newest: Optional[Record], seen: Optional[Record] = None) -> Iterator[Record]:
    """The records from *newest* back to the one after *seen*."""
    record = newest
    while record is not None and record is not seen:
        yield record
        record = record[PREVIOUS]
