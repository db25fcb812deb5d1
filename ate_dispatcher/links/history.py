"""The last of what was said, for who has missed some of it."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Callable, Deque, Generic, Iterator, Tuple, TypeVar

__all__ = ["History"]

_KEPT, _BYTES = 5_000, 16 * 1024 * 1024
"""So many are kept at most, and so much text of them."""

T = TypeVar("T")


class History(Generic[T]):
    """Numbered from 1; on the link's thread alone."""

    __slots__ = ("_kept", "last", "lost", "size")

    def __init__(self) -> None:
        #: The number of the newest.
        self.last: int = 0
        #: That of the newest that is not kept though somebody may ask for it.
        self.lost: int = 0
        # Each with when it was said, and how long it is.
        self._kept: Deque[Tuple[float, int, T]] = deque()
        #: The bytes of all that are kept.
        self.size: int = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def first(self) -> int:
        """The number of the oldest that is kept; that of the next one, if none is."""
        return self.last + 1 - len(self._kept)

    def add(self, item: T, size: int, now: float, room: int = _BYTES) -> int:
        """One more, of *size* bytes; its number. All that are kept have no more than *room*."""
        self.last += 1
        self._kept.append((now, size, item))
        self.size += size
        while len(self._kept) > _KEPT or self.size > room:
            self.lost = self.first
            self._drop()
        return self.last

    def forget(self, before: float, matters: Callable[[T], bool]) -> None:
        """What was said *before* is not kept; what *matters* of it is lost by that."""
        while self._kept and self._kept[0][0] < before:
            if matters(self._kept[0][2]):
                self.lost = self.first
            self._drop()

    def forget_until(self, number: int) -> None:
        """Nobody will ask for any up to that *number*."""
        for _ in range(self.first, min(number, self.last) + 1):
            self._drop()

    def items(self, first: int, last: int) -> Iterator[Tuple[int, int, T]]:
        """Those from *first* to *last* that are kept: number, size and what it was."""
        oldest = self.first
        there = islice(self._kept, max(0, first - oldest), max(0, last + 1 - oldest))
        for number, (_, size, item) in enumerate(there, max(first, oldest)):
            yield number, size, item

    def _drop(self) -> None:
        self.size -= self._kept.popleft()[1]
