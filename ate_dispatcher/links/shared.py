"""What the pieces of one link have in common; all of it on the link's thread."""

from __future__ import annotations

import os
import platform
import re
from typing import Any, Dict, Hashable, List, Optional, Set

from .._engine.engine import Engine
from .._engine.process import lost, release
from .outbox import Outbox
from .sequence import Sequences
from .transport import Transport
from .values import Codec

__all__ = ["COUNTED", "ROOM", "Shared", "is_too_much", "own_name"]

COUNTED = (
    *("messages_out", "messages_in", "frames_out", "frames_in", "malformed", "duplicates"),
    *("stale", "gaps", "sent_again", "lost", "gone", "dropped", "declined"),
)
"""What a link counts over its life."""

_JOINED = 256 * 1024
"""Frames are joined to messages of about so many bytes at most."""

ROOM = 64 * 1024 * 1024
"""So much may wait for a connection, and be open of what one part has asked: it is taken apart as
it comes, and waits for its producer's turn."""

_FEW, _MANY = 100, 1_000
"""So often it is said that something cannot be read, and that there is no room for something."""

_PART, _AT_ONCE, _ALL, _TOPIC = range(4)


def is_too_much(waiting: int, size: int) -> bool:
    """Whether there is no room for one more of *size* beside so many that are *waiting*.

    As if all were as long as what comes now: no sum of what waits, which many threads would have to
    keep.
    """
    return waiting * size > ROOM


