"""What a part has for the others: producers on topics, and topics on which it listens."""

from __future__ import annotations

from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    FrozenSet,
    Hashable,
    Iterable,
    List,
    NamedTuple,
    Set,
    TypeVar,
)

from .. import _log
from .._delivery.channel import Channel, is_disabled
from .._delivery.local_member import LocalMember
from .._delivery.patterns import TopicPattern
from .._delivery.registry import Registry
from ..errors import BadValue
from . import frames
from .subjects import subject_of, wildcard_of

__all__ = ["NOTHING", "Offer", "Ours", "offer_received"]

T = TypeVar("T")

_MOST = 10_000
"""So many producers, and topics, one part may have."""


class Offer(NamedTuple):
    """As it is said: topics that are text, and patterns, each apart."""

    topics: Dict[str, List[int]]
    names: Dict[int, str]
    listens: Collection[str]
    patterns: Dict[str, List[int]]
    hears: Collection[str]

    def frame(self, why: str, instance: str, epoch: int, seq: int, clock_s: float) -> str:
        """As it travels."""
        return frames.here(
            *(why, instance, epoch, seq, self.topics, self.names, self.listens, ["json"], "1"),
            *(self.patterns, self.hears, clock_s),
        )

    def producers(self) -> Dict[Hashable, List[int]]:
        """On which topics and patterns which of them are."""
        found: Dict[Hashable, List[int]] = dict(self.topics.items())
        found.update((TopicPattern(text), each) for text, each in self.patterns.items())
        return found

    def listening(self) -> Set[Hashable]:
        """On which topics and patterns somebody listens."""
        return {*self.listens, *map(TopicPattern, self.hears)}

    def subjects(self) -> FrozenSet[str]:
        """On which it may be asked, with wildcards; not where one would be too long."""
        named = [_or_none(subject_of, topic) for topic in self.topics]
        wildcards = [_or_none(wildcard_of, TopicPattern(text)) for text in self.patterns]
        return frozenset(filter(None, [*named, *wildcards]))


NOTHING = Offer({}, {}, [], {}, [])


def _can_travel(topic: Hashable) -> bool:
    """Whether other parts can know of *topic*, or of that pattern."""
    return topic.__class__ is str or isinstance(topic, TopicPattern)


class Ours:
    """What is registered here, *but* for one listener; seen topic by topic, as each changes."""

    def __init__(self, registry: Registry, but: object) -> None:
        self._registry = registry
        self._but = but
        self._listens: Dict[str, None] = {}
        self._hears: Dict[str, None] = {}
        self.offer: Offer = Offer({}, {}, self._listens, {}, self._hears)
        #: The producers, by number; and on how many topics each is.
        self.members: Dict[int, LocalMember] = {}
        self._on: Dict[int, int] = {}

    def topics(self) -> List[Hashable]:
        """All that there is something on."""
        return [each.topic for each in self._registry.all() if _can_travel(each.topic)]

    def look_at(self, topics: Iterable[Hashable]) -> bool:
        """See what there is on *topics*, texts and patterns; whether anything has changed."""
        offer, has_changed = self.offer, False
        for topic in topics:
            channel, text = self._registry.on(topic), str(topic)
            if channel is not None and not _can_travel(channel.topic):
                channel = None
            plain = not isinstance(topic, TopicPattern)
            members = [] if channel is None else self._members_of(channel)
            if self._put(offer.topics if plain else offer.patterns, text, members):
                has_changed = True
            heard = self._listens if plain else self._hears
            there = () if channel is None else channel.listeners.registrations()
            if any(each.participant is not self._but for each in there) != (text in heard):
                has_changed = True
                if heard.pop(text, self) is self:
                    heard[text] = None
        return has_changed

    def _members_of(self, channel: Channel) -> List[LocalMember]:
        disabled = self._registry.disabled
        return [
            each.member
            for each in channel.producers.registrations()
            if isinstance(each.member, LocalMember) and not is_disabled(disabled, each.participant)
        ]

    def _put(self, table: Dict[str, List[int]], text: str, members: List[LocalMember]) -> bool:
        before, keys = table.get(text, []), [each.number for each in members]
        if keys == before:
            return False
        for each in members:
            number = each.number
            self._on[number] = self._on.get(number, 0) + 1
            if number not in self.members:
                # The names are asked for here: they may be users' code.
                self.members[number] = each
                self.offer.names[number] = _log.name_of(each.producer)
        for number in before:
            self._on[number] -= 1
            if not self._on[number]:
                del self._on[number], self.members[number], self.offer.names[number]
        table[text] = keys
        if not keys:
            del table[text]
        return True


def offer_received(
    topics: Dict[str, List[int]], names: Dict[str, str], listens: List[str], about: Dict[str, Any]
) -> Offer:
    """What another part has said, looked at; BadValue for what cannot be."""
    patterns, hears = about.get("patterns", {}), about.get("hears", [])
    if max(len(names), len(topics), len(listens), len(patterns), len(hears)) > _MOST:
        raise BadValue("too much for one part")
    known = {int(number): name for number, name in names.items()}
    for keys in [*topics.values(), *patterns.values()]:
        if not known.keys() >= set(keys):
            raise BadValue("a member without a name")
    for each in [*patterns, *hears]:
        TopicPattern(each)
    return Offer(topics, known, listens, patterns, hears)


def _or_none(subject: Callable[[T], str], of: T) -> str:
    """The *subject* of that; "" where it would be too long, so that nobody can ask on it."""
    try:
        return subject(of)
    except BadValue:
        return ""
