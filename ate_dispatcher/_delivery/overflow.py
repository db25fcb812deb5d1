"""The mailbox of a listener, or of a stream, that has a bound; and what it does when it is full.

Everything but a STOP, or a word to its reader, is put in inside the section; a published value
under BLOCK has taken its place before, on the thread that publishes. So the section orders what is
lost, and no lock is needed for the reader, which may be on a user's thread.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Deque, List, Union

from .._core.outcomes import ByIdentity
from ..errors import BadType
from .keyed_mailbox import KeyedMailbox
from .mailbox import CLOSED, Mailbox
from .message import Message
from .room import Room
from .sentinels import IDLE, NOTHING, Word
from .waiters import Waiters

__all__ = ["Bounded", "BoundedKeyedMailbox", "BoundedMailbox", "Overflow", "check_overflow"]


class Overflow(ByIdentity):
    """What becomes of a message for a listener, or a stream, whose mailbox is full.

    Requests never wait for it. Whatever is lost counts in ``statistics()``.
    """

    BLOCK = "block"
    """A result is taken, and its producer's thread waits for room before its next request, until
    the deadline of this one at most. A published value waits as long as ``room_ms`` says, and then
    is refused (``DECLINED``). A stop ends all such waits: what was asked before is taken in beyond
    the bound then, and comes to its end. What was asked or published on another machine is taken in
    beyond the bound, too: its producer is not here to wait, and a link waits for no listener. Where
    memory must be bounded, drop."""
    DROP_OLDEST = "drop_oldest"
    """The oldest that was not heard is lost (``DECLINED``), so the newest are heard."""
    DROP_NEWEST = "drop_newest"
    """The new one is lost (``DECLINED``)."""
    DISCONNECT = "disconnect"
    """For streams: it is lost, and the stream ends with `SlowConsumer` after what it has."""


def check_overflow(overflow: object) -> None:
    """Refuse what is no policy."""
    if not isinstance(overflow, Overflow):
        raise BadType(f"overflow must be an Overflow, not {overflow!r}")


class Bounded(Mailbox):
    """A mailbox with *size* places, whatever else it is.

    Attributes: *overflow*; *reader*, whose it is, weakly; *lost*, how many messages it has lost.
    """

    if TYPE_CHECKING:
        overflow: Overflow
        reader: weakref.ref[Any]
        lost: int
        _room: Room
        _episode: int
        _left: Deque[Any]
    else:
        __slots__ = ()

    def __init__(
        self, size: int, overflow: Overflow, left: Deque[Any], reader: weakref.ref[Any]
    ) -> None:
        """What is lost is *left* there, to be let go of outside the section."""
        super().__init__()
        self.room = self._room = Room(size)
        self.overflow = overflow
        self.reader = reader
        self.lost = 0
        #: How many since it was last empty.
        self._episode = 0
        self._left = left
        this: weakref.ref[Bounded] = weakref.ref(self)
        self._append = partial(_accept, this)

    @property
    def popleft(self) -> Callable[[], Any]:
        return partial(_take, self._room, self.items)

    def put(self, item: Any) -> None:
        """A word to its reader, which takes no place."""
        self._room.over.append(True)
        super().put(item)

    def reserve(self, key: int, places: List[int]) -> bool:
        if self.overflow is not Overflow.BLOCK:
            return True
        room = self._room
        if not room.has_room() or not room.admit(key, places):
            return False
        if room.has_settled():
            return True
        # Others have looked at the same moment: that place was owed.
        places.remove(key)
        room.give()
        if room.waiting:
            # Who has looked meanwhile has not seen it.
            room.waiting.wake()
        return False

    def is_exceeded(self) -> bool:
        return self.overflow is Overflow.BLOCK and not self._room.has_settled()

    def accept(self, message: Union[Message, Word]) -> None:
        """Take *message* in, or lose one. Inside the section."""
        room, items = self._room, self.items
        if isinstance(message, Word):
            # Takes no place, like all words.
            room.over.append(True)
            items.append(message)
            return
        if self.is_empty():
            self._episode = 0
        if room.over:
            room.settle()
        has_place = message.takes_place(self)
        if not message.is_pending(self):
            # Given up since, or refused.
            if has_place:
                room.give()
                self._lets_look(room.waiting)
            if not has_place and message.is_refused(self):
                self._lose(message)
            else:
                self._passes(message)
            return
        if has_place:
            items.append(message)
            return
        if room.admit(message, items):
            return
        if self.overflow is Overflow.BLOCK:
            room.over.append(True)
            items.append(message)
        elif self.overflow is Overflow.DROP_OLDEST:
            self._replace_oldest(message, room)
        else:
            self._lose(message)

    def _replace_oldest(self, message: Message, room: Room) -> None:
        items = self.items
        oldest = self.drop_oldest()
        if oldest is IDLE:
            # Its reader has just taken the last one.
            room.over.append(True)
            items.append(message)
            return
        if not isinstance(oldest, Message):
            # A word to the reader, a STOP for example, stays where it is.
            items.appendleft(oldest)
            self._lose(message)
            return
        self._lose(oldest)
        items.append(message)

    def _came_out(self, count: int) -> None:
        super()._came_out(count)
        # When it is closed nobody waits any more, nor does anybody leave the section after this.
        for _ in range(0 if self.attention is CLOSED else count):
            if not self._lets_look(self._room.waiting):
                break

    def _lets_look(self, waiting: Waiters) -> bool:
        """The first of those is to look again, if there is one: outside, for it may be a coroutine.

        An event loop may take long for that (P16).
        """
        wake = waiting.next_to_wake()
        if wake is not None:
            self._left.append(wake)
        return wake is not None

    def _passes(self, message: Message) -> None:
        """It was given up: it neither came nor was lost."""

    def _lose(self, message: Message) -> None:
        self.lost += 1
        self._episode += 1
        message.missed_by(self)
        reader = self.reader() if self._episode == 1 else None
        message.is_lost(reader, self.lost, self._room.size)
        self._left.append(message)


_SLOTS = (
    "__weakref__",
    "_episode",
    "_left",
    "_room",
    "lost",
    "overflow",
    "reader",
)


class BoundedMailbox(Bounded):
    """With one reader, which takes without the section."""

    __slots__ = _SLOTS


class BoundedKeyedMailbox(Bounded, KeyedMailbox):
    """With several."""

    __slots__ = _SLOTS


def _accept(this: weakref.ref[Bounded], message: Union[Message, Word]) -> None:
    mailbox = this()
    if mailbox is not None:
        mailbox.accept(message)


def _take(room: Room, items: Deque[Any]) -> Any:
    """The next for its reader, or nothing of interest. Who waits for the place is woken."""
    taken: List[Any] = []
    room.take(items, taken)
    if not taken:
        # The last one was dropped since its reader has looked.
        return NOTHING
    if room.waiting:
        room.waiting.wake()
    return taken[0]
