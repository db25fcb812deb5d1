"""One published value on its way: what listeners find in their mailboxes.

No lock: a listener is either among the *pending*, or somebody has taken it out of them, one atomic
operation, and sees to its verdict; when there are as many verdicts as listeners it is over, and who
finds that says so. Twice is harmless.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Hashable, Iterable, List, Optional, Tuple

from typing_extensions import Protocol

from .._core.durations import NEVER
from .._core.outcomes import Completion, Verdict
from .._core.report import Reply
from .._delivery.channel import Outlet, Roster
from .._delivery.mailbox import CLOSED, NO_GIL, Mailbox
from .._delivery.matched import SomeChannel
from .._observing.translate import event_listener_failed
from .engine import Engine, Order
from .messages import NOBODY, REPLY, EngineMessage, Hearer
from .process import release
from .waiting import wake

__all__ = ["Listening", "Published"]

# Names of this module: until 3.12 an Enum finds its members by a function of its own.
_OK = Verdict.OK
_MISSING = Verdict.MISSING
_SKIPPED = Verdict.SKIPPED
_ALL_REPLIED = Completion.ALL_REPLIED


class Listening(Hearer, Protocol):
    """A listener, as far as it hears values."""

    _ate_hears: Optional[Published]


_NONE: List[Any] = []
"""Of those that have none; one for all, never changed."""


class Published(EngineMessage):
    """The value, and what has become of it at whom."""

    __slots__ = (
        "_callbacks",
        "_errors",
        "_key",
        "_pending",
        "_roster",
        "_value",
        "_verdicts",
        "awaited",
        "completion",
        "deadline",
        "id",
        "is_watched",
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
        channel: Optional[SomeChannel],
        roster: Roster,
        sent: float,
        deadline: float,
        key: Any = None,
    ) -> None:
        self.engine = engine
        self.id: int = number
        self.topic: Hashable = topic
        self._value: Any = value if roster.size else None
        self._channel = channel
        self._roster: Roster = roster
        self.sent: float = sent
        self.deadline: float = deadline
        self._key: Any = key
        #: Who has not begun it, by the identity of its mailbox; taken out by who sees to that.
        self._pending: Dict[int, Any] = dict.fromkeys(roster.keys, True)
        self._verdicts: Dict[int, Verdict] = {}
        self._errors: Optional[Dict[int, str]] = None
        #: The mailboxes in which it has a place, by identity, while it is not there yet.
        self.places: List[int] = _NONE
        self._callbacks: List[Callable[[Any], Any]] = _NONE
        self.awaited: bool = False
        #: Whether somebody waits, or has a callback, or did: the end of the dispatcher finds it.
        self.is_watched: bool = False
        #: Any, once it is over (P9).
        self.completion: Optional[Completion] = None
        if not self._pending:
            self.completion = _ALL_REPLIED

    @property
    def called(self) -> str:
        return f"value {self.id}"

    @property
    def key(self) -> Any:
        """Its ordering key, to be compared by identity; None for none."""
        return self._key

    @property
    def listeners(self) -> Tuple[Any, ...]:
        return self._roster.members

    # -- on the listener's thread --------------------------------------------------------------

    def hear(self, listener: Listening) -> None:
        """Let *listener* hear it, and note what becomes of that."""
        key = id(listener._ate_mailbox)
        # As `begin`.
        value = self._value
        if self._pending.pop(key, None) is None:
            return
        listener._ate_hears = self
        channel, verdict = self._channel, _OK
        if (
            self.deadline != NEVER
            or channel is None
            or channel.listeners.version is not self._roster.version
        ):
            verdict = self.due(key)
        try:
            if verdict is _OK:
                listener.process_dispatcher_result(self.topic, value)
                if self._roster.apart:
                    reply = self.reply_for(listener, value)
                    if reply is not None:
                        listener.process_dispatcher_reply(self.topic, reply)
        except BaseException as error:
            verdict = Verdict.ERROR
            self.failed(listener, error)
            raise
        finally:
            value = None
            self.heard_by(listener, key, verdict)

    def read_from(self, mailbox: Mailbox) -> Optional[Tuple[Any]]:
        """Its value, for a reader on a user's thread; None if that is not to have it."""
        key, value = id(mailbox), self._value
        if self._pending.pop(key, None) is None:
            return None
        # Whoever reads it has taken it out before its stream was closed, if it was.
        verdict = _SKIPPED if self.deadline < self.engine.now() else _OK
        if self._verdicts.setdefault(key, verdict) is verdict:
            next(self.engine.apart[verdict])
        self.ends_if_over()
        return (value,) if verdict is _OK else None

    def begin(self, listener: Listening) -> Optional[Tuple[Any]]:
        """The value, which *listener* hears now; None if somebody has given it up for that one."""
        # In this order: who gives it up from now on may let go of it.
        begun = (self._value,)
        if self._pending.pop(id(listener._ate_mailbox), None) is None:
            return None
        listener._ate_hears = self
        return begun

    def due(self, key: int) -> Verdict:
        """What becomes of it now, if nothing is raised."""
        if self._channel is not None:
            side = self._channel.listeners
            if side.version is not self._roster.version and key not in self._channel.heard().keys:
                # It was deregistered since.
                return Verdict.WITHDRAWN
        deadline = self.deadline
        if deadline != NEVER and deadline < self.engine.now():
            return _SKIPPED
        return _OK

    def reply_for(self, listener: Listening, value: Any) -> Optional[Reply]:
        """What *listener* is told beside the value, if it wants to know."""
        if not self._roster.apart or not listener._ate_heeds(REPLY):
            return None
        record: Any = value, None, NOBODY, self.sent, self.engine.now(), None
        return Reply(record, self.sent)

    def failed(self, listener: Listening, error: BaseException) -> None:
        """*listener* has raised."""
        if self._errors is None:
            self._errors = {}
        self._errors[id(listener._ate_mailbox)] = type(error).__name__
        if self.engine.hooks:
            told = self.id, self.topic, listener, error, self.engine.now()
            self.engine.observers.tell(event_listener_failed, *told)

    def heard_by(self, listener: Listening, key: int, verdict: Verdict) -> None:
        """*listener*, with that *key*, has come to the end of it."""
        listener._ate_hears = None
        engine, verdicts = self.engine, self._verdicts
        if verdicts.setdefault(key, verdict) is _MISSING:
            # It was given up meanwhile, and has come to its end all the same.
            verdicts[key] = verdict
            next(engine.taken_up[verdict])
        else:
            tally = engine.tallies.get(id(listener))
            if tally is None:
                tally = engine.tallies.setdefault(id(listener), {})
            # Of its thread alone.
            tally[verdict] = tally.get(verdict, 0) + 1
        if len(verdicts) == self._roster.size:
            # Here nobody is kept by what letting go of it sets off.
            self._value = None
            self.completion = _ALL_REPLIED
            # Whoever waits has said so before it looked (P9).
            if NO_GIL or self.is_watched:
                self.completed()

    @property
    def first(self) -> Optional[Outlet]:
        """How to reach them."""
        return self._roster.first

    def is_wanted(self, listener: object) -> bool:
        # It looks itself, and has a verdict for that.
        return True

    # -- for mailboxes with a bound ------------------------------------------------------------

    def is_pending(self, mailbox: Mailbox) -> bool:
        """Whether its reader has not begun it."""
        return id(mailbox) in self._pending

    def takes_place(self, mailbox: Mailbox) -> bool:
        if not self.places:
            return False
        try:
            self.places.remove(id(mailbox))
        except ValueError:
            return False
        return True

    def gives_places_back(self, mailboxes: Iterable[Mailbox]) -> None:
        """It was cut short, and has none."""
        for mailbox in mailboxes:
            self._gives_place_back(mailbox)

    def _gives_place_back(self, mailbox: Mailbox) -> None:
        # Whoever takes it out of the places has it.
        if mailbox.room is not None and self.takes_place(mailbox):
            mailbox.room.give()
            mailbox.room.waiting.wake()

    def refuse(self, mailbox: Mailbox) -> None:
        """There is no room for it there. On the thread that publishes."""
        self.end_for(mailbox, Verdict.DECLINED)

    def is_refused(self, mailbox: Mailbox) -> bool:
        return self._verdicts.get(id(mailbox)) is Verdict.DECLINED

    # -- by others -----------------------------------------------------------------------------

    def give_up(self, mailbox: Mailbox, verdict: Verdict, running: bool = False) -> bool:
        """Its reader will not begin it; with *running* one that has is not waited for, either.

        Whether that was news, and then, perhaps, it is `over`. From anywhere, also inside the
        section.
        """
        key = id(mailbox)
        if self.places:
            self._gives_place_back(mailbox)
        begun = self._pending.pop(key, None) is None
        if (begun and not running) or self._verdicts.setdefault(key, verdict) is not verdict:
            return False
        next(self.engine.apart[verdict])
        return len(self._verdicts) == len(self._roster.members)

    def end_for(self, mailbox: Mailbox, verdict: Verdict, running: bool = False) -> None:
        """The same, and who waits for it is told if it is over. Not inside the section."""
        if self.give_up(mailbox, verdict, running):
            self.over()

    def withdraw(self, running: bool = False) -> None:
        """Nobody begins it any more; with *running* who has is not waited for, either.

        Not inside the section.
        """
        for listener in self.listeners:
            mailbox = listener._ate_mailbox
            if self.is_pending(mailbox):
                self.end_for(mailbox, Verdict.WITHDRAWN)
            elif running:
                self.end_for(mailbox, _MISSING, running=True)

    def missed_by(self, mailbox: Mailbox) -> None:
        """It came into a mailbox that nobody reads any more. Inside the section."""
        if self.give_up(mailbox, Verdict.DECLINED):
            self.engine.leave(Order.OVER, self)
            if self.engine.orders.attention is CLOSED:
                # It crossed the end, so nobody has it yet who could have left a callback.
                self.completed()

    def ends_if_over(self) -> None:
        """Whoever was to say so may have been cut short. Not inside the section."""
        if len(self._verdicts) == self._roster.size:
            self.over()

    def over(self) -> None:
        """Everybody has a verdict: tell who waits. Outside the section; twice is harmless."""
        value, self._value = [self._value], None
        release(value)
        self.completed()

    def completed(self) -> None:
        """The same, without letting go of the value: also inside the section."""
        self.completion = _ALL_REPLIED
        if NO_GIL:
            # The looks at who waits come after that word (P9).
            self.engine.arrivals.rotate(0)
        if self.is_watched:
            self.engine.watched.pop(self.id, None)
        if self.awaited:
            wake(self.engine, self)
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                break
            self.engine.observers.call(callback, self)

    def keeps(self, callback: Callable[[Any], Any]) -> bool:
        """Keep *callback* until it is done; False if it is, and nobody else will call it."""
        if self._callbacks is _NONE:
            # Only the control loop comes here.
            self._callbacks = []
        self._callbacks.append(callback)
        if NO_GIL:
            self.engine.arrivals.rotate(0)
        if self.completion is None:
            return True
        try:
            self._callbacks.remove(callback)
        except ValueError:
            return True
        return False

    def forgets_callbacks(self) -> None:
        """In a forked child: they are the parent's."""
        self._callbacks = _NONE
