"""The dispatcher's own thread: keeps deadlines, carries out what callers asked, ends things.

It sleeps until the next deadline and is not woken by a request that does not bring that nearer: a
caller looks at ``desk.wakeup`` after it has appended its request, the keeper publishes ``wakeup``
and then looks at what was appended; one of the two sees the other.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, List, Optional, Set, Tuple

from .. import _log
from .._core.member import Hand
from .._core.records import SHUT, Leaving
from .._core.request import Entry
from .._delivery.mailbox import CALM, DEAD
from .._delivery.registry import is_off
from .._observing.deadlocks import circle_of
from .._participants.participant import Worker
from .._time.clock import NEVER, after, spawn
from .engine import Desk
from .gather import act, goes_to, husk
from .gather import after as after_section
from .sweep import swept, withdraw, withdrawn

__all__ = ["GRACE", "Keeper"]

GRACE = 0.1
"""Seconds that an overridden ``stop()`` of a participant gets beyond the drain time."""

_BATCH = 1024
"""How many requests are moved or ended in one go; the section is free in between."""


class Keeper:
    """What runs on the dispatcher's thread. Everything but :meth:`run` is private to it."""

    def __init__(self, desk: Desk, name: Callable[[], str]) -> None:
        self._desk = desk
        self._name = name
        # Whoever takes it runs the keeper: once, whatever start and stop come together.
        self._turn: Deque[bool] = deque([True])
        self._over = False
        self._waiting: List[Any] = []
        self._observers_thread: Any = None
        self._stopping = False
        self._at_once = False
        self._drain_until = NEVER
        self._grace_until = NEVER
        # The deadline that we were rung for, until it has passed: its request may be over by now,
        # but those sent meanwhile, with later ones, then need not ring at all.
        self._alarm = NEVER
        self._stopped: Set[int] = set()
        self._stoppers = 0

    @property
    def observers_thread(self) -> Any:
        """The thread of hooks and done callbacks, if there ever was one."""
        return self._observers_thread

    def run(self, only_stop: bool = False) -> None:
        """Serve until a stop is done; a second call waits for the first one's end.

        With *only_stop* what was kept is not scattered any more.
        """
        try:
            self._turn.pop()
        except IndexError:
            bell = self._desk.clock.bell()
            self._waiting.append(bell)
            # In this order: the end is said before the bells are rung.
            if not self._over:
                bell.park()
            return
        self._desk.begun = True
        try:
            self._expire()
            if not only_stop:
                self._open()
            self._messages()
            while not self._stopping or not self._finished():
                self._park()
                self._messages()
                self._expire()
        finally:
            try:
                self._finish()
            finally:
                self._over = True
                for bell in list(self._waiting):
                    bell.ring(None)

    # -- the loop ------------------------------------------------------------------------------

    def _messages(self) -> None:
        items = self._desk.inbox.items
        while items:
            try:
                what, data = items.popleft()
            except IndexError:
                # At the very end others may take one out, too.
                return
            getattr(self, f"_{what}")(*data)

    def _park(self) -> None:
        desk = self._desk
        if self._alarm < desk.now():
            self._alarm = NEVER
        wakeup = min(self._next_deadline(), self._alarm, self._drain_until, self._grace_until)
        desk.wakeup = wakeup
        desk.inbox.alert = [True]
        # Sent, or over, before that was published? Then nobody rang.
        over = self._grace_until == NEVER and self._drained()
        if not desk.inbox.items and not self._next_deadline() < wakeup and not over:
            desk.inbox.bell.wait(after(wakeup))
        desk.inbox.alert = CALM

    def _next_deadline(self) -> float:
        ledger, more = self._desk.ledger, True
        deadline: Optional[float] = None
        while more:
            with self._desk.lock:
                more = ledger.gather(_BATCH)
                deadline = ledger.next_deadline()
        return NEVER if deadline is None else deadline

    def _expire(self) -> None:
        desk = self._desk
        while True:
            with desk.lock:
                now = desk.now()
                more = desk.ledger.gather(_BATCH)
                ended = desk.ledger.time_passed(now, _BATCH)
                for entry, effects in ended:
                    act(desk, entry, effects)
            self._after(ended)
            if not more and len(ended) < _BATCH:
                return

    def _after(self, ended: List[Tuple[Entry, int]]) -> None:
        for entry, effects in ended:
            after_section(self._desk, entry, effects)

    # -- what callers asked --------------------------------------------------------------------

    def _open(self) -> None:
        if self._desk.observers.mailbox.items:
            self._observe()
        for what, data in list(self._desk.inbox.items):
            if what == "cancel":
                # Before anybody begins it; again, when its turn comes, is harmless.
                self._cancel(*data)
        # The one that stood there from the beginning; a stop may have put up another behind it.
        self._desk.gate.popleft()
        self._open_gate()

    def _open_gate(self) -> None:
        """Scatter what was held, in order. While any is left, later requests queue behind it."""
        gate = self._desk.gate
        while gate and gate[0] is not SHUT:
            first = gate[0]
            if first.__class__ is not Leaving and first.completion is None:
                self._scatter(first)
            gate.popleft()
            if first.__class__ is Leaving:
                first.go()

    def _scatter(self, entry: Entry) -> None:
        """Hand out what was held, but not to those who were disabled meanwhile."""
        desk, off = self._desk, self._desk.registry.off
        spared = [member for member in entry.roster if is_off(off, member.producer)]
        for member in spared:
            withdrawn(member, entry)
        if entry.completion is not None:
            # All of them were.
            return
        line = entry.line
        if line is None:
            desk.scatter(entry, spared)
            return
        with desk.one_order:
            needy = [member for member in entry.roster if member.exclusive]
            if needy:
                desk.instruments.reserve(line, needy)
            desk.scatter(entry, spared)

    def _look_again(self, members: Any) -> None:
        """A start line of another dispatcher is gone."""
        with self._desk.lock:
            goes_to(self._desk.instruments.look_again(members))

    def _look_for_circle(self, hand: Hand) -> None:
        found = circle_of(hand)
        if found is not None:
            _log.lost("in a circle, until a deadline or for ever: %s", found)

    def _cancel(self, entry: Entry) -> None:
        desk = self._desk
        with desk.lock:
            effects = desk.ledger.cancelled(entry, desk.now())
            act(desk, entry, effects)
        after_section(desk, entry, effects)

    def _nobody(self, entry: Entry) -> None:
        with self._desk.lock:
            act(self._desk, entry, self._desk.ledger.nobody(entry))

    def _after_section(self, entry: Entry, effects: int) -> None:
        after_section(self._desk, entry, effects)

    def _sweep(self, member: Any, _: Entry) -> None:
        swept(member)

    def _husk(self, member: Any, entry: Entry) -> None:
        with member.home.lock:
            husk(member, entry)

    def _withdraw(self, member: Any) -> None:
        withdraw(self._desk, member)

    def _wake_by(self, deadline: float) -> None:
        self._alarm = min(self._alarm, deadline)

    def _call_when_done(self, entry: Entry, callback: Any) -> None:
        self._observe()
        with self._desk.lock:
            if entry.completion is None:
                entry.more().callbacks += (callback,)
            else:
                self._desk.observers.call(callback, entry)

    def _observe(self) -> None:
        if self._observers_thread is None:
            observers = self._desk.observers
            name = f"{self._name()}-observers"
            try:
                self._observers_thread = spawn(
                    self._desk.clock, observers.serve, name, observers.mailbox.bell
                )
            except RuntimeError as error:
                _log.lost("hooks and done callbacks are not called: %s", error)

    # -- stopping ------------------------------------------------------------------------------

    def _stop(self, at_once: bool, drain_until: float) -> None:
        now = self._desk.now()
        self._at_once = self._at_once or at_once
        self._drain_until = min(self._drain_until, now if at_once else drain_until)
        if self._stopping:
            return
        self._stopping = True
        self._open_gate()
        self._stop_all("producers")
        with self._desk.lock:
            self._desk.draining = True

    def _stopper_done(self) -> None:
        self._stoppers -= 1

    def _stop_all(self, side: str) -> None:
        """Call the participants' own ``stop()``, each once; nobody's override holds us up."""
        here: List[Any] = []
        for participant in self._desk.registry.participants(side):
            if id(participant) in self._stopped:
                continue
            self._stopped.add(id(participant))
            if type(participant).stop is Worker.stop and "stop" not in participant.__dict__:
                participant.stop()
            else:
                self._stoppers += 1
                clock = self._desk.clock
                name = f"{self._name()}-stopper"
                try:
                    spawn(clock, self._stopper(participant), name, clock.bell())
                except RuntimeError:
                    here.append(participant)
        for participant in here:
            # No thread for it: behind all others, for it may not come back.
            self._stopper(participant)()

    def _stopper(self, participant: Any) -> Callable[[], None]:
        def stop() -> None:
            try:
                participant.stop()
            except BaseException as error:
                _log.failed(f"stop() of {_log.name_of(participant)} raised", error)
            finally:
                self._desk.post("stopper_done")

        return stop

    def _drained(self) -> bool:
        with self._desk.lock:
            self._desk.ledger.gather()
            return self._desk.draining and not self._desk.ledger.open_count()

    def _finished(self) -> bool:
        now = self._desk.now()
        if now >= self._drain_until:
            return True
        if not self._drained():
            return False
        if self._stoppers:
            # An overridden stop() may hang: nothing else keeps us.
            self._grace_until = min(self._grace_until, now + GRACE)
        return not self._stoppers or now >= self._grace_until

    def _finish(self) -> None:
        """End what is open and everybody with it; then only :meth:`Desk.post_mortem` is left."""
        desk = self._desk
        if desk.refusal is None:
            desk.refusal = "the dispatcher's thread has ended"
            desk.gate.append(SHUT)
        while True:
            with desk.lock:
                ended = desk.ledger.stopped(desk.now(), self._at_once, _BATCH)
                for entry, effects in ended:
                    act(desk, entry, effects)
            self._after(ended)
            if not ended:
                break
        self._stop_all("listeners")
        self._drain_until, self._grace_until = NEVER, desk.now() + GRACE
        while self._stoppers and desk.now() < self._grace_until:
            self._park()
            self._messages()
        # Whoever leaves a message from now on finds us gone, and acts itself.
        desk.inbox.alert = DEAD
        self._messages()
        desk.observers.close(served=self._observers_thread is not None)
        # What was kept, and who: not even a producer that was at home here keeps them.
        gate = desk.gate
        kept = len(gate)
        gate.append(SHUT)
        for _ in range(kept):
            left = gate.popleft()
            if left.__class__ is Leaving:
                left.go()
        desk.channels.clear()
