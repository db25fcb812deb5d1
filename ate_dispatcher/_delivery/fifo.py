"""A queue that can be looked through a few items at a time, while it is read, and keeps its order.

What was looked through goes to a queue of its own, which is read first; so a long one is never held
up for longer than a few items take, and what comes out of it is let go of by whoever looks.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, List, Tuple

from .sentinels import IDLE

__all__ = ["Fifo"]


class Fifo:
    """The queue; all but an append to ``items`` by one thread at a time."""

    __slots__ = ("_looked", "_old", "_round", "items")

    def __init__(self) -> None:
        self.items: Deque[Any] = deque()
        # In the order of age: what was looked through in this round, then what is still to be of
        # what was in the last one; and ``items``.
        self._looked: Deque[Any] = deque()
        self._old: Deque[Any] = deque()
        #: How many are still to be looked through in this round.
        self._round = 0

    def oldest(self) -> Any:
        """Take the oldest out; IDLE if there is none. Others may take one out of ``items``, too."""
        for queue in (self._looked, self._old, self.items):
            try:
                return queue.popleft()
            except IndexError:
                continue
        return IDLE

    def front(self) -> Any:
        """The oldest, without taking it out; IDLE if there is none."""
        for queue in (self._looked, self._old, self.items):
            if queue:
                return queue[0]
        return IDLE

    def has_older(self) -> bool:
        """Whether anything lies beside ``items``."""
        return bool(self._looked or self._old)

    def backlog(self) -> int:
        """How many wait."""
        return len(self.items) + len(self._looked) + len(self._old)

    def remove(self, item: Any) -> bool:
        """Take *item* out, wherever it is; whether it was in. Compared by identity, so quickly."""
        for queue in (self._looked, self._old, self.items):
            try:
                queue.remove(item)
            except (ValueError, IndexError):
                continue
            return True
        return False

    def emptied(self) -> List[Any]:
        """Take everything out that is in now, the oldest first; others may be at it too."""
        taken: List[Any] = []
        self._round = 0
        for queue in (self._looked, self._old, self.items):
            for _ in range(len(queue)):
                try:
                    taken.append(queue.popleft())
                except IndexError:
                    break
        return taken

    def look_through(self, limit: int, comes_out: Callable[[Any], bool]) -> Tuple[List[Any], bool]:
        """Look through the next *limit* of those that were in when the round began.

        What came out; and whether the round goes on.
        """
        if not self._round:
            # What was looked through in the last round is the oldest in this one.
            self._looked, self._old = self._old, self._looked
            self._round = len(self.items) + len(self._looked) + len(self._old)
        looked, old, items = self._looked, self._old, self.items
        out: List[Any] = []
        for _ in range(min(limit, self._round)):
            self._round -= 1
            try:
                item = old.popleft() if old else items.popleft()
            except IndexError:
                self._round = 0
                break
            (out if comes_out(item) else looked).append(item)
        return out, self._round > 0
