"""Time under test: a virtual clock that drives real threads, so tests of ttls take no time.

Limits first: code that calls ``time.sleep`` or does real I/O still takes real time, and so do event
loops; in scripted work call ``clock.sleep`` instead.

    >>> from ate_dispatcher import Dispatcher, Producer
    >>> from ate_dispatcher.testing import VirtualClock
    >>> clock = VirtualClock()
    >>> class Slow(Producer):
    ...     def produce_dispatcher_output(self, topic, *args, **kwargs):
    ...         clock.sleep(3600)
    >>> with Dispatcher(clock=clock) as dispatcher:
    ...     dispatcher.register_result_producer(Slow(), "topic", start=True)
    ...     handle = dispatcher.send_request("topic", ttl=1000)
    ...     handle.results(), clock.now() - 1 < 1e-9, handle.completion.name
    ([], True, 'DEADLINE')
"""

from __future__ import annotations

import heapq
import itertools
import queue
import sys
import threading
import time
import traceback
from collections import deque
from typing import Any, Callable, Deque, List, Optional, Set, Tuple

from ._clock import NEVER, Bell, QueueBell, milliseconds
from .errors import BadType, BadValue, DispatcherError

__all__ = ["VirtualClock", "VirtualTimeStuck"]


class VirtualTimeStuck(DispatcherError, RuntimeError):
    """A thread under virtual time really blocks, or all wait for something that cannot come.

    The message names the threads and shows where they are.
    """


