"""Where in its code a thread is, as plain values that keep no frame alive.

Without a GIL the frames of a thread that runs cannot be read safely: there nobody knows.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Dict, List, Optional, Sequence, Set, Tuple

from typing_extensions import Protocol

from .._core.report import Place

__all__ = ["LOOPS", "READABLE", "Identified", "places_of", "witness"]

READABLE: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether stacks of other threads can be read."""

UNREADABLE: Tuple[Place, ...] = (("<no GIL>", 0, "where it is cannot be read safely"),)

LOOPS: Set[CodeType] = set()
"""The code of ours that calls producers' methods; whoever has some puts it here."""

_DEEP = 32
"""So many frames of one thread are looked at, the innermost: each takes as long as a few lines."""

_NAME = __name__.partition(".")[0]


class Identified(Protocol):
    """What runs on a thread, or has."""

    @property
    def ident(self) -> Optional[int]: ...


def places_of(thread: Identified) -> Tuple[Place, ...]:
    """Where *thread* is inside the user's method that our loop has called, outermost first.

    Empty when it is not in there, and without what is of this package. It runs on meanwhile, so
    from one that is busy this is a snapshot of about now.
    """
    return witness([thread])[0]


def witness(threads: Sequence[Identified]) -> List[Tuple[Place, ...]]:
    """The same of several, with one look. Reads no file: quick enough for inside a section."""
    if not READABLE:
        return [UNREADABLE for _ in threads]
    frames = sys._current_frames()
    return [_places(frames, thread.ident) for thread in threads]


def _places(frames: Dict[int, FrameType], ident: Optional[int]) -> Tuple[Place, ...]:
    frame = None if ident is None else frames.get(ident)
    while frame is not None and _is_ours(frame):
        # What the user has called of ours, to sleep for example, and what only waits for work.
        if frame.f_code in LOOPS:
            return ()
        frame = frame.f_back
    found: List[Place] = []
    for _ in range(_DEEP):
        if frame is None:
            # A thread that is not in our loop.
            return ()
        if frame.f_code in LOOPS:
            break
        if not _is_ours(frame):
            found.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(reversed(found))


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == _NAME
