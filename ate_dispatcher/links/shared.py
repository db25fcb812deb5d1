"""What the pieces of one link have in common; all of it on the link's thread."""

from __future__ import annotations

import os
import platform
import re
from typing import Any, Dict, List, Set, Tuple

from .._engine.engine import Engine
from .._engine.process import lost, release
from .outbox import Outbox
from .sequence import Sequences
from .transport import Transport
from .values import Codec

__all__ = ["COUNTED", "Shared", "own_name"]

COUNTED = (
    *("messages_out", "messages_in", "frames_out", "frames_in", "malformed", "duplicates"),
    *("stale", "gaps", "sent_again", "lost", "gone", "dropped"),
)
"""What a link counts over its life."""

_JOINED = 256 * 1024
"""Frames are joined to messages of about so many bytes at most."""

_FEW = 100
"""So often it is said that something cannot be read."""

_PART, _ALL, _TOPIC = range(3)


def own_name() -> str:
    """What a part is called that has no name: the machine, and the process."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", platform.node().split(".")[0])[:48] or "part"
    return f"{host}-{os.getpid()}"


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
        #: What was said to be unreadable, and where it came from.
        self._unreadable: Set[Tuple[str, str]] = set()
        # Messages that are being put together: what for, for whom, the frames, their size.
        self._batches: List[Tuple[int, str, List[bytes], List[int]]] = []
        self._by_part: Dict[str, int] = {}
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
        if len(self._unreadable) < _FEW and (part, topic) not in self._unreadable:
            self._unreadable.add((part, topic))
            said = "what part %s sends on topic %.100r cannot be read: %s; said once"
            lost(said, part, topic, error, topic=topic)

    def fits(self, frame: str) -> bool:
        """Whether *frame* is not too long for a message of its own."""
        size, largest = len(frame), self.transport.largest
        # In UTF-8 no character has more than four bytes.
        return 4 * size <= largest or (size <= largest and len(frame.encode()) <= largest)

    def to(self, part: str, frame: str) -> None:
        """Say *frame* to one part, behind what was said to it before."""
        place = self._by_part.get(part)
        data = frame.encode()
        self.said += len(data)
        if place is not None and self._joins(place, data):
            return
        self._by_part[part] = len(self._batches)
        self._batches.append((_PART, part, [data], [len(data)]))

    def to_behind(self, part: str, frame: str) -> None:
        """Say *frame* to one part, behind what was said before to all, or on topics, as well."""
        self._by_part.pop(part, None)
        self.to(part, frame)

    def to_all(self, frame: str) -> None:
        """Say it to everybody."""
        data = frame.encode()
        self.said += len(data)
        self._batches.append((_ALL, "", [data], [len(data)]))

    def on(self, subject: str, frame: str) -> None:
        """Say it to who hears; only what comes in a row on one *subject* is joined."""
        data, last = frame.encode(), len(self._batches) - 1
        self.said += len(data)
        if last >= 0 and self._batches[last][:2] == (_TOPIC, subject) and self._joins(last, data):
            return
        self._batches.append((_TOPIC, subject, [data], [len(data)]))

    def flush(self) -> None:
        """Let out what was said; what cannot arrive is kept for its part, or counted as dropped."""
        if not self._batches:
            return
        batches, self._batches, self.said = self._batches, [], 0
        self._by_part.clear()
        for kind, to, frames, size in batches:
            is_kept = kind == _PART and to in self.sequences
            if is_kept:
                payload = self.sequences.numbered(to, frames, size[0])
            else:
                payload = b"\n".join(frames)
            if not self.connected:
                if not is_kept:
                    self.count("dropped", len(frames))
                continue
            self.counts["messages_out"] += 1
            self.counts["frames_out"] += len(frames)
            if kind == _ALL:
                self.transport.send_all(payload)
            elif kind == _PART:
                self.transport.send(to, payload)
            else:
                self.transport.send_on(to, payload)

    def _joins(self, place: int, data: bytes) -> bool:
        _, _, frames, size = self._batches[place]
        if size[0] + len(data) + 1 > min(_JOINED, self.transport.largest):
            return False
        frames.append(data)
        size[0] += len(data) + 1
        return True

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