def own_name() -> str:
    """What a part is called that has no name: the machine, and the process."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", platform.node().split(".")[0])[:48] or "part"
    return f"{host}-{os.getpid()}"


class _Message:
    """One that is being put together: what for, for whom, its frames, and their size so far."""

    __slots__ = ("frames", "kind", "room", "size", "to")

    def __init__(self, kind: int, to: str, data: bytes, room: int) -> None:
        self.kind: int = kind
        self.to: str = to
        self.frames: List[bytes] = [data]
        self.size: int = len(data)
        #: Of which it may be.
        self.room: int = room

    def joins(self, data: bytes) -> bool:
        """Take that as well, if there is room."""
        size = self.size + len(data) + 1
        if size > self.room:
            return False
        self.frames.append(data)
        self.size = size
        return True


class Shared:
    """The engine, the codec, who we are, and what is on its way out."""

    def __init__(self, engine: Engine, transport: Transport, codec: Codec, part: str) -> None:
        self.engine: Engine = engine
        self.transport: Transport = transport
        self.codec: Codec = codec
        self.part: str = part
        self.outbox: Outbox = Outbox(transport)
        self.sequences: Sequences = Sequences(transport)
        self.counts: Dict[str, int] = dict.fromkeys(COUNTED, 0)
        #: Whether what is sent arrives.
        self.connected: bool = False
        #: Bytes of one message, at most, as it was connected last; 0 before, when nobody is there.
        self.largest: int = 0
        #: What was said once for each, and for whom.
        self._told: Dict[str, Set[Hashable]] = {}
        self._messages: List[_Message] = []
        self._by_part: Dict[str, _Message] = {}
        self._spent: List[Any] = []
        #: Their bytes.
        self.said: int = 0

    @property
    def now(self) -> float:
        """The instant."""
        return self.engine.now()

    def count(self, what: str, number: int = 1) -> None:
        """So many more of that."""
        self.counts[what] += number

    def unreadable(self, part: str, topic: str, error: Exception) -> None:
        """What *part* has sent on *topic* cannot be read here: counted, and said once for each."""
        self.count("malformed")
        said = "what part %s sends on topic %.100r cannot be read: %s; said once"
        self.lost_once((part, topic), _FEW, said, part, topic, error, topic=topic)

    def lost_once(
        self, whose: Hashable, most: int, said: str, *args: Any, topic: object = None
    ) -> None:
        """Log that once for each *whose*, and for so many at *most*."""
        told = self._told.setdefault(said, set())
        if len(told) < most and whose not in told:
            told.add(whose)
            lost(said, *args, topic=topic)

    def has_no_room(self, whose: str, said: str) -> None:
        """Something for, or of, *whose* part is declined: counted, and *said* once for each."""
        self.count("declined")
        self.lost_once(whose, _MANY, said, whose)

    def fits(self, frame: str) -> bool:
        """Whether *frame* is not too long for a message of its own."""
        size, largest = len(frame), self.largest
        # In UTF-8 no character has more than four bytes.
        return 4 * size <= largest or (size <= largest and len(frame.encode()) <= largest)

    def to(self, frame: str, *parts: str) -> None:
        """Say *frame* to each of these, behind what was said to it before."""
        data, by_part = frame.encode(), self._by_part
        for part in parts:
            message = by_part.get(part)
            if message is None or not message.joins(data):
                by_part[part] = self._begin(_PART, part, data)
        self.said += len(data) * len(parts)

    def to_at_once(self, frame: str, *parts: str) -> None:
        """Say *frame* to each of these, behind what was said to all and on topics.

        Not behind what waits because one has not taken what was said before: what there is to know
        that it may go on.
        """
        data = frame.encode()
        for part in parts:
            self._begin(_AT_ONCE, part, data)

    def to_all(self, frame: str) -> None:
        """Say it to everybody."""
        data = frame.encode()
        self._begin(_ALL, "", data)
        self.said += len(data)

    def on(self, subject: str, frame: str) -> None:
        """Say it to who hears; only what comes in a row on one *subject* is joined."""
        data, last = frame.encode(), self._messages[-1] if self._messages else None
        is_next = last is not None and last.kind == _TOPIC and last.to == subject
        if last is None or not is_next or not last.joins(data):
            self._begin(_TOPIC, subject, data)
        self.said += len(data)

    def flush(self) -> None:
        """Let out what was said; what cannot arrive is kept for its part, or counted as dropped."""
        if not self._messages:
            return
        messages, self._messages, self.said = self._messages, [], 0
        self._by_part.clear()
        for each in messages:
            is_kept = each.kind <= _AT_ONCE and each.to in self.sequences
            payload: Optional[bytes]
            if not is_kept:
                payload = b"\n".join(each.frames)
            elif each.kind == _PART:
                payload = self.sequences.say(each.to, each.frames, each.size)
            else:
                payload = self.sequences.say_at_once(each.to, each.frames, each.size)
            if not self.connected:
                if not is_kept:
                    self.count("dropped", len(each.frames))
            elif payload is not None:
                self.send(each.to, payload, len(each.frames), each.kind)

    def send(self, to: str, payload: bytes, number: int, kind: int = _PART) -> None:
        """Let out a message of that *number* of frames."""
        self.counts["messages_out"] += 1
        self.counts["frames_out"] += number
        if kind == _ALL:
            self.transport.send_all(payload)
        elif kind == _TOPIC:
            self.transport.send_on(to, payload)
        else:
            self.transport.send(to, payload)

    def _begin(self, kind: int, to: str, data: bytes) -> _Message:
        message = _Message(kind, to, data, min(_JOINED, self.largest))
        self._messages.append(message)
        return message

    def let_go(self, thing: Any, is_known: bool = True) -> None:
        """It was the last of *thing* here: what users' code makes of that keeps nobody (P16).

        What *is_known* has nothing in it but what was encoded, or decoded.
        """
        if not is_known or self.codec.has_types:
            self._spent.append(thing)

    def release(self) -> None:
        """Let go of all of it, when nothing else here refers to any."""
        if self._spent:
            spent, self._spent = self._spent, []
            release(spent)

    def do(self, what: Any, *data: Any) -> None:
        """Have *what* called with *data* on the link's thread. From anywhere; only appends."""
        self.outbox.put((what, data))
