"""A queue with one reader that parks: what a worker's thread lives on.

Any number of threads append, also from signal handlers and finalizers: ``items`` is a deque, whose
single operations are atomic, and *alert* tells the putter whether there is more to do than that.
So a put to a busy worker is one append and one look.

Putting and parking can cross: the reader first says that it is parked, then looks at the items
again, then parks; a putter first appends, then looks at the alert. One of the two sees the other.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque

from ._clock import NEVER, Bell, LockBell

__all__ = ["DEAD", "PARKED", "SWEEP", "Mailbox"]

PARKED = 1
"""The reader waits for the bell, or is about to."""
SWEEP = 2
"""The next message that comes shall have what is left of ended requests cleared away."""
DEAD = 4
"""The reader's thread has ended: nothing will be read any more."""


class Mailbox:
    """Attributes: *items*; *alert*, bits that only the reader's side writes; the reader's *bell*;
    *reader*, the ledger's member for a producer's mailbox."""

    __slots__ = ("alert", "bell", "items", "reader")

    def __init__(self) -> None:
        self.items: Deque[Any] = deque()
        self.alert = 0
        self.bell: Bell = LockBell()
        self.reader: Any = None

    def put(self, item: Any) -> None:
        """Append *item*; wake the reader if it is parked. Never blocks."""
        self.items.append(item)
        if self.alert:
            self.attend()

    def attend(self) -> None:
        """The rest of a put when there is an alert: wake the reader, or clear up after it."""
        if self.alert & DEAD:
            self.items.clear()
        elif self.alert & PARKED:
            self.bell.ring()

    def park(self, deadline: float = NEVER) -> None:
        """Wait until there is an item, or until *deadline*. The reader's thread only."""
        self.alert = PARKED
        if not self.items:
            self.bell.wait(deadline)
        self.alert = 0

    def parked(self) -> bool:
        return bool(self.alert & PARKED)
