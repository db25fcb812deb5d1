"""What a part says of itself: its producers, their topics, and where it listens."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from .. import _log
from .._delivery.channel import is_disabled
from .._delivery.local_member import LocalMember
from .._delivery.patterns import TopicPattern
from .._engine.engine import Engine
from ..errors import BadValue
from . import frames

__all__ = ["NOTHING", "Said", "said_by", "said_of"]

_MOST = 10_000
"""So many producers, and topics, one part may have."""


class Said(NamedTuple):
    """All of it, each time."""

    topics: Dict[str, List[int]]
    names: Dict[int, str]
    listens: List[str]
    patterns: Dict[str, List[int]]
    hears: List[str]

    def heard(self) -> Any:
        """Where it listens: topics, and patterns, each as a table."""
        return dict.fromkeys(self.listens), dict.fromkeys(self.hears)

    def frame(self, why: str, instance: str, epoch: int, seq: int, clock_s: float) -> str:
        """As it travels."""
        return frames.here(
            *(why, instance, epoch, seq, self.topics, self.names, self.listens, ["json"], "1"),
            *(self.patterns, self.hears, clock_s),
        )


NOTHING = Said({}, {}, [], {}, [])


def said_of(engine: Engine, but: object) -> Tuple[Said, Dict[int, LocalMember]]:
    """What *engine* has, without the listener *but*; and its producers by their numbers."""
    said = Said({}, {}, [], {}, [])
    members: Dict[int, LocalMember] = {}
    for channel in engine.registry.all():
        topic = channel.topic
        plain = topic.__class__ is str
        if not plain and not isinstance(topic, TopicPattern):
            continue
        text = str(topic)
        keys: List[int] = []
        for each in channel.producers.registrations():
            member = each.member
            off = is_disabled(engine.disabled, each.participant)
            if isinstance(member, LocalMember) and not off:
                members[member.number] = member
                keys.append(member.number)
        if keys:
            (said.topics if plain else said.patterns)[text] = keys
        hears = [each.participant for each in channel.listeners.registrations()]
        if any(each is not but for each in hears):
            (said.listens if plain else said.hears).append(text)
    # The names are asked for here: they may be users' code.
    said.names.update({number: _log.name_of(m.producer) for number, m in members.items()})
    return said, members


def said_by(
    topics: Dict[str, List[int]], names: Dict[str, str], listens: List[str], more: Dict[str, Any]
) -> Said:
    """What arrived, looked at; BadValue for what cannot be."""
    patterns, hears = more.get("patterns", {}), more.get("hears", [])
    if max(len(names), len(topics), len(listens), len(patterns), len(hears)) > _MOST:
        raise BadValue("too much for one part")
    known = {int(number): name for number, name in names.items()}
    for keys in [*topics.values(), *patterns.values()]:
        if not known.keys() >= set(keys):
            raise BadValue("a member without a name")
    for each in [*patterns, *hears]:
        TopicPattern(each)
    return Said(topics, known, listens, patterns, hears)
