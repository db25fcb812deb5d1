"""The dispatcher's own thread: keeps deadlines, carries out orders, ends things.

It sleeps until the next instant that the ledger knows and is not woken by a request that does not
bring that nearer (P4). Awake, it goes round: what is due, what has arrived, some of the orders;
each pass of the section bounded, time first in every round (P17). It lets go of nothing that is a
user's and logs nothing itself (P16).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Optional

from .._core.durations import NEVER, past
from .._core.ledger import Ledger
from .._core.member import Member
from .._core.request import Request
from .._delivery.local_member import LocalMember
from .._delivery.mailbox import CALM, CLOSED
from .backpressure import let_nobody_wait
from .delivery import Delivery
from .engine import Engine, Order, Phase
from .gather import announce, apply, tell
from .high_water import HighWater
from .observers_thread import ObserversThread
from .process import SECTION, unhurried
from .publish import go_on, hand_out_value
from .scatter import hand_out_held
from .stopping import Stopping
from .sweep import buried, declined, sweep, withdraw

__all__ = ["ControlLoop"]

_ORDERS = 32
"""How many orders a round carries out at most."""

_HELD = 128
"""How many requests that were held are handed out for one order."""

_TICK = 1 / 64
"""The coarsest tick of a clock that is met: 15.6 ms, of Windows' monotonic time."""


