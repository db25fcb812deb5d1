"""What a reader may come upon beside messages, and what ends a producer's method."""

from __future__ import annotations

import math
from typing import Callable, Optional

__all__ = [
    "AGAIN",
    "IDLE",
    "NOTHING",
    "SHUT",
    "STOP",
    "SWEPT",
    "Died",
    "Leaving",
    "Sentinel",
    "Word",
]


class Sentinel:
    """A singleton, compared by identity.

    ``completion``, ``engine``, ``until`` and ``awaited`` are what the hot path looks at to tell an
    open request of its own engine from anything else, so a sentinel has them, and they are never
    those of one.
    """

    __slots__ = ("_name", "awaited", "completion", "engine", "until")

    def __init__(self, name: str) -> None:
        self.completion: Optional[str] = name
        self._name = name
        self.engine: None = None
        self.until: float = -math.inf
        self.awaited: bool = False

    def __repr__(self) -> str:
        return self._name


STOP = Sentinel("STOP")
"""Everything queued before this was served: the reader ends here."""
IDLE = Sentinel("IDLE")
"""There is nothing in the mailbox, and its reader counts as parked."""
AGAIN = Sentinel("AGAIN")
"""Nothing was taken: come again."""
SWEPT = Sentinel("SWEPT")
"""In front of all: what is older has been looked through, and lies beside."""
SHUT = Sentinel("SHUT")
"""What stands in the gate while sends have to take the long way."""


class Leaving:
    """In the gate, behind what is to be handed out: a producer that was stopped."""

    __slots__ = ("go",)

    def __init__(self, go: Callable[[], None]) -> None:
        self.go = go


class Word:
    """For a listener, behind all that came before: what it shall *do*; nothing of a user's."""

    __slots__ = ("_do",)

    completion = "a word"
    key = None
    shares = False

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do

    def hear(self, listener: object) -> None:
        """Do it."""
        self._do()

    def missed_by(self, mailbox: object) -> None:
        """Its reader has ended, and so has come to it."""
        self._do()


NOTHING = Word(lambda: None)
"""Nothing was there after all."""


class Died(BaseException):
    """Raised in a producer's method: its thread ends there and then, as if it had been killed.

    For scripted producers. All else that user code raises is an answer.
    """
