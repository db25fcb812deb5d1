"""Virtual time: a clock that drives real threads one at a time, so that waiting takes no time.

Code that calls ``time.sleep`` or does real I/O still takes real time, and so do event loops, but
for the one of producers and listeners that are coroutines.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
from collections import deque
from queue import Empty, SimpleQueue
from threading import Thread, current_thread, get_ident
from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple

from .._core.durations import NEVER, milliseconds
from ..errors import (
    BadType,
    BadValue,
    ClockStopped,
    DispatcherError,
    VirtualTimeStuck,
)
from .clock import REAL, Parker, QueueParker
from .sleeping import asleep, check_may_sleep
from .stuck import explain
from .virtual_parker import ClockThread, VirtualParker
from .virtual_watch import Vigil, Watch

__all__ = ["VirtualClock"]

Timer = Tuple[float, bool, int, int, VirtualParker]
"""An instant, what comes first at one, a token, and who waits."""

_FAREWELL = 0.2
"""Real seconds for which a thread that has nothing to do any more is waited for."""


class VirtualClock:
    """A clock on which time passes only while everybody waits for it.

    One thread runs at a time, whoever holds the *baton*: at first the test's own. It is handed on
    only when its holder parks: to the thread that became ready first, and when nobody is ready, to
    the one whose instant comes next, and time is that instant then. So time never passes while the
    test's own thread runs, and moves only inside a call of it that waits: ``wait``, ``results``,
    iterating, ``join``, :meth:`sleep`, :meth:`advance`, :meth:`settle`.

    Parameters
    ----------
    start: float
        The first instant, in seconds.
    patience: float
        Real seconds without any progress after which a waiting test fails with
        :class:`VirtualTimeStuck`. A tenth of it where everybody is parked, nobody waits for an
        instant, and no other thread is there that could change that; and a tenth for those who
        wait once more while it is stuck.
    """

    moved_by_loops = False
    """A coroutine that waits would wait for ever: it has the baton, and does not give it back."""

    def __init__(self, start: float = 0.0, *, patience: float = 10.0) -> None:
        """See the class. The thread that makes it is the test's own, which begins."""
        self._now = _seconds("start", start, least=-NEVER)
        self._patience = min(_seconds("patience", patience), threading.TIMEOUT_MAX)
        # Reentrant: a signal handler may ring while its own thread is in here.
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        #: The thread that holds the baton; None while it is free.
        self._holder: Optional[int] = get_ident()
        self._ready: Deque[VirtualParker] = deque()
        self._timers: List[Timer] = []
        self._settling: Deque[VirtualParker] = deque()
        #: The threads that live under this clock, and who of them comes first at one instant.
        self._ours: Dict[int, int] = {}
        #: The others, as far as they wait.
        self._outside: Set[VirtualParker] = set()
        #: Whether :meth:`stop` was called.
        self.stopped: bool = False
        self._watch = Watch(self)
        #: Threads that have given the baton away for good, and may have some lines to go.
        self._leaving: List[threading.Thread] = []

    # -- for tests and scripted work -----------------------------------------------------------

    def now(self) -> float:
        """The present instant in seconds."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let *seconds* of virtual time pass: for scripted work, and for the test's own thread."""
        seconds = _seconds("seconds", seconds)
        check_may_sleep(self)
        self.parker().park_until(self._now + seconds)
        self.refuse_if_stopped()

    async def asleep(self, seconds: float) -> None:
        """The same for producers and listeners that are ``async def``; others go on meanwhile.

        ``asyncio.sleep`` does the same there, and takes virtual time too.

        Raises
        ------
        BadType, BadValue
            *seconds* is no number, or negative.
        DispatcherError
            In another event loop, which does not move virtual time.
        ClockStopped
            After :meth:`stop`.
        """
        await asleep(self, _seconds("seconds", seconds))

    def advance(self, ms: float) -> None:
        """Let *ms* milliseconds pass, from instant to instant, and everything due in them happen.

        For the test's own thread. What is due exactly at the end has happened too; a deadline that
        lies exactly there has not passed yet. (In ms as a ttl is; :meth:`sleep` is in seconds, as
        ``time.sleep``.)

        Raises
        ------
        BadType, BadValue
            *ms* is no number, or negative, or not finite.
        """
        seconds = milliseconds("ms", ms)
        if seconds == NEVER:
            raise BadValue(f"ms must be a finite number of milliseconds, not {ms!r}")
        self._only_outside("advance")
        self.parker().park_until(self._now + seconds)
        self.settle()

    def settle(self) -> None:
        """Let every thread run until all are parked; time does not move. For the test's thread."""
        self._only_outside("settle")
        parker = self.parker()
        with self._lock:
            self._settling.append(parker)
        try:
            parker.park_until(NEVER)
        finally:
            with self._lock:
                if parker in self._settling:
                    self._settling.remove(parker)

    def advance_to_next(self) -> bool:
        """Go to the next instant somebody waits for and let everything due then happen.

        Whether there was one.
        """
        self.settle()
        with self._lock:
            timers = _without_stale(self._timers)
            if not timers:
                return False
            instant = timers[0][0]
        self.parker().park_until(instant)
        self.settle()
        return True

    @property
    def stuck(self) -> bool:
        """Whether somebody has waited in vain, and the thread that holds time up still does."""
        return self._watch.stuck

    def notes(self) -> List[str]:
        """What has held virtual time up for real so far: a sentence for each thread that did."""
        with self._lock:
            return self._watch.notes()

    def looked(self, at: Any) -> None:
        """Somebody has looked *at* a request that has not ended. From any thread; does not block.

        Raises
        ------
        VirtualTimeStuck
            The test's own thread does nothing else any more: it has not waited for one patience.
        """
        if get_ident() == self._holder and self._holder not in self._ours:
            self._watch.looked(at, self._patience)

    def thread(
        self, target: Callable[..., Any], *args: Any, name: Optional[str] = None
    ) -> threading.Thread:
        """A thread for ``target(*args)`` that lives under this clock, as participants do.

        Not started yet. Without this a thread that a test starts runs beside virtual time, at
        moments that nobody can tell.
        """
        return ClockThread(self, target, args, name)

    def stop(self) -> None:
        """End time: whoever waits for it is told so, and nothing can begin here any more.

        Waits of the test and :meth:`sleep` raise ``ClockStopped``; deadlines of dispatchers pass at
        once, so that what has been stopped can end. From anywhere; twice is harmless.
        """
        with self._lock:
            if self.stopped:
                return
            self.stopped = True
            for parker in self._ready:
                parker.gate.put(None)
            timed = [parker for _, _, _, token, parker in self._timers if parker.parked is token]
            for parker in dict.fromkeys([*timed, *self._outside]):
                if parker.parked is not None:
                    self._make_ready(parker, unparked=False)
            self._timers.clear()
            self._ready.clear()

    # -- the clock protocol --------------------------------------------------------------------

    def parker(self) -> VirtualParker:
        """See ``Clock.parker``."""
        return VirtualParker(self, SimpleQueue())

    def adopt(
        self, parker: Parker, thread: threading.Thread, parked: Callable[[], Optional[bool]]
    ) -> VirtualParker:
        """See ``Clock.adopt``."""
        if not isinstance(parker, QueueParker):
            raise BadValue("this parker is not free to be adopted by a virtual clock")
        self.refuse_if_stopped()
        # The same queue: a thread that is parked on it already will be let go by it.
        adopted = VirtualParker(self, parker.permits, thread.ident)
        patience = REAL.now() + self._patience
        while thread.is_alive():
            if parked():
                with self._lock:
                    adopted.parked = next(self._numbers)
                    self._ours[thread.ident or 0] = adopted.seq
                break
            if REAL.now() > patience:
                raise VirtualTimeStuck(f"{thread.name} was started and does not come to its loop")
            # It was started before it belonged to this clock: real time until it parks.
            QueueParker().park_until(REAL.now() + 0.0005)
        return adopted

    def expected(self, parker: VirtualParker) -> None:
        """See ``Clock.expected``."""
        with self._lock:
            self.refuse_if_stopped()
            parker.over = False
            self._ready.append(parker)
            if self._holder is None:
                self._hand_on()

    def entered(self, parker: VirtualParker) -> None:
        """See ``Clock.entered``."""
        with self._lock:
            parker.ident = get_ident()
            self._ours[parker.ident] = parker.seq
        parker.gate.get()
        with self._lock:
            self._holder = parker.ident

    def left(self, parker: VirtualParker) -> None:
        """See ``Clock.left``."""
        with self._lock:
            parker.over = True
            if parker in self._ready:
                self._ready.remove(parker)
            for joiner in parker.joiners:
                self._unpark(joiner)
            here = get_ident()
            if parker.ident == here:
                # Not so if it could not be started: then this is somebody else.
                self._leaving = [*filter(Thread.is_alive, self._leaving), current_thread()]
                if self._holder == here:
                    self._hand_on()
                self._ours.pop(here, None)

    def join(self, thread: threading.Thread, parker: Any, deadline: float) -> None:
        """See ``Clock.join``."""
        if isinstance(parker, VirtualParker) and thread.is_alive() and not self.stopped:
            waiter = self.parker()
            with self._lock:
                gone = parker.over
                if not gone:
                    parker.joiners.append(waiter)
            try:
                if not gone and not waiter.park_until(deadline):
                    return
            finally:
                with self._lock:
                    if waiter in parker.joiners:
                        parker.joiners.remove(waiter)
        Thread.join(thread, min(self._patience, max(0.0, deadline - self._now)))

    # -- the baton -----------------------------------------------------------------------------

    def _only_outside(self, what: str) -> None:
        if get_ident() in self._ours:
            raise DispatcherError(
                f"{what}() is for the test's own thread; participants call clock.sleep()"
            )

    def refuse_if_stopped(self) -> None:
        """ClockStopped if it was stopped."""
        if self.stopped:
            raise ClockStopped("the virtual clock was stopped; nothing happens on it any more")

    def _unpark(self, parker: VirtualParker) -> None:
        with self._lock:
            if parker.parked is not None:
                self._make_ready(parker, unparked=True)
                if self._holder is None:
                    self._hand_on()
            else:
                parker.unparked = True

    def _make_ready(self, parker: VirtualParker, unparked: bool) -> None:
        parker.parked = None
        parker.woken = unparked
        if self.stopped:
            parker.gate.put(None)
        else:
            self._ready.append(parker)

    def _wait(self, parker: VirtualParker, deadline: float) -> bool:
        here = get_ident()
        with self._lock:
            if parker.unparked:
                parker.unparked = False
                return True
            outside = here not in self._ours
            if self.stopped:
                if outside:
                    self.refuse_if_stopped()
                if deadline < NEVER:
                    # Time is over: whatever was to come has come.
                    self._now = max(self._now, deadline)
                    return False
            elif deadline <= self._now and parker not in self._settling:
                return False
            parker.ident = here
            parker.parked = token = next(self._numbers)
            if deadline < NEVER:
                # At one instant participants go on in the order in which they were registered.
                seq = self._ours.get(here, parker.seq)
                heapq.heappush(self._timers, (deadline, outside, seq, token, parker))
            if outside:
                self._outside.add(parker)
            if not self.stopped and (self._holder in (here, None) or _is_gone(self._holder)):
                self._hand_on()
        try:
            if outside:
                self._wait_outside(parker)
            else:
                parker.gate.get()
        except BaseException:
            # A signal handler raised, or nobody came: this parker must not get the baton any more.
            with self._lock:
                self._withdraw(parker)
            raise
        finally:
            with self._lock:
                self._outside.discard(parker)
                parker.unparked = False
        if outside:
            _see_off(self._leaving)
            if not parker.woken:
                self.refuse_if_stopped()
        return parker.woken

    def _wait_outside(self, parker: VirtualParker) -> None:
        """Wait for the baton, and see to it that somebody has it, and gets on."""
        vigil = Vigil(self._watch, self._now)
        while True:
            try:
                parker.gate.get(True, vigil.pause(self._patience))
                return
            except Empty:
                pass
            with self._lock:
                if self._holder is not None and _is_gone(self._holder):
                    # A thread of the test that is not under this clock ended in its turn.
                    self._hand_on()
                if not parker.gate.empty():
                    continue
                why = vigil.in_vain(self)
                if why is not None:
                    self._watch.stuck = True
                    outside = {each.ident for each in self._outside}
                    raise VirtualTimeStuck(
                        explain(self._holder, self._ours, outside, self._now, why)
                    )

    def _withdraw(self, parker: VirtualParker) -> None:
        """Nobody waits on *parker* any more. Under the lock."""
        parker.parked = None
        if parker in self._ready:
            self._ready.remove(parker)
        if parker in self._settling:
            self._settling.remove(parker)
        while not parker.gate.empty():
            parker.gate.get()
            # The baton came in the last moment: its thread runs, and so has it.

    def _hand_on(self) -> None:
        """Give the baton to whoever is next. Under the lock, with the baton free to give."""
        self._watch.passes(self._holder in self._ours)
        self._holder = None
        if not self._ready and self._outside:
            timers = _without_stale(self._timers)
            if self._settling and not (timers and timers[0][0] <= self._now):
                self._make_ready(self._settling.popleft(), unparked=True)
            elif timers:
                instant, _, _, _, parker = heapq.heappop(timers)
                self._now = max(self._now, instant)
                self._make_ready(parker, unparked=False)
        if self._ready:
            parker = self._ready.popleft()
            self._holder = parker.ident if parker.ident is not None else -1
            self._watch.given()
            parker.gate.put(None)


def _without_stale(timers: List[Timer]) -> List[Timer]:
    """Them, without those at the front that nobody waits for any more."""
    while timers and timers[0][4].parked is not timers[0][3]:
        heapq.heappop(timers)
    return timers


def _see_off(leaving: List[threading.Thread]) -> None:
    """Who has left is not alive any more when the test looks, but for one that lingers."""
    while leaving:
        try:
            thread = leaving.pop()
        except IndexError:
            return
        Thread.join(thread, _FAREWELL)


def _is_gone(holder: Optional[int]) -> bool:
    """Whether a thread of the test has ended while it was its turn."""
    # Also one that `threading` does not know: it has an entry there that stays.
    return holder != -1 and holder not in sys._current_frames()


def _seconds(name: str, value: Any, least: float = 0.0) -> float:
    """A duration of the test's, or an instant."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadType(f"{name} must be a number of seconds, not {value!r}")
    if not value >= least:
        raise BadValue(f"{name} must be at least {least:g} s, not {value!r}")
    return value
