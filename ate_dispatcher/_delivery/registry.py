"""Who is registered for what, by topics and by patterns.

No lock, see ``channel``, ``patterns`` and ``living``: tables are changed by single atomic
operations, and after each of them the topics that it concerns get a new version (P10). A
registration by a pattern concerns all topics that live.

A topic has one channel as long as anybody is registered for it by name, or a request refers to it,
so what is open hears who comes later. Where only patterns match, ``matched`` has what stands for
it.

Topics are the users' objects. They are hashed and compared only here, on the thread of the call
that names them. Participants are told apart by identity.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Callable, Dict, Hashable, Iterator, List, Optional, Sequence, Tuple

from .. import _log
from .._core.snapshots import copied
from ..errors import BadType
from .channel import Absence, Channel, Disabled, Registration
from .living import Living
from .matched import Matches, SomeChannel
from .patterns import Index, TopicPattern, would_match

__all__ = ["Registry", "check_hashable", "unhashable"]

_MANY = 1_000
"""So many topics are looked at for one that reads alike."""


def unhashable(topic: Any, error: TypeError) -> BadType:
    """What a topic is refused with that cannot be a key."""
    several = "; several topics are arguments of their own" if isinstance(topic, list) else ""
    return BadType(f"topic must be hashable, not {type(topic).__name__}: {error}{several}")


def check_hashable(topic: Hashable) -> None:
    """Refuse a *topic* that cannot be a key."""
    try:
        hash(topic)
    except TypeError as error:
        raise unhashable(topic, error) from error


class Registry:
    """All topics and patterns of one dispatcher that somebody is registered for."""

    def __init__(self) -> None:
        #: The topics for which somebody is registered by name.
        self.channels: Dict[Hashable, Channel] = {}
        #: Producers that are not asked, by identity.
        self.disabled: Disabled = {}
        self._patterns: Dict[Hashable, Channel] = {}
        # All channels that are there, also if only open requests refer to them. A registration for
        # the topic takes the same channel up, so it hears those.
        self._living: Living[Channel] = Living()
        # Those of them that nobody is registered on by name any more: few, so that they are looked
        # for quickly.
        self._left: Living[Channel] = Living()
        self._living_patterns: Living[Channel] = Living()
        self._index: Index[Channel] = Index(self._living_patterns.all)
        self._matches = Matches(self._index, self._living, self.disabled)
        # Where each producer is registered, or has been, by identities: at least that.
        self._where: Dict[int, Dict[int, Channel]] = {}
        self._numbers: Iterator[int] = itertools.count(1)
        #: Called after each change with the topics and patterns, and whom on each, it concerns, on
        #: the thread that makes it; they only append.
        self.watchers: List[Callable[[Sequence[Tuple[Hashable, Any]]], None]] = []

    def add(self, topic: Hashable, side: str, registration: Registration) -> None:
        self.add_all(side, [(topic, registration)])

    def add_all(self, side: str, found: Sequence[Tuple[Hashable, Registration]]) -> None:
        """Each for its topic or pattern: all topics that live are looked at once."""
        if not found:
            return
        patterns = False
        for topic, registration in found:
            patterns |= self._add(topic, side, registration)
        self._index.changed()
        if patterns:
            for each in self._living.all():
                getattr(each, side).changed()
        self._tell_watchers([(topic, each.participant) for topic, each in found])

    def _add(self, topic: Hashable, side: str, registration: Registration) -> bool:
        """Whether by a pattern."""
        table, living = self._home_of(topic)
        channel = table.get(topic)
        if channel is None:
            channel = living.first(Channel(topic, self.disabled, self._index))
        table.setdefault(topic, channel)
        if side == "producers":
            # Before, so that who disables it finds it; and after, if a discard crosses this.
            self._note(registration.participant, channel)
        getattr(channel, side).add(registration._replace(number=next(self._numbers)))
        if side == "producers":
            self._note(registration.participant, channel)
        # It may have been taken away meanwhile, its last registration being gone.
        table.setdefault(topic, channel)
        if table is self._patterns:
            self._index.enter(channel)
        return table is self._patterns

    def discard(self, topic: Hashable, side: str, participant: Any) -> None:
        self.discard_all(side, [(topic, participant)])

    def discard_all(self, side: str, found: Sequence[Tuple[Hashable, Any]]) -> None:
        """Each from its topic or pattern; likewise."""
        if not found:
            return
        patterns = False
        for topic, participant in found:
            table, _ = self._home_of(topic)
            try:
                channel = table.get(topic)
            except TypeError as error:
                raise unhashable(topic, error) from error
            if channel is not None:
                self._discard(topic, channel, side, participant)
            # It may have been the last, and is gone then.
            del channel
            patterns |= table is self._patterns
        if patterns:
            # Also if it is not there: one that was cut short may be tried again.
            self._index.changed()
            for each in self._living.all():
                each.lessened(side)
            self._matches.forget()
            self._index.tidy(len(self._patterns))
        self._tell_watchers(found)

    def _discard(self, topic: Hashable, channel: Channel, side: str, participant: Any) -> None:
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
            table, _ = self._home_of(topic)
            if table is self.channels and self._left.find(topic) is None:
                # Before: whoever finds the topic gone finds the channel there.
                self._left.first(channel)
            table.pop(topic, None)
            if channel.producers or channel.listeners:
                # Somebody registered between the look and the removal.
                table.setdefault(topic, channel)

    def find(self, topic: Hashable) -> Optional[SomeChannel]:
        """The channel of *topic*, or what stands for it, if anybody may be registered for it.

        Also while a deregistration that crossed a registration has taken it away for a moment.
        """
        # Before (P10): whoever is registered for it by name from now on changes that.
        version = self._index.version
        try:
            channel = self.channels.get(topic) or self._left.find(topic)
        except TypeError as error:
            raise unhashable(topic, error) from error
        if channel is not None:
            return channel
        if isinstance(topic, TopicPattern):
            raise BadType(
                f"topic must not be {topic!r}: by a pattern one registers; "
                "what is sent or published has one topic"
            )
        return self._matches.find(topic, version)

    def on(self, topic: Hashable) -> Optional[Channel]:
        """Of exactly that topic or pattern, if anybody is registered for it."""
        table, _ = self._home_of(topic)
        return table.get(topic)

    def lasting(self, topic: Hashable) -> Channel:
        """The channel of *topic*, whether or not anybody is registered: who comes takes it up."""
        channel = self.channels.get(topic)
        return channel or self._living.first(Channel(topic, self.disabled, self._index))

    def hint(self, topic: Hashable, side: str) -> str:
        """What to say of *topic*, with nobody on that *side*: which other reads most like it."""
        from difflib import get_close_matches

        topics = [each.topic for each in self.all()[:_MANY] if getattr(each, side)]
        #: By what is compared, what is shown.
        there: Dict[str, str] = {}
        for each in topics:
            shown = _log.text_of(each)
            if would_match(each, topic):
                return f", but for {shown}, which is a topic; a pattern is TopicPattern({shown})"
            there[_log.text_of(str(each)) if isinstance(each, TopicPattern) else shown] = shown
        # Somebody may have come meanwhile.
        there.pop(_log.text_of(topic), None)
        close = get_close_matches(_log.text_of(topic), there, 1)
        if close:
            return f", but for {there[close[0]]}"
        if not there:
            return f"; no {side[:-1]} is on any"
        return f"; {side} are on {', '.join([*there.values()][:3])}"

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

    def participants(self, side: str, remote: bool = False) -> List[Any]:
        """Everybody on *side*, each once, in the order of the topics; then those of patterns.

        Producers on other machines only with *remote*.
        """
        found: Dict[int, Any] = {}
        for channel in self.all():
            for each in getattr(channel, side).registrations():
                if each.mailbox is not None or remote:
                    found.setdefault(id(each.participant), each.participant)
        return list(found.values())

    def topics_of(self, participant: Any, side: str) -> Tuple[Hashable, ...]:
        """All topics and patterns that *participant* is registered for on *side*."""
        return tuple([each.topic for each in self.all() if getattr(each, side).has(participant)])

    def tables(self) -> Tuple[Dict[Any, Any], ...]:
        """What holds participants: emptied, everybody is forgotten."""
        return self.channels, self._patterns, self._where, self._matches.read

    def _home_of(self, topic: Hashable) -> Tuple[Dict[Hashable, Channel], Living[Channel]]:
        if isinstance(topic, TopicPattern):
            return self._patterns, self._living_patterns
        return self.channels, self._living

    def all(self) -> List[Channel]:
        """Of all topics, then of all patterns, that somebody is registered for."""
        return [*copied(self.channels.values()), *copied(self._patterns.values())]

    def _note(self, participant: Any, channel: Channel) -> None:
        self._where.setdefault(id(participant), {})[id(channel)] = channel

    def _changed(self, producer: Any) -> None:
        """Whether *producer* is disabled is not what it was."""
        channels = copied(self._where.get(id(producer), {}).values())
        for channel in channels:
            channel.producers.changed()
        self._index.changed()
        if any(isinstance(channel.topic, TopicPattern) for channel in channels):
            for channel in self._living.all():
                channel.producers.changed()
        self._tell_watchers([(channel.topic, producer) for channel in channels])

    def _tell_watchers(self, changed: Sequence[Tuple[Hashable, Any]]) -> None:
        for watcher in copied(self.watchers):
            watcher(changed)
