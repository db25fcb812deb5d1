"""Where open requests wait for their time: the arrivals, and one store of timers; pure.

Callers append a new request to the *arrivals*, one atomic operation. One that ends while it is the
oldest of them leaves again and was never anywhere else. The others are gathered, a few at a time:
those with a deadline into a heap, those without into pages, dicts so small that none takes long to
grow. The heap has a cell for each reason
why time alone may change a request: its deadline, its policy's quiet, its start line.

A cell whose reason is gone early is emptied and stays. When half of them are empty the heap is
renewed, a few cells at each call, so nothing here takes longer the more there is.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Tuple

from .durations import NEVER
from .request import Request
from .snapshots import copied

__all__ = ["OpenRequests"]

_MANY = 64
"""Below so many empty cells the heap is left alone; and so many steps are one call's share."""

_KEPT: List[Any] = []
"""The cell of a request that is in none, but no arrival any more."""

_PAGE = 10
"""What a number is shifted by to the number of its page."""

_REASON, _REQUEST = 3, 4


class OpenRequests:
    """The store. Changed inside the section, but for what callers append to ``arrivals``."""

    def __init__(self) -> None:
        self.arrivals: Deque[Request] = deque()
        #: Whether there are ended requests among the arrivals: somebody should gather.
        self.stale: bool = False
        #: Ended ones that came out on the way, to be dropped outside by whoever finds them (P16).
        self.left: List[Request] = []
        #: Those whose end has begun, and goes on in parts; they are nowhere else.
        self.endings: Deque[Request] = deque()
        self._pages: Dict[int, Dict[int, Request]] = {}
        #: How many requests have a deadline's cell.
        self._timed = 0
        self._heap: List[List[Any]] = []
        #: The heap before, while it is renewed: its live cells move, a few at a time.
        self._old: List[List[Any]] = []
        self._empty = 0
        self._numbers = itertools.count()

    # -- requests ------------------------------------------------------------------------------

    def keep(self, request: Request) -> None:
        """It is no arrival any more, whether or not it is still in the queue."""
        if request.deadline == NEVER:
            request.cell = _KEPT
            page = self._pages.get(request.id >> _PAGE)
            if page is None:
                page = self._pages[request.id >> _PAGE] = {}
            page[request.id] = request
        else:
            # In the order of sending at one instant, before all else that is due then.
            request.cell = [request.deadline, 0, request.id, request, request]
            heapq.heappush(self._heap, request.cell)
            self._timed += 1
        line = request.line
        if line is not None and request.sent + line.after < request.deadline:
            self.expect(line, request.sent + line.after, request)

    def release(self, request: Request) -> None:
        """It has ended, or is about to."""
        if request.cell is None:
            arrivals = self.arrivals
            for _ in range(_MANY):
                eldest = arrivals.popleft() if arrivals else request
                if eldest is request:
                    break
                if eldest.completion is not None:
                    self.left.append(eldest)
                elif eldest.cell is None:
                    self.keep(eldest)
            else:
                self.stale = True
            request.cell = _KEPT
        elif request.cell is _KEPT:
            # It may have been taken out by whoever ends it.
            page = self._pages.get(request.id >> _PAGE)
            if page is not None:
                page.pop(request.id, None)
                if not page:
                    del self._pages[request.id >> _PAGE]
        else:
            self._timed -= 1
            self.forget(request)
            request.cell = _KEPT

    def gather(self, limit: int = _MANY) -> List[Request]:
        """Take the oldest *limit* arrivals in; the ended ones of them, to be dropped outside."""
        arrivals = self.arrivals
        over: List[Request] = []
        for _ in range(min(limit, len(arrivals))):
            request = arrivals.popleft()
            if request.completion is not None:
                over.append(request)
            elif request.cell is None:
                self.keep(request)
        if not arrivals:
            self.stale = False
        self._renew(limit // 4)
        return over

    def take_any(self) -> Tuple[bool, Optional[Request]]:
        """Whether there was anything; a gathered request, not kept any more, or an empty cell."""
        if self._pages:
            number, page = self._pages.popitem()
            _, request = page.popitem()
            if page:
                self._pages[number] = page
            return True, request
        heap = self._old or self._heap
        if not heap:
            return False, None
        # From the end, where taking one away leaves a heap.
        cell = heap.pop()
        reason, request = cell[_REASON], cell[_REQUEST]
        if reason is None:
            self._empty -= 1
            return True, None
        if reason is not request:
            reason.cell = None
            return True, None
        request.cell = _KEPT
        self._timed -= 1
        return True, request

    def all(self) -> Iterator[Request]:
        """Every one that is open, in no order. On any thread; exact at a quiet moment."""
        seen = set()
        endless = [each for page in copied(self._pages.values()) for each in copied(page.values())]
        ending = copied(self.endings)
        for request in (*copied(self.arrivals), *endless, *self._timed_ones(), *ending):
            if request.completion is None and request.id not in seen:
                seen.add(request.id)
                yield request

    def __bool__(self) -> bool:
        """Whether any is open, or may be."""
        return bool(self.arrivals or self._timed or self._pages or self.endings)

    def _timed_ones(self) -> List[Request]:
        # Each field is read once: it may be emptied meanwhile.
        pairs = [(cell[_REASON], cell[_REQUEST]) for cell in (*self._heap[:], *self._old[:])]
        return [reason for reason, request in pairs if reason is not None and reason is request]

    # -- reasons -------------------------------------------------------------------------------

    def expect(self, reason: Any, instant: float, request: Request) -> None:
        """Give both back when *instant* is past, unless that is expected sooner already.

        A *reason* is what has a ``cell``.
        """
        if reason.cell is not None and reason.cell[0] <= instant:
            return
        self.forget(reason)
        reason.cell = [instant, 1, next(self._numbers), reason, request]
        heapq.heappush(self._heap, reason.cell)

    def forget(self, *reasons: Any) -> None:
        """They are none any more, if they were."""
        for reason in reasons:
            if reason is not None and reason.cell is not None:
                reason.cell[_REASON] = reason.cell[_REQUEST] = reason.cell = None
                self._empty += 1
        if self._empty > _MANY and self._empty * 2 > len(self._heap) and not self._old:
            self._old, self._heap = self._heap, []
        self._renew(2)

    def past(self, now: float) -> Optional[Tuple[Any, Optional[Request]]]:
        """What is due first, if its instant is before *now*, each once; None for nothing.

        Without a request it was an empty cell.
        """
        heap = self._first()
        if not heap or not heap[0][0] < now:
            return None
        _, _, _, reason, request = heapq.heappop(heap)
        if request is None:
            self._empty -= 1
        elif reason is request:
            self._timed -= 1
            request.cell = _KEPT
        else:
            reason.cell = None
        return reason, request

    def next_instant(self) -> float:
        """The first instant at which time alone may change something; NEVER without any.

        -inf while there are empty cells before it, or ends go on: come again.
        """
        if self.endings:
            return -math.inf
        for _ in range(_MANY):
            heap = self._first()
            if not heap:
                return NEVER
            if heap[0][_REASON] is not None:
                instant: float = heap[0][0]
                return instant
            heapq.heappop(heap)
            self._empty -= 1
        return -math.inf

    def _first(self) -> List[List[Any]]:
        """The heap that has the first cell."""
        if not self._old:
            return self._heap
        return self._heap if self._heap and self._heap[0] < self._old[0] else self._old

    def _renew(self, limit: int) -> None:
        for _ in range(min(limit, len(self._old))):
            cell = self._old.pop()
            if cell[_REASON] is None:
                self._empty -= 1
            else:
                heapq.heappush(self._heap, cell)

    def check(self) -> None:
        """Raise AssertionError if it is not in order. Inside the section, or alone."""
        cells = [*self._heap, *self._old]
        empty = [cell for cell in cells if cell[_REASON] is None]
        assert len(empty) == self._empty, (len(empty), self._empty)
        timed = [cell for cell in cells if cell[_REASON] is not None and cell[1] == 0]
        assert len(timed) == self._timed, (len(timed), self._timed)
        assert all(cell[_REASON].cell is cell for cell in cells if cell[_REASON] is not None)
        for heap in (self._heap, self._old):
            assert all(heap[(at - 1) // 2] <= heap[at] for at in range(1, len(heap)))
        endless = [each for page in self._pages.values() for each in page.values()]
        assert all(self._pages.values())
        for request in (*endless, *(cell[_REQUEST] for cell in timed)):
            assert request.completion is None, request.id
            assert request.cell is not None
