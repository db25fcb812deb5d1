"""What other parts have, as registrations of this one; on the link's thread."""

from __future__ import annotations

from typing import Hashable, Set

from .._delivery.channel import Registration
from .._engine.link import Link
from .asks import Asks
from .offer import Offer
from .outlet import RemoteListeners
from .parts import Part
from .shared import Shared

__all__ = ["Registrations"]


class Registrations:
    """Producers of other parts, and one listener in the place of all of theirs."""

    def __init__(self, shared: Shared, link: Link, asks: Asks, outlet: RemoteListeners) -> None:
        self._shared = shared
        self._registry = shared.engine.registry
        self._link = link
        self._asks = asks
        self._outlet = outlet
        #: Where that is registered.
        self._outlets: Set[Hashable] = set()

    def take(self, part: Part, said: Offer) -> None:
        """What *part* has is that, from now on."""
        registry = self._registry
        for number, name in said.names.items():
            part.member(self._link, number, name)
        before, after = part.topics, said.producers()
        part.topics = after
        for topic, keys in after.items():
            known = set(before.get(topic, ()))
            for key in keys:
                if key not in known:
                    member = part.members[key]
                    registry.add(topic, "producers", Registration(member.producer, member, None))
        for topic, keys in before.items():
            kept = set(after.get(topic, ()))
            for key in keys:
                if key not in kept:
                    registry.discard(topic, "producers", part.members[key].producer)
        there = {key for keys in after.values() for key in keys}
        left = [key for key in part.members if key not in there]
        if left:
            self._asks.gone_from(part.name, left)
        for key in left:
            # Who still owes an answer is known by what was asked.
            del part.members[key]
        part.listens = said.listening()

    def let_hear(self, wanted: Set[Hashable]) -> None:
        """Somebody elsewhere listens to those topics and patterns, and to no others."""
        registry, outlet = self._registry, self._outlet
        registration = Registration(outlet, outlet, self._shared.outbox, apart=True)
        for topic in wanted - self._outlets:
            registry.add(topic, "listeners", registration)
        for topic in self._outlets - wanted:
            registry.discard(topic, "listeners", outlet)
        self._outlets = wanted
