"""The mailbox of a stream: read by threads of the user's, as many as like, and by coroutines.

They enter no section, and none of them is who must distribute what was published: its attention
stays calm, and they are woken by what is put in.

How many were lost before an item is exact without a lock on either side. All that comes has a
number, also what is lost at once; what was lost up to a number is kept under that, in runs; so who
has taken an item out finds what is missing before it under the number before its own. Whatever was
dropped from in front of it has left before, and is written down as soon as nobody is dropping.
"""

from __future__ import annotations

import weakref
from typing import Any, Deque, Dict, List, Optional, Tuple, Union

from .._time.clock import REAL, QueueParker
from .mailbox import CLOSED, NO_GIL
from .message import Message
from .overflow import BoundedMailbox, Overflow
from .room import Room
from .sentinels import IDLE, STOP, Word
from .waiters import Waiters

__all__ = ["StreamMailbox"]

_ENDLESS = 1 << 60

_LOOKS = 10
"""So often one looks whether somebody is dropping, and so many seconds apart: a signal handler that
reads may have interrupted that one."""
_A_MOMENT = 0.001


class StreamMailbox(BoundedMailbox):
    """The mailbox, with any number of places if *size* is None.

    Attributes: *readers*, who waits for something; *is_disconnected*, whether it has lost anything
    under DISCONNECT, and takes no more.
    """

    __slots__ = (
        "_arriving",
        "_count",
        "_is_dropping",
        "_numbers",
        "_runs",
        "is_disconnected",
        "readers",
    )

    def __init__(
        self,
        size: Optional[int],
        overflow: Overflow,
        left: Deque[Any],
        reader: weakref.ref[Any],
    ) -> None:
        super().__init__(_ENDLESS if size is None else size, overflow, left, reader)
        self.readers: Waiters = Waiters(self.items.__len__)
        self.is_disconnected: bool = False
        self._arriving: Optional[Message] = None
        #: How many came; changed inside the section.
        self._count = 0
        #: The numbers of what is in, by identity.
        self._numbers: Dict[int, int] = {}
        #: How many were lost up to that number, in one run.
        self._runs: Dict[int, int] = {}
        #: Whether the oldest was taken out, perhaps, and is not among them yet.
        self._is_dropping = False

    def put(self, item: Any) -> None:
        super().put(item)
        self.readers.wake_all()

    def accept(self, message: Union[Message, Word]) -> None:
        if isinstance(message, Word):
            super().accept(message)
            self._lets_look(self.readers)
            return
        self._count += 1
        # Before it can be taken.
        self._numbers[id(message)] = self._count
        self._arriving = message
        if self.is_disconnected:
            self._lose(message)
        else:
            super().accept(message)
        self._arriving = None
        self._lets_look(self.readers)

    def _replace_oldest(self, message: Message, room: Room) -> None:
        self._is_dropping = True
        super()._replace_oldest(message, room)
        self._is_dropping = False

    def _passes(self, message: Message) -> None:
        number = self._numbers.pop(id(message))
        self.pass_on(number, self._runs.pop(number - 1, 0))

    def _lose(self, message: Message) -> None:
        number = self._numbers.pop(id(message))
        self._runs[number] = 1 + self._runs.pop(number - 1, 0)
        is_new = message is self._arriving
        if is_new and self.overflow is Overflow.DISCONNECT and not self.is_disconnected:
            self.is_disconnected = True
            self._room.over.append(True)
            self.items.append(STOP)
        super()._lose(message)

    def pass_on(self, number: int, lost: int) -> None:
        """What has that *number* is nothing to tell of: the next one tells of what was *lost*."""
        if lost:
            self._runs[number] = lost

    # -- its readers, on any thread ------------------------------------------------------------

    def next(self, taken: List[Any]) -> Any:
        """The next message, taken out into *taken*; STOP, which stays in, or IDLE without any."""
        room = self._room
        room.take(self.items, taken)
        # Also if there was nothing: somebody may have been cut short before this.
        if room.waiting and room.has_room():
            room.waiting.wake()
        if not taken:
            return IDLE
        if taken[0] is STOP:
            self.items.appendleft(STOP)
            self.readers.wake()
        return taken[0]

    def lost_before(self, message: Message) -> Tuple[int, int]:
        """The number of *message*, which was taken out, and how many were lost before that."""
        number = self._numbers.pop(id(message))
        for _ in range(_LOOKS):
            # Whoever drops is inside the section: it is for a moment, if it is at all.
            if not self._is_dropping:
                break
            QueueParker().park_until(REAL.now() + _A_MOMENT)
        return number, self._runs.pop(number - 1, 0)

    def close(self) -> None:
        """Nothing is read any more. Here on the user's thread, without the section.

        Whoever puts something in looks at the attention after that; what comes out is taken out
        after this.
        """
        self.attention = CLOSED
        if NO_GIL:
            self.items.rotate(0)
        self.readers.wake_all()
        self._room.waiting.wake_all()
