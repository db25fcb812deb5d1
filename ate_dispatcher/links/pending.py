"""Requests of ours, as far as members elsewhere have not answered them."""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List, NamedTuple, Optional, Set, Tuple

from .._core.outcomes import Standing, Verdict
from .._core.request import Request
from .._engine.link import RemoteMember, Route

__all__ = ["OTHERS", "Packed", "Pending", "PendingRequests", "Said"]

OTHERS = ("", 0)
"""In the place of a part and a key: whoever there is."""

_KEPT = 10_000
"""So many requests that have ended are kept, for what may still come of them;"""

_LONG = 60.0
"""and so many seconds each."""

Said = Tuple[Verdict, Optional[Standing]]
"""What is said of a member without an answer, and where it stood."""


class Packed(NamedTuple):
    """What a request carries, as text."""

    args: str
    kwargs: str
    options: str


class Pending:
    """A request of ours with members elsewhere that have not answered, by part and key."""

    __slots__ = ("late", "left", "packed", "request", "said", "since", "withdrawn")

    def __init__(self, request: Request, packed: Packed, route: Route, now: float) -> None:
        self.request: Request = request
        #: What it carries, until that was sent.
        self.packed: Optional[Packed] = packed
        self.left: Dict[Tuple[str, int], RemoteMember] = route.places.copy()
        self.since: float = now
        #: What was said of members before it had ended here: clocks differ a little.
        self.said: Optional[Dict[RemoteMember, Said]] = None
        #: Likewise, of those who were late there.
        self.late: Optional[List[Tuple[str, int, int, float, float]]] = None
        #: Who was asked, and disabled after that.
        self.withdrawn: Optional[Set[Tuple[str, int]]] = None

    def parts(self) -> List[str]:
        """Those of whose members something may still come."""
        return list(dict.fromkeys(part for part, _ in self.left if part))

    def of(self, part: str) -> List[Tuple[str, int]]:
        """Those of it."""
        return [each for each in self.left if each[0] == part]

    def debtors(self) -> List[str]:
        """Those that owe an answer to it, having been asked."""
        return self.parts() if self.packed is None and not self.request.is_over else []


class PendingRequests(Dict[int, Pending]):
    """Those of one link, by their ids; in the order in which they were asked."""

    def __init__(self) -> None:
        super().__init__()
        #: The ids of those that have not ended.
        self.open: Set[int] = set()
        #: Those that have, and when.
        self._ended: Deque[Tuple[float, int]] = deque()

    def begins(self, pending: Pending) -> None:
        """One more."""
        self[pending.request.id] = pending
        self.open.add(pending.request.id)

    def ends(self, number: int, now: float) -> None:
        """That one has ended; what comes of who has not answered is waited for."""
        self.open.discard(number)
        self._ended.append((now, number))

    def answered(self, number: int, pending: Pending, place: Tuple[str, int]) -> None:
        """Nothing more comes of the member at that *place*."""
        del pending.left[place]
        if not pending.left:
            self.forget(number)

    def forget(self, number: int) -> None:
        """Nothing more comes of it."""
        self.pop(number, None)
        self.open.discard(number)

    def forget_old(self, now: float) -> None:
        """What has ended long ago is not waited for."""
        ended = self._ended
        while ended and (len(ended) > _KEPT or ended[0][0] < now - _LONG):
            self.pop(ended.popleft()[1], None)

    def debtors(self, before: float) -> List[str]:
        """The parts that owe an answer to what was asked *before* that, and has not ended."""
        found: Dict[str, None] = {}
        for number in self.open:
            pending = self[number]
            if pending.since < before:
                found.update(dict.fromkeys(pending.debtors()))
        return list(found)

    def owe(self, part: str) -> bool:
        """Whether that part owes an answer."""
        return any(part in self[number].debtors() for number in self.open)
