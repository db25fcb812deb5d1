"""Who is registered for what, as immutable snapshots.

No lock: registrations may come from any thread, a signal handler or a finalizer, also one that
interrupts another registration. A topic's registrations are a dict that is changed by single atomic
operations and then gets a new *version*; whoever reads them reads the version first (P10) and makes
a roster for it, which serves all who come until there is another. A roster is stored before the
version is looked at once more, so the last one stored is always current, and nothing keeps a
deregistered participant alive.

So a registration costs the same however many there are: the roster is made by who needs it.

Topics are the users' objects. They are hashed and compared only here, on the thread of the call
that names them. Participants are told apart by identity.
"""

from __future__ import annotations

import weakref
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, Hashable, List, NamedTuple, Optional, Tuple

from .. import _log
from .._core.snapshots import copied
from ..errors import BadType
from .mailbox import Mailbox

__all__ = [
    "Channel",
    "Disabled",
    "Outlet",
    "Registration",
    "Registry",
    "Roster",
    "is_disabled",
    "unhashable",
]


class Outlet:
    """How to reach a mailbox in one breath: its ``append``, and itself for the rest.

    Chained, so that to go through those of a roster makes no iterator.
    """

    __slots__ = ("append", "attributes", "mailbox", "next")

    def __init__(self, mailbox: Mailbox, attributes: Any, behind: Optional[Outlet]) -> None:
        self.append: Callable[[Any], None] = mailbox.append
        self.attributes: Any = attributes
        self.mailbox: Mailbox = mailbox
        self.next: Optional[Outlet] = behind


class Absence(weakref.ref):  # type: ignore[type-arg]
    """Why a producer is not asked: each who has disabled it; weakly, it may be dropped."""

    __slots__ = ("reasons",)

    reasons: Dict[Hashable, None]


Disabled = Dict[int, Absence]
"""By identity, everybody who was ever disabled and lives; who is disabled has a reason."""


def is_disabled(disabled: Disabled, producer: Any) -> bool:
    """Whether somebody has disabled *producer*, and not enabled it since."""
    absence = disabled.get(id(producer))
    return absence is not None and bool(absence.reasons)


class Registration(NamedTuple):
    """One participant on one side of topics, and what stands for it in a roster."""

    participant: Any
    member: Any
    mailbox: Mailbox
    heeding: bool = False
    #: Whether it hears results apart from the others: with whose they are, or within a bound.
    apart: bool = False
    joins: Optional[Callable[[Any], None]] = None
    """Told of each channel that it is on, before anybody is sent to it there."""


class Roster:
    """One immutable reading of a side of a topic, in the order of registration.

    For listeners also what tells whether any of them wants to hear of completions: *heeding*, by
    its class, or by an attribute of its own, which is looked for in the outlets at each end. And
    *apart*, the mailboxes of those that hear results in another way than the others, who are the
    *plain* ones.

    Who is *disabled* has no outlet in it. Such a roster has no *version*, so that each send looks
    twice.
    """

    __slots__ = (
        "apart",
        "disabled",
        "first",
        "heeding",
        "keys",
        "made_for",
        "members",
        "plain",
        "size",
        "version",
    )

    def __init__(
        self,
        version: object,
        registrations: List[Registration],
        disabled: Tuple[Any, ...] = (),
    ) -> None:
        self.version: Optional[object] = None if disabled else version
        self.made_for: object = version
        self.disabled: Tuple[Any, ...] = disabled
        self.members: Tuple[Any, ...] = tuple([each.member for each in registrations])
        self.size: int = len(registrations)
        #: The identities of their mailboxes.
        self.keys: Tuple[int, ...] = tuple([id(each.mailbox) for each in registrations])
        self.heeding: bool = any(each.heeding for each in registrations)
        self.apart: Tuple[Mailbox, ...] = tuple(
            [each.mailbox for each in registrations if each.apart]
        )
        self.first: Optional[Outlet] = _chain(registrations)
        self.plain: Optional[Outlet] = self.first
        if self.apart:
            self.plain = _chain([each for each in registrations if not each.apart])


def _chain(registrations: List[Registration]) -> Optional[Outlet]:
    first: Optional[Outlet] = None
    for each in reversed(registrations):
        first = Outlet(each.mailbox, each.participant.__dict__, first)
    return first


