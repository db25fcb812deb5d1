"""Threads that wait for one of several alike: a place, an item; woken one at a time.

Whoever waits enlists what it parks on, and then looks; whoever brings something brings it, and then
wakes the first (P9). One that was woken and does not take it wakes the next.

Each enlisting is an entry of its own: one that was woken may have looked in vain, and enlisted
anew, before who has woken it takes the entry out that this was for.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Optional

from typing_extensions import Protocol

from .._core.snapshots import copied
from .._time.clock import Parker

__all__ = ["Waiters", "Wake", "Wakeable"]


class Wakeable(Protocol):
    """What a thread, or a coroutine, parks on."""

    @property
    def unpark(self) -> Callable[[Any], Any]: ...


class Wake:
    """Somebody who is to look again; an entry."""

    __slots__ = ("parker",)

    def __init__(self, parker: Wakeable) -> None:
        self.parker: Wakeable = parker

    def __call__(self) -> None:
        self.parker.unpark(None)


class Waiters:
    """Those that wait; *is_more* tells whether there is anything that one could be woken for."""

    __slots__ = ("_is_more", "_waiting")

    def __init__(self, is_more: Callable[[], int]) -> None:
        self._is_more = is_more
        self._waiting: Deque[Wake] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(
        self,
        parker: Parker,
        until: float,
        has_come: Callable[[], bool],
        is_vain: Callable[[], bool],
    ) -> bool:
        """Park until it *has_come*, *is_vain*, or *until*; whether it has come. Its own thread."""
        try:
            while True:
                self.enlist(parker)
                if has_come():
                    return True
                if is_vain():
                    return False
                if not parker.park_until(until):
                    return has_come()
                self.forget(parker)
        finally:
            self.dismiss(parker)

    def enlist(self, parker: Wakeable) -> None:
        """Wake *parker* in its turn; whoever calls this looks after it."""
        self._waiting.append(Wake(parker))

    def dismiss(self, parker: Wakeable) -> None:
        """*parker* waits no more, for whatever reason."""
        self.forget(parker)
        if self._waiting and self._is_more():
            # Whoever has woken this one has not woken another.
            self.wake()

    def wake(self) -> None:
        """Let the first look again. From anywhere but the section, if coroutines may wait."""
        try:
            first = self._waiting[0]
        except IndexError:
            return
        # In this order: a signal handler that raises in between has it woken once more. If another
        # has woken the same one, that wakes the next.
        first()
        self._take_out(first)

    def next_to_wake(self) -> Optional[Wake]:
        """The first, taken out, for one who wakes it."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def wake_all(self) -> None:
        """Let all look again: there may be nothing to wait for any more."""
        for _ in range(len(self._waiting)):
            self.wake()

    def forget(self, parker: Wakeable) -> None:
        """*parker* is not to be woken, for now."""
        for each in copied(self._waiting):
            if each.parker is parker:
                self._take_out(each)

    def _take_out(self, entry: Wake) -> None:
        try:
            self._waiting.remove(entry)
        except (ValueError, IndexError):
            pass
