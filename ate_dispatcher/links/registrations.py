"""What other parts have, as registrations of this one; on the link's thread."""

from __future__ import annotations

from typing import Dict, Hashable, Iterable, Tuple

from .._delivery.channel import Registration, is_disabled
from .._engine.link import Link, RemoteMember
from .asks import Asks
from .offer import Offer
from .outlet import RemoteListeners
from .parts import Part, PartMember
from .shared import Shared

__all__ = ["Registrations"]

_MOST_OFF = 1_000
"""So many parts that have left, and so many producers of one, may be remembered as being off."""


class Registrations:
    """Producers of other parts, and one listener in the place of all of theirs."""

    def __init__(self, shared: Shared, link: Link, asks: Asks, outlet: RemoteListeners) -> None:
        self._shared = shared
        self._registry = shared.engine.registry
        self._link = link
        self._asks = asks
        self._outlet = outlet
        #: Where that is registered, and for how many.
        self._heard: Dict[Hashable, int] = {}
        #: Where parts listened that were lost, and until when that counts.
        self._lingering: Dict[str, Tuple[float, Iterable[Hashable]]] = {}
        #: Those that are off here and have left, by the part, its instance, and their keys.
        self._off: Dict[str, Tuple[str, Dict[int, RemoteMember]]] = {}

    def take(self, part: Part, said: Offer) -> None:
        """What *part* has is that, from now on."""
        registry = self._registry
        for number, name in said.names.items():
            self._comes_back(part, number)
            part.member(self._link, number, name)
        before, after = part.topics, said.producers()
        part.topics = after
        registry.add_all(
            "producers",
            [
                (topic, Registration(member.producer, member, None))
                for topic, keys in after.items()
                for member in part.of(keys, before.get(topic, ()))
            ],
        )
        registry.discard_all(
            "producers",
            [
                (topic, member.producer)
                for topic, keys in before.items()
                for member in part.of(keys, after.get(topic, ()))
            ],
        )
        there = {key for keys in after.values() for key in keys}
        left = [key for key in part.members if key not in there]
        if left:
            self._asks.gone_from(part.name, left)
        for key in left:
            # Who still owes an answer is known by what was asked.
            self._leaves(part, key, part.members.pop(key))
        listened, part.listens = part.listens, said.listening()
        self._let_hear(part.listens - listened)
        self._let_hear_no_more(listened - part.listens)

    def _leaves(self, part: Part, key: int, member: RemoteMember) -> None:
        """Who is off here is so until somebody here wants it back, however often it is away."""
        if is_disabled(self._registry.disabled, member.producer):
            instance, members = self._off.get(part.name, ("", {}))
            if instance != part.instance:
                members = {}
                self._off[part.name] = part.instance, members
            members[key] = member
            if len(members) > _MOST_OFF:
                # It makes new ones again and again.
                del members[next(iter(members))]
            if len(self._off) > _MOST_OFF:
                del self._off[next(iter(self._off))]

    def _comes_back(self, part: Part, key: int) -> None:
        instance, members = self._off.get(part.name, ("", {}))
        member = members.pop(key, None) if instance == part.instance else None
        if isinstance(member, PartMember):
            member.home, part.members[key] = part, member

    def forget(self, part: Part) -> None:
        """It has left for good: under its name comes another one, if any."""
        self._off.pop(part.name, None)

    def linger(self, part: Part, until: float) -> None:
        """It was lost: what it listens to is still sent, until then."""
        self.returned(part.name)
        self._lingering[part.name], part.listens = (until, part.listens), set()

    def returned(self, name: str) -> None:
        """That part says itself again what it listens to, if it was lost."""
        _, listened = self._lingering.pop(name, (0.0, ()))
        self._let_hear_no_more(listened)

    def end_lingering(self, now: float) -> None:
        """For those whose time is over."""
        for name in [name for name, (until, _) in self._lingering.items() if until <= now]:
            self.returned(name)

    def _let_hear(self, topics: Iterable[Hashable]) -> None:
        """One more part listens to those topics and patterns."""
        outlet, heard = self._outlet, self._heard
        registration = Registration(outlet, outlet, self._shared.outbox, apart=True)
        news = []
        for topic in topics:
            heard[topic] = heard.get(topic, 0) + 1
            if heard[topic] == 1:
                news.append((topic, registration))
        self._registry.add_all("listeners", news)

    def _let_hear_no_more(self, topics: Iterable[Hashable]) -> None:
        """One part less does."""
        heard = self._heard
        rest = []
        for topic in topics:
            heard[topic] -= 1
            if not heard[topic]:
                del heard[topic]
                rest.append((topic, self._outlet))
        self._registry.discard_all("listeners", rest)