_MANY = 1_000
"""So many topics are looked at for one that reads alike."""

_STALE = Roster(object(), [])
"""Made for no version that there is."""


class Side:
    """The producers, or the listeners, of one topic."""

    __slots__ = ("_disabled", "_registrations", "roster", "version")

    def __init__(self, disabled: Disabled) -> None:
        self._disabled = disabled
        self._registrations: Dict[int, Registration] = {}
        self.version: object = object()
        self.roster: Roster = Roster(self.version, [])

    def add(self, registration: Registration) -> None:
        self._registrations.setdefault(id(registration.participant), registration)
        self.changed()

    def discard(self, participant: Any) -> None:
        # Also if it is not there: a deregistration that was cut short may be tried again.
        self._registrations.pop(id(participant), None)
        self.changed()
        # The one before would keep it alive until somebody comes.
        self.roster = _STALE

    def has(self, participant: Any) -> bool:
        return id(participant) in self._registrations

    def changed(self) -> None:
        """What a roster would say is not what it was."""
        self.version = object()

    def current(self) -> Roster:
        """The roster as of now."""
        while True:
            version = self.version
            # Read once: a deregistration may put the stale one there meanwhile.
            roster = self.roster
            if roster.made_for is version:
                return roster
            there: List[Registration] = []
            disabled: List[Any] = []
            for each in self.registrations():
                if self._disabled and is_disabled(self._disabled, each.participant):
                    disabled.append(each.member)
                else:
                    there.append(each)
            roster = self.roster = Roster(version, there, tuple(disabled))
            if self.version is version:
                return roster

    def registrations(self) -> List[Registration]:
        return copied(self._registrations.values())

    def __bool__(self) -> bool:
        return bool(self._registrations)


class Channel:
    """One topic: who produces for it and who listens to it."""

    __slots__ = ("__weakref__", "hash", "listeners", "producers", "topic")

    def __init__(self, topic: Hashable, disabled: Disabled) -> None:
        self.topic: Hashable = topic
        self.hash: int = hash(topic)
        self.producers: Side = Side(disabled)
        self.listeners: Side = Side({})

    def merge(self, other: Channel) -> None:
        for mine, others in ((self.producers, other.producers), (self.listeners, other.listeners)):
            for registration in others.registrations():
                if registration.joins is not None:
                    registration.joins(self)
                mine.add(registration)


def unhashable(topic: Any, error: TypeError) -> BadType:
    """What a topic is refused with that cannot be a key."""
    several = "; several topics are arguments of their own" if isinstance(topic, list) else ""
    return BadType(f"topic must be hashable, not {type(topic).__name__}: {error}{several}")


