"""Topics that only patterns match: what is sent to one leaves nothing behind.

Such a topic is known to nobody but what was sent to it. Topics that the same patterns match share
one reading of who is registered by these. A reading has no version of its own but that of the
index, which is another one after each change, so that all readings are past at once (P10). Whoever
has one that is past looks again: also whether somebody is registered for its topic by name now, and
then it goes with the channel of that for good.

No lock: what is replaced is replaced whole, and who keeps what may be past looks afterwards whether
it is. No code of users is called: texts are compared, not topics.
"""

from __future__ import annotations

import weakref
from functools import partial
from operator import attrgetter
from typing import Any, Dict, Hashable, List, Optional, Tuple, Union

from .._core.snapshots import copied
from .channel import STALE, TRIES, Channel, Disabled, Roster, Side, in_order, roster_of
from .living import Living
from .patterns import Index, text_of, tokens_of

__all__ = ["MatchedTopic", "Matches"]

_MANY = 1_000
"""So many readings are kept for the next who wants the same."""


class Reading:
    """Who is on topics that just these patterns match, by themselves, as of one version.

    It is the listeners' side of them all, with *roster*; *asked* are the producers.
    """

    __slots__ = ("__weakref__", "_index", "asked", "roster")

    version: object = property(attrgetter("_index.version"))

    def __init__(
        self, version: object, matching: List[Channel], disabled: Disabled, index: Index[Channel]
    ) -> None:
        self._index = index
        producers = in_order([each.producers for each in matching])
        listeners = in_order([each.listeners for each in matching])
        self.asked: Roster = roster_of(version, producers, disabled)
        self.roster: Roster = roster_of(version, listeners, {})

    def forgets(self) -> None:
        """Somebody who was there is not any more, and is not to be kept."""
        self.asked = self.roster = STALE


class _Asked:
    """The producers' side of all these topics: each send looks twice."""

    version: object = object()
    roster: Roster = STALE


class MatchedTopic:
    """In the place of a channel, for one request or value."""

    __slots__ = ("__weakref__", "_matches", "_named", "listeners", "topic")

    producers: _Asked = _Asked()

    def __init__(self, topic: Hashable, matches: Matches, reading: Reading) -> None:
        self.topic: Hashable = topic
        self._matches = matches
        #: Its channel, once somebody was registered for it by name.
        self._named: Optional[Channel] = None
        self.listeners: Union[Reading, Side] = reading

    def asked(self) -> Roster:
        """As a channel's."""
        roster = self._look("asked")
        for join in roster.joins:
            join(self)
        return roster

    def heard(self) -> Roster:
        """As a channel's."""
        return self._look("roster")

    def reaches(self, listener: Any) -> bool:
        """As a channel's."""
        return self.heard().has(listener)

    def _look(self, what: str) -> Roster:
        matches, reading = self._matches, self.listeners
        version: object = None
        matching: List[Channel] = []
        for _ in range(TRIES):
            version = matches.index.version
            if isinstance(reading, Reading):
                roster: Roster = getattr(reading, what)
                if roster.made_for is version:
                    return roster
            # After the version, which comes after a registration by name.
            named = self._named or matches.named(self.topic)
            if named is not None:
                self._named = named
                self.listeners = named.listeners
                return named.asked() if what == "asked" else named.heard()
            matching = matches.index.matching(tokens_of(self.topic))
            reading = matches.reading(version, matching)
            self.listeners = reading
        # Others come and go all the time, so it is put away at once: one for this look alone.
        last: Roster = getattr(matches.made(version, matching), what)
        return last


SomeChannel = Union[Channel, MatchedTopic]


class Matches:
    """What patterns make of topics for which nobody is registered by name."""

    __slots__ = ("_disabled", "_living", "_readings", "index", "read")

    def __init__(self, index: Index[Channel], living: Living[Channel], disabled: Disabled) -> None:
        self.index: Index[Channel] = index
        self._living = living
        self._disabled = disabled
        #: What was read last of which patterns; may be emptied at any time.
        self.read: Dict[Tuple[Channel, ...], Reading] = {}
        #: All that somebody has, by identity.
        self._readings: Dict[int, weakref.ref[Reading]] = {}

    def find(self, topic: Hashable, version: object) -> Optional[MatchedTopic]:
        """*topic*, if patterns match it; as of *version* nobody was there by name."""
        matching = self.index.matching(tokens_of(topic))
        if not matching:
            return None
        return MatchedTopic(topic, self, self.reading(version, matching))

    def named(self, topic: Hashable) -> Optional[Channel]:
        """The channel of the same text, if somebody is, or was, registered for it by name."""
        text = text_of(topic)
        return None if text is None else self._living.find_text(text)

    def reading(self, version: object, matching: List[Channel]) -> Reading:
        """Of these patterns, as of *version*, which was read before them; or past."""
        key = tuple(matching)
        found = self.read.get(key)
        if found is None or found.asked.made_for is not version:
            found = self.made(version, matching)
            number = id(found)
            # Straight into C when it dies, where no signal handler comes in between.
            self._readings[number] = weakref.ref(found, partial(self._readings.pop, number))
            if len(self.read) >= _MANY:
                self.read.clear()
            if key:
                self.read[key] = found
            if self.index.version is not version:
                # Somebody may have gone, and this not have been found.
                self.forget()
        return found

    def made(self, version: object, matching: List[Channel]) -> Reading:
        return Reading(version, matching, self._disabled, self.index)

    def forget(self) -> None:
        """Somebody has gone, as the version says already: nothing that was read keeps it."""
        self.read.clear()
        for reference in copied(self._readings.values()):
            reading = reference()
            if reading is not None:
                reading.forgets()
