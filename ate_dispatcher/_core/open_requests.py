"""The instants before its deadline at which time alone may change an open request, pure."""

from __future__ import annotations

import heapq
import itertools
from typing import Any, List, Optional, Tuple

__all__ = ["Alarms"]

_MANY = 64
"""Below so many cells the heap is left alone."""


class Alarms:
    """A heap with at most one cell for each reason, emptied if the reason is gone early.

    A *reason* is what has a ``cell``: how far a request is towards its need, its start line. What
    is passed in and given back as *entry* is the ledger's.
    """

    def __init__(self) -> None:
        self._heap: List[List[Any]] = []
        self._empty = 0
        self._numbers = itertools.count()

    def expect(self, reason: Any, instant: float, entry: Any) -> None:
        """Give both back when *instant* is past, unless that is expected sooner already."""
        if reason.cell is not None and reason.cell[0] <= instant:
            return
        self.forget(reason)
        reason.cell = [instant, next(self._numbers), reason, entry]
        heapq.heappush(self._heap, reason.cell)

    def forget(self, *reasons: Any) -> None:
        """They are none any more, if they were."""
        for reason in reasons:
            if reason is not None and reason.cell is not None:
                reason.cell[2] = reason.cell[3] = None
                reason.cell = None
                self._empty += 1
        heap = self._heap
        if self._empty > _MANY and self._empty * 2 > len(heap):
            heap[:] = [cell for cell in heap if cell[2] is not None]
            heapq.heapify(heap)
            self._empty = 0

    def past(self, now: float) -> Optional[Tuple[Any, Any]]:
        """One whose instant is before *now*, each once; None if there is none."""
        while self._heap and self._heap[0][0] < now:
            _, _, reason, entry = heapq.heappop(self._heap)
            if reason is not None:
                reason.cell = None
                return reason, entry
            self._empty -= 1
        return None

    def next(self) -> Optional[float]:
        """The first instant."""
        while self._heap and self._heap[0][2] is None:
            heapq.heappop(self._heap)
            self._empty -= 1
        if not self._heap:
            return None
        instant: float = self._heap[0][0]
        return instant
