"""A queue with one reader that parks, and that buries what has ended in it.

Any number of threads append, also from signal handlers and finalizers: ``items`` is a deque, whose
single operations are atomic, and *attention*, if not empty, tells the putter that there is more to
do than that. So a put to a busy reader is one append and one look.

**P1**, putting and parking: the reader puts up a fresh attention token, looks at ``items`` again,
and parks; a putter appends, looks at the token, unparks, and uses up *that* token. One of the two
sees the other. The token is a list with something in it: emptied it is no attention any more, so
those after need not unpark again, and a reader that has parked anew meanwhile, with another token,
is not touched. A putter that an exception strikes in between leaves it full: the next one unparks.

**P2**, death: attention becomes CLOSED, inside the section, and then the items are taken out,
outside; whoever appends and then sees CLOSED is responsible for what it has put.

What has ended while it waited here is a *tombstone*. Those at the front leave at once; of others
the number is kept, and when half of a long mailbox is tombstones it is swept: a few items at a time
go to a queue of their own, which is read first, so the order stays and no pass is long (P17).
"""

from __future__ import annotations

import sys
from typing import Any, Callable, List, Optional, Sequence, Tuple

from .._core.snapshots import copied
from .._time.clock import Parker, QueueParker
from .fifo import Fifo
from .room import Room
from .sentinels import IDLE, STOP, SWEPT

__all__ = ["CALM", "CLOSED", "NO_GIL", "Busy", "Mailbox"]

NO_GIL: bool = not getattr(sys, "_is_gil_enabled", lambda: True)()

CALM: Any = False
"""Append, and that is all. The singleton that a conditional jump knows without a call."""
CLOSED: Sequence[Any] = ("closed",)
"""The reader has ended: nothing will be read any more."""


class Busy(List[bool]):
    """A token of a reader that others may hold up: nobody counts on it to distribute (P18)."""


_SHORT = 64
"""From a mailbox below this length what has ended is taken at once, wherever it is."""


