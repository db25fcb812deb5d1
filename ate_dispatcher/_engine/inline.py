"""A dispatcher without threads: everything happens on the thread of the call, in turn.

What is sent or published is held, as before a start; whoever has sent it then lets everybody have
their turn until nothing is left: the control loop's round, then one participant after the other, in
the order in which they were woken. A send in the middle of that only holds what it sends: so all is
heard breadth first. The loops of producers, listeners and the control loop are the usual ones; what
they park on gives the next his turn.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Optional

from typing_extensions import Protocol

from .. import _log
from .._core.durations import NEVER, past
from .._delivery.mailbox import Mailbox
from .._time.clock import Clock, Parker, this_thread
from ..errors import BadValue, DispatcherError
from .control import ControlLoop
from .engine import Engine, Order, Phase
from .gate import Gate
from .process import see_to

__all__ = ["InlineClock", "InlineEngine", "InlineLoop", "loop_of", "rest"]


class Life(Protocol):
    """What a participant leads that was started: it has turns."""

    def turn(self) -> None:
        """Do what is in the mailbox."""
        ...


class Performer(Protocol):
    """A participant, as far as its turns go."""

    @property
    def _ate_threadless(self) -> Optional[Life]: ...

    def _ate_why_not_inline(self) -> str:
        """What it has that needs threads, in a few words; empty for nothing."""
        ...


class Held(Deque[Any]):
    """What is held; it never lets anything pass."""

    def __bool__(self) -> bool:
        return True


class InlineGate(Gate):
    """The gate; what is behind it is handed out by whoever has the turn."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.held = Held(self.held)


class InlineClock:
    """A clock under which nothing has a thread; time is that of *clock*."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now: Callable[[], float] = clock.now
        self.turns: Turns = Turns()

    def parker(self) -> Parker:
        """What a caller parks on: it waits for time alone."""
        return CallerParker(self)

    def adopt(self, parker: Any, thread: Any, parked: Callable[[], Optional[bool]]) -> Parker:
        if isinstance(self.turns.loop, InlineLoop):
            return TurnParker(self.turns, _checked(thread))
        # The dispatcher itself, which has no loop yet.
        return LoopParker(self.turns)

    def expected(self, parker: Any) -> None:
        raise RuntimeError("an inline dispatcher starts no threads")

    def entered(self, parker: Any) -> None:
        """Nobody comes here."""

    def left(self, parker: Any) -> None:
        """Likewise."""

    def join(self, thread: Any, parker: Any, deadline: float) -> None:
        """Whoever was to end has ended, or will when it has its turn."""

    def sleep_until(self, instant: float) -> None:
        """Let time pass until then."""
        self._clock.parker().park_until(past(instant))


class Turns:
    """Who is to have a turn, and who is giving them: one thread at a time.

    Attributes: *loop*, the control loop; *ready*, who has something to do, the first to be woken
    first.
    """

    def __init__(self) -> None:
        self.loop: Optional[InlineLoop] = None
        self.ready: Deque[Performer] = deque()
        #: The thread that gives the turns.
        self._giver: Optional[int] = None

    def check(self) -> None:
        """Refuse a second thread."""
        if self._giver is not None and self._giver != this_thread():
            raise DispatcherError(
                "an inline dispatcher is used by one thread at a time, and another is at it"
            )

    def are_given(self) -> bool:
        """Whether somebody gives turns: the calling code runs in one."""
        return self._giver is not None

    def give(self) -> None:
        """Give everybody their turns until nothing is left, unless the caller runs in one."""
        self.check()
        loop = self.loop
        if loop is None or not loop.is_open or self._giver is not None:
            return
        self._giver = this_thread()
        try:
            while True:
                # What was sent meanwhile is handed out when all have done what came before.
                if not self._give_one() and not loop.go_round():
                    break
        finally:
            self._giver = None

    def _give_one(self) -> bool:
        """Whether there was somebody."""
        try:
            performer = self.ready.popleft()
        except IndexError:
            return False
        if performer._ate_threadless is not None:
            performer._ate_threadless.turn()
        return True


def rest(mailbox: Mailbox) -> None:
    """The reader of *mailbox* counts as parked, until something is put into it."""
    mailbox.attention = [True]
    if mailbox.items:
        mailbox.attend()


def _checked(performer: Performer) -> Performer:
    """Refuse whoever needs threads."""
    why = performer._ate_why_not_inline()
    if why:
        raise BadValue(f"{_log.name_of(performer)} cannot be with an inline dispatcher: {why}")
    return performer


class TurnParker:
    """What a participant's loop parks on, which never parks: woken, it has a turn."""

    def __init__(self, turns: Turns, performer: Any) -> None:
        self._turns = turns
        self._performer = performer

    def unpark(self, _: None) -> None:
        self._turns.ready.append(self._performer)

    def park(self) -> None:
        raise AssertionError("a loop without a thread parks")

    def park_until(self, deadline: float) -> bool:
        # For room with a listener, which has no turn before this one is over.
        return False


