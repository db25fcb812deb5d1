"""A counter that two threads must not share: what the explorer is tried on."""

from __future__ import annotations

from typing import Any

__all__ = ["Counter"]


class Counter:
    """Counts, if nobody else does."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.value = 0
        self.parker: Any = None

    def count(self) -> None:
        """Read, then write: in between is a gap."""
        self.value = self.value + 1

    def count_alone(self) -> None:
        """The same under the lock."""
        with self.lock:
            self.value = self.value + 1

    def wait(self, parker: Any) -> None:
        """Look, then say that one parks: a wake-up in between is lost."""
        if not self.value:
            self.parker = parker
            parker.park()

    def wake(self) -> None:
        """Count, then wake whoever says that it parks."""
        self.value = 1
        if self.parker is not None:
            self.parker.unpark()
