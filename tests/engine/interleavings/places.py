"""Where actors are, by names, so that a schedule can be printed and played again."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, Dict, NamedTuple, Tuple
from typing import Counter as Counts

from .points import Points

__all__ = ["Deviation", "Places"]


class Deviation(NamedTuple):
    """One departure from the default, by names that outlive changes elsewhere.

    The *nth* time that *actor* is at *place*, which is a line of a function, or ``wait``, it is
    *then*'s turn; or the actor stalls.
    """

    actor: str
    place: str
    nth: int
    then: str

    def __str__(self) -> str:
        return f"{self.actor}@{self.place}#{self.nth}>{self.then}"


class Places:
    """How often each actor has been where, so that a deviation can be named."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._counts: Counts[Tuple[str, str]] = Counter()
        #: The place that was counted last, and the how manieth time it was.
        self.here: Tuple[str, int] = ("", 0)
        self._known: Dict[Any, str] = {}

    def count(self, actor: str, waits: bool = False) -> None:
        """*actor* is at a point, or waits."""
        place = "wait" if waits else self._place()
        self._counts[actor, place] += 1
        self.here = place, self._counts[actor, place]

    def _place(self) -> str:
        frame: Any = sys._getframe(2)
        while frame is not None and not self._points.of(frame.f_code):
            frame = frame.f_back
        if frame is None:
            return "scenario"
        code, line = frame.f_code, frame.f_lineno
        key = code, line
        if key not in self._known:
            stem = code.co_filename.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
            self._known[key] = f"{stem}.{code.co_name}+{line - code.co_firstlineno}"
        return self._known[key]
