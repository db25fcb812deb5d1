"""Virtual time watched in real time: who holds it up, and when a wait for it is in vain."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from threading import current_thread
from types import FrameType
from typing import Any, Dict, List, Optional, Tuple

from ..errors import VirtualTimeStuck
from .clock import REAL

__all__ = ["LET_IT_PASS", "Vigil", "Watch", "is_at_work"]

LET_IT_PASS = "call wait(), results() or virtual_clock.advance(), and time passes"
"""What a test is told under which virtual time does not move."""

LONG = 0.25
"""Real seconds for which one thread may run before that is noted. No switch of threads takes so
long, not on a busy machine either."""

_LOOK = 0.1
"""Real seconds between two looks of one who waits: two of them at one who blocks for `LONG`."""

_PART = 10
"""Where nothing can come any more, only this part of the patience is waited for."""

_TURNS = 100_000
"""More turns than this at one instant, for one patience, are threads that wake each other for
ever."""

_LOOKS = 1000
"""Fewer looks at what has not ended are no loop."""

READABLE = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Without a GIL nobody can read the frames of a thread that runs."""

_CLOCKS: weakref.WeakSet[Any] = weakref.WeakSet()
"""All that live: what still hangs under one that was stopped helps nobody."""

_LIBRARY = os.path.dirname(threading.__file__) + os.sep
_OURS = __name__.partition(".")[0]


class Watch:
    """What one virtual clock has seen of real time. All of it under the clock's lock."""

    def __init__(self, clock: Any) -> None:
        _CLOCKS.add(clock)
        #: How often the baton was given to somebody, and the real instant of the last time.
        self.grants = 0
        self.granted = REAL.now()
        #: Whether somebody has waited in vain, and the baton is still where it was then.
        self.stuck = False
        #: By the name of the thread: how often it took long, the longest time, and where.
        self._held: Dict[str, Tuple[int, float, str]] = {}
        #: Where the holder was seen in its code, and in which grant that was.
        self._place: Tuple[int, str] = (0, "")
        #: In which grant somebody has looked at what had not ended; how often at which of it, and
        #: since when.
        self._looks: Tuple[int, Dict[Any, Tuple[int, float]]] = (0, {})

    def passes(self, ours: bool) -> None:
        """The baton comes back; whether from a thread of *ours*, which then is the calling one."""
        at = REAL.now()
        if ours and at - self.granted >= LONG:
            name = current_thread().name
            count, longest, where = self._held.get(name, (0, 0.0, ""))
            if at - self.granted > longest:
                longest = at - self.granted
                where = self._place[1] if self._place[0] == self.grants else ""
            self._held[name] = count + 1, longest, where
        self.granted = at

    def given(self) -> None:
        """Somebody gets the baton, just after it came back."""
        self.grants += 1
        self.stuck = False

    def sees(self, holder: Optional[int]) -> None:
        """Remember where the *holder* is, who has not given the baton back for a while."""
        frame = sys._current_frames().get(holder or 0) if READABLE else None
        if frame is not None:
            self._place = self.grants, _place(frame)

    def looked(self, at: Any, patience: float) -> None:
        """The holder has looked *at* what has not ended: it has to wait some time."""
        if self._looks[0] != self.grants:
            self._looks = self.grants, {}
        now = REAL.now()
        looks, since = self._looks[1].get(at, (0, now))
        looks, lasts = looks + 1, now - since
        self._looks[1][at] = looks, since
        if looks >= _LOOKS and lasts >= patience:
            raise VirtualTimeStuck(
                f"virtual time has not moved in {lasts:.1f} s and {looks} looks at what is open: "
                f"{LET_IT_PASS}"
            )

    def notes(self) -> List[str]:
        """A sentence for each thread that has held time up."""
        found = []
        for name, (count, longest, where) in self._held.items():
            often = f" ({count} times; this was the longest)" if count > 1 else ""
            found.append(
                f"{name} blocked for {longest * 1000:.0f} ms of real time{where}{often}, and "
                "virtual time stood still meanwhile; to wait, use virtual_clock.sleep"
            )
        return found


class Vigil:
    """One wait of a thread that is not under the clock, which sees to it that time gets on."""

    def __init__(self, watch: Watch, now: float) -> None:
        self._watch = watch
        self._began = REAL.now()
        #: What the last look has seen: the grant; and since which grant time has stood still.
        self._grants = self._since = watch.grants
        self._now = now
        self._still = self._began

    @staticmethod
    def pause(patience: float) -> float:
        """Real seconds until the next look."""
        return min(patience / _PART, _LOOK)

    def in_vain(self, clock: Any) -> Optional[str]:
        """Look at *clock*: why nothing of what is waited for comes any more, if it does not."""
        watch = self._watch
        if watch.grants != self._grants:
            self._grants = watch.grants
        elif clock._holder is not None:
            watch.sees(clock._holder)
        if clock._now != self._now:
            self._now, self._since, self._still = clock._now, watch.grants, REAL.now()
        if watch.grants - self._since > _TURNS and REAL.now() - self._still > clock._patience:
            return "threads wake each other"
        lasts, patience = REAL.now() - max(self._began, watch.granted), clock._patience
        if lasts < patience / _PART:
            return None
        # Not worth much more of it: the same that has cost it all before, or nobody who could help.
        if watch.stuck or lasts >= patience or (clock._holder is None and _alone(clock)):
            return f"no progress in {lasts:.1f} s"
        return None


def _alone(clock: Any) -> bool:
    """Whether nobody is there who could help: neither a thread of the program's nor a handler.

    All threads are parked on *clock*, or belong to what runs the tests, or to a test that is over.
    """
    waiting = {parker.ident for parker in clock._outside}
    named = {thread.ident: thread for thread in threading.enumerate()}
    return not _has_handlers() and all(
        ident in clock._ours
        or ident in waiting
        or _is_runners(named.get(ident), frame)
        or any(other.stopped and ident in other._ours for other in list(_CLOCKS))
        for ident, frame in sys._current_frames().items()
    )


def _is_runners(thread: Optional[threading.Thread], frame: FrameType) -> bool:
    """Whether a thread is pytest-timeout's or pytest-xdist's."""
    timed = getattr(getattr(thread, "function", None), "__module__", None)
    return timed == "pytest_timeout" or _stands_in(frame, "execnet.gateway_base")


def _has_handlers() -> bool:
    """Whether a signal would call anything of the program's."""
    handlers = map(signal.getsignal, signal.valid_signals())
    return any(callable(each) and each is not signal.default_int_handler for each in handlers)


def is_at_work(frame: Optional[FrameType]) -> bool:
    """Whether a thread of a ``ThreadPoolExecutor`` whose innermost *frame* this is has work."""
    return _stands_in(frame, "concurrent.futures.thread", "run")


def _stands_in(frame: Optional[FrameType], module: str, function: Optional[str] = None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == module and function in (None, frame.f_code.co_name):
            return True
        frame = frame.f_back
    return False


def _place(frame: FrameType) -> str:
    """The innermost line of a user's, or the innermost of all."""
    found: FrameType = frame
    each: Optional[FrameType] = frame
    while each is not None:
        file = each.f_code.co_filename
        if str(each.f_globals.get("__name__")).partition(".")[0] == _OURS:
            break
        if not file.startswith(("<", _LIBRARY)) or "site-packages" in file:
            found = each
            break
        each = each.f_back
    code = found.f_code
    return f", at {os.path.basename(code.co_filename)}:{found.f_lineno} in {code.co_name}"
