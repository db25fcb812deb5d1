"""What runs on the thread of one link: it takes what has come, and sends what waits."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

from .._core.durations import NEVER
from .._delivery.sentinels import IDLE
from .._engine.engine import Order
from .._engine.link import Link
from .._engine.messages import tell_of
from .._engine.process import lost, unhurried
from .._engine.publish import hears_no_more
from .._time.clock import Parker
from ..errors import BadType, BadValue, ConnectionFailed, DispatcherError
from . import frames
from .asks import Asks
from .frame_reader import frames_of
from .guests import Guests
from .membership import Membership
from .recovery import Recovery
from .results import Results
from .shared import Shared

__all__ = ["Session"]

_FEW = 512
"""So many things of the outbox are seen to before what has come has its turn."""

_MANY = 32
"""So many frames at most wait for those that were read with them, to be handed in together."""

_MUCH = 1 << 20
"""Bytes to be said, after which likewise: the transport may not want more."""

_WHAT_TO_DO = (
    "choose another name=, or connect anew when that part has left: one that was killed is taken "
    "for gone within 4 s"
)
"""Who finds a name taken."""


class Session:
    """A `transport.Receiver`; every method on its thread, but where it says otherwise."""

    def __init__(self, shared: Shared, link: Link, namespace: str, name: str, group: str) -> None:
        self._shared = shared
        self._link = link
        self.namespace: str = namespace
        self.part: str = shared.part
        self.asks: Asks = Asks(shared)
        self.guests: Guests = Guests(shared)
        self.results: Results = Results(shared)
        everything = self.asks, self.guests, self.results
        self.membership: Membership = Membership(shared, link, *everything, name, group)
        #: Whether it has left, and does nothing any more.
        self.is_over: bool = False
        #: Why, if nobody here wanted that. Set before.
        self.error: Optional[DispatcherError] = None
        #: Why nothing arrives, while it does not.
        self.trouble: str = f"no connection to {shared.transport} yet"
        #: Whether who connects is told what goes wrong, and nobody else needs to be.
        self.is_opening: bool = False
        self._waiting: List[Parker] = []
        #: How many frames were taken since the last were handed in.
        self._taken = 0
        #: Whether it has asked for their thread.
        self._has_observers = False
        #: While it leaves, when it goes in any case.
        self._leave_by = NEVER
        membership = self.membership
        self._recovery = Recovery(shared, *everything)
        # What may be in one message with others of its kind, and is handed in together.
        self._answers: Dict[str, Callable[..., None]] = {
            "ans": self.asks.in_ans,
            "err": self.asks.in_err,
            "part": self.asks.in_part,
            "fin": self.asks.in_fin,
            "res": self.results.came,
        }
        self._others: Dict[str, Callable[..., None]] = {
            "ask": self.guests.ask,
            "not": self.asks.in_not,
            "skip": self.asks.in_skip,
            "late": self.asks.in_late,
            "prog": self.asks.in_prog,
            "end": self.asks.in_end,
            "can": self.guests.cancel,
            "here": membership.in_here,
            "beat": membership.in_beat,
            "bye": membership.in_bye,
            "again": self.results.again,
            "lost": self.results.lost,
            "resend": self._recovery.in_resend,
            "seen": self._recovery.in_seen,
            "took": self._recovery.in_took,
            "probe": self._recovery.in_probe,
            "passed": self._recovery.in_passed,
        }

    # -- what the transport tells --------------------------------------------------------------

    def connected(self) -> None:
        """As `Receiver.connected`; the others likewise."""
        self._shared.connected, self._shared.largest = True, self._shared.transport.largest
        self.membership.connected(self._shared.now)
        self.results.connected()
        self.asks.send_rest()
        self._shared.flush()

    def disconnected(self, why: str) -> None:
        """Nothing arrives."""
        self.trouble = why
        self._shared.connected = False

    def received(self, sender: str, payload: bytes) -> None:
        """Take what *sender* says."""
        shared = self._shared
        # A step follows: nobody has to have one called.
        shared.outbox.disarm()
        frames = frames_of(payload)
        shared.counts["messages_in"] += 1
        self.membership.heard_of(sender)
        first = self._first_of(frames)
        if first is None:
            return
        if first[0] != "seq":
            frames = chain([first], frames)
        else:
            if sender not in shared.sequences:
                # Who it is comes first, and out of its turn.
                found = list(frames)
                # Before it is taken: what is taken is not what it was.
                others = [each for each in found if each is not None and each[0] != "here"]
                self._take(sender, [each for each in found if each is None or each[0] == "here"])
                frames = iter(others)
            if sender not in shared.sequences:
                self.membership.meet(sender)
                return
            if not self._recovery.is_next(len(payload), sender, *first[1:]):
                return
        self._take(sender, frames)
        if self._taken >= _MANY:
            self.hand_in()

    def _first_of(self, frames: Iterator[Optional[List[Any]]]) -> Optional[List[Any]]:
        """The first that is one; None without any."""
        for frame in frames:
            if frame is not None:
                return frame
            self._shared.count("malformed")
        return None

    def _take(self, sender: str, frames: Iterable[Optional[List[Any]]]) -> None:
        shared = self._shared
        has_types = shared.codec.has_types
        answers, others = self._answers, self._others
        taken = 0
        for frame in frames:
            if frame is None:
                shared.count("malformed")
                continue
            taken += 1
            kind = frame[0]
            take = answers.get(kind)
            if take is None or has_types:
                # As `_before_users`, in place.
                self.hand_in()
            if take is None:
                take = others.get(kind)
            if take is not None and not self.is_over:
                frame[0] = sender
                try:
                    take(*frame)
                except Exception as error:
                    shared.count("malformed")
                    lost("a frame %.60r of part %s is dropped: %r", kind, sender, error)
        shared.counts["frames_in"] += taken
        self._taken += taken

    def hand_in(self) -> None:
        """Hand on what was received."""
        self._taken = 0
        self.asks.hand_in()
        self.results.hand_on()

    def _before_users(self) -> None:
        """Users' types may see to what comes next, and take long: what is here was in time."""
        if self._shared.codec.has_types:
            self.hand_in()

    def unreachable(self, part: str) -> None:
        """Nobody of that name is there."""
        self.hand_in()
        if part:
            self.membership.unreachable(part)
        else:
            self.membership.alone()

    def asked(self, topic: str, payload: bytes, reply: str) -> None:
        """Somebody asks whoever is on that topic."""
        if not self.is_over:
            self._before_users()
            self.guests.ask_anybody(topic, payload, reply)

    def answered(self, number: int, payload: bytes) -> None:
        """Somebody answers that question."""
        self._before_users()
        self.asks.joined_in(number, payload)

    def malformed(self) -> None:
        """Something else has come."""
        self._shared.count("malformed")

    def step(self) -> float:
        """See to the outbox, and to what is due."""
        shared = self._shared
        shared.outbox.disarm()
        # Nothing that users let go of here, and no log, may keep deadlines waiting.
        observers = unhurried.observers = shared.engine.observers
        self.hand_in()
        until = NEVER
        more = self._see_to_outbox()
        if not self.is_over:
            now = shared.now
            shared.sequences.look(now)
            more = self._recovery.look() or more
            until = min(self.membership.look(now), self.results.look(now), self.guests.look(now))
            if self._leave_by < NEVER:
                until = min(until, self._leave_by)
                is_busy = len(self.guests) or len(self.asks) or shared.sequences.crowded
                if now >= self._leave_by or not is_busy:
                    self.leave()
            taken_by = self.membership.taken_by
            if taken_by and not self.is_over:
                taken = f"name {self.part!r} is taken by another part of {self.namespace!r}"
                self.error = ConnectionFailed(f"{taken}; {_WHAT_TO_DO}{_where(taken_by)}")
                if not (self.is_opening or self._waiting):
                    lost("the link is left: %s", self.error)
                self.leave()
        shared.flush()
        shared.release()
        if not self._has_observers and observers.backlog():
            self._has_observers = True
            shared.engine.post(Order.OBSERVE)
        for parker in list(self._waiting):
            parker.unpark(None)
        if self.is_over or (not more and shared.outbox.arm()):
            return until
        return -NEVER

    def _see_to_outbox(self) -> bool:
        """A part of what waits; whether there is more."""
        shared, outbox, outlet = self._shared, self._shared.outbox, self.membership.outlet
        has_types, oldest = shared.codec.has_types, outbox.oldest
        for _ in range(_FEW):
            if shared.said > _MUCH:
                break
            item: Any = oldest()
            if item is IDLE:
                return False
            if self.is_over:
                continue
            try:
                if item.__class__ is tuple:
                    what, data = item
                    what(*data)
                else:
                    outlet.hear(item)
                if has_types:
                    shared.let_go(item)
            except (BadType, BadValue) as error:
                shared.let_go(item, is_known=False)
                topic = getattr(item, "topic", None)
                said = "on topic %.100r nothing is said to other machines: %s"
                lost(said, topic, error, topic=topic)
            except Exception as error:
                tell_of(outlet, item, error)
        return True

    # -- leaving -------------------------------------------------------------------------------

    def begin_to_leave(self, until: float) -> None:
        """Take nothing new; leave when all is answered, or at *until*."""
        self.membership.leave()
        self._leave_by = until

    def leave(self) -> None:
        """Say bye, and go. What is left in the outbox nobody hears."""
        if self.is_over:
            return
        shared = self._shared
        shared.flush()
        self._recovery.let_all_out()
        shared.to_all(frames.bye(self.membership.instance))
        shared.flush()
        self.is_over = True
        self.watch_no_more()
        self.membership.lost()
        hears_no_more(shared.outbox, shared.engine.posts)
        shared.release()
        unhurried.observers = None
        shared.transport.close()

    def watch_no_more(self) -> None:
        """Who registers here does not matter any more. From anywhere."""
        watchers, changed = self._shared.engine.registry.watchers, self._link.changed
        if changed in watchers:
            watchers.remove(changed)

    # -- who waits for the connection ----------------------------------------------------------

    def wait_until_ready(self, deadline: float) -> bool:
        """Until it is known who is there; see `wait_until`."""
        return self.wait_until(lambda: self.membership.is_ready, deadline)

    def wait_until(self, holds: Callable[[], bool], deadline: float) -> bool:
        """Until that *holds*, or it has left, or until *deadline*; whether it holds.

        Any thread but the link's.
        """
        parker = self._shared.engine.clock.parker()
        self._waiting.append(parker)
        try:
            while True:
                # Enlisted first (P9).
                if holds() or self.is_over or not parker.park_until(deadline):
                    return holds()
        finally:
            self._waiting.remove(parker)

    def describe(self) -> Dict[str, int]:
        """What was counted, and what is open. From anywhere."""
        open_now = {"asked": len(self.asks), "guests": len(self.guests)}
        return {**self._shared.counts, **open_now}


def _where(instance: str) -> str:
    """Where the part of that *instance* runs, if it says so as those of this package do."""
    found = re.search(r"@([\w-]{1,64})-(\d{1,20})$", instance, re.ASCII)
    return f"; that one is process {found[2]} on {found[1]}" if found else ""