class ControlLoop:
    """What runs on the dispatcher's thread. Everything but :meth:`run` is private to it."""

    def __init__(
        self, engine: Engine, name: Callable[[], str], observers: Optional[Any] = None
    ) -> None:
        """With other *observers* than a thread of theirs."""
        self._engine = engine
        self._name = name
        # Whoever takes it runs the loop: once, whatever start and stop come together.
        self._turn: Deque[bool] = deque([True])
        self._over = False
        self._waiting: List[Any] = []
        self._observers = observers or ObserversThread(engine, name)
        self._stopping = Stopping(engine, name)
        self._high_water = HighWater(engine)
        # The deadline that we were told of, until it has passed: its request may be over by now,
        # but those sent meanwhile, with later ones, then need not tell at all.
        self._alarm = NEVER
        # Whether the clock had not come to the instant that we had waited for.
        self._lagging = False
        self._carry_out: Dict[Order, Callable[..., Any]] = {
            Order.KEEP: self._keep,
            Order.CANCEL: self._cancel,
            Order.ABANDON: self._abandon,
            Order.NOBODY: self._nobody,
            Order.HAND_OUT: self._hand_out_some,
            Order.BURY: self._bury,
            Order.DECLINE: declined,
            Order.SWEEP: self._sweep,
            Order.WITHDRAW: self._withdraw,
            Order.CALL_WHEN_DONE: self._call_when_done,
            Order.OBSERVE: self._observers.start,
            Order.DISTRIBUTE: partial(go_on, engine),
            Order.OVER: Delivery.over,
            Order.LAGGING: self._observers.lags,
            Order.STOP: self._stop,
            Order.STOPPER_DONE: self._stopping.stopper_done,
        }

    @property
    def observers_thread(self) -> Any:
        """The thread of hooks and done callbacks, if there ever was one."""
        return self._observers.thread

    def run(self, only_stop: bool = False) -> None:
        """Serve until a stop is done; a second call waits for the first one's end.

        With *only_stop* what was kept is not handed out any more.
        """
        try:
            self._turn.pop()
        except IndexError:
            parker = self._engine.clock.parker()
            self._waiting.append(parker)
            # In this order: the end is said before they are unparked.
            if not self._over:
                parker.park()
            return
        before, unhurried.observers = unhurried.observers, self._engine.observers
        try:
            self._serve(only_stop)
        finally:
            try:
                self._finish()
            finally:
                unhurried.observers = before
                self._over = True
                for parker in list(self._waiting):
                    parker.unpark(None)

    # -- the loop ------------------------------------------------------------------------------

    def _serve(self, only_stop: bool) -> None:
        while self._expire():
            # What has expired before the start is not handed out.
            pass
        if not only_stop:
            self._open()
        self._rounds()

    def _rounds(self) -> None:
        while not self._is_done():
            if not self._round():
                self._park()

    def _round(self) -> bool:
        """One round, time first; whether there is more to do at once."""
        more = self._expire()
        done = self._some_orders()
        self._high_water.look()
        self._observers.start_if_needed()
        return more or done == _ORDERS or bool(self._engine.orders.items)

    def _some_orders(self) -> int:
        items = self._engine.orders.items
        for number in range(_ORDERS):
            try:
                what, data = items.popleft()
            except IndexError:
                # At the very end others may take one out, too.
                return number
            self._carry_out[what](*data)
            # The order may have been the last to know a request, and what came (P16).
            last = [each for each in data if isinstance(each, Request) and each.chain is not None]
            # The round goes on: nothing of this one is ours to keep (P15).
            data = ()
            if last:
                self._engine.observers.release(last)
        return _ORDERS

    def _expire(self) -> bool:
        """End what is due, take in what has arrived; whether there is more of either."""
        engine = self._engine
        ledger = engine.ledger
        with SECTION:
            now = engine.now()
            ended, more = ledger.time_passed(now)
            for request, effects in ended:
                apply(engine, request, effects)
            over = ledger.open.gather()
            SECTION.left.extend(over)
            del over
        # While there is a backlog, who has a deadline tells of it (P4).
        backlog = bool(engine.arrivals)
        engine.wakeup = NEVER if backlog else -NEVER
        for request, effects in ended:
            announce(engine, request, effects)
            request = None  # type: ignore[assignment]
        return more or backlog

    def _park(self) -> None:
        engine, stopping = self._engine, self._stopping
        if self._is_done():
            return
        if self._alarm < engine.now():
            self._alarm = NEVER
        wakeup = min(self._next_instant(), self._alarm, stopping.until)
        engine.wakeup = wakeup
        engine.orders.attention = [True]
        # Sent, or over, before that was published? Then nobody has told (P4). The section comes
        # first, so that without a GIL too these looks come after the token.
        if not (
            self._next_instant() < wakeup
            or engine.orders.items
            or engine.arrivals
            or self._is_done()
            or stopping.until < wakeup
        ):
            # Left over by a pass of this thread: nothing of a user's waits for the next time.
            self._observers.start_if_needed()
            # A clock that has not come to the instant that we waited for is given a tick.
            until = past(wakeup) + (_TICK if self._lagging else 0.0)
            look = self._high_water.next_look()
            woken = engine.orders.parker.park_until(min(until, look))
            self._lagging = not woken and until <= look and engine.now() <= wakeup
        engine.orders.attention = CALM

    def _next_instant(self) -> float:
        with SECTION:
            return self._engine.ledger.open.next_instant()

    # -- orders --------------------------------------------------------------------------------

    def _keep(self, request: Request) -> None:
        with SECTION:
            if request.completion is None and request.cell is None:
                self._engine.ledger.open.keep(request)
        self._alarm = min(self._alarm, request.deadline)

    def _cancel(self, request: Request) -> None:
        with SECTION:
            # It may still be among the arrivals.
            if request.completion is None and request.cell is None:
                self._engine.ledger.open.keep(request)
        tell(self._engine, Ledger.cancelled, request)

    def _abandon(self, request: Request) -> None:
        engine = self._engine
        engine.forget(request)
        # In this order: whoever takes it out of the arrivals has kept it when the section is left.
        known = request in engine.arrivals
        with SECTION:
            known = known or request.cell is not None
        if known:
            self._cancel(request)
        else:
            # It never came to be known.
            request.until = -NEVER

    def _nobody(self, request: Request) -> None:
        engine = self._engine
        with SECTION:
            apply(engine, request, engine.ledger.nobody(request))

    def _bury(self, member: LocalMember, request: Request) -> None:
        if member.mailbox.attention is CLOSED:
            buried(member)

    def _sweep(self, member: LocalMember) -> None:
        if sweep(member):
            self._engine.leave(Order.SWEEP, member)

    def _withdraw(
        self, member: Member, rounds: Optional[int] = None, elsewhere: bool = False
    ) -> None:
        rounds = withdraw(self._engine, member, rounds, elsewhere)
        if rounds:
            self._engine.leave(Order.WITHDRAW, member, rounds, elsewhere)

    def _call_when_done(self, request: Any, callback: Any) -> None:
        self._observers.start()
        if isinstance(request, Delivery):
            if not request.keeps(callback):
                self._engine.observers.call(callback, request)
            return
        with SECTION:
            if request.completion is None:
                request.more().calls(callback)
            else:
                self._engine.observers.call(callback, request)

    # -- the gate ------------------------------------------------------------------------------

    def _open(self) -> None:
        engine = self._engine
        self._observers.start_if_needed()
        # The cancelled first, before anybody begins them.
        for _ in range(len(engine.orders.items)):
            what, data = engine.orders.items.popleft()
            if what is Order.CANCEL or what is Order.ABANDON:
                self._carry_out[what](*data)
            else:
                engine.orders.items.append((what, data))
        if engine.phase is Phase.NEW:
            engine.phase = Phase.OPEN
        engine.gate.open()
        engine.reserved.clear()
        self._hand_out_some()

    def _hand_out_some(self) -> None:
        """A part of what the gate holds; the rest comes round again, behind other orders (P17)."""
        engine = self._engine
        if engine.gate.hand_out(self._pass_on, _HELD):
            engine.gate.ordered = True
            engine.leave(Order.HAND_OUT)

    def _hand_out_all(self) -> None:
        """All of it, with a look at the time in between."""
        engine = self._engine
        while engine.gate.hand_out(self._pass_on, _HELD):
            self._expire()

    def _pass_on(self, held: Any) -> None:
        if isinstance(held, Delivery):
            if held.first is not None:
                hand_out_value(held, held.first)
        else:
            hand_out_held(self._engine, held)

    # -- stopping ------------------------------------------------------------------------------

    def _stop(self, at_once: bool, drain_until: float) -> None:
        let_nobody_wait(self._engine)
        if self._stopping.begin(at_once, drain_until):
            if not at_once:
                self._hand_out_all()
            self._stopping.stop_all("producers")

    def _is_done(self) -> bool:
        engine = self._engine
        if engine.phase is Phase.NEW or engine.phase is Phase.OPEN:
            return False
        if engine.phase is Phase.HEARING:
            return self._stopping.hearing_is_over()
        if engine.phase is Phase.CLOSING:
            return self._stopping.grace_is_over()
        return self._stopping.is_over()

    def _finish(self) -> None:
        """End what is open and everybody with it; then only `Engine.post_mortem` is left."""
        engine = self._engine
        engine.gate.refuse("the dispatcher's thread has ended")
        engine.phase = Phase.HEARING
        while self._stopping.end_some():
            pass
        self._stopping.begin_hearing()
        self._rounds()
        engine.phase = Phase.CLOSING
        engine.takes_values = False
        self._stopping.stop_all("listeners")
        self._stopping.begin_grace()
        self._rounds()
        for link in engine.links:
            link.stop()
        engine.phase = Phase.ENDED
        # Whoever leaves an order from now on finds us gone, and acts itself (P2).
        engine.orders.close()
        while engine.orders.items and self._some_orders():
            pass
        self._stopping.give_up_values()
        # What is let go of, or logged, keeps nobody at the end either.
        self._observers.start_if_needed()
        engine.observers.close(served=self._observers.thread is not None)
        # What was kept, and who.
        engine.gate.clear()
        for table in engine.registry.tables():
            table.clear()
