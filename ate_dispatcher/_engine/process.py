"""What a process has once: the section, its threads, and how it exits and forks.

The **section** is one lock around the ledgers of all dispatchers. It is taken by the loops of
producers, by listeners that distribute what was published, and by control loops; never by a public
method, so nothing deadlocks in a signal handler or a finalizer. Inside, no user code runs, nothing
waits, and nothing that is a user's is let go of (P16): what comes out for good goes to ``left``,
and is dropped after leaving.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import threading
import weakref
from collections import deque
from contextvars import ContextVar
from functools import partial
from queue import SimpleQueue
from typing import Any, Callable, Deque, Dict, List, Optional

from typing_extensions import Protocol

from .. import _log
from .._core.member import Member
from .._core.start_line import StartLine
from .._delivery.mailbox import NO_GIL
from .._delivery.posts import Posts, posts_of
from .._delivery.waiters import Wake
from .._observing.observers import Observers
from .._time.clock import REAL, QueueParker

__all__ = [
    "CURRENT_WORKER",
    "EXIT_SECONDS",
    "LINES",
    "SECTION",
    "Living",
    "Section",
    "alive",
    "at_exit",
    "drain_before_executors",
    "event_loops",
    "is_ours",
    "living_dispatchers",
    "living_participants",
    "lost",
    "made",
    "nested",
    "release",
    "remember",
    "see_to",
    "started",
    "unhurried",
    "unstarted_dispatchers",
]

EXIT_SECONDS = 2.0
"""What open requests, and then the listeners, get at the exit of the interpreter."""


class Section:
    """A lock as cheap as the interpreter allows; *enter*, and *leave*, which takes None.

    With a GIL it is a C queue with one token: whoever has the token is inside. A free one is taken
    and given back in half of the time that a ``threading.Lock`` takes, whose ``acquire`` parses
    keywords and goes to the system. Without a GIL many may want it at one instant, and hand-over by
    a queue costs several times a lock's: there it is one.
    """

    __slots__ = ("enter", "leave", "left", "locked")

    def __init__(self, gil: bool = not NO_GIL) -> None:
        #: What came out for good, to be dropped outside by whoever leaves next.
        self.left: Deque[Any] = deque()
        if gil:
            tokens: SimpleQueue[None] = SimpleQueue()
            tokens.put(None)
            self.enter: Any = tokens.get
            self.leave: Any = tokens.put
            self.locked: Any = tokens.empty
        else:
            lock = _thread.allocate_lock()
            release = lock.release
            self.enter = lock.acquire
            self.leave = lambda _: release()
            self.locked = lock.locked

    def __enter__(self) -> None:
        enter = self.enter
        enter()

    def __exit__(self, *_: object) -> None:
        leave = self.leave
        leave(None)
        if self.left:
            self.drop()

    def drop(self) -> None:
        """Let go of what came out. Outside."""
        found: List[Any] = []
        while self.left:
            try:
                found.append(self.left.popleft())
            except IndexError:
                break
        for wake in [each for each in found if each.__class__ is Wake]:
            wake()
        release(found)

    def forked(self) -> None:
        """In a forked child: a thread that is not there may have been inside."""
        if self.locked():
            leave = self.leave
            leave(None)


SECTION = Section()

LINES: Dict[StartLine, List[Member]] = {}
"""The start lines of all dispatchers that have not started, in their one order."""

nested: Dict[int, Any] = {}
"""The workers that wait for a request in the middle of another, by identity: without any there is
no circle."""

CURRENT_WORKER: ContextVar[Optional[Any]] = ContextVar("ate_dispatcher.worker", default=None)
"""The worker that the calling thread, or whatever runs in its context, works for."""


class _Unhurried(threading.local):
    """Of each thread; it ends with that, whose ident another one has then."""

    observers: Optional[Observers] = None


unhurried = _Unhurried()
"""The observers of a control loop, or of a link, on its thread: what may take long goes to them
from there (P16, P17)."""


def release(things: List[Any]) -> None:
    """Empty *things*, which may be a user's last: here, unless deadlines wait for this thread.

    Outside the section. The caller has nothing of them any more but this list.
    """
    observers = unhurried.observers
    if observers is None:
        things.clear()
    else:
        observers.release(things)


def lost(message: str, *args: Any, **fields: Any) -> None:
    """Log a loss: here, unless deadlines wait for this thread. Outside the section."""
    report(logging.WARNING, message, *args, **fields)


def report(level: int, message: str, *args: Any, **fields: Any) -> None:
    """Likewise, at that *level*."""
    observers = unhurried.observers
    (_log.report if observers is None else observers.report)(level, message, *args, **fields)


_PASSES = 4
"""So many of the section one reader makes for others in one go."""


def see_to(posts: Posts, passes: int = _PASSES) -> None:
    """Put what was posted into the mailboxes, unless somebody else is at it. Outside.

    After so many *passes* a control loop has the turn, and goes on with what is left, a part in
    each round: in a flood nobody else wants the section for it, so no deadline waits (P17).
    """
    while posts.items:
        try:
            posts.turn.pop()
        except IndexError:
            # Who has the turn looks again after giving it back.
            return
        handed_on = False
        try:
            while True:
                if not posts.items:
                    break
                if not passes:
                    posts.items[0][2].distribute()
                    handed_on = True
                    break
                passes -= 1
                with SECTION:
                    posts.distribute()
        except IndexError:
            # The last was taken out by a producer.
            pass
        finally:
            if not handed_on:
                posts.turn.append(True)
        if handed_on:
            return


_drains: List[bool] = []


class Living(Protocol):
    """What has a thread: how it takes the end of the interpreter, and a fork."""

    def _ate_forked(self) -> None: ...


alive: Dict[int, weakref.ref[Any]] = {}
"""The participants whose threads were started and have not ended."""

started: Dict[int, weakref.ref[Any]] = {}
"""The dispatchers that were started and live."""

at_exit: List[Callable[[], None]] = []
"""Called in this order at the exit of the interpreter."""


made: Dict[int, weakref.ref[Any]] = {}
"""The dispatchers that live, started or not."""


event_loops: Dict[int, Living] = {}
"""What participants live on that have no threads, by the ident of its own."""


def is_ours() -> bool:
    """Whether the calling thread is a participant's, or works for one, or for many."""
    if CURRENT_WORKER.get() is not None or id(threading.current_thread()) in alive:
        return True
    return _thread.get_ident() in event_loops


