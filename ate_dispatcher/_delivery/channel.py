"""One topic: who is registered for it, and rosters of that, as immutable snapshots.

No lock: registrations may come from any thread, a signal handler or a finalizer, also one that
interrupts another registration. A topic's registrations are a dict that is changed by single atomic
operations and then gets a new *version*; whoever reads them reads the version first (P10) and makes
a roster for it, which serves all who come until there is another. A roster is stored before the
version is looked at once more, so the last one stored is always current, and nothing keeps a
deregistered participant alive.

So a registration costs the same however many there are: the roster is made by who needs it.
Registrations are numbered, so that those by name and those by patterns are in one order.

Participants are told apart by identity.
"""

from __future__ import annotations

import weakref
from operator import attrgetter
from typing import Any, Callable, Dict, Hashable, List, NamedTuple, Optional, Tuple

from .._core.names import Names
from .._core.snapshots import copied
from .mailbox import Mailbox
from .patterns import Index, text_of, tokens_of

__all__ = [
    "Absence",
    "Channel",
    "Disabled",
    "Outlet",
    "Registration",
    "Roster",
    "Side",
    "is_disabled",
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
    mailbox: Optional[Mailbox]
    """None for a producer on another machine."""
    heeding: bool = False
    #: Whether it hears results apart from the others: with whose they are, or within a bound.
    apart: bool = False
    joins: Optional[Callable[[Any], None]] = None
    """Told of each topic's channel that it is on, before anybody is sent to it there; perhaps more
    than once."""
    number: int = 0
    """In the order of registration."""


_number = attrgetter("number")


class Roster:
    """One immutable reading of a side of a topic, in the order of registration.

    For listeners also what tells whether any of them wants to hear of completions: *heeding*, by
    its class, or by an attribute of its own, which is looked for in the outlets at each end. And
    *apart*, the mailboxes of those that hear results in another way than the others, who are the
    *plain* ones.

    Who is *disabled* has no outlet in it, nor has who is on another machine, as *any_remote* tells.
    Such a roster has no *version*, so that each send looks twice.
    """

    __slots__ = (
        "_names",
        "any_remote",
        "apart",
        "disabled",
        "first",
        "heeding",
        "joins",
        "keys",
        "made_for",
        "members",
        "plain",
        "routes",
        "size",
        "version",
    )

    def __init__(
        self,
        version: object,
        registrations: List[Registration],
        disabled: Tuple[Any, ...] = (),
    ) -> None:
        self.made_for: object = version
        self._names: Optional[Tuple[Optional[Names]]] = None
        self.disabled: Tuple[Any, ...] = disabled
        members: Tuple[Any, ...] = ()
        mailboxes: Tuple[Optional[Mailbox], ...] = ()
        heeding: Tuple[bool, ...] = ()
        apart: Tuple[bool, ...] = ()
        joins: Tuple[Any, ...] = ()
        if registrations:
            _, members, mailboxes, heeding, apart, joins, _ = zip(*registrations)
        self.any_remote: bool = None in mailboxes
        self.version: Optional[object] = None if disabled or self.any_remote else version
        self.members: Tuple[Any, ...] = members
        #: To those elsewhere, kept for who sends: whoever needs them first has made them.
        self.routes: Optional[Tuple[Any, ...]] = None
        self.size: int = len(members)
        #: The identities of their mailboxes.
        self.keys: Tuple[int, ...] = tuple(map(id, mailboxes))
        self.heeding: bool = True in heeding
        self.joins: Tuple[Callable[[Any], None], ...] = tuple(filter(None, joins))
        self.first: Optional[Outlet] = _chain(registrations)
        self.plain: Optional[Outlet] = self.first
        self.apart: Tuple[Mailbox, ...] = ()
        if True in apart:
            there = [each.mailbox for each in registrations if each.apart]
            self.apart = tuple([mailbox for mailbox in there if mailbox is not None])
            self.plain = _chain([each for each in registrations if not each.apart])

    def has(self, member: Any) -> bool:
        return any(each is member for each in self.members)

    def names(self) -> Optional[Names]:
        """Those that several have, if any is on another machine; looked for once."""
        if self._names is None:
            self._names = (Names.among((*self.members, *self.disabled)),)
        return self._names[0]


def _chain(registrations: List[Registration]) -> Optional[Outlet]:
    first: Optional[Outlet] = None
    for each in reversed(registrations):
        if each.mailbox is not None:
            first = Outlet(each.mailbox, each.participant.__dict__, first)
    return first


STALE = Roster(object(), [])
"""Made for no version that there is."""

TRIES = 5
"""So often a roster is made anew because somebody has come or gone meanwhile."""


class Side:
    """The producers, or the listeners, of one topic or pattern."""

    __slots__ = ("_disabled", "_registrations", "roster", "version")

    def __init__(self, disabled: Disabled) -> None:
        self._disabled = disabled
        self._registrations: Dict[int, Registration] = {}
        self.version: object = object()
        self.roster: Roster = STALE

    def add(self, registration: Registration) -> None:
        self._registrations.setdefault(id(registration.participant), registration)
        self.changed()

    def discard(self, participant: Any) -> None:
        # Also if it is not there: a deregistration that was cut short may be tried again.
        self._registrations.pop(id(participant), None)
        self.lessened()

    def has(self, participant: Any) -> bool:
        return id(participant) in self._registrations

    def changed(self) -> None:
        """What a roster would say is not what it was."""
        self.version = object()

    def lessened(self) -> None:
        """Somebody is not there any more."""
        self.changed()
        # The one before would keep it alive until somebody comes.
        self.roster = STALE

    def current(self, channel: Optional[Channel] = None) -> Roster:
        """The roster as of now; with the topic's *channel* also of who is there by patterns.

        Who is in it was told of that channel.
        """
        roster = STALE
        for _ in range(TRIES):
            version = self.version
            # Read once: a deregistration may put the stale one there meanwhile.
            roster = self.roster
            if roster.made_for is version:
                return roster
            there = in_order([self] if channel is None else [self, *channel.by_patterns(self)])
            roster = roster_of(version, there, self._disabled)
            if channel is not None:
                for join in roster.joins:
                    join(channel)
            self.roster = roster
            if self.version is version:
                return roster
        # Others come and go all the time: this one is of now, too, but nobody else may use it.
        self.roster = STALE
        return roster

    def registrations(self) -> List[Registration]:
        return copied(self._registrations.values())

    def __bool__(self) -> bool:
        return bool(self._registrations)


def in_order(sides: List[Side]) -> List[Registration]:
    """Who is on any of *sides*, each once, in the order of registration."""
    found = [each for side in sides for each in side.registrations()]
    if len(sides) > 1:
        found.sort(key=_number)
        once: Dict[int, Registration] = {}
        for each in found:
            once.setdefault(id(each.participant), each)
        found = list(once.values())
    return found


def roster_of(version: object, found: List[Registration], disabled: Disabled) -> Roster:
    """Of those, but for who is *disabled*."""
    there: List[Registration] = []
    off: List[Any] = []
    for each in found:
        if disabled and is_disabled(disabled, each.participant):
            off.append(each.member)
        else:
            there.append(each)
    return Roster(version, there, tuple(off))


class Channel:
    """One topic: who produces for it and who listens to it, by name and by patterns.

    Or one pattern, by itself.
    """

    __slots__ = (
        "__weakref__",
        "_index",
        "_matching",
        "hash",
        "listeners",
        "producers",
        "text",
        "topic",
    )

    def __init__(self, topic: Hashable, disabled: Disabled, index: Index[Channel]) -> None:
        self.topic: Hashable = topic
        self.text: Optional[str] = text_of(topic)
        self.hash: int = hash(topic)
        self.producers: Side = Side(disabled)
        self.listeners: Side = Side({})
        self._index = index
        #: The patterns that match, and as of which version of the index.
        self._matching: Tuple[object, List[Channel]] = None, []

    def asked(self) -> Roster:
        """Who is asked now, and was told of this. The thread of a send."""
        return self.producers.current(self)

    def heard(self) -> Roster:
        """Who hears now. On any thread, and in the section."""
        return self.listeners.current(self)

    def reaches(self, listener: Any) -> bool:
        """Whether it hears now."""
        return self.listeners.has(listener) or self.heard().has(listener)

    def by_patterns(self, side: Side) -> List[Side]:
        """The same sides of the patterns that match."""
        version = self._index.version
        # Not read again: somebody may put there what is older.
        made_for, matching = self._matching
        if made_for is not version:
            matching = self._index.matching(tokens_of(self.topic))
            self._matching = version, matching
        if side is self.producers:
            return [each.producers for each in matching]
        return [each.listeners for each in matching]

    def lessened(self, side: str) -> None:
        """Somebody who was there by a pattern is not any more."""
        self._matching = None, []
        getattr(self, side).lessened()