class _Bell:
    """What one thread parks on under a virtual clock; all state is under the clock's lock."""

    __slots__ = (
        "clock",
        "gate",
        "ident",
        "joiners",
        "over",
        "parked",
        "ready",
        "rung",
        "seq",
        "woken",
    )

    def __init__(self, clock: VirtualClock, gate: Any, ident: Optional[int] = None) -> None:
        self.clock: VirtualClock = clock
        #: Gets one item for each time the thread may run.
        self.gate: Any = gate
        self.ident: Optional[int] = ident
        self.seq: int = next(clock._numbers)
        #: Which wait it is parked in; None while it is not.
        self.parked: Optional[int] = None
        self.ready: bool = False
        self.rung: bool = False
        self.woken: bool = False
        self.over: bool = False
        self.joiners: List[_Bell] = []

    def ring(self, _: None = None) -> None:
        self.clock._ring(self)

    def park(self) -> None:
        self.clock._wait(self, NEVER)

    def wait(self, deadline: float) -> bool:
        return self.clock._wait(self, deadline)


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
        :class:`VirtualTimeStuck`.
    """

    def __init__(self, start: float = 0.0, *, patience: float = 10.0) -> None:
        self._now = start
        self._patience = patience
        # Reentrant: a signal handler may ring while its own thread is in here.
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        #: The thread that holds the baton; None while it is free.
        self._holder: Optional[int] = threading.get_ident()
        self._ready: Deque[_Bell] = deque()
        self._timers: List[Tuple[float, bool, int, int, _Bell]] = []
        self._settling: Deque[_Bell] = deque()
        self._ours: Set[int] = set()
        self._waiting_outside = 0
        self._grants = 0

    # -- for tests and scripted work -----------------------------------------------------------

    def now(self) -> float:
        """The present instant in seconds."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let *seconds* of virtual time pass: for scripted work, and for the test's own thread."""
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise BadType(f"seconds must be a number, not {seconds!r}")
        if not seconds >= 0:
            raise BadValue(f"seconds must be at least 0, not {seconds!r}")
        self.bell().wait(self._now + seconds)

    def advance(self, ms: float) -> None:
        """Let *ms* milliseconds pass, from instant to instant, and everything due in them happen.

        For the test's own thread. What is due exactly at the end has happened too; a deadline that
        lies exactly there has not passed yet.
        """
        seconds = milliseconds("ms", ms)
        if seconds == NEVER:
            raise BadValue(f"ms must be a finite number of milliseconds, not {ms!r}")
        self._only_outside("advance")
        self.bell().wait(self._now + seconds)
        self.settle()

    def settle(self) -> None:
        """Let every thread run until all are parked; time does not move. For the test's thread."""
        self._only_outside("settle")
        bell = self.bell()
        with self._lock:
            self._settling.append(bell)
        try:
            bell.wait(NEVER)
        finally:
            with self._lock:
                if bell in self._settling:
                    self._settling.remove(bell)

    def advance_to_next(self) -> bool:
        """Go to the next instant somebody waits for and let everything due then happen.

        Whether there was one.
        """
        self.settle()
        with self._lock:
            self._drop_stale()
            if not self._timers:
                return False
            instant = self._timers[0][0]
        self.bell().wait(instant)
        self.settle()
        return True

    # -- the clock protocol --------------------------------------------------------------------

    def bell(self) -> _Bell:
        """See ``Clock.bell``."""
        return _Bell(self, queue.SimpleQueue())

    def adopt(
        self, bell: Bell, thread: threading.Thread, parked: Callable[[], Optional[bool]]
    ) -> _Bell:
        """See ``Clock.adopt``."""
        if not isinstance(bell, QueueBell):
            raise BadValue("this bell is not free to be adopted by a virtual clock")
        # The same queue: a thread that is parked on it already will be let go by it.
        adopted = _Bell(self, bell.rings, thread.ident)
        patience = time.monotonic() + self._patience
        while thread.is_alive():
            if parked():
                with self._lock:
                    adopted.parked = next(self._numbers)
                    self._ours.add(thread.ident or 0)
                break
            if time.monotonic() > patience:
                raise VirtualTimeStuck(f"{thread.name} was started and does not come to its loop")
            # It was started before it belonged to this clock: real time until it parks.
            time.sleep(0.0005)
        return adopted

    def expected(self, bell: _Bell) -> None:
        """See ``Clock.expected``."""
        with self._lock:
            bell.ready = True
            self._ready.append(bell)

    def entered(self, bell: _Bell) -> None:
        """See ``Clock.entered``."""
        with self._lock:
            bell.ident = threading.get_ident()
            self._ours.add(bell.ident)
        bell.gate.get()
        with self._lock:
            self._holder = bell.ident

    def left(self, bell: _Bell) -> None:
        """See ``Clock.left``."""
        with self._lock:
            bell.over = True
            if bell in self._ready:
                self._ready.remove(bell)
            self._ours.discard(threading.get_ident())
            for joiner in bell.joiners:
                self._ring(joiner)
            if self._holder == threading.get_ident():
                self._hand_on()

    def join(self, thread: threading.Thread, bell: Any, deadline: float) -> None:
        """See ``Clock.join``."""
        if isinstance(bell, _Bell) and thread.is_alive():
            waiter = self.bell()
            with self._lock:
                gone = bell.over
                if not gone:
                    bell.joiners.append(waiter)
            if not gone and not waiter.wait(deadline):
                return
        threading.Thread.join(thread, self._patience)

    # -- the baton -----------------------------------------------------------------------------

    def _only_outside(self, what: str) -> None:
        if threading.get_ident() in self._ours:
            raise DispatcherError(
                f"{what}() is for the test's own thread; participants call clock.sleep()"
            )

    def _ring(self, bell: _Bell) -> None:
        with self._lock:
            if bell.parked is not None:
                self._make_ready(bell, rung=True)
                if self._holder is None:
                    self._hand_on()
            else:
                bell.rung = True

    def _make_ready(self, bell: _Bell, rung: bool) -> None:
        bell.parked = None
        bell.woken = rung
        bell.ready = True
        self._ready.append(bell)

    def _wait(self, bell: _Bell, deadline: float) -> bool:
        here = threading.get_ident()
        with self._lock:
            if bell.rung:
                bell.rung = False
                return True
            outside = here not in self._ours
            if deadline <= self._now and bell not in self._settling:
                return False
            bell.ident = here
            bell.parked = token = next(self._numbers)
            if deadline < NEVER:
                heapq.heappush(self._timers, (deadline, outside, bell.seq, token, bell))
            self._waiting_outside += outside
            if self._holder in (here, None) or self._holder_is_gone():
                self._hand_on()
        try:
            if outside:
                self._wait_outside(bell)
            else:
                bell.gate.get()
        finally:
            with self._lock:
                self._waiting_outside -= outside
                bell.rung = False
        return bell.woken

    def _wait_outside(self, bell: _Bell) -> None:
        grants = self._grants
        while True:
            try:
                bell.gate.get(True, self._patience)
                return
            except queue.Empty:
                with self._lock:
                    if self._grants == grants:
                        bell.parked = None
                        raise VirtualTimeStuck(self._explain()) from None
                    grants = self._grants

    def _hand_on(self) -> None:
        """Give the baton to whoever is next. Under the lock, with the baton free to give."""
        self._holder = None
        if not self._ready and self._waiting_outside:
            self._drop_stale()
            timers = self._timers
            if self._settling and not (timers and timers[0][0] <= self._now):
                self._make_ready(self._settling.popleft(), rung=True)
            elif timers:
                instant, _, _, _, bell = heapq.heappop(timers)
                self._now = max(self._now, instant)
                self._make_ready(bell, rung=False)
        if self._ready:
            bell = self._ready.popleft()
            bell.ready = False
            self._holder = bell.ident if bell.ident is not None else -1
            self._grants += 1
            bell.gate.put(None)

    def _holder_is_gone(self) -> bool:
        """Whether a thread of the test has ended while it was its turn."""
        holder = self._holder
        return holder != -1 and all(thread.ident != holder for thread in threading.enumerate())

    def _drop_stale(self) -> None:
        timers = self._timers
        while timers and timers[0][4].parked is not timers[0][3]:
            heapq.heappop(timers)

    def _explain(self) -> str:
        frames = sys._current_frames()
        lines = [f"no progress in {self._patience} s at virtual time {self._now}:"]
        for thread in threading.enumerate():
            ident = thread.ident
            if ident in self._ours and ident in frames:
                role = "runs and does not come back" if ident == self._holder else "is parked"
                lines.append(f"\n{thread.name} {role}:\n")
                lines += traceback.format_stack(frames[ident], limit=None)[-4:]
        if self._holder is None:
            lines.append("\neverybody is parked and nobody waits for an instant")
        return "\n".join(line.rstrip("\n") for line in lines)