def remember(table: Dict[int, weakref.ref[Any]], thing: Any) -> None:
    """Let *table* have *thing* as long as it lives."""
    key = id(thing)
    # Straight into C when it dies, where no signal handler comes in between.
    table[key] = weakref.ref(thing, partial(table.pop, key))


def _living(table: Dict[int, weakref.ref[Any]]) -> List[Any]:
    return [
        each for each in (reference() for reference in list(table.values())) if each is not None
    ]


def living_dispatchers() -> List[Any]:
    """Those that were started and live."""
    return _living(started)


def unstarted_dispatchers() -> List[Any]:
    """Those that live and were never started."""
    return [each for each in _living(made) if each.ident is None]


def living_participants() -> List[Any]:
    """Those whose threads run."""
    return _living(alive)


def drain_before_executors() -> None:
    """See to it, once, that what is open at the exit is waited for while executors still work.

    They are shut before any ``atexit`` handler runs, by those of `threading`, the last to come
    first. Nothing is stopped then: a handler of the user's may still send.
    """
    if not _drains:
        _drains.append(True)
        # Ours has to come behind theirs, whether or not this program uses them.
        import concurrent.futures.thread  # noqa: F401

        try:
            getattr(threading, "_register_atexit", atexit.register)(_drain)
        except RuntimeError:
            # It is the exit already.
            pass


def _drain() -> None:
    parker = QueueParker()
    until = REAL.now() + EXIT_SECONDS
    for dispatcher in living_dispatchers():
        while dispatcher._ate_is_busy() and REAL.now() < until:
            parker.park_until(REAL.now() + 0.005)


def _exit() -> None:
    for each in at_exit:
        try:
            each()
        except Exception as error:
            _log.failed("the end of the interpreter was not orderly", error)


def _after_fork() -> None:
    """The child has none of our threads, but perhaps the one that forked."""
    SECTION.forked()
    LINES.clear()
    posts_of(REAL).forked()
    nested.clear()
    unhurried.observers = None
    for dispatcher in living_dispatchers():
        dispatcher._ate_forked()
    started.clear()
    made.clear()
    for participant in living_participants():
        participant._ate_forked()
    alive.clear()
    for loop in list(event_loops.values()):
        loop._ate_forked()
    event_loops.clear()


atexit.register(_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
