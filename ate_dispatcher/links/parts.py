"""Another part, as far as it has said who it is and what it has."""

from __future__ import annotations

import logging
from typing import Dict, Hashable, Iterable, List, Optional, Set

from .._core.durations import NEVER
from .._engine.link import Link, RemoteMember
from .._engine.process import report

__all__ = ["Part", "PartMember", "RemoteProducer"]

_FORGETS = 1e-4
"""The least delay that was seen is let rise by so much of the time: clocks drift apart;"""

_WINDOW = 60.0
"""and after so many seconds, or twice that, it counts no more: that of a paused machine jumps."""


class RemoteProducer:
    """A producer on another machine: ``reply.producer`` of what it has answered."""

    __slots__ = ("__dict__", "__weakref__", "_ate_member", "name", "part")

    def __init__(self, name: str, part: str) -> None:
        #: Its name there.
        self.name: str = name
        #: Which part of the dispatcher it is on.
        self.part: str = part
        self._ate_member: Optional[RemoteMember] = None

    def __repr__(self) -> str:
        return f"<RemoteProducer {self.name} on {self.part}>"


class PartMember(RemoteMember):
    """A producer of a part."""

    __slots__ = ("home",)

    def __init__(self, producer: RemoteProducer, link: Link, home: Part, key: int) -> None:
        super().__init__(producer, link, home.name, key)
        self.home: Part = home


class Part:
    """What is known of one; changed on the link's thread alone."""

    def __init__(self, name: str, instance: str, now: float) -> None:
        self.name: str = name
        #: Another one after a restart.
        self.instance: str = instance
        #: How often it has said what it has; so that old news are told from new ones.
        self.epoch: int = -1
        #: Whether it has left, or was lost: whoever is asked of it will not answer.
        self.is_gone: bool = False
        #: When it was last heard of.
        self.heard: float = now
        #: Its producers, by what it calls them.
        self.members: Dict[int, RemoteMember] = {}
        #: On which topics and patterns they are, and where it listens.
        self.topics: Dict[Hashable, List[int]] = {}
        self.listens: Set[Hashable] = set()
        # The least difference of the clocks that was seen, in this window and in the one before;
        # when that has begun, and when the last one was seen.
        self._least = self._before = NEVER
        self._since = self._seen = now

    def ends(self, why: str) -> None:
        """It has left, or was lost; the log says *why*, if there is anything to say."""
        self.is_gone = True
        if why:
            report(logging.INFO, "part %s is gone: %s", self.name, why)

    def delayed(self, sent: float, now: float) -> float:
        """By how much longer than the quickest what it has *sent* was on its way, in seconds.

        Clocks are not compared, differences are.
        """
        delay, drift = now - sent, (now - self._seen) * _FORGETS
        self._seen = now
        self._least, self._before = self._least + drift, self._before + drift
        if now - self._since > _WINDOW:
            self._since, self._before, self._least = now, self._least, NEVER
        if delay < self._least:
            self._least = delay
        before = self._before
        return delay - (before if before < self._least else self._least)

    def member(self, link: Link, key: int, name: str) -> RemoteMember:
        """Its producer *key*, which is called *name*."""
        found = self.members.get(key)
        if found is None:
            producer = RemoteProducer(name, self.name)
            found = self.members[key] = PartMember(producer, link, self, key)
            producer._ate_member = found
        return found

    def of(self, keys: Iterable[int], but: Iterable[int]) -> List[RemoteMember]:
        """Its producers of these *keys*, *but* those."""
        others = set(but)
        return [self.members[key] for key in keys if key not in others]
