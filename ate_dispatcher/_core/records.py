"""What travels between threads: the record of a reply and the signal that ends a worker.

A *record* is a plain tuple, because it is made once per reply on the hot path and then only read.
It is chained: its last field is the record of the reply before it in the same request, so the
request needs no list, and what it held at any moment is one reference. A listener gets the pair of
topic and value, and none of those before.
"""

from __future__ import annotations

from typing import Any, Callable, Tuple

__all__ = [
    "IDLE",
    "SHUT",
    "STOP",
    "Close",
    "Died",
    "Finished",
    "Leaving",
    "Part",
    "Record",
    "Signal",
]

Record = Tuple[Any, ...]
"""``(value, error, member, began, stamp, previous record or None)``"""

VALUE, ERROR, MEMBER, BEGAN, STAMP, PREVIOUS = range(6)


class Part(Tuple[Any, ...]):
    """The record of a value that a stream yielded: not its producer's last word."""

    __slots__ = ()


class Close(Tuple[Any, ...]):
    """The record of a stream's end: a word without a value."""

    __slots__ = ()


class Finished(BaseException):
    """Raised on a worker's thread when the stream that it served has come to its end."""


class Died(BaseException):
    """Raised in a producer's method: its thread ends there and then, as if it had been killed.

    For scripted producers. All else that user code raises is an answer.
    """


class Leaving:
    """In the gate, behind what is to be handed out: a producer that was stopped."""

    __slots__ = ("go",)

    def __init__(self, go: Callable[[], None]) -> None:
        self.go = go


class Signal:
    """What a worker may come upon beside messages. Singletons: compared by identity.

    ``completion`` and ``desk`` are what the hot path looks at to tell an open request of its own
    desk from anything else, so a signal has them, and they are never those.
    """

    __slots__ = ("_name", "completion", "desk")

    def __init__(self, name: str) -> None:
        self.completion = self._name = name
        self.desk = None

    def __repr__(self) -> str:
        return self._name


STOP = Signal("STOP")
"""Everything queued before this was served: the worker ends here."""
IDLE = Signal("IDLE")
"""There is nothing in the mailbox, and it counts as parked."""
SHUT = Signal("SHUT")
"""What stands in the gate while sends have to take the long way."""