class Registry:
    """All topics of one dispatcher that somebody is registered for."""

    def __init__(self) -> None:
        self.channels: Dict[Hashable, Channel] = {}
        #: Producers that are not asked, by identity.
        self.disabled: Disabled = {}
        # Where each producer is registered, or has been, by identities: at least that.
        self._where: Dict[int, Dict[int, Channel]] = {}
        # Channels that lost their last registration while open requests still refer to them, by
        # hash. A new registration for the topic takes the same channel up again, so it hears those.
        self._retired: Dict[int, Dict[int, _Retired]] = {}
        self._gone: Deque[_Retired] = deque()

    def add(self, topic: Hashable, side: str, registration: Registration) -> None:
        channel = self.channels.get(topic)
        if channel is None:
            channel = self.channels.setdefault(
                topic, self._revived(topic) or Channel(topic, self.disabled)
            )
        if side == "producers":
            # Before, so that who disables it finds it; and after, if a discard crosses this.
            self._note(registration.participant, channel)
        if registration.joins is not None:
            registration.joins(channel)
        getattr(channel, side).add(registration)
        if side == "producers":
            self._note(registration.participant, channel)
        self._settle(topic, channel)

    def discard(self, topic: Hashable, side: str, participant: Any) -> None:
        try:
            channel = self.channels.get(topic)
        except TypeError as error:
            raise unhashable(topic, error) from error
        if channel is None:
            return
        getattr(channel, side).discard(participant)
        if side == "producers":
            where = self._where.get(id(participant))
            if where is not None:
                where.pop(id(channel), None)
                if channel.producers.has(participant):
                    self._note(participant, channel)
                elif not where:
                    self._where.pop(id(participant), None)
                    if where:
                        self._where.setdefault(id(participant), {}).update(where)
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

    def hint(self, topic: Hashable, side: str) -> str:
        """What to say of *topic*, with nobody on that *side*: which other reads most like it."""
        from difflib import get_close_matches

        there = [
            _log.text_of(channel.topic)
            for channel in copied(self.channels.values())[:_MANY]
            if getattr(channel, side)
        ]
        close = get_close_matches(_log.text_of(topic), there, 1)
        if close:
            return f", but for {close[0]}"
        return f"; {side} are on {', '.join(there[:3])}" if there else f"; no {side[:-1]} is on any"

    def disable(self, producer: Any, by: Hashable) -> None:
        """Take *producer* out of all rosters. All of it each time, if one was cut short."""
        key = id(producer)
        if key not in self.disabled:
            # Straight into C when it is dropped, where no signal handler comes in between.
            absence = Absence(producer, partial(self.disabled.pop, key))
            absence.reasons = {}
            self.disabled.setdefault(key, absence)
        self.disabled[key].reasons[by] = None
        self._changed(producer)

    def enable(self, producer: Any, by: Hashable) -> None:
        """Take it in again, if nobody else than *by* has disabled it; None speaks for all."""
        absence = self.disabled.get(id(producer))
        if absence is None:
            return
        # One and the same object as long as it lives: nobody's word is put back or lost.
        if by is None:
            absence.reasons.clear()
        else:
            absence.reasons.pop(by, None)
        self._changed(producer)

    def participants(self, side: str) -> List[Any]:
        """Everybody on *side* of any topic, each once, in the order of the topics."""
        found: Dict[int, Any] = {}
        for channel in copied(self.channels.values()):
            for each in getattr(channel, side).registrations():
                found.setdefault(id(each.participant), each.participant)
        return list(found.values())

    def topics_of(self, participant: Any, side: str) -> Tuple[Hashable, ...]:
        """All that *participant* is registered for on *side*."""
        channels = copied(self.channels.values())
        return tuple([each.topic for each in channels if getattr(each, side).has(participant)])

    def tables(self) -> Tuple[Dict[Any, Any], ...]:
        """What holds participants: emptied, everybody is forgotten."""
        return self.channels, self._where

    def _note(self, participant: Any, channel: Channel) -> None:
        self._where.setdefault(id(participant), {})[id(channel)] = channel

    def _changed(self, producer: Any) -> None:
        """Whether *producer* is disabled is not what it was."""
        for channel in copied(self._where.get(id(producer), {}).values()):
            channel.producers.changed()

    def _settle(self, topic: Hashable, channel: Channel) -> None:
        """Make what was registered on *channel* hold, also if the topic was pruned meanwhile."""
        current = self.channels.setdefault(topic, channel)
        if current is not channel:
            current.merge(channel)
            for each in channel.producers.registrations():
                self._note(each.participant, current)

    def _retire(self, channel: Channel) -> None:
        self._clear()
        # Straight into C when it dies, where no signal handler comes in between.
        retired = _Retired(channel, self._gone.append)
        retired.hash = channel.hash
        self._retired.setdefault(channel.hash, {})[id(retired)] = retired

    def _revived(self, topic: Hashable) -> Optional[Channel]:
        self._clear()
        # Only equal hashes may be equal topics: others are not asked.
        for retired in copied(self._retired.get(hash(topic), {}).values()):
            channel: Optional[Channel] = retired()
            if channel is not None and channel.topic == topic:
                return channel
        return None

    def _clear(self) -> None:
        """What is left here of channels that are gone, goes."""
        while self._gone:
            try:
                retired = self._gone.popleft()
            except IndexError:
                return
            same = self._retired.get(retired.hash)
            if same is not None:
                same.pop(id(retired), None)
                if not same:
                    self._retired.pop(retired.hash, None)
                    if same:
                        self._retired.setdefault(retired.hash, {}).update(same)


class _Retired(weakref.ref):  # type: ignore[type-arg]
    """A channel that nobody is registered on."""

    __slots__ = ("hash",)

    hash: int
