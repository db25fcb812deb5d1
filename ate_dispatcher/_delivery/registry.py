"""Who is registered for what, as immutable snapshots.

No lock: registrations may come from any thread, a signal handler or a finalizer, also one that
interrupts another registration. A topic's members are a dict that is changed by single atomic
operations and then gets a new version *token*; readers use a roster made for one token and make a
new one when the token has moved on. A roster is stored before its token is looked at once more, so
the last one stored is always current, and nothing keeps a deregistered participant alive.

Topics are the users' objects. They are hashed and compared only here, on the thread of the call
that names them.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any, Callable, Dict, Hashable, List, NamedTuple, Optional, Tuple

from ..errors import BadType
from .mailbox import Mailbox

__all__ = ["Channel", "Registry", "Roster", "Seat", "is_off", "unhashable"]


Put = Tuple[Callable[[Any], None], Mailbox]
"""How to reach a mailbox in one breath: its ``items.append``, and itself for the rest."""


class Absence(weakref.ref):  # type: ignore[type-arg]
    """Why a producer is off: each who has disabled it; weakly, it may be dropped meanwhile."""

    __slots__ = ("reasons",)

    reasons: Dict[Hashable, None]


Off = Dict[int, Absence]
"""By identity, everybody who was ever disabled and lives; who is off has a reason."""


def is_off(off: Off, producer: Any) -> bool:
    """Whether somebody has disabled *producer*, and not enabled it since."""
    absence = off.get(id(producer))
    return absence is not None and bool(absence.reasons)


class Seat(NamedTuple):
    """One registration: the participant, and what stands for it in a roster."""

    participant: Any
    entry: Any
    mailbox: Mailbox
    heeding: bool


class Roster:
    """One immutable reading of a side of a topic, in the order of registration.

    For listeners also what tells whether any of them wants to hear of completions: *heeding*, by
    its class, or by an attribute of its own, which is looked for in *attributes* at each end.

    Who is *off* has no seat in it. Such a roster has no *token*, so that each send looks twice.
    """

    __slots__ = ("attributes", "heeding", "made_for", "members", "off", "puts", "token")

    def __init__(self, token: object, seats: List[Seat], off: Tuple[Any, ...] = ()) -> None:
        self.token = None if off else token
        self.made_for = token
        self.off = off
        self.members = tuple([seat.entry for seat in seats])
        self.puts: Tuple[Put, ...] = tuple(
            [(seat.mailbox.items.append, seat.mailbox) for seat in seats]
        )
        self.heeding = any(seat.heeding for seat in seats)
        self.attributes = tuple([seat.participant.__dict__ for seat in seats])


class Side:
    """The producers, or the listeners, of one topic."""

    __slots__ = ("_off", "_seats", "roster", "token")

    def __init__(self, off: Off) -> None:
        self._off = off
        # Keyed by identity: users' classes may compare and hash as they like.
        self._seats: Dict[int, Seat] = {}
        self.token: object = object()
        self.roster = Roster(self.token, [])

    def add(self, seat: Seat) -> None:
        self._seats.setdefault(id(seat.participant), seat)
        self.changed()

    def discard(self, participant: Any) -> None:
        # Also if it is not there: a deregistration that was cut short may be tried again.
        self._seats.pop(id(participant), None)
        self.changed()

    def refresh(self) -> Roster:
        while True:
            token = self.token
            if self.roster.made_for is token:
                return self.roster
            seats = self.seats()
            off = [seat for seat in seats if is_off(self._off, seat.participant)]
            seats = [seat for seat in seats if seat not in off] if off else seats
            roster = self.roster = Roster(token, seats, tuple([seat.entry for seat in off]))
            if self.token is token:
                return roster

    def changed(self) -> None:
        """Whoever is off is not what it was."""
        self.token = object()
        self.refresh()

    def current(self) -> Roster:
        """The roster as of now: one that was put back by a thread that was held is made anew."""
        roster = self.roster
        return roster if roster.made_for is self.token else self.refresh()

    def seats(self) -> List[Seat]:
        while True:
            try:
                return list(self._seats.values())
            except RuntimeError:
                # It changed under the copy: take it again.
                continue

    def __bool__(self) -> bool:
        return bool(self._seats)


class Channel:
    """One topic: who produces for it and who listens to it."""

    __slots__ = ("__weakref__", "hash", "listeners", "producers", "topic")

    def __init__(self, topic: Hashable, off: Off) -> None:
        self.topic = topic
        self.hash = hash(topic)
        self.producers = Side(off)
        self.listeners = Side({})

    def merge(self, other: Channel) -> None:
        for mine, others in ((self.producers, other.producers), (self.listeners, other.listeners)):
            for seat in others.seats():
                mine.add(seat)


def unhashable(topic: Any, error: TypeError) -> BadType:
    """What a topic is refused with that cannot be a key."""
    return BadType(f"topic must be hashable, not {type(topic).__name__}: {error}")


class Registry:
    """All topics of one dispatcher that somebody is registered for."""

    def __init__(self) -> None:
        self.channels: Dict[Hashable, Channel] = {}
        #: Producers that are not asked, by identity.
        self.off: Off = {}
        # Channels that lost their last registration while open requests still refer to them. A
        # new registration for the topic takes the same channel up again, so it hears those too.
        self._retired: Dict[int, weakref.ref[Channel]] = {}

    def add(self, topic: Hashable, side: str, seat: Seat) -> None:
        channel = self.channels.get(topic)
        if channel is None:
            channel = self.channels.setdefault(
                topic, self._revived(topic) or Channel(topic, self.off)
            )
        getattr(channel, side).add(seat)
        self._settle(topic, channel)

    def discard(self, topic: Hashable, side: str, participant: Any) -> None:
        try:
            channel = self.channels.get(topic)
        except TypeError as error:
            raise unhashable(topic, error) from error
        if channel is None:
            return
        getattr(channel, side).discard(participant)
        if not channel.producers and not channel.listeners:
            # Retired first: whoever finds the topic gone finds it there, see `find`.
            self._retire(channel)
            removed = self.channels.pop(topic, None)
            if removed is not None and (removed.producers or removed.listeners):
                # Somebody registered between the look and the removal.
                self._settle(topic, removed)

    def find(self, topic: Hashable) -> Optional[Channel]:
        """The channel of *topic*, if there is one.

        Also while a deregistration that crossed a registration has taken it away for a moment.
        """
        channel = self.channels.get(topic)
        return self._revived(topic) if channel is None else channel

    def switch_off(self, producer: Any, by: Hashable) -> None:
        """Take *producer* out of all rosters. All of it each time, if one was cut short."""
        key = id(producer)
        if key not in self.off:
            # Straight into C when it is dropped, where no signal handler comes in between.
            absence = Absence(producer, partial(self.off.pop, key))
            absence.reasons = {}
            self.off.setdefault(key, absence)
        self.off[key].reasons[by] = None
        self._changed()

    def switch_on(self, producer: Any, by: Hashable) -> None:
        """Take it in again, if nobody else than *by* has disabled it; None speaks for all."""
        absence = self.off.get(id(producer))
        if absence is None:
            return
        # One and the same object as long as it lives: nobody's word is put back or lost.
        if by is None:
            absence.reasons.clear()
        else:
            absence.reasons.pop(by, None)
        self._changed()

    def _changed(self) -> None:
        """Who is off is not what it was."""
        for channel in self._all():
            channel.producers.changed()

    def participants(self, side: str) -> List[Any]:
        """Everybody on *side* of any topic, each once, in the order of the topics."""
        found: Dict[int, Any] = {}
        for channel in self._all():
            for seat in getattr(channel, side).seats():
                found.setdefault(id(seat.participant), seat.participant)
        return list(found.values())

    def _settle(self, topic: Hashable, channel: Channel) -> None:
        """Make what was registered on *channel* hold, also if the topic was pruned meanwhile."""
        current = self.channels.setdefault(topic, channel)
        if current is not channel:
            current.merge(channel)

    def _retire(self, channel: Channel) -> None:
        retired, key = self._retired, id(channel)
        # Straight into C, where no signal handler comes in between.
        retired[key] = weakref.ref(channel, partial(retired.pop, key))

    def _revived(self, topic: Hashable) -> Optional[Channel]:
        key = hash(topic)
        for reference in list(self._retired.values()):
            channel = reference()
            # Only equal hashes may be equal topics: others are not asked.
            if channel is not None and channel.hash == key and channel.topic == topic:
                return channel
        return None

    def _all(self) -> List[Channel]:
        while True:
            try:
                return list(self.channels.values())
            except RuntimeError:
                continue
