"""What time it is, and how a thread waits for it.

Nothing that a test patches in `time`, `threading` or `queue` is looked up when it is used.
All instants inside the package are float seconds of one clock; durations exist only at the door.
The clock is an object so that a virtual one can drive the same real threads: whatever a thread of
ours parks on is a :class:`Parker` that the clock made, and whoever unparks it tells the clock so.
"""

from __future__ import annotations

import _thread
import threading
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Callable, ClassVar, Dict, List, Optional

from typing_extensions import Protocol

from .._core.durations import NEVER

_LONGEST_WAIT = min(threading.TIMEOUT_MAX, 7 * 86400.0)
"""One system wait; longer ones are waited for in pieces, so a ttl may have any size."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 1.0
"""Seconds between looks whether a thread has ended, for who was not woken by that."""


class Parker(Protocol):
    """What exactly one thread parks on. An unpark before the wait is not lost; two may be one."""

    @property
    def unpark(self) -> Callable[[Any], Any]:
        """Called with None: wake the thread.

        From any thread, a signal handler or a finalizer; never blocks, never raises.
        """
        ...

    @property
    def park(self) -> Callable[[], Any]:
        """Called without arguments: park until unparked."""
        ...

    def park_until(self, deadline: float) -> bool:
        """Park until unparked (True) or until *deadline*, an instant of this clock (False)."""
        ...


class Clock(Protocol):
    """The seam: all that the package asks of time. Implementations must be thread-safe."""

    def now(self) -> float:
        """The present instant in seconds; never goes backwards."""
        ...

    def parker(self) -> Parker:
        """A new parker for one thread."""
        ...

    def adopt(
        self, parker: Any, thread: threading.Thread, parked: Callable[[], Optional[bool]]
    ) -> Parker:
        """The parker of *thread*, which may be parked on it already, from now on of this clock."""
        ...

    def expected(self, parker: Any) -> None:
        """A thread that will park on *parker* is about to be started; may refuse."""
        ...

    def entered(self, parker: Any) -> None:
        """Called first thing by that thread; returns when it may run."""
        ...

    def left(self, parker: Any) -> None:
        """Called last thing by that thread, or by the one that could not start it."""
        ...

    def join(self, thread: threading.Thread, parker: Any, deadline: float) -> None:
        """Wait until *thread*, which parks on *parker*, has ended, or until *deadline*."""
        ...


class QueueParker:
    """A parker for real time: a C queue of permits, the cheapest thing that never raises.

    Two permits let the next two waits return at once; whoever waits looks again anyway.
    """

    __slots__ = ("park", "permits", "unpark")

    def __init__(self) -> None:
        self.permits: SimpleQueue[Any] = SimpleQueue()
        self.park: Any = self.permits.get
        self.unpark: Any = self.permits.put

    def park_until(self, deadline: float) -> bool:
        if deadline == NEVER:
            self.park()
            return True
        while True:
            remaining = deadline - REAL.now()
            try:
                if remaining <= 0:
                    self.permits.get(False)
                else:
                    self.permits.get(True, min(remaining, _LONGEST_WAIT))
                return True
            except Empty:
                if remaining <= _LONGEST_WAIT:
                    return False


def _own_time() -> Any:
    """A copy of the module `time` that nobody else has: a test may have patched the other."""
    spec: Any = BuiltinImporter.find_spec("time")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class RealClock:
    """``time.perf_counter``: monotonic and fine on every platform.

    ``time.monotonic`` ticks in 15.6 ms on Windows before Python 3.13, too coarse to tell a reply
    from its deadline. A step of the wall clock changes neither.
    """

    # In a class: what freezes time for a test looks for such functions in modules.
    now = staticmethod(_own_time().perf_counter)
    parker = staticmethod(QueueParker)

    def adopt(
        self, parker: Any, thread: threading.Thread, parked: Callable[[], Optional[bool]]
    ) -> Parker:
        return parker  # type: ignore[no-any-return]

    # Who waits for the end of whom, by the id of that one's parker. Single calls of a dict and of
    # lists alone; who is missed by that looks again soon.
    _joining: ClassVar[Dict[int, List[QueueParker]]] = {}

    def expected(self, parker: Any) -> None:
        """Real threads need no leave to run."""

    entered = expected

    def left(self, parker: Any) -> None:
        """Its thread ends: who waits for that is woken."""
        for each in self._joining.pop(id(parker), ()):
            each.unpark(None)

    def join(self, thread: threading.Thread, parker: Any, deadline: float) -> None:
        """Not by `Thread.join` until its last moment.

        Until Python 3.12 that takes a thread for ended, for good, from which Ctrl-C tears whoever
        waits (bpo-45274).
        """
        own, pause = QueueParker(), _FIRST_PAUSE
        self._joining.setdefault(id(parker), []).append(own)
        try:
            while True:
                remaining = deadline - self.now()
                if not thread.is_alive() or remaining <= 0:
                    break
                if own.park_until(self.now() + min(remaining, pause)):
                    Thread.join(thread, min(remaining, _LONGEST_WAIT))
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            others = self._joining.get(id(parker), [])
            if own in others:
                others.remove(own)
            if not others:
                self._joining.pop(id(parker), None)


REAL = RealClock()


def spawn(clock: Clock, target: Callable[[], Any], name: str, parker: Parker) -> threading.Thread:
    """Start a daemon thread of ours that lives under *clock* and parks on *parker*.

    A RuntimeError if there can be none, as at the exit of the interpreter from Python 3.12 on.
    """

    def run() -> None:
        clock.entered(parker)
        try:
            target()
        finally:
            clock.left(parker)

    thread = Thread(target=run, name=name, daemon=True)
    try:
        clock.expected(parker)
        thread.start()
    except RuntimeError:
        clock.left(parker)
        raise
    return thread


def spawn_raw(target: Callable[..., Any], *args: Any) -> None:
    """Start a nameless thread without any lock of `threading`: safe in signal handlers."""
    _thread.start_new_thread(target, args)


def this_thread() -> int:
    """The ident of the calling thread."""
    return _thread.get_ident()
