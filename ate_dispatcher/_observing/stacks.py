"""Where in its code a thread is, as plain values that keep no frame alive."""

from __future__ import annotations

import os
import sys
import traceback
from types import CodeType, FrameType
from typing import Any, List, Optional, Sequence, Set, Tuple

__all__ = ["LOOPS", "Place", "innermost", "places_of", "shown"]

Place = Tuple[str, int, str]
"""File, line, function."""

_NAME = __name__.partition(".")[0]

LOOPS: Set[CodeType] = set()
"""The code of ours that calls producers' methods; whoever has some puts it here."""


def places_of(hand: Any) -> Tuple[Place, ...]:
    """Where *hand* is inside the user's method that our loop has called, outermost first.

    Empty when it is not in there, and without what is of this package.
    Reads no file, so that it is quick enough for inside a section;
    the thread runs on meanwhile, so from one that is busy this is a snapshot of about now.
    """
    frame = sys._current_frames().get(hand.ident)
    while frame is not None and _is_ours(frame):
        # What the user has called of ours, to sleep for example, and what only waits for work.
        if frame.f_code in LOOPS:
            return ()
        frame = frame.f_back
    found: List[Place] = []
    while frame is not None and frame.f_code not in LOOPS:
        if not _is_ours(frame):
            found.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(reversed(found)) if frame is not None else ()


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == _NAME


def shown(places: Sequence[Place]) -> Optional[str]:
    """As in a traceback, with the lines of source where they can be found; None for no place."""
    frames = [traceback.FrameSummary(*place) for place in places]
    return "".join(traceback.format_list(frames)).rstrip("\n") or None


def innermost(places: Sequence[Place]) -> Optional[str]:
    """The last of *places* in few words; None for no place."""
    if not places:
        return None
    file, line, function = places[-1]
    return f"{os.path.basename(file)}:{line} in {function}"
