"""The mailbox of a stream: read by threads of the user's, as many as like, and by coroutines.

They enter no section, and none of them is who must distribute what was published: its attention
stays calm, and they are woken by what is put in.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Union

from .mailbox import CLOSED, NO_GIL
from .message import Message
from .overflow import BoundedMailbox, Overflow
from .sentinels import IDLE, STOP, Word
from .waiters import Waiters

__all__ = ["StreamMailbox"]

_ENDLESS = 1 << 60


class StreamMailbox(BoundedMailbox):
    """The mailbox, with any number of places if *size* is None.

    Attributes: *readers*, who waits for something; *is_disconnected*, whether it has lost anything
    under DISCONNECT, and takes no more.
    """

    __slots__ = ("_arriving", "_dropped", "_gaps", "_refused", "is_disconnected", "readers")

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
        #: How many were lost between one and the next, if any: before this one, by identity;
        self._gaps: Dict[int, int] = {}
        #: since the last that came in; changed inside the section;
        self._refused = 0
        #: and before the first; one number at most, put in inside the section.
        self._dropped: Deque[int] = deque()

    def put(self, item: Any) -> None:
        super().put(item)
        self.readers.wake_all()

    def accept(self, message: Union[Message, Word]) -> None:
        if isinstance(message, Word):
            super().accept(message)
            self._lets_look(self.readers)
            return
        self._arriving = message
        if self.is_disconnected:
            self._lose(message)
        else:
            if self._refused and message.is_pending(self):
                # Before it can be taken.
                self._gaps[id(message)], self._refused = self._refused, 0
            super().accept(message)
        self._arriving = None
        self._lets_look(self.readers)

    def _lose(self, message: Message) -> None:
        gap = 1 + self._gaps.pop(id(message), 0)
        if message is self._arriving:
            self._refused += gap
            if self.overflow is Overflow.DISCONNECT and not self.is_disconnected:
                self.is_disconnected = True
                self._room.over.append(True)
                self.items.append(STOP)
        else:
            self.missed(gap)
        super()._lose(message)

    def missed(self, gap: int) -> None:
        """So many were lost before the first that is in. Also on a reader's thread."""
        try:
            gap += self._dropped.pop()
        except IndexError:
            pass
        self._dropped.append(gap)

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

    def lost_before(self, message: Message) -> int:
        """How many were lost between the one before and *message*, which was taken out."""
        gap = self._gaps.pop(id(message), 0)
        if self._dropped:
            try:
                gap += self._dropped.popleft()
            except IndexError:
                pass
        return gap

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
