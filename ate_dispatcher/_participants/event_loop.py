"""The event loop of one clock, and the lives that producers and listeners lead on it.

Imported when the first of them is started whose methods are ``async def``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from contextvars import Context
from functools import partial
from threading import Thread, current_thread
from typing import Any, Callable, Deque, Dict, List, Optional, Set

from typing_extensions import Protocol

from .. import _log
from .._delivery.mailbox import NO_GIL, Mailbox
from .._delivery.sentinels import STOP, Died
from .._engine.coroutines import serve_all
from .._engine.hearing import hear_all
from .._engine.process import EXIT_SECONDS, alive, event_loops, remember
from .._engine.waiting import finished
from .._time.clock import REAL, Clock, Parker, spawn, this_thread
from .._time.virtual_loop import VirtualLoop
from ..errors import ClockStopped, DispatcherError

__all__ = ["EventLoop", "LoopLife", "hear_all", "serve_all"]

_NAME = "ate_dispatcher event loop"

_TURN = "turn"

_FAREWELL = 10.0
"""Real seconds for which one is waited for whose clock was stopped."""


class Lives(Protocol):
    """A participant that lives on an event loop."""

    @property
    def _ate_mailbox(self) -> Mailbox: ...

    def on_start(self) -> Any: ...

    def on_stop(self) -> Any: ...

    def _ate_fails(self, failure: Optional[str]) -> None: ...

    def _ate_ends(self) -> None: ...


class EventLoop:
    """An event loop on a thread of its own, which is there while anybody lives on it.

    What it is to do is appended to one queue, and its thread woken as the reader of any mailbox
    (P1), by what asyncio has for that: an append and a byte into a socket, without a lock. Whoever
    has the *turn*, one atomic operation, runs it, or is about to start its thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: Deque[Callable[[], Any]] = deque()
        #: Full while nobody has woken it since it has looked.
        self._attention: List[bool] = []
        self._turn: Dict[str, List[bool]] = {}
        self._lives: Set[LoopLife] = set()
        #: The last to end, which is over when the thread is.
        self._last: Optional[LoopLife] = None
        self.loop: Any = None
        self.ident: Optional[int] = None

    # -- from anywhere -------------------------------------------------------------------------

    def call(self, function: Callable[[], Any]) -> None:
        """Call *function*, which does not raise, in the loop, soon. Never blocks, never raises."""
        self._calls.append(function)
        attention = self._attention
        if attention:
            # Closed meanwhile, it looks once more.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._look, context=Context())
            attention.clear()

    def begin(self, life: LoopLife) -> None:
        """Let *life* begin, once; a RuntimeError if there is no thread for it."""
        # Whoever empties one decides: it begins, the thread runs; or who gives that up.
        due, turn = [True], [True]
        try:
            life.loop, life.ident = self, self.ident
            self.call(partial(self._begin, life, due))
            # Who has the turn looks once more after giving it back.
            if self._turn.setdefault(_TURN, turn) is turn:
                parker = self._clock.parker()
                thread = spawn(self._clock, partial(self._run, parker, turn), _NAME, parker)
                life.ident = thread.ident
        except BaseException:
            # No thread; or a signal handler raised, at whatever moment of this.
            if self._turn.get(_TURN) is turn and _is_taken(turn):
                self._turn.pop(_TURN)
            if _is_taken(due):
                life.loop = life.ident = None
            raise

    def _ate_forked(self) -> None:
        """In a forked child, which does not have the thread, unless it is the one that forked."""
        self._calls.clear()
        self._lives.clear()
        if self.ident == this_thread():
            self.loop.stop()
        else:
            self._attention = []
            self._turn.clear()

    # -- its thread ----------------------------------------------------------------------------

    def _run(self, parker: Parker, turn: List[bool]) -> None:
        mine = _is_taken(turn)
        while mine:
            self._serve(parker)
            last, self._last = self._last, None
            self._turn.pop(_TURN)
            if NO_GIL:
                # The look comes after the turn.
                self._calls.rotate(0)
            mine = bool(self._calls) and self._turn.setdefault(_TURN, turn) is turn
            if last is not None:
                last.ends(None if mine else current_thread())

    def _serve(self, parker: Parker) -> None:
        """From the first life to the last."""
        real = getattr(self._clock, "moved_by_loops", True)
        self.loop = loop = asyncio.new_event_loop() if real else VirtualLoop(self._clock, parker)
        self.ident = here = this_thread()
        event_loops[here] = self
        try:
            loop.call_soon(self._look)
            while True:
                try:
                    loop.run_forever()
                except BaseException as error:
                    # What somebody's own task raised, to end the program.
                    _log.failed("a task in the event loop raised", error)
                if not self._lives and not self._calls:
                    break
            self._attention = []
            # An exception of a task is told of when that is let go of.
            with contextlib.suppress(ClockStopped):
                loop.run_until_complete(_see_off(loop))
        finally:
            self._attention = []
            self.ident = None
            event_loops.pop(here, None)
            loop.close()

    def _look(self) -> None:
        """Call what there is to be called."""
        calls = self._calls
        self._attention = [True]
        if NO_GIL:
            # In this order (P1).
            calls.rotate(0)
        try:
            for _ in range(len(calls)):
                calls.popleft()()
        finally:
            if not self._lives and not calls:
                self.loop.stop()

    def _begin(self, life: LoopLife, due: List[bool]) -> None:
        if life.began or not _is_taken(due):
            return
        last, self._last = self._last, None
        if last is not None:
            # The thread goes on.
            last.ends()
        self._lives.add(life)
        life.lives(self)

    def over(self, life: LoopLife) -> None:
        """*life* has come to its end; in the loop."""
        self._lives.discard(life)
        if self._lives or self._calls:
            life.ends()
        else:
            self._last = life
            self.loop.stop()


