"""A mailbox with several readers, in which messages of one key wait for each other.

Its readers are the hands of one producer. What they take, they take inside the section of the
producer's home, the oldest first of what may be begun: a message whose key another hand is busy
with goes to the shelf of that key, where it is found again when the key is free.

Putters ring as for any mailbox: there is an alert while a hand is parked, put up before that hand
looks at the messages for the last time. One ring wakes one hand; a hand that takes a message and
sees that there may be more wakes the next. Only hands change the list of the parked, each for
itself and inside the section: a putter that was held after it rang could forget one that has taken
a message meanwhile and parked again.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

from .._core.member import Hand
from .._core.records import IDLE, STOP
from .mailbox import CALM, DEAD, Mailbox

__all__ = ["Rack", "key_of"]


def key_of(entry: Any) -> Any:
    """The ordering key of a request, to be compared by identity; None for none."""
    return None if entry.extra is None else entry.extra.key


class Rack(Mailbox):
    """The mailbox, its shelves, and who is parked at it."""

    __slots__ = ("_busy", "_closed", "_numbers", "_parked", "_shelves")

    def __init__(self) -> None:
        self._parked: Deque[Hand] = deque()
        super().__init__()
        #: The keys that hands are busy with.
        self._busy: Dict[Any, Hand] = {}
        self._shelves: Dict[Any, Deque[Tuple[int, Any]]] = {}
        self._numbers = itertools.count()
        self._closed = False

    def hang(self, bell: Any) -> None:
        """Make *bell* that of the first hand, which may be parked before there are others."""
        self.bell = bell
        self.ring = self.wake

    def wake(self, _: None = None) -> None:
        """Wake one hand that is parked. From anywhere; never blocks."""
        try:
            hand = self._parked[-1]
        except IndexError:
            self.bell.ring(None)
            return
        hand.ring()

    def emptied(self) -> List[Any]:
        """Take everything out that is in now, from the shelves too, the oldest first."""
        shelved = sorted(itertools.chain(*self._shelves.values()), key=lambda pair: pair[0])
        self._shelves.clear()
        return [entry for _, entry in shelved] + super().emptied()

    def backlog(self) -> int:
        """How many messages wait, on the shelves too."""
        return len(self.items) + sum(map(len, self._shelves.values()))

    def busy_with(self, key: Any) -> Optional[Hand]:
        """The hand that has *key*."""
        return self._busy.get(key)

    # -- its readers, inside the section -------------------------------------------------------

    def take(self, hand: Hand) -> Any:
        """What *hand* has to serve; STOP; or IDLE: it counts as parked, and shall wait for a ring.

        The key of what it gets is its own until it is :meth:`done` with it.
        """
        if self._closed:
            return STOP
        # In this order: who appends after the last look sees the alert.
        if hand not in self._parked:
            self._parked.append(hand)
        self.alert = [True]
        found = self._oldest(hand)
        if found is IDLE:
            return IDLE
        self._parked.remove(hand)
        if found is STOP:
            self.close()
            return STOP
        self.alert = [True] if self._parked else CALM
        self.look_round()
        return found

    def done(self, key: Any) -> None:
        """The hand that had *key* is done with what it took."""
        self._busy.pop(key, None)

    def look_round(self) -> None:
        """Wake a hand if there may be something for it."""
        if self._parked and (self.items or any(key not in self._busy for key in self._shelves)):
            self.wake()

    def close(self) -> None:
        """No hand takes anything any more."""
        self._closed = True
        if self.alert is not DEAD:
            self.alert = CALM
        for hand in self._parked:
            hand.ring()

    def forked(self) -> None:
        """In a forked child, where one hand is left: it ends when it comes back."""
        self._closed = True
        self._parked.clear()

    # -- inside --------------------------------------------------------------------------------

    def _oldest(self, hand: Hand) -> Any:
        """The oldest message that may be begun; STOP when it is the oldest of all, else IDLE."""
        # What is on a shelf is older than what was never looked at.
        free = [key for key in self._shelves if key not in self._busy]
        while free:
            key = min(free, key=lambda each: self._shelves[each][0][0])
            shelf = self._shelves[key]
            entry = shelf.popleft()[1]
            if not shelf:
                del self._shelves[key]
                free.remove(key)
            if entry.completion is None:
                self._busy[key] = hand
                return entry
        while True:
            try:
                entry = self.items.popleft()
            except IndexError:
                return IDLE
            if entry is STOP:
                self.items.appendleft(STOP)
                return IDLE if self._shelves else STOP
            if entry.completion is not None:
                continue
            key = key_of(entry)
            if key is None:
                return entry
            if key not in self._busy:
                self._busy[key] = hand
                return entry
            self._shelves.setdefault(key, deque()).append((next(self._numbers), entry))
