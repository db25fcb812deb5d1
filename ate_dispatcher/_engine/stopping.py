"""How a dispatcher ends: everybody is told to stop, nobody's ``stop()`` holds it up.

On the control loop's thread, but for participants' overridden ``stop()``, which has a thread of its
own each time.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Callable, List, Set

from .. import _log
from .._core.durations import NEVER
from .._core.snapshots import copied
from .._delivery.channel import Outlet
from .._delivery.mailbox import CLOSED
from .._delivery.sentinels import Word
from .._time.clock import spawn
from .engine import Engine, Order, Phase
from .gather import announce, apply
from .process import SECTION, see_to
from .publish import give_up_all, has_values, unheard_results
from .published import Published

__all__ = ["GRACE", "Stopping"]

GRACE = 0.1
"""Seconds that an overridden ``stop()`` of a participant gets beyond the drain time."""


class Stopping:
    """What is known of the stop of one dispatcher; before there is one, nothing.

    Attributes: *until*, when it waits no longer for what is open, or for who is to be stopped.
    """

    def __init__(self, engine: Engine, name: Callable[[], str]) -> None:
        self._engine = engine
        self._name = name
        self._at_once = False
        self._drain_until = NEVER
        self._grace_until = NEVER
        self._told: Set[int] = set()
        self._stoppers = 0
        #: Listeners that have still to hear what was published; each by a number of its own.
        self._hearing: Set[int] = set()
        self._numbers = itertools.count(1)
        self._hear_until = NEVER

    @property
    def until(self) -> float:
        return min(self._drain_until, self._hear_until, self._grace_until)

    @property
    def stoppers(self) -> int:
        """How many overridden ``stop()`` have not come back."""
        return self._stoppers

    def begin(self, at_once: bool, drain_until: float) -> bool:
        """A stop was ordered, perhaps again: the shorter drain counts. Whether it is the first."""
        now = self._engine.now()
        self._at_once = self._at_once or at_once
        self._drain_until = min(self._drain_until, now if at_once else drain_until)
        if self._engine.phase is not Phase.OPEN and self._engine.phase is not Phase.NEW:
            return False
        self._engine.phase = Phase.DRAINING
        return True

    def stop_all(self, side: str) -> None:
        """Call the participants' own ``stop()``, each once."""
        here: List[Any] = []
        clock = self._engine.clock
        for participant in self._engine.registry.participants(side):
            if id(participant) in self._told:
                continue
            self._told.add(id(participant))
            if side == "listeners" and not participant._ate_was_started():
                self._tell_of_unread(participant)
            if participant._ate_stops_at_once():
                if participant._ate_mailbox.attention is not CLOSED:
                    participant._ate_put_stop()
                continue
            self._stoppers += 1
            name = f"{self._name()}-stopper"
            try:
                spawn(clock, self._stopper(participant), name, clock.parker())
            except RuntimeError:
                here.append(participant)
        for participant in here:
            # No thread for it: behind all others, for it may not come back.
            self._stopper(participant)()

    def _tell_of_unread(self, listener: Any) -> None:
        unread = unheard_results(listener._ate_mailbox)
        if unread:
            # Not here, where deadlines wait (P17).
            said = "listener %s has not been started: %d results and reports wait for it"
            who = _log.Later(_log.name_of, listener)
            self._engine.observers.lost(said, who, unread)

    def stopper_done(self, heard: int = 0) -> None:
        """An overridden ``stop()`` has come back; or that one has *heard* all; twice is once."""
        if heard:
            self._hearing.discard(heard)
        else:
            self._stoppers -= 1

    def is_over(self) -> bool:
        """Whether all that was open has ended, and everybody was stopped; or time is up."""
        now = self._engine.now()
        if now >= self._drain_until:
            return True
        if self._engine.ledger.open:
            return False
        if self._stoppers:
            # An overridden stop() may hang: nothing else keeps us.
            self._grace_until = min(self._grace_until, now + GRACE)
        return not self._stoppers or now >= self._grace_until

    def end_some(self) -> bool:
        """End a part of what is open as STOPPED; whether there may be more. Bounded (P17)."""
        engine = self._engine
        with SECTION:
            over = engine.ledger.open.gather()
            ended, more = engine.ledger.stopped(engine.now(), self._at_once)
            for request, effects in ended:
                apply(engine, request, effects)
            SECTION.left.extend(over)
            del over
        for request, effects in ended:
            announce(engine, request, effects)
        return more or bool(engine.ledger.open)

    def begin_hearing(self) -> None:
        """From now on listeners are waited for that have still to hear what was published.

        Unless all is to end at once: then they begin no more of it.
        """
        self._hear_until, self._drain_until, self._grace_until = self._drain_until, NEVER, NEVER
        if self._at_once:
            self._engine.takes_values = False
            self._give_up(begun=False)

    def hearing_is_over(self) -> bool:
        """Whether they have heard all, with what they have published meanwhile; or time is up."""
        if self._at_once or self._engine.now() >= self._hear_until:
            return True
        return not self._hearing and not self._ask_who_hears()

    def _ask_who_hears(self) -> bool:
        """Let those who have something to hear say when they have; whether there are any."""
        engine = self._engine
        see_to(engine.posts)
        # Somebody else is at that, and it is in nobody's mailbox yet.
        posted = any(post[2] is engine for post in copied(engine.posts.items))
        for listener in engine.registry.participants("listeners"):
            mailbox = listener._ate_mailbox
            if not listener._ate_was_started() or mailbox.attention is CLOSED:
                continue
            if posted:
                # Behind it, as all that goes to listeners (P18).
                engine.posts.items.append([Outlet(mailbox, None, None), self._word(), engine])
            elif listener._ate_hearing() or has_values(engine, mailbox):
                mailbox.put(self._word())
        # Who has the turn looks again after giving it back.
        see_to(engine.posts)
        return bool(self._hearing)

    def _word(self) -> Word:
        """For a mailbox, behind all that was published: that this was heard."""
        number = next(self._numbers)
        self._hearing.add(number)
        # Perhaps inside the section.
        return Word(partial(self._engine.leave, Order.STOPPER_DONE, number))

    def give_up_values(self) -> None:
        """Nobody waits any more for what was published and not heard; with a word for each."""
        engine = self._engine
        see_to(engine.posts)
        held = [each for each in copied(engine.gate.held) if isinstance(each, Published)]
        for each in held:
            each.withdraw()
        if held:
            engine.observers.lost(
                "%d published values were not handed out: the stop came before", len(held)
            )
        self._give_up(begun=True)
        for each in copied(engine.watched.values()):
            each.settle()

    def _give_up(self, begun: bool) -> None:
        engine = self._engine
        for listener in engine.registry.participants("listeners"):
            left = give_up_all(engine, listener._ate_mailbox, listener._ate_hearing(), begun)
            if left:
                said = "listener %s has not heard %d of the published values: the stop came before"
                engine.observers.lost(said, _log.Later(_log.name_of, listener), left)

    def begin_grace(self) -> None:
        """From now on only participants that are being stopped are waited for, for a moment."""
        self._hear_until, self._grace_until = NEVER, self._engine.now() + GRACE

    def grace_is_over(self) -> bool:
        return not self._stoppers or self._engine.now() >= self._grace_until

    def _stopper(self, participant: Any) -> Callable[[], None]:
        def stop() -> None:
            try:
                participant.stop()
            except BaseException as error:
                _log.failed(f"stop() of {_log.name_of(participant)} raised", error)
            finally:
                self._engine.post(Order.STOPPER_DONE)

        return stop
