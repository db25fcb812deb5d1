"""What it proves that nobody was at the address of a part; on the link's thread."""

from __future__ import annotations

from typing import Callable, Dict, Iterable, List, Set

from .._core.durations import NEVER

__all__ = ["Absences"]

_LENIENT = 2.0
"""Seconds after which those who were there before us, or before a server began anew, are back."""

_GRACE, _AGAIN = 0.12, 0.04
"""For so many seconds it may not be there: a connection that broke is made anew; it is looked for
again after so many each."""


class Absences:
    """Which parts were not there when something was sent to them."""

    def __init__(self) -> None:
        # Who was not heard of since we are connected again, and until when that is nobody's end.
        self._unseen: Set[str] = set()
        self._lenient_until = -NEVER
        # Who was not there, and since when; when it is looked for again.
        self._missed: Dict[str, float] = {}
        self._at = NEVER

    def connected(self, parts: Iterable[str], now: float) -> None:
        """We are, perhaps again: those *parts* may need a moment more."""
        self._lenient_until, self._unseen = now + _LENIENT, set(parts)
        self._missed.clear()

    def here(self, part: str) -> None:
        """It has said something, or is known to have gone."""
        self._unseen.discard(part)
        if self._missed:
            self._missed.pop(part, None)

    def is_gone(self, part: str, now: float, owes: Callable[[str], bool]) -> bool:
        """It was not there, just now: whether that is its end.

        Only of who *owes* us an answer; that is asked at the begin and at the end, for it takes as
        long as there are requests.
        """
        if now < self._lenient_until and part in self._unseen:
            return False
        if now >= self._missed.get(part, -NEVER) + _GRACE:
            if not owes(part):
                self._missed.pop(part, None)
                return False
            if part in self._missed:
                return True
            self._missed[part] = now
        self._at = min(self._at, now + _AGAIN)
        return False

    def look(self, now: float) -> List[str]:
        """Who is to be looked for again."""
        if now < self._at:
            return []
        self._at = now + _AGAIN if self._missed else NEVER
        return list(self._missed)

    @property
    def until(self) -> float:
        """When to look again."""
        return self._at
