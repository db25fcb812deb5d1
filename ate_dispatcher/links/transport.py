"""What carries a link's messages, and what it tells the link.

A transport is ordered for each sender, delivers at most once, and knows who has sent what. It has
one thread, on which alone it calls its `Receiver`, and on which alone that calls it back, but for
`Transport.open`, `Transport.unpark` and `Transport.join`. So a link needs no lock of its own.
"""

from __future__ import annotations

import re
from typing import FrozenSet

from typing_extensions import Protocol

from .._time.clock import Clock

__all__ = ["Receiver", "Transport", "without_login"]


class Receiver(Protocol):
    """A link, as its transport knows it. Nothing of it raises or blocks."""

    @property
    def namespace(self) -> str:
        """Parts of one namespace reach each other, and nobody else."""
        ...

    @property
    def part(self) -> str:
        """What the others call this one."""
        ...

    def connected(self) -> None:
        """What is sent arrives, from now on, or again; what was sent before may be lost."""
        ...

    def disconnected(self, why: str) -> None:
        """Nothing arrives, and *why*; the transport tries to connect again.

        Told once more when another attempt was in vain.
        """
        ...

    def received(self, sender: str, payload: bytes) -> None:
        """The part *sender*, as the transport knows, has sent *payload*: to us, to all, on topics.

        All from one sender in the order in which it was sent, wherever it went.
        """
        ...

    def unreachable(self, part: str) -> None:
        """Something was sent to *part*, and nobody of that name was there. "" for `send_all`."""
        ...

    def asked(self, topic: str, payload: bytes, reply: str) -> None:
        """Somebody, perhaps no part, asks whoever is on *topic*; *reply* is for `answer`."""
        ...

    def answered(self, number: int, payload: bytes) -> None:
        """Somebody has answered what `ask` has sent with that *number*; b"" if nobody will."""
        ...

    def malformed(self) -> None:
        """Something has come of which the transport itself makes nothing."""
        ...

    def hand_in(self) -> None:
        """Hand on what was received; after a batch of it behind which no step can follow yet."""
        ...

    def step(self) -> float:
        """Hand on what was received, see to what waits; when to be called again at the latest.

        Called after each batch of what has arrived, after an unpark, and at that instant.
        """
        ...


class Transport(Protocol):
    """What a link needs. Addresses and payloads have been checked against `largest`."""

    @property
    def largest(self) -> int:
        """Bytes of one payload, at most; known once it was connected."""
        ...

    def open(self, receiver: Receiver, clock: Clock, wait: bool) -> None:
        """Start the thread, and connect; with *wait* return when that is done.

        ConnectionFailed, with *wait* alone, if it cannot be; without it goes on trying. BadValue if
        *clock* is one on which it cannot run.
        """
        ...

    def unpark(self, _: None = None) -> None:
        """Have `Receiver.step` called soon. From anywhere, also in the section; never blocks."""
        ...

    def send(self, part: str, payload: bytes) -> None:
        """To one part."""
        ...

    def send_all(self, payload: bytes) -> None:
        """To all parts but this one."""
        ...

    def send_on(self, topic: str, payload: bytes) -> None:
        """To all other parts that `hear`; *topic* is for who looks at the traffic."""
        ...

    def hear(self, on: bool) -> None:
        """Whether what others `send_on` any topic arrives here."""
        ...

    def offer(self, topics: FrozenSet[str], group: str) -> None:
        """On which topics this part is `asked`, from now on.

        Of the parts of one *group*, if it has a name, one at a time.
        """
        ...

    def ask(self, topic: str, payload: bytes, number: int) -> None:
        """Ask whoever is on *topic*, parts or not; until `ask_no_more` with that *number*."""
        ...

    def ask_no_more(self, number: int) -> None:
        """Nobody is `answered` for that number any more."""
        ...

    def answer(self, reply: str, payload: bytes) -> None:
        """Answer what was `asked`."""
        ...

    def close(self) -> None:
        """Let out what was sent; then end the thread. Nothing is called any more."""
        ...

    def join(self, deadline: float) -> None:
        """Wait until the thread has ended, or until *deadline*, an instant of the clock."""
        ...


def without_login(address: object) -> str:
    """The repr of one address or several, without what they say of users and passwords."""
    return re.sub(r"(//|['\"])[^'\"/]*@", r"\1", repr(address))
