"""A queue with one reader that parks: what a worker's thread lives on.

Any number of threads append, also from signal handlers and finalizers: ``items`` is a deque, whose
single operations are atomic, and *alert*, if not empty, tells the putter that there is more to do
than that. So a put to a busy worker is one append and one look.

Putting and parking can cross: the reader first says that it is parked, then looks at the items
again, then parks; a putter first appends, then looks at the alert. One of the two sees the other.

To say that it is parked the reader puts up a new list. A putter rings and then empties the very
list that it saw: those after it need not ring again, and a reader that has parked anew meanwhile,
with another list, is not touched. A putter that an exception strikes in between leaves the list
full, so the next one rings.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any, Callable, Deque, List, Sequence

from .._time.clock import Bell, QueueBell

__all__ = ["CALM", "DEAD", "SWEEP", "Mailbox"]

_NO_GIL = not getattr(sys, "_is_gil_enabled", lambda: True)()

CALM: Sequence[Any] = ()
"""Append, and that is all."""
SWEEP: Sequence[Any] = ("sweep",)
"""The next message that comes shall have what is left of ended requests cleared away."""
DEAD: Sequence[Any] = ("dead",)
"""The reader's thread has ended: nothing will be read any more."""


class Mailbox:
    """The queue, and how its reader is woken.

    Attributes: *items*; *alert*, one of the above or a list while parked, written by the reader
    and, inside the section, by the keeper; the reader's *bell*; *reader*, who sees to what is left
    when it is dead: the ledger's member for a producer's mailbox, the desk for its keeper's.
    """

    __slots__ = ("alert", "bell", "items", "reader", "ring")

    def __init__(self) -> None:
        self.items: Deque[Any] = deque()
        self.alert: Sequence[Any] = CALM
        self.hang(QueueBell())
        self.reader: Any = None

    def hang(self, bell: Bell) -> None:
        """Make *bell* the one that the reader parks on."""
        self.bell: Bell = bell
        self.ring: Callable[[Any], Any] = bell.ring

    def put(self, item: Any) -> None:
        """Append *item*; wake the reader if it is parked. Never blocks."""
        self.items.append(item)
        if self.alert:
            self.attend()

    def attend(self) -> None:
        """The rest of a put when there is an alert: wake the reader, or clear up after it."""
        alert: Any = self.alert
        if alert.__class__ is list:
            self.ring(None)
            alert.clear()
        elif alert is DEAD and self.reader is None:
            # A producer's is emptied inside the section: what others asked gets its verdict there.
            self.items.clear()

    def emptied(self) -> List[Any]:
        """Take everything out that is in now; others may be at it too."""
        taken: List[Any] = []
        for _ in range(len(self.items)):
            try:
                taken.append(self.items.popleft())
            except IndexError:
                break
        return taken

    def backlog(self) -> int:
        """How many messages wait."""
        return len(self.items)

    def busy_with(self, key: Any) -> Any:
        """The hand that makes messages of *key* wait: with one reader none does."""
        return None

    def park(self) -> None:
        """Wait until there is an item, perhaps. The reader's thread only."""
        self.alert = [True]
        if _NO_GIL:
            # Nothing to rotate, but it takes the deque's own lock: the look cannot come before
            # the alert. (The workers of producers have the section's lock in between.)
            self.items.rotate(0)
        if not self.items:
            self.bell.park()
        self.alert = CALM

    def parked(self) -> bool:
        """Whether the reader waits for the bell, or is about to."""
        return self.alert.__class__ is list