class LoopParker:
    """What the control loop parks on: at the end, when it waits for others, they have turns."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def unpark(self, _: None) -> None:
        """It goes round anyway."""

    def park(self) -> None:
        self.park_until(NEVER)

    def park_until(self, deadline: float) -> bool:
        return self._turns._give_one()


class CallerParker:
    """What somebody parks on who waits for a request, for room, or for an item."""

    def __init__(self, clock: InlineClock) -> None:
        self._clock = clock
        self._is_woken = False

    def unpark(self, _: None) -> None:
        self._is_woken = True

    def park(self) -> None:
        self.park_until(NEVER)

    def park_until(self, deadline: float) -> bool:
        turns, loop = self._clock.turns, self._clock.turns.loop
        if turns.are_given():
            raise DispatcherError(
                "this would wait for itself: an inline dispatcher goes on when the callback that "
                "waits here has returned"
            )
        turns.give()
        if not self._is_woken:
            until = min(deadline, NEVER if loop is None else loop.next_instant())
            if until == NEVER:
                raise DispatcherError(
                    "this would wait for ever: an inline dispatcher has done all that there was"
                )
            self._clock.sleep_until(until)
            turns.give()
            if not self._is_woken and until == deadline:
                return False
        self._is_woken = False
        return True


class InlineEngine(Engine):
    """The state of a dispatcher without threads; whoever leaves an order sees to it."""

    def __init__(self, clock: Clock) -> None:
        inline = InlineClock(clock)
        super().__init__(inline)
        self.turns: Turns = inline.turns
        self.gate = InlineGate()
        self.looked = lambda _: self.turns.give()

    def hold(self, item: Any) -> None:
        self.turns.check()
        super().hold(item)

    def post(self, what: Order, *data: Any) -> None:
        if what is Order.STOP:
            # Nothing goes on by itself: there is nothing to wait for.
            at_once, until = data
            data = at_once, min(until, self.now())
        super().post(what, *data)
        self.turns.give()


class InlineObservers:
    """Hooks and done callbacks, called by whoever gives the turns."""

    thread: None = None

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start_if_needed(self) -> None:
        """Call what is to be called."""
        self._engine.observers.serve_now()

    start = start_if_needed

    def lags(self, waiting: int) -> None:
        """They cannot."""


class InlineLoop(ControlLoop):
    """What the control loop does, a round at a time.

    Attributes: *is_open*, whether it was started.
    """

    def __init__(self, engine: InlineEngine, name: Callable[[], str]) -> None:
        super().__init__(engine, name, InlineObservers(engine))
        self._turns = engine.turns
        self._turns.loop = self
        self.is_open: bool = False

    def open(self) -> None:
        """The dispatcher was started: hand out what was held."""
        if self._engine.phase is Phase.NEW:
            self._open()
            self.is_open = True
        self._turns.give()

    def go_round(self) -> bool:
        """One round; the end, when nobody has anything to do before that. Whether there is more."""
        if self._engine.phase is Phase.ENDED:
            return False
        more = self._round()
        see_to(self._engine.posts)
        if more or self._turns.ready:
            return True
        if self._engine.phase is Phase.OPEN or not self._is_done():
            return False
        self._finish()
        return True

    def has_ended(self) -> bool:
        """Whether the dispatcher has."""
        return self._engine.phase is Phase.ENDED

    def next_instant(self) -> float:
        """When something ends by itself."""
        return self._next_instant()


def loop_of(engine: Engine, name: Callable[[], str]) -> ControlLoop:
    """The control loop of *engine*, inline if that is."""
    if isinstance(engine, InlineEngine):
        return InlineLoop(engine, name)
    return ControlLoop(engine, name)