async def _see_off(loop: Any) -> None:
    """What producers and listeners have left in their loop ends with it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=EXIT_SECONDS)
    await loop.shutdown_asyncgens()


def _is_taken(token: List[bool]) -> bool:
    """Whether the caller is the one who takes it."""
    try:
        return token.pop()
    except IndexError:
        return False


def _loop_of(clock: Any) -> EventLoop:
    """The one of *clock*, made when the first asks for it."""
    try:
        loop: EventLoop = vars(clock).setdefault("_ate_event_loop", EventLoop(clock))
        return loop
    except TypeError:
        # It has no room for that.
        return _OTHERS.setdefault(id(clock), EventLoop(clock))


_OTHERS: Dict[int, EventLoop] = {}
"""Each knows its clock, which so is never another."""


class LoopLife:
    """One participant without a thread: from its start, on its clock's event loop, to its end.

    It begins when it was started and has a clock, whichever comes last.
    """

    def __init__(self, participant: Lives, work: Callable[[EventLoop], Any]) -> None:
        """*work* gives the coroutine that is its thread's ``run()``."""
        self._participant = participant
        self._work = work
        self._joiners: Deque[Parker] = deque()
        self._over = False
        #: In the loop: whether it has begun there.
        self.began = False
        self._task: Any = None
        #: The thread that was there for it alone, at its end.
        self._thread: Optional[Thread] = None
        self.loop: Optional[EventLoop] = None
        #: Of the loop's thread, once it lives there.
        self.ident: Optional[int] = None

    # -- from anywhere -------------------------------------------------------------------------

    def begin(self, clock: Clock) -> None:
        """On the event loop of *clock*; a second time is harmless."""
        _loop_of(clock).begin(self)

    def is_over(self) -> bool:
        """Whether it has ended, or will not begin because it was stopped before."""
        if self.loop is None:
            return STOP in list(self._participant._ate_mailbox.items)
        return self._over

    def is_here(self) -> bool:
        """Whether it lives on the calling thread."""
        return self.loop is not None and self.loop.ident == this_thread()

    def awaited(self) -> Any:
        """Its coroutine, while there is one."""
        task = self._task
        return None if task is None else task.get_coro()

    def turn(self) -> None:
        """It takes its turns itself."""

    def look(self) -> None:
        """Who waits for its end looks once more."""
        for each in list(self._joiners):
            each.unpark(None)

    def wait(self, clock: Clock, deadline: float) -> None:
        """Block until its end, or until *deadline* of *clock*."""
        if self.is_here():
            raise DispatcherError(
                f"join() of {_log.name_of(self._participant)} in the event loop that it lives on "
                "would wait for ever"
            )
        if getattr(clock, "stopped", False):
            # What is left takes real time.
            clock, deadline = REAL, REAL.now() + min(deadline - clock.now(), _FAREWELL)
        parker = clock.parker()
        self._joiners.append(parker)
        try:
            while True:
                if self.is_over() or not parker.park_until(deadline):
                    break
        finally:
            self._joiners.remove(parker)
        thread = self._thread
        if thread is not None and thread is not current_thread() and clock is REAL:
            Thread.join(thread, max(0.0, min(deadline - clock.now(), EXIT_SECONDS)))

    # -- in the loop ---------------------------------------------------------------------------

    def lives(self, loop: EventLoop) -> None:
        """From here on."""
        self.began = True
        self.ident = loop.ident
        self._task = Context().run(loop.loop.create_task, self._live(loop))

    async def _live(self, loop: EventLoop) -> None:
        participant = self._participant
        remember(alive, participant)
        name = _log.name_of(participant)
        failure = None
        try:
            failure = await self._rigged(loop, name)
        except Died:
            # Without a word.
            pass
        except BaseException as error:
            _log.failed(f"{name} has ended", error)
        finally:
            participant._ate_fails(failure)
            participant._ate_ends()
            alive.pop(id(participant), None)
            self._task = None
            loop.over(self)

    async def _rigged(self, loop: EventLoop, name: str) -> Optional[str]:
        """As `run_rigged`."""
        participant = self._participant
        items = participant._ate_mailbox.items
        if items and items[0] is STOP:
            await self._work(loop)
            return None
        said = f"on_start of {name} raised: it does not begin"
        error = await _does(participant.on_start, said, name)
        if error is not None:
            return f"{type(error).__name__} in on_start"
        try:
            await self._work(loop)
        finally:
            await _does(participant.on_stop, f"on_stop of {name} raised", name)
        return None

    def ends(self, thread: Optional[Thread] = None) -> None:
        """It is over, with that *thread*."""
        self._thread = thread
        self._over = True
        self.look()


async def _does(step: Any, otherwise: str, name: str) -> Optional[BaseException]:
    try:
        if callable(step):
            await finished(step())
    except BaseException as error:
        _log.failed(otherwise, error, producer=name)
        return error
    return None
