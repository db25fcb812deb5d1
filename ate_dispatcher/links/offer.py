"""What a part has for the others: producers on topics, and topics on which it listens."""

from __future__ import annotations

from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Hashable,
    List,
    NamedTuple,
    Set,
    Tuple,
    TypeVar,
)

from .. import _log
from .._delivery.channel import is_disabled
from .._delivery.local_member import LocalMember
from .._delivery.patterns import TopicPattern
from .._delivery.registry import Registry
from ..errors import BadValue
from . import frames
from .subjects import subject_of, wildcard_of

__all__ = ["NOTHING", "Offer", "offer_of", "offer_received"]

T = TypeVar("T")

_MOST = 10_000
"""So many producers, and topics, one part may have."""


class Offer(NamedTuple):
    """As it is said: topics that are text, and patterns, each apart."""

    topics: Dict[str, List[int]]
    names: Dict[int, str]
    listens: List[str]
    patterns: Dict[str, List[int]]
    hears: List[str]

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


def offer_of(registry: Registry, but: object) -> Tuple[Offer, Dict[int, LocalMember]]:
    """What is registered here, *but* that listener; and its members by number."""
    offer = Offer({}, {}, [], {}, [])
    members: Dict[int, LocalMember] = {}
    for channel in registry.all():
        topic = channel.topic
        plain = topic.__class__ is str
        if not plain and not isinstance(topic, TopicPattern):
            # It cannot travel.
            continue
        text = str(topic)
        keys: List[int] = []
        for each in channel.producers.registrations():
            member = each.member
            off = is_disabled(registry.disabled, each.participant)
            if isinstance(member, LocalMember) and not off:
                members[member.number] = member
                keys.append(member.number)
        if keys:
            (offer.topics if plain else offer.patterns)[text] = keys
        hears = [each.participant for each in channel.listeners.registrations()]
        if any(each is not but for each in hears):
            (offer.listens if plain else offer.hears).append(text)
    # The names are asked for here: they may be users' code.
    offer.names.update({number: _log.name_of(m.producer) for number, m in members.items()})
    return offer, members


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
