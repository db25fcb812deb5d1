"""Who is there: which parts, with which producers, who listens to what; and that they are gone.

On the link's thread. What we have is said at every change, and a beat each second; what others say
becomes registrations here.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Dict, Hashable, Iterable, List
from uuid import uuid1

from .._core.durations import NEVER
from .._engine.link import Link
from .._engine.process import lost, report
from ..errors import BadType, BadValue
from . import frames
from .absences import Absences
from .asks import Asks
from .guests import Guests
from .offer import NOTHING, Offer, Ours, offer_received
from .outlet import RemoteListeners
from .parts import Part
from .registrations import Registrations
from .results import LINGERS, Results
from .shared import Shared, own_name

__all__ = ["BEAT", "Membership"]

BEAT = 1.0
"""Seconds between two signs of life;"""
SILENT = 3
"""and after so many without one a part is gone."""

_PROBE = 0.2
"""Seconds after which one that owes an answer is looked for."""

_ROUND, _QUIET = 0.5, 0.05
"""Who connects waits so long for others at most, and so long after the last that has come."""

_GREETS = 10
"""So often in a beat one part is told all that we have, at its word: that may be long."""

_RESTS = 10
"""So many times as long as it took to say what we have, nothing of it is said anew."""


class Membership:
    """The other parts of one link, and what this one says of itself."""

    def __init__(
        self,
        shared: Shared,
        link: Link,
        asks: Asks,
        guests: Guests,
        results: Results,
        name: str,
        group: str,
    ) -> None:
        self._shared = shared
        self._engine = shared.engine
        self._group = group
        self._asks = asks
        self._guests = guests
        self._results = results
        self.outlet: RemoteListeners = RemoteListeners(shared, results, name)
        self._registrations = Registrations(shared, link, asks, self.outlet)
        self.parts: Dict[str, Part] = guests.parts
        # Of two, that of the one that was made later is the greater one, as far as clocks agree.
        self.instance: str = f"{uuid1().time:016x}{os.urandom(4).hex()}@{own_name()}"
        #: The instance of another part of this name that has answered, or "".
        self.taken_by: str = ""
        #: Whether this one leaves: it has nothing any more.
        self.leaves: bool = False
        #: Whether the first round is over: who is there has said so.
        self.is_ready: bool = False
        self._epoch = 0
        self._ours = Ours(self._engine.registry, self.outlet)
        guests.members = self._ours.members
        self._said = NOTHING
        #: Where that may have changed since.
        self._changed: Dict[Hashable, None] = {}
        self._say_at = NEVER
        self._rests_until = -NEVER
        self._beat_at = NEVER
        self._probe_at = NEVER
        self._ready_at = NEVER
        self._round_until = NEVER
        self._announce_at = NEVER
        #: Whether the others have been told of this one: after it was seen that its name is free.
        self._is_known = False
        self._absences = Absences()
        self._looked = NEVER
        #: How often whom was told what we have, since the last beat.
        self._greeted: Dict[str, int] = {}

    # -- what we say ---------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """What is said arrives, from now on or again."""
        self._absences.connected(self.parts, now)
        self._shared.sequences.connected()
        for part in self.parts.values():
            part.heard = now
        # Whatever they have missed, by its number they know.
        self._shared.to_at_once(frames.PROBE, *self.parts)
        self._beat_at, self._probe_at, self._looked = now + BEAT, now + _PROBE, now
        self._changed.update(dict.fromkeys(self._ours.topics()))
        self._look_at_ours()
        # Nobody is to take this one for another, restarted, whose name it would have in vain.
        self._shared.to_at_once(self._here("new"), self._shared.part)
        self._announce_at = now + _ROUND
        if self._is_known:
            self._announce(now)

    def _announce(self, now: float) -> None:
        self._announce_at, self._is_known = NEVER, True
        self._round_until, self._ready_at = now + _ROUND, now + _ROUND
        self._shared.to_all(self._here("new"))

    def alone(self) -> None:
        """Nobody else is there."""
        self.is_ready = True

    def changed(self, topics: Iterable[Hashable]) -> None:
        """Who is registered here on *topics* is perhaps not what it was: that is said soon."""
        self._changed.update(dict.fromkeys(topics))
        if self._say_at == NEVER:
            self._say_at = max(self._shared.now, self._rests_until)

    def leave(self) -> None:
        """From now on nobody is asked, or heard, any more."""
        self.leaves = True
        for part in list(self.parts.values()):
            self._take(part, NOTHING)
        self.changed(())

    def look(self, now: float) -> float:
        """Say and look for what is due; when to look again."""
        shared = self._shared
        if not shared.connected:
            return NEVER
        # Late ourselves? Then what they have said may still wait to be read.
        late, self._looked = now - self._looked, now
        if late > BEAT:
            for part in self.parts.values():
                part.heard = min(now, part.heard + late)
        if self._announce_at <= now:
            self._announce(now)
        if self._say_at <= now and self._is_known:
            self._say_at = NEVER
            self._say_changes(now)
        if self._beat_at <= now:
            self._beat_at = now + BEAT
            self._greeted.clear()
            shared.to_all(self._beat())
            for part in list(self.parts.values()):
                if now - part.heard > SILENT * BEAT:
                    self.gone(part.name, f"nothing was heard of it for {SILENT * BEAT:g} s")
            self._asks.pending.forget_old(now)
            shared.sequences.forget_old(self._asks.wait_for)
            self._registrations.end_lingering(now)
        if self._probe_at <= now:
            self._probe_at = now + _PROBE
            for name in self._asks.pending.debtors(now - _PROBE / 4):
                shared.to_at_once(shared.sequences.seen(name), name)
            # What they have said of what they took may have been lost.
            shared.to_at_once(frames.PROBE, *shared.sequences.crowded)
        for name in self._absences.look(now):
            shared.to_at_once(shared.sequences.seen(name), name)
        if self._ready_at <= now:
            self._ready_at, self.is_ready = NEVER, True
        say_at = self._say_at if self._is_known else NEVER
        soon = min(self._announce_at, say_at, self._absences.until, self._ready_at)
        return min(soon, self._beat_at, self._probe_at)

    def _say_changes(self, now: float) -> None:
        if self._look_at_ours():
            self._shared.to_all(self._here("changed"))
        took = self._shared.now - now
        # Who registers many one by one has not each said.
        if took > 0:
            self._rests_until = now + took * _RESTS

    def _look_at_ours(self) -> bool:
        """See what we have; whether it has changed."""
        said, changed = NOTHING, self._changed
        self._changed = {}
        if self.leaves:
            has_changed = self._said is not NOTHING
        else:
            said, has_changed = self._ours.offer, self._ours.look_at(changed)
        if not has_changed:
            return False
        self._said = said
        self._epoch += 1
        self._results.hear(bool(said.listens or said.hears))
        self._shared.transport.offer(said.subjects(), self._group)
        return True

    def _beat(self) -> str:
        return frames.beat(self.instance, self._epoch, self._results.seq, self._shared.now)

    def _here(self, why: str) -> str:
        said = self._said
        frame = said.frame(why, self.instance, self._epoch, self._results.seq, self._shared.now)
        if not self._shared.fits(frame):
            lost(
                "part %s has too much to say of itself for one message, %d producers on %d topics: "
                "other parts do not see them",
                *(self._shared.part, len(said.names), len(said.topics)),
            )
            self._said = NOTHING
            return self._here(why)
        return frame

    # -- what they say -------------------------------------------------------------------------

    def in_here(
        self,
        sender: str,
        why: str,
        instance: str,
        epoch: int,
        seq: int,
        topics: Dict[str, List[int]],
        names: Dict[str, str],
        listens: List[str],
        more: Dict[str, Any],
    ) -> None:
        """*sender* says what it has; for the first time, perhaps."""
        if sender == self._shared.part:
            if instance != self.instance:
                self._met_namesake(instance, why)
            return
        part, now = self.parts.get(sender), self._shared.now
        if part is not None and part.instance != instance:
            self.gone(sender, "it was started anew", True)
            part = None
        is_new = part is None
        if part is None:
            part = self.parts[sender] = Part(sender, instance, now)
            self._shared.sequences.begin(sender)
            self._results.begins(sender, instance, seq)
            self._ready_at = min(now + _QUIET, self._round_until)
            report(logging.INFO, "part %s is there", sender)
        part.heard = now
        if "clock" in more:
            part.delayed(more["clock"], now)
        if why == "new" and self._is_known:
            self._greet(sender, "you")
        elif is_new:
            # From here on it knows what it has missed.
            self._shared.to_at_once(frames.PROBE, sender)
        self._results.told(sender, seq)
        if epoch <= part.epoch or self.leaves:
            return
        try:
            self._take(part, offer_received(topics, names, listens, more))
        except (BadType, BadValue, KeyError):
            self._shared.count("malformed")
        # Not before: what somebody listens to all the time is heard all the time.
        self._registrations.returned(sender)
        # The last of all: from here on it is there for those who look.
        part.epoch = epoch

    def meet(self, sender: str) -> None:
        """*sender*, of which not all is known, shall say who it is."""
        if self._is_known:
            self._greet(sender, "new")

    def in_beat(self, sender: str, instance: str, epoch: int, seq: int, clock: float) -> None:
        """*sender* lives."""
        if sender == self._shared.part:
            if instance != self.instance:
                self._met_namesake(instance, "beat")
            return
        part = self.parts.get(sender)
        if part is None or part.instance != instance or epoch > part.epoch:
            self.meet(sender)
        if part is None or part.instance != instance:
            return
        part.heard = self._shared.now
        part.delayed(clock, part.heard)
        self._results.told(sender, seq)

    def _greet(self, part: str, why: str) -> None:
        """Tell *part* what we have, for it does not know, or says so; not again and again."""
        times = self._greeted[part] = self._greeted.get(part, 0) + 1
        if times <= _GREETS:
            self._shared.to_at_once(self._here(why), part)

    def in_bye(self, sender: str, instance: str) -> None:
        """That instance has left."""
        part = self.parts.get(sender)
        if part is not None and part.instance == instance:
            self.gone(sender, "it has left", True)

    def _met_namesake(self, instance: str, why: str) -> None:
        """Another part has this name: one of the two leaves.

        Whoever connects does, if the other one answers. If that did not, being frozen or cut off,
        the others have taken it for gone: it is the one that leaves.
        """
        ready, later = self.is_ready, instance > self.instance
        if why != "new" and (later or not ready):
            self.taken_by = instance
        elif not self.taken_by and (why != "new" or ready or later):
            self._greet(self._shared.part, "you")
            if ready and not later:
                # Those shall know who take the other for this one, restarted.
                self._shared.to_all(self._here("changed"))

    def heard_of(self, sender: str) -> None:
        """Something has come from it."""
        self._absences.here(sender)
        part = self.parts.get(sender)
        if part is not None:
            part.heard = self._engine.now()

    def unreachable(self, name: str) -> None:
        """What was sent to it has reached nobody; just after a reconnect that proves nothing."""
        now = self._shared.now
        if name == self._shared.part and not (self._is_known or self.taken_by):
            self._announce(now)
        # Who owes nothing may be back before its beats are missed.
        if self._absences.is_gone(name, now, self._asks.pending.owe):
            self.gone(name, "nobody of that name is there any more")

    def gone(self, name: str, why: str, for_good: bool = False) -> None:
        """It has left, or was lost; then what it listens to is still sent for a while."""
        part = self.parts.pop(name, None)
        self._absences.here(name)
        if part is None:
            return
        # What was said to it until now is not taken before what it has missed of that.
        self._shared.flush()
        part.ends(why)
        self._shared.count("gone")
        if not for_good:
            self._registrations.linger(part, self._shared.now + LINGERS)
        self._take(part, NOTHING)
        if for_good:
            self._registrations.forget(part)
        self._results.gone(name, part.instance, for_good)
        self._results.hand_on()
        self._asks.gone(name, for_good)
        self._guests.gone(name)
        self._shared.sequences.end(name)

    def lost(self) -> None:
        """All others are gone for this part, which leaves."""
        for name in list(self.parts):
            self.gone(name, "", True)
        self._registrations.end_lingering(NEVER)

    def _take(self, part: Part, said: Offer) -> None:
        listened = bool(part.listens)
        self._registrations.take(part, said)
        if part.listens and not listened:
            # From here on it misses nothing.
            self._shared.to_at_once(self._beat(), part.name)
