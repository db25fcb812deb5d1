"""What time it is, and how a thread waits for it.

All instants inside the package are float seconds of one clock; durations exist only at the door.
The clock is an object so that a virtual one can drive the same real threads: whatever a thread of
ours parks on is a :class:`Bell` that the clock made, and whoever rings it tells the clock so.
"""

from __future__ import annotations

import _thread
import math
import numbers
import queue
import threading
import time
from typing import Any, Callable, Optional

from typing_extensions import Protocol

from ..errors import BadType, BadValue

NEVER = math.inf
"""The instant that does not come: a request without deadline, a wait without timeout."""

_LONGEST_WAIT = min(threading.TIMEOUT_MAX, 7 * 86400.0)
"""One system wait; longer ones are waited for in pieces, so a ttl may have any size."""


class Bell(Protocol):
    """What exactly one thread parks on. A ring before the wait is not lost; two may be one."""

    @property
    def ring(self) -> Callable[[Any], Any]:
        """Called with None: wake the thread.

        From any thread, a signal handler or a finalizer; never blocks, never raises.
        """
        ...

    @property
    def park(self) -> Callable[[], Any]:
        """Called without arguments: park until rung."""
        ...

    def wait(self, deadline: float) -> bool:
        """Park until rung (True) or until *deadline*, an instant of this clock (False)."""
        ...


class Clock(Protocol):
    """The seam: all that the package asks of time. Implementations must be thread-safe."""

    def now(self) -> float:
        """The present instant in seconds; never goes backwards."""
        ...

    def bell(self) -> Bell:
        """A new bell for one thread."""
        ...

    def adopt(
        self, bell: Any, thread: threading.Thread, parked: Callable[[], Optional[bool]]
    ) -> Bell:
        """The bell of *thread*, which may be parked on it already, from now on of this clock."""
        ...

    def expected(self, bell: Any) -> None:
        """A thread that will park on *bell* is about to be started; may refuse."""
        ...

    def entered(self, bell: Any) -> None:
        """Called first thing by that thread; returns when it may run."""
        ...

    def left(self, bell: Any) -> None:
        """Called last thing by that thread, or by the one that could not start it."""
        ...

    def join(self, thread: threading.Thread, bell: Any, deadline: float) -> None:
        """Wait until *thread*, which parks on *bell*, has ended, or until *deadline*."""
        ...


class QueueBell:
    """A bell for real time: a C queue of rings, the cheapest thing to park on that never raises.

    Two rings before a wait let the next two waits return at once; whoever waits looks again anyway.
    """

    __slots__ = ("park", "ring", "rings")

    def __init__(self) -> None:
        self.rings: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.park: Any = self.rings.get
        self.ring: Any = self.rings.put

    def wait(self, deadline: float) -> bool:
        if deadline == NEVER:
            self.park()
            return True
        while True:
            remaining = deadline - time.perf_counter()
            try:
                if remaining <= 0:
                    self.rings.get(False)
                else:
                    self.rings.get(True, min(remaining, _LONGEST_WAIT))
                return True
            except queue.Empty:
                if remaining <= _LONGEST_WAIT:
                    return False


class RealClock:
    """``time.perf_counter``: monotonic and fine on every platform.

    ``time.monotonic`` ticks in 15.6 ms on Windows before Python 3.13, too coarse to tell a reply
    from its deadline. A step of the wall clock changes neither.
    """

    now = staticmethod(time.perf_counter)
    bell = staticmethod(QueueBell)

    def adopt(
        self, bell: Any, thread: threading.Thread, parked: Callable[[], Optional[bool]]
    ) -> Bell:
        return bell  # type: ignore[no-any-return]

    def expected(self, bell: Any) -> None:
        """Real threads need no leave to run."""

    entered = left = expected

    def join(self, thread: threading.Thread, bell: Any, deadline: float) -> None:
        remaining = deadline - self.now()
        while thread.is_alive() and remaining > 0:
            threading.Thread.join(thread, min(remaining, _LONGEST_WAIT))
            remaining = deadline - self.now()


REAL = RealClock()


def spawn(clock: Clock, target: Callable[[], Any], name: str, bell: Bell) -> threading.Thread:
    """Start a daemon thread of ours that lives under *clock* and parks on *bell*.

    A RuntimeError if there can be none, as at the exit of the interpreter from Python 3.12 on.
    """

    def run() -> None:
        clock.entered(bell)
        try:
            target()
        finally:
            clock.left(bell)

    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        clock.expected(bell)
        thread.start()
    except RuntimeError:
        clock.left(bell)
        raise
    return thread


def spawn_raw(target: Callable[..., Any], *args: Any) -> None:
    """Start a nameless thread without any lock of `threading`: safe in signal handlers."""
    _thread.start_new_thread(target, args)


def this_thread() -> int:
    """The ident of the calling thread."""
    return _thread.get_ident()


def after(instant: float) -> float:
    """The first instant that is past *instant*.

    A reply stamped exactly at the deadline is in time, so an expiry has to come later than that,
    by the smallest step there is; on a virtual clock anything less would come round for ever.
    """
    if math.isinf(instant):
        return instant
    # math.nextafter is younger than Python 3.8; one part in 2**52 is at least one step.
    return instant + max(abs(instant) * 2.0**-52, 5e-324)


def milliseconds(name: str, value: Any) -> float:
    """A duration at the door, in seconds: any real number >= 0 but bool; None is for ever.

    Raises
    ------
    BadType, BadValue
        Naming *name* and *value*.
    """
    if value is None:
        return NEVER
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise BadType(
            f"{name} must be a number of milliseconds or None, not {value!r} "
            f"({type(value).__name__})"
        )
    if not value >= 0:  # type: ignore[operator]
        raise BadValue(f"{name} must be at least 0 ms, not {value!r}")
    try:
        return float(value) / 1000
    except OverflowError:
        return NEVER


def timeout_deadline(clock: Clock, timeout: Optional[float]) -> float:
    """A *timeout* in seconds, as everywhere in `threading`, as an instant; None is never."""
    if timeout is None:
        return NEVER
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real):
        raise BadType(f"timeout must be a number of seconds or None, not {timeout!r}")
    if timeout != timeout:
        raise BadValue(f"timeout must be a number of seconds or None, not {timeout!r}")
    try:
        return clock.now() + float(timeout)
    except OverflowError:
        return NEVER
