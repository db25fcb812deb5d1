"""What carries the messages of links within one process, and can be troubled: for tests.

On virtual time everything is the same each time; with the real clock it is quick, and needs no
server.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple
from weakref import WeakKeyDictionary

from .._core.durations import NEVER, milliseconds
from .._delivery.patterns import TopicPattern
from .._time.clock import Clock, Parker, spawn
from ..errors import BadValue, DispatcherError
from ..links.transport import Receiver

__all__ = ["Wire", "WireTransport"]

_LARGEST = 1024 * 1024


class Wire:
    """Reaches everybody who is connected to it: ``dispatcher.connect(wire.transport(), ...)``.

    All of them live under one clock. Trouble is for parts by their names, at once or from the next
    message on; from any thread.
    """

    def __init__(self) -> None:
        # Around all of it; held for a moment, and nobody is called inside.
        self._lock = threading.RLock()
        self._ends: List[WireTransport] = []
        self._numbers = itertools.count(1)
        #: Seconds on the way, by sender and receiver; "" stands for anybody.
        self._delays: Dict[Tuple[str, str], float] = {}
        #: How many messages are still to be lost, or to come twice, likewise.
        self._losses: Dict[Tuple[str, str], int] = {}
        self._copies: Dict[Tuple[str, str], int] = {}
        self._clock: Optional[Clock] = None

    def transport(self) -> WireTransport:
        """A new end of it, for one `connect`."""
        return WireTransport(self)

    def delay(self, ms: float, sender: str = "", to: str = "") -> None:
        """Let messages be *ms* milliseconds on the way; from anybody, to anybody by default."""
        with self._lock:
            self._delays[sender, to] = milliseconds("ms", ms)

    def lose(self, number: int, sender: str = "", to: str = "") -> None:
        """Let the next *number* messages be lost."""
        with self._lock:
            self._losses[sender, to] = number

    def repeat(self, number: int, sender: str = "", to: str = "") -> None:
        """Let the next *number* messages come twice."""
        with self._lock:
            self._copies[sender, to] = number

    def cut(self, part: str) -> None:
        """*part* reaches nobody, knows it, and nobody is there of its name."""
        with self._lock:
            for end in self._named(part):
                if not end.is_cut:
                    end.is_cut = True
                    end.comes(self._now(), lambda receiver: receiver.disconnected("cut off"))

    def silence(self, part: str) -> None:
        """What *part* sends and what is sent to it is lost, and nobody knows."""
        with self._lock:
            for end in self._named(part):
                end.is_silent = True

    def heal(self, part: str) -> None:
        """End both."""
        with self._lock:
            for end in self._named(part):
                end.is_silent = False
                if end.is_cut:
                    end.is_cut = False
                    end.comes(self._now(), lambda receiver: receiver.connected())

    # -- for its ends --------------------------------------------------------------------------

    def joins(self, end: WireTransport, clock: Clock) -> None:
        """*end* is there, from now on."""
        with self._lock:
            if self._clock is not None and clock is not self._clock:
                raise BadValue("clock: all who are connected to one wire have the same")
            self._clock = clock
            self._ends.append(end)

    def leaves(self, end: WireTransport) -> None:
        """It is not there any more."""
        with self._lock:
            if end in self._ends:
                self._ends.remove(end)

    def carry(
        self, sender: WireTransport, to: Optional[str], payload: bytes, hears: bool = False
    ) -> None:
        """To the part *to*, or all; to those who hear alone, if that counts."""
        with self._lock:
            if sender.is_cut or sender.is_silent:
                return
            others = [end for end in self._ends if end is not sender and end.shares(sender)]
            there = [
                end
                for end in others
                if not end.is_cut and (to is None or end.part == to) and (end.hears or not hears)
            ]
            if not there and not hears:
                missing = to or ""
                sender.comes(self._now(), lambda receiver: receiver.unreachable(missing))
            name = sender.part
            for end in there:
                if end.is_silent or self._takes(self._losses, name, end.part):
                    continue
                copies = 1 + self._takes(self._copies, name, end.part)
                at = self._arrival(sender, end)
                for _ in range(copies):
                    end.comes(at, lambda receiver: receiver.received(name, payload))

    def carry_question(
        self, sender: WireTransport, topic: str, payload: bytes, number: int
    ) -> None:
        """To all who offer *topic*, one of each group."""
        with self._lock:
            there: Dict[Any, WireTransport] = {}
            for end in self._ends:
                if end is sender or end.is_cut or not end.shares(sender):
                    continue
                if topic in end.offers or any(_matches(each, topic) for each in end.offers):
                    there.setdefault(end.group or id(end), end)
            if not there:
                sender.comes(self._now(), lambda receiver: receiver.answered(number, b""))
            reply = f"{id(sender)} {number}"
            for end in there.values():
                at = self._arrival(sender, end)
                end.comes(at, lambda receiver: receiver.asked(topic, payload, reply))

    def carry_answer(self, sender: WireTransport, reply: str, payload: bytes) -> None:
        """Back to who has asked."""
        with self._lock:
            whose, number = map(int, reply.split())
            for end in self._ends:
                if id(end) == whose and number in end.asks and not (end.is_cut or sender.is_cut):
                    at = self._arrival(sender, end)
                    end.comes(at, lambda receiver: receiver.answered(number, payload))

    def _named(self, part: str) -> List[WireTransport]:
        found = [end for end in self._ends if end.part == part]
        if not found:
            there = ", ".join(sorted(end.part for end in self._ends)) or "nobody"
            raise BadValue(f"part {part!r} is not connected; there is {there}")
        return found

    def _now(self) -> float:
        assert self._clock is not None
        return self._clock.now()

    def _takes(self, table: Dict[Tuple[str, str], int], sender: str, to: str) -> bool:
        for key in ((sender, to), (sender, ""), ("", to), ("", "")):
            if table.get(key):
                table[key] -= 1
                return True
        return False

    def _arrival(self, sender: WireTransport, end: WireTransport) -> float:
        """When it comes; never before what the same sender has sent there before."""
        delay = 0.0
        for key in ((sender.part, end.part), (sender.part, ""), ("", end.part), ("", "")):
            if key in self._delays:
                delay = self._delays[key]
                break
        at = max(self._now() + delay, end.latest.get(sender, -NEVER))
        end.latest[sender] = at
        return at


def _matches(offer: str, topic: str) -> bool:
    wild = offer.endswith(">") or "*" in offer.split(".")
    return wild and TopicPattern(offer).matches(topic)


class WireTransport:
    """One end of a `Wire`: a transport of its own thread, which lives under the clock."""

    def __init__(self, wire: Wire) -> None:
        """See `Wire.transport`."""
        self._wire = wire
        self._lock = threading.RLock()
        self._coming: List[Tuple[float, int, Callable[[Receiver], None]]] = []
        self._numbers = itertools.count()
        self._receiver: Optional[Receiver] = None
        self._clock: Optional[Clock] = None
        self._parker: Optional[Parker] = None
        self._thread: Optional[threading.Thread] = None
        self._is_closed = False
        self.is_cut: bool = False
        self.is_silent: bool = False
        self.hears: bool = False
        self.offers: FrozenSet[str] = frozenset()
        self.group: str = ""
        #: The questions whose answers are wanted.
        self.asks: Dict[int, bool] = {}
        #: When the last message of each sender comes.
        self.latest: WeakKeyDictionary[WireTransport, float] = WeakKeyDictionary()

    def __str__(self) -> str:
        return "the wire"

    @property
    def part(self) -> str:
        """Whose end it is."""
        return "" if self._receiver is None else self._receiver.part

    @property
    def largest(self) -> int:
        """Bytes of one message."""
        return _LARGEST

    def shares(self, other: WireTransport) -> bool:
        """Whether both are of one namespace."""
        mine, others = self._receiver, other._receiver
        return mine is not None and others is not None and mine.namespace == others.namespace

    def comes(self, at: float, what: Callable[[Receiver], None]) -> None:
        """Have *what* called with the receiver at that instant. From anywhere."""
        with self._lock:
            heapq.heappush(self._coming, (at, next(self._numbers), what))
        self.unpark()

    # -- a transport ---------------------------------------------------------------------------

    def open(self, receiver: Receiver, clock: Clock, wait: bool) -> None:
        """Start its thread; it is connected at once."""
        if self._thread is not None:
            raise DispatcherError("a transport is for one connection: make a new one")
        self._receiver, self._clock, self._parker = receiver, clock, clock.parker()
        self._wire.joins(self, clock)
        self.comes(-NEVER, lambda receiver: receiver.connected())
        name = f"wire-{receiver.part}"
        self._thread = spawn(clock, self._run, name, self._parker)

    def unpark(self, _: None = None) -> None:
        """As `Transport.unpark`; the others likewise."""
        if self._parker is not None:
            self._parker.unpark(None)

    def send(self, part: str, payload: bytes) -> None:
        """To one part."""
        self._wire.carry(self, part, payload)

    def send_all(self, payload: bytes) -> None:
        """To all."""
        self._wire.carry(self, None, payload)

    def send_on(self, topic: str, payload: bytes) -> None:
        """To all who hear."""
        self._wire.carry(self, None, payload, hears=True)

    def hear(self, on: bool) -> None:
        """Whether it hears what others send on topics."""
        self.hears = on

    def offer(self, topics: FrozenSet[str], group: str) -> None:
        """On which topics it is asked."""
        self.offers, self.group = topics, group

    def ask(self, topic: str, payload: bytes, number: int) -> None:
        """Ask whoever offers *topic*."""
        self.asks[number] = True
        self._wire.carry_question(self, topic, payload, number)

    def ask_no_more(self, number: int) -> None:
        """No answer is wanted any more."""
        self.asks.pop(number, None)

    def answer(self, reply: str, payload: bytes) -> None:
        """Answer a question."""
        self._wire.carry_answer(self, reply, payload)

    def close(self) -> None:
        """End the thread, soon."""
        self._is_closed = True
        self._wire.leaves(self)
        self.unpark()

    def join(self, deadline: float) -> None:
        """Wait until it has ended."""
        if self._thread is not None and self._clock is not None:
            self._clock.join(self._thread, self._parker, deadline)

    def _run(self) -> None:
        receiver, clock, parker = self._receiver, self._clock, self._parker
        assert receiver is not None
        assert clock is not None
        assert parker is not None
        while not self._is_closed:
            due = self._due(clock.now())
            for what in due:
                what(receiver)
            until = receiver.step()
            if not self._is_closed and not due and until > clock.now():
                parker.park_until(min(until, self._next()))

    def _due(self, now: float) -> List[Callable[[Receiver], None]]:
        """What has come by *now*."""
        found = []
        with self._lock:
            while True:
                if not self._coming or self._coming[0][0] > now:
                    break
                found.append(heapq.heappop(self._coming)[2])
        return found

    def _next(self) -> float:
        with self._lock:
            return self._coming[0][0] if self._coming else NEVER
