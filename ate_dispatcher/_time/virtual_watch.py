"""Virtual time watched in real time: who holds it up, and when a wait for it is in vain."""

from __future__ import annotations

import os
import sys
import threading
from threading import current_thread
from types import FrameType
from typing import Any, Dict, List, Optional, Tuple

from ..errors import VirtualTimeStuck
from .clock import REAL

__all__ = ["LET_IT_PASS", "Vigil", "Watch", "is_at_work"]

LET_IT_PASS = "let it pass with wait(), results(), or virtual_clock.advance()"
"""What a test is told under which virtual time does not move."""

LONG = 0.25
"""Real seconds for which one thread may run before that is noted. No switch of threads takes so
long, not on a busy machine either."""

_LOOK = 0.1
"""Real seconds between two looks of one who waits: two of them at one who blocks for `LONG`."""

_PART = 10
"""Where nothing can come any more, only this part of the patience is waited for."""

_TURNS = 100_000
"""More turns than this at one instant are a circle of threads that wake each other."""

_LOOKS = 1000
"""Fewer looks at what has not ended are no loop."""

READABLE = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Without a GIL nobody can read the frames of a thread that runs."""

_LIBRARY = os.path.dirname(threading.__file__) + os.sep
_OURS = __name__.partition(".")[0]


class Watch:
    """What one virtual clock has seen of real time. All of it under the clock's lock."""

    def __init__(self) -> None:
        #: How often the baton was given to somebody, and the real instant of the last time.
        self.grants = 0
        self.granted = REAL.now()
        #: Whether somebody has waited in vain, and the baton is still where it was then.
        self.stuck = False
        #: Threads that are older than the clock.
        self.elders = frozenset(sys._current_frames())
        #: By the name of the thread: how often it took long, the longest time, and where.
        self._held: Dict[str, Tuple[int, float, str]] = {}
        #: Where the holder was seen in its code, and in which grant that was.
        self._place: Tuple[int, str] = (0, "")
        #: How often somebody has looked at what had not ended, and in which grant.
        self._looks: Tuple[int, int] = (0, 0)

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

    def looked(self, patience: float) -> None:
        """The holder has looked at what has not ended: it has to wait some time."""
        grants, looks = self._looks
        looks = looks + 1 if grants == self.grants else 1
        self._looks = self.grants, looks
        lasts = REAL.now() - self.granted
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
            self._now, self._since = clock._now, watch.grants
        if watch.grants - self._since > _TURNS:
            return "threads wake each other"
        lasts, patience = REAL.now() - max(self._began, watch.granted), clock._patience
        if lasts < patience / _PART:
            return None
        # Not worth much more of it: the same that has cost it all before, or nobody who could help.
        if watch.stuck or lasts >= patience or (clock._holder is None and _alone(clock)):
            return f"no progress in {lasts:.1f} s"
        return None


def _alone(clock: Any) -> bool:
    """Whether every thread of the process is parked on *clock*, or knows nothing of it."""
    waiting = {parker.ident for parker in clock._outside}
    return all(
        ident in clock._ours
        or ident in waiting
        or (ident in clock._watch.elders and not is_at_work(frame) and not _is_loop(frame))
        for ident, frame in sys._current_frames().items()
    )


def is_at_work(frame: Optional[FrameType]) -> bool:
    """Whether a thread of a ``ThreadPoolExecutor`` whose innermost *frame* this is has work."""
    return _stands_in(frame, "concurrent.futures.thread", "run")


def _is_loop(frame: Optional[FrameType]) -> bool:
    """Whether it runs an event loop, which may be told anything."""
    return _stands_in(frame, "asyncio.base_events", "run_forever")


def _stands_in(frame: Optional[FrameType], module: str, function: str) -> bool:
    while frame is not None:
        if frame.f_code.co_name == function and frame.f_globals.get("__name__") == module:
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