class Mailbox(Fifo):
    """The queue, and how its reader is woken.

    Attributes: *items*; *room*, if it has a bound; *attention*, CALM, CLOSED or a token, written by
    the reader; the reader's *parker*; *owner*, who sees to what is left when it is closed: the
    member for a producer's, None where nobody has to.
    """

    __slots__ = (
        "_append",
        "attention",
        "owner",
        "parker",
        "room",
        "tombstones",
        "unpark",
    )

    def __init__(self) -> None:
        super().__init__()
        self.room: Optional[Room] = None
        self._append: Optional[Callable[[Any], None]] = None
        self.attention: Any = CALM
        self.hang(QueueParker())
        self.owner: Any = None
        #: How many ended messages wait here, at most.
        self.tombstones: int = 0

    def hang(self, parker: Parker) -> None:
        """Make *parker* the one that the reader parks on."""
        self.parker: Parker = parker
        self.unpark: Callable[[Any], Any] = parker.unpark

    # -- putters -------------------------------------------------------------------------------

    def put(self, item: Any) -> None:
        """Append *item*, a word to the reader; wake that if it is parked. Never blocks."""
        self.items.append(item)
        if self.attention:
            self.attend()

    def deliver(self, message: Any) -> None:
        """Put *message* in, within the bound if there is one: then inside the section."""
        if self.room is None:
            self.items.append(message)
        else:
            self.append(message)
        if self.attention:
            self.attend()

    @property
    def append(self) -> Callable[[Any], None]:
        """What messages are put in with, within the bound if there is one."""
        return self._append or self.items.append

    @property
    def popleft(self) -> Callable[[], Any]:
        """What who takes them without the section does it with; IndexError without any."""
        return self.items.popleft

    def attend(self) -> None:
        """The rest of a put when there is attention: wake the reader, or clear up after it."""
        attention: Any = self.attention
        if isinstance(attention, list):
            unpark = self.unpark
            unpark(None)
            attention.clear()
        elif attention is CLOSED and self.owner is None:
            try:
                # What was just put; whoever has put it holds it, so nothing is dropped here.
                item = self.items.pop()
            except IndexError:
                return
            # Or what another has put, if the reader was quicker with that.
            missed_by = getattr(item, "missed_by", None)
            if missed_by is not None:
                missed_by(self)

    # -- the reader ----------------------------------------------------------------------------

    def take(self, worker: Any) -> Any:
        """What is next; IDLE if nothing is: then the reader counts as parked. Inside the section.

        *worker* is who asks; here there is only one.
        """
        item = self.oldest()
        if item is IDLE:
            self.attention = [True]
        elif item is not STOP:
            self._came_out(1)
        return item

    def oldest(self) -> Any:
        items = self.items
        while True:
            # Others may take one out, too: it has ended, or its producer has.
            try:
                item = items.popleft()
            except IndexError:
                return IDLE
            if item is not SWEPT:
                return item
            item = super().oldest()
            self._mark()
            return item

    def _mark(self) -> None:
        """SWEPT stands in front of the items exactly while something older lies beside them."""
        items = self.items
        marked = bool(items) and items[0] is SWEPT
        if self.has_older():
            if not marked:
                items.appendleft(SWEPT)
        elif marked:
            items.popleft()

    def idles(self, worker: Any) -> bool:
        """Whether *worker* shall `rest` after IDLE. Inside the section."""
        return True

    def rest(self, worker: Any) -> None:
        """After IDLE: park, unless there is something. Outside the section, on the reader."""
        # The token is up: who appended before that is seen here, later ones see it (P1).
        if not self.items:
            park = self.parker.park
            park()
        self.attention = CALM

    def park(self, other: object = None) -> None:
        """Wait until there is an item, perhaps, unless *other* is true: there is more to do.

        The reader, which takes without the section.
        """
        self.attention = [True]
        if NO_GIL:
            # Nothing to rotate, but it takes the deque's own lock: the look cannot come before
            # the token. (Where `take` is used the section's lock is in between.)
            self.items.rotate(0)
        if not self.items and not other:
            park = self.parker.park
            park()
        self.attention = CALM

    def arm(self) -> bool:
        """Have the next put unpark the reader, which waits for more than this (P1).

        False if something is in already. Nobody counts on it to distribute (P18).
        """
        self.attention = Busy([True])
        if NO_GIL:
            self.items.rotate(0)
        if self.items:
            self.attention = CALM
            return False
        return True

    def disarm(self) -> None:
        """The reader is awake again."""
        self.attention = CALM

    def is_exceeded(self) -> bool:
        """Whether more is in than there is room for, and who brings more shall wait."""
        return False

    def reserve(self, key: int, places: List[int]) -> bool:
        """Let a value have a place before it is put in, noted in *places* by *key*.

        False if there is none; where none is needed there is one.
        """
        return True

    def parked(self) -> bool:
        """Whether the reader waits to be unparked, or is about to."""
        return isinstance(self.attention, list)

    def end(self) -> None:
        """No reader takes anything any more; with one there is nobody to tell. In the section."""

    def let_go(self, worker: Any) -> None:
        """*worker* takes nothing any more. Inside the section."""

    # -- inside the section --------------------------------------------------------------------

    def close(self) -> None:
        """Nothing is read any more: take out what is left, outside (P2). Inside the section."""
        self.attention = CLOSED

    def backlog(self) -> int:
        """How many messages wait."""
        waiting = super().backlog()
        try:
            return waiting - (self.items[0] is SWEPT)
        except IndexError:
            return waiting

    def emptied(self) -> List[Any]:
        """Take everything out that is in now, the oldest first; others may be at it too.

        Inside the section, or when it is closed.
        """
        self.tombstones = 0
        out = [item for item in super().emptied() if item is not SWEPT]
        self._came_out(sum(item is not STOP for item in out))
        return out

    def limit(self, size: int, declines: Callable[[Any], None]) -> None:
        """Let *size* requests wait here at most; *declines* is called with each that is too many.

        On the thread that sends it. Before anybody can reach it.
        """
        self.room = room = Room(size)
        items = self.items

        def append(request: Any) -> None:
            if not room.admit(request, items):
                declines(request)

        self._append = append

    def waiting(self) -> List[Any]:
        """All that waits now, left where it is. From anywhere."""
        return copied(self.items)

    def drop_oldest(self) -> Any:
        """The oldest that waits, taken out; IDLE if its reader was quicker. Inside the section."""
        try:
            return self.items.popleft()
        except IndexError:
            return IDLE

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self.items

    def _came_out(self, count: int) -> None:
        """So many requests wait here no more. Inside the section, or when it is closed."""
        if self.room is not None:
            self.room.give(count)

    def busy_with(self, key: Any) -> Any:
        """The worker that makes messages of *key* wait: with one reader none does."""
        return None

    def bury(self, request: Any) -> Tuple[List[Any], bool]:
        """*request* has ended in here. What came out, to be dropped outside; whether to sweep."""
        if self.attention is CLOSED:
            return [], False
        if self.front() is request or self.backlog() < _SHORT:
            was_in = self.remove(request)
            self._mark()
            if was_in:
                self._came_out(1)
                return [request], False
        self.tombstones += 1
        if self.tombstones * 2 <= self.backlog():
            return [], False
        # Asked for once; again when as many more have ended.
        self.tombstones = 0
        return [], True

    def sweep(
        self, limit: int = _SHORT, gone: Callable[[Any], bool] = lambda item: False
    ) -> Tuple[List[Any], bool]:
        """Look through the next *limit* messages of those that were in when the round began.

        Those that have ended, or are *gone*, come out: to be dropped, or judged, outside. And
        whether the round goes on.
        """
        if self.attention is CLOSED:
            return [], False
        if not self._round:
            self.tombstones = 0
        items = self.items
        if items and items[0] is SWEPT:
            items.popleft()
        out, more = self.look_through(
            limit,
            lambda item: item is not STOP and (item.is_over or gone(item)),
        )
        self._mark()
        self._came_out(len(out))
        if items:
            # The reader may have looked, and parked, while they were out (P1).
            self.attend()
        # What has ended behind this look wants another round.
        return out, more or self.tombstones * 2 > self.backlog()
