"""Where in its code a thread is, as plain values that keep no frame alive."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

__all__ = ["Place", "innermost", "places_of", "shown"]

Place = Tuple[str, int, str]
"""File, line, function."""

_PACKAGE = str(Path(__file__).resolve().parent)
_LOOP = str(Path(__file__).resolve().with_name("_desk.py"))


def places_of(thread: Any) -> Tuple[Place, ...]:
    """Where *thread* is inside the user's method that our loop has called, outermost first.

    Empty when it is not in there. Reads no file, so that it is quick enough for inside a section;
    the thread runs on meanwhile, so from one that is busy this is a snapshot of about now.
    """
    frame = sys._current_frames().get(thread.ident)
    found: List[Place] = []
    while frame is not None and frame.f_code.co_filename != _LOOP:
        found.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(reversed(found)) if frame is not None else ()


def shown(places: Sequence[Place]) -> Optional[str]:
    """As in a traceback, with the lines of source where they can be found; None for no place."""
    frames = [traceback.FrameSummary(*place) for place in places]
    return "".join(traceback.format_list(frames)).rstrip("\n") or None


def innermost(places: Sequence[Place]) -> Optional[Place]:
    """The last place outside this package, if there is one: the user's own line."""
    own = [place for place in places if not place[0].startswith(_PACKAGE)] or places
    return own[-1] if own else None
