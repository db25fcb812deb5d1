"""The caller's view of what was published: whether everybody has heard it, and a word for each."""

from __future__ import annotations

from typing import Any, Callable, Generator, Optional, Tuple

from .. import _log
from .._core.delivery_report import DeliveryReport, ListenerReport
from .._core.durations import timeout_instant
from .._core.outcomes import ANSWERED, Verdict
from .._core.tables import Table, Tabular
from .._delivery.mailbox import NO_GIL
from .engine import Order, Phase
from .messages import Hearer, line_of
from .published import Published
from .waiting import A_WHILE, in_its_loop, is_done, wait_for, wait_in_loop

__all__ = ["Delivery"]

_OK = Verdict.OK


class Delivery(Tabular, Published):
    """What becomes of one published value, as :meth:`Dispatcher.publish` returns it.

    It only shows what happens: it may be ignored. Every method may be called from any thread;
    those that wait say so. ``await delivery`` gives the report and never blocks the event loop.

    Attributes
    ----------
    id: int
        Grows with every value that the dispatcher publishes.
    topic: hashable
        As it was published.
    listeners: tuple of ResultListener
        Those who were to hear it, in the order of registration.
    """

    __slots__ = ()

    # -- looking, never blocking ---------------------------------------------------------------

    @property
    def missing(self) -> Tuple[Any, ...]:
        """Those who have not heard it (yet): no verdict, or another than OK and ERROR."""
        verdicts = self._verdicts
        return tuple(
            each for each in self.listeners if verdicts.get(id(each._ate_mailbox)) not in ANSWERED
        )

    def done(self) -> bool:
        """Whether every listener has heard it, or will not any more.

        A test on virtual time that asks again and again without ever waiting gets VirtualTimeStuck.
        """
        self.settle()
        return is_done(self.engine, self)

    def report(self) -> DeliveryReport:
        """A frozen snapshot of now: a verdict for each listener."""
        self.settle()
        return DeliveryReport(
            self.id,
            self.topic,
            self.completion is not None,
            tuple([self._line(each) for each in self.listeners]),
        )

    def _line(self, listener: Hearer) -> ListenerReport:
        key = id(listener._ate_mailbox)
        # In this order: who begins it is taken out first, and has no verdict for a while.
        waits, verdict = key in self._pending, self._verdicts.get(key)
        return line_of(listener, waits, verdict, (self._errors or {}).get(key))

    # -- waiting -------------------------------------------------------------------------------

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Block until it is done, *timeout* seconds at most; whether it is."""
        self._watch()
        now = self.engine.now()
        deadline = timeout_instant(now, timeout)
        look = min(deadline, now + A_WHILE)
        if self.completion is not None or wait_for(self.engine, self, look, None):
            return True
        if look == deadline:
            return False
        self._look_for_unstarted()
        return wait_for(self.engine, self, deadline, None)

    def _look_for_unstarted(self) -> None:
        for each in self.listeners:
            waits = self.is_pending(each._ate_mailbox)
            if waits and not each._ate_was_started() and not each._ate_warned:
                each._ate_warned = True
                _log.lost("listener %s is waited for and was never started", _log.name_of(each))

    def add_done_callback(self, callback: Callable[[Delivery], Any]) -> None:
        """Call ``callback(delivery)`` once when it is done, on the dispatcher's observer thread.

        As :meth:`Handle.add_done_callback`.
        """
        callback = in_its_loop(callback)
        self._watch()
        self.engine.post(Order.CALL_WHEN_DONE, self, callback)

    def __await__(self) -> Generator[Any, None, DeliveryReport]:
        return self._ended().__await__()

    async def _ended(self) -> DeliveryReport:
        self._watch()
        while self.completion is None:
            await wait_in_loop(self.engine, self, None)
        return self.report()

    def _watch(self) -> None:
        """Somebody is going to wait: the end of the dispatcher is to find it."""
        self.is_watched = True
        self.engine.watched[self.id] = self
        if NO_GIL:
            self.engine.arrivals.rotate(0)
        # In this order: who ends it says so, and then looks who is watched.
        self.settle()
        if self.completion is not None:
            self.engine.watched.pop(self.id, None)

    def settle(self) -> None:
        """Its dispatcher has ended, and nobody else may know it: give it up for all that is open.

        Not inside the section; twice is harmless.
        """
        if self.completion is not None or self.engine.phase is not Phase.ENDED:
            return
        if self.engine.is_copy:
            # What was to be called is the parent's.
            self.forgets_callbacks()
        self.withdraw(running=True)

    def _table(self) -> Table:
        return self.report()._table()

    def __repr__(self) -> str:
        left = len(self.listeners) - len(self._verdicts)
        state = "done" if self.completion else f"open, {left} to hear it"
        return f"<Delivery {self.id} on {self.topic!r}: {state}>"
