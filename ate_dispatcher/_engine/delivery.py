"""One published value on its way: what listeners find in their mailboxes, and its caller's view.

No lock: a listener is either among the *pending*, or somebody has taken it out of them, one atomic
operation, and sees to its verdict; when there are as many verdicts as listeners it is over, and who
finds that says so. Twice is harmless.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Generator, Hashable, List, Optional, Tuple

from typing_extensions import Protocol

from .. import _log
from .._core.delivery_report import DeliveryReport, ListenerReport
from .._core.durations import timeout_instant
from .._core.outcomes import ANSWERED, Completion, Verdict
from .._core.report import Reply
from .._core.tables import Table, Tabular
from .._delivery.mailbox import CLOSED, NO_GIL, Mailbox
from .._delivery.message import Message
from .._delivery.registry import Channel, Outlet, Roster
from .._observing.translate import event_listener_failed
from .engine import Engine, Order, Phase
from .messages import REPLY, Hearer, line_of
from .process import release
from .waiting import A_WHILE, in_its_loop, is_done, wait_for, wait_in_loop, wake

__all__ = ["Delivery", "Listening"]

_OK = Verdict.OK


class Listening(Hearer, Protocol):
    """A listener, as far as it hears values."""

    _ate_hears: Optional[Delivery]


class _Nobody:
    """In the place of the member that a reply comes from."""

    producer = None


_NOBODY = _Nobody()


class Delivery(Tabular, Message):
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

    __slots__ = (
        "_callbacks",
        "_channel",
        "_errors",
        "_pending",
        "_roster",
        "_value",
        "_verdicts",
        "awaited",
        "completion",
        "deadline",
        "engine",
        "id",
        "places",
        "sent",
        "topic",
    )

    chain: Any = None
    """It has no replies: who waits, waits for the end."""
    is_over: bool = False
    """For the gate: it is handed out in any case."""

    def __init__(
        self,
        engine: Engine,
        number: int,
        topic: Hashable,
        value: Any,
        channel: Optional[Channel],
        roster: Roster,
        sent: float,
        deadline: float,
    ) -> None:
        self.engine: Engine = engine
        self.id: int = number
        self.topic: Hashable = topic
        self._value: Any = value if roster.size else None
        self._channel: Optional[Channel] = channel
        self._roster: Roster = roster
        self.sent: float = sent
        self.deadline: float = deadline
        #: Who has not begun it, by the identity of its mailbox; taken out by who sees to that.
        self._pending: Dict[int, Any] = dict.fromkeys(roster.keys, True)
        self._verdicts: Dict[int, Verdict] = {}
        self._errors: Optional[Dict[int, str]] = None
        #: The mailboxes in which it has a place, by identity, while it is not there yet.
        self.places: List[int] = []
        self._callbacks: List[Callable[[Any], Any]] = []
        self.awaited: bool = False
        #: Any, once it is over (P9).
        self.completion: Optional[Completion] = None
        if not self._pending:
            self.completion = Completion.ALL_REPLIED

    # -- looking, never blocking ---------------------------------------------------------------

    @property
    def called(self) -> str:
        return f"value {self.id}"

    @property
    def listeners(self) -> Tuple[Any, ...]:
        return self._roster.members

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

    def keeps(self, callback: Callable[[Any], Any]) -> bool:
        """Keep *callback* until it is done; False if it is, and nobody else will call it."""
        self._callbacks.append(callback)
        if self.completion is None:
            return True
        try:
            self._callbacks.remove(callback)
        except ValueError:
            return True
        return False

    def __await__(self) -> Generator[Any, None, DeliveryReport]:
        return self._ended().__await__()

    async def _ended(self) -> DeliveryReport:
        self._watch()
        while self.completion is None:
            await wait_in_loop(self.engine, self, None)
        return self.report()

    # -- on the listener's thread --------------------------------------------------------------

    def __call__(self, listener: Listening) -> None:
        """Let *listener* hear it, and note what becomes of that."""
        begun = self.begin(listener)
        if begun is None:
            return
        verdict = self.due(listener)
        try:
            if verdict is _OK:
                listener.process_dispatcher_result(self.topic, begun[0])
                if self._roster.apart:
                    reply = self.reply_for(listener, begun[0])
                    if reply is not None:
                        listener.process_dispatcher_reply(self.topic, reply)
        except BaseException as error:
            verdict = Verdict.ERROR
            self.failed(listener, error)
            raise
        finally:
            begun = None
            self.heard_by(listener, verdict)

    def read_by(self, reader: Any, mailbox: Mailbox) -> Optional[Tuple[Any]]:
        """Its value, for a *reader* on a user's thread; None if that is not to have it."""
        key, value = id(mailbox), self._value
        if self._pending.pop(key, None) is None:
            return None
        verdict = self.due(reader)
        if self._verdicts.setdefault(key, verdict) is verdict:
            next(self.engine.apart[verdict])
        if len(self._verdicts) == len(self._roster.members):
            self.over()
        return (value,) if verdict is _OK else None

    def begin(self, listener: Listening) -> Optional[Tuple[Any]]:
        """The value, which *listener* hears now; None if somebody has given it up for that one."""
        # In this order: who gives it up from now on may let go of it.
        begun = (self._value,)
        if self._pending.pop(id(listener._ate_mailbox), None) is None:
            return None
        listener._ate_hears = self
        return begun

    def due(self, listener: Any) -> Verdict:
        """What becomes of it now, if nothing is raised."""
        if self._channel is not None:
            side = self._channel.listeners
            if side.version is not self._roster.version and not side.has(listener):
                # It was deregistered since.
                return Verdict.WITHDRAWN
        return Verdict.SKIPPED if self.deadline < self.engine.now() else _OK

    def reply_for(self, listener: Listening, value: Any) -> Optional[Reply]:
        """What *listener* is told beside the value, if it wants to know."""
        if not self._roster.apart or not listener._ate_heeds(REPLY):
            return None
        record: Any = value, None, _NOBODY, self.sent, self.engine.now(), None
        return Reply(record, self.sent)

    def failed(self, listener: Listening, error: BaseException) -> None:
        """*listener* has raised."""
        if self._errors is None:
            self._errors = {}
        self._errors[id(listener._ate_mailbox)] = type(error).__name__
        if self.engine.hooks:
            told = self.id, self.topic, listener, error, self.engine.now()
            self.engine.observers.tell(event_listener_failed, *told)

    def heard_by(self, listener: Listening, verdict: Verdict) -> None:
        """*listener* has come to the end of it."""
        listener._ate_hears = None
        key, engine = id(listener._ate_mailbox), self.engine
        if self._verdicts.setdefault(key, verdict) is Verdict.MISSING:
            # It was given up meanwhile, and has come to its end all the same.
            self._verdicts[key] = verdict
            next(engine.taken_up[verdict])
        else:
            tally = engine.tallies.get(key)
            if tally is None:
                tally = engine.tallies.setdefault(key, {})
            # Of its thread alone.
            tally[verdict] = tally.get(verdict, 0) + 1
        if len(self._verdicts) == len(self._roster.members):
            self.over()

    @property
    def first(self) -> Optional[Outlet]:
        """How to reach them."""
        return self._roster.first

    # -- for mailboxes with a bound ------------------------------------------------------------

    def is_pending(self, mailbox: Mailbox) -> bool:
        """Whether its reader has not begun it."""
        return id(mailbox) in self._pending

    def takes_place(self, mailbox: Mailbox) -> bool:
        try:
            self.places.remove(id(mailbox))
        except ValueError:
            return False
        return True

    def refuse(self, mailbox: Mailbox) -> None:
        """There is no room for it there. On the thread that publishes."""
        if self.give_up(mailbox, Verdict.DECLINED):
            self.over()

    def is_refused(self, mailbox: Mailbox) -> bool:
        return self._verdicts.get(id(mailbox)) is Verdict.DECLINED

    # -- by others -----------------------------------------------------------------------------

    def give_up(self, mailbox: Mailbox, verdict: Verdict, running: bool = False) -> bool:
        """Its reader will not begin it; with *running* one that has is not waited for, either.

        Whether that was news, and then, perhaps, it is `over`. From anywhere, also inside the
        section.
        """
        key = id(mailbox)
        begun = self._pending.pop(key, None) is None
        if (begun and not running) or self._verdicts.setdefault(key, verdict) is not verdict:
            return False
        next(self.engine.apart[verdict])
        return len(self._verdicts) == len(self._roster.members)

    def withdraw(self, running: bool = False) -> None:
        """Nobody begins it any more; with *running* who has is not waited for, either.

        Not inside the section.
        """
        for listener in self.listeners:
            mailbox = listener._ate_mailbox
            if self.is_pending(mailbox):
                news = self.give_up(mailbox, Verdict.WITHDRAWN)
            else:
                news = running and self.give_up(mailbox, Verdict.MISSING, running=True)
            if news:
                self.over()

    def _watch(self) -> None:
        """Somebody is going to wait: the end of the dispatcher is to find it."""
        self.engine.watched[self.id] = self
        # In this order: who ends it says so, and then looks who is watched.
        self.settle()
        if self.completion is not None:
            self.engine.watched.pop(self.id, None)

    def missed_by(self, mailbox: Mailbox) -> None:
        """It came into a mailbox that nobody reads any more. Inside the section."""
        if self.give_up(mailbox, Verdict.DECLINED):
            self.engine.leave(Order.OVER, self)
            if self.engine.orders.attention is CLOSED:
                # It crossed the end, so nobody has it yet who could have left a callback.
                self.completed()

    def settle(self) -> None:
        """Its dispatcher has ended, and nobody else may know it: give it up for all that is open.

        Not inside the section; twice is harmless.
        """
        if self.completion is not None or self.engine.phase is not Phase.ENDED:
            return
        if self.engine.is_copy:
            # What was to be called is the parent's.
            self._callbacks.clear()
        self.withdraw(running=True)

    def over(self) -> None:
        """Everybody has a verdict: tell who waits. Outside the section; twice is harmless."""
        value, self._value = self._value, None
        release(value)
        del value
        self.completed()

    def completed(self) -> None:
        """The same, without letting go of the value: also inside the section."""
        self.completion = Completion.ALL_REPLIED
        self.engine.watched.pop(self.id, None)
        if NO_GIL:
            # The look at who waits comes after that word (P9).
            self.engine.arrivals.rotate(0)
        if self.awaited:
            wake(self.engine, self)
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                break
            self.engine.observers.call(callback, self)

    def _table(self) -> Table:
        return self.report()._table()

    def __repr__(self) -> str:
        left = len(self.listeners) - len(self._verdicts)
        state = "done" if self.completion else f"open, {left} to hear it"
        return f"<Delivery {self.id} on {self.topic!r}: {state}>"
