"""Where in its code a thread is, as plain values that keep no frame alive.

Without a GIL the frames of a thread that runs cannot be read safely: there nobody knows.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

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
    return [_places(frames, each) for each in threads]


def _places(frames: Dict[int, FrameType], thread: Identified) -> Tuple[Place, ...]:
    awaited = getattr(thread, "_ate_awaited", None)
    coroutine = None if awaited is None else awaited()
    if coroutine is not None:
        return _places_in(coroutine)
    ident = thread.ident
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


def _places_in(awaited: Any) -> Tuple[Place, ...]:
    """Where the coroutine is, or whatever is *awaited* in its place, outermost first."""
    found: List[Place] = []
    for _ in range(_DEEP):
        # In a context of its own.
        awaited = getattr(awaited, "_generator", awaited)
        kinds = [kind for kind in _AWAITED if getattr(awaited, kind, None) is not None]
        frame = getattr(awaited, kinds[0]) if kinds else None
        if frame is None:
            break
        # Nor what it calls there to sleep, for example.
        if not _is_ours(frame) and not _is_of(frame, "asyncio"):
            found.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        awaited = getattr(awaited, _AWAITED[kinds[0]], None)
    return tuple(found)


_AWAITED = {"cr_frame": "cr_await", "gi_frame": "gi_yieldfrom", "ag_frame": "ag_await"}
"""The frame of a coroutine, a generator and an asynchronous one, and what it waits for."""


def _is_ours(frame: FrameType) -> bool:
    return _is_of(frame, _NAME)


def _is_of(frame: FrameType, package: str) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == package
