"""Everything this package raises of its own accord: one family under one root.

Each error also *is* the built-in a caller would expect (``TimeoutError``, ``RuntimeError``,
``ConnectionError``, ``TypeError``, ``ValueError``), so code written against 0.1.0 or against the
standard library keeps catching it.
"""

from __future__ import annotations

from typing import Any, List, Sequence

__all__ = [
    "BadType",
    "BadValue",
    "ClockMismatch",
    "ClockStopped",
    "ConnectionFailed",
    "DispatcherError",
    "DispatcherStopped",
    "IncompleteError",
    "RemoteError",
    "RequestTimeout",
    "SlowConsumer",
    "VirtualTimeStuck",
]


class DispatcherError(Exception):
    """The root: ``except DispatcherError`` catches whatever this package refuses or reports."""


class DispatcherStopped(DispatcherError, RuntimeError):
    """The dispatcher was stopped (or is a copy in a forked child): it takes nothing new.

    What was sent before is served or ended as ``STOPPED``; make a new dispatcher to go on.
    """


class RequestTimeout(DispatcherError, TimeoutError):
    """The caller's own *timeout* (seconds) passed before the request ended.

    The request is not touched by it: it goes on to its end and may be waited for again.
    """


class SlowConsumer(DispatcherError, RuntimeError):
    """A stream with ``Overflow.DISCONNECT`` was not read quickly enough, and has ended.

    Raised by what reads it, after what it had.
    """


class IncompleteError(DispatcherError):
    """``results(require="all")``: the request ended, but not every producer answered with a value.

    With ``members="open"``: not every one of this machine, nobody at all, somebody who answered has
    raised, or what was needed has not come.

    Attributes
    ----------
    results: list
        The values that did come, in arrival order.
    missing: list of str
        Names of the producers without an answer (late ones included), as the report has them.
    errors: list of BaseException
        What producers raised, in arrival order. The first is also ``__cause__``.
    """

    def __init__(
        self,
        message: str,
        results: Sequence[Any] = (),
        missing: Sequence[str] = (),
        errors: Sequence[BaseException] = (),
    ) -> None:
        super().__init__(message)
        self.results: List[Any] = list(results)
        self.missing: List[str] = list(missing)
        self.errors: List[BaseException] = list(errors)


class BadType(DispatcherError, TypeError):
    """An argument of the wrong kind; the message names the parameter and what was given."""


class BadValue(DispatcherError, ValueError):
    """An argument of the right kind with an impossible value; the message names both."""


class ConnectionFailed(DispatcherError, ConnectionError):
    """No connection to other machines comes about, or this part cannot stay what it was.

    The server cannot be reached, or refuses; or another part has this one's name. Or there is no
    room for one more request that waits for it. The message says which. Perhaps it is only early:
    another attempt, a moment later, may succeed.
    """


class RemoteError(DispatcherError):
    """What a producer on another machine raised: an error there is a value here.

    Attributes
    ----------
    kind: str
        The name of the class of what was raised there.
    message: str
        Its text.
    traceback_text: str
        Where it was raised, as text; of a long one the end. It may be empty.
    part: str
        The name of the part of the dispatcher that it comes from.
    """

    def __init__(self, kind: str, message: str, traceback_text: str = "", part: str = "") -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind: str = kind
        self.message: str = message
        self.traceback_text: str = traceback_text
        self.part: str = part


class ClockMismatch(BadValue):
    """A participant belongs to one clock; it cannot serve dispatchers of two."""


class ClockStopped(DispatcherError, RuntimeError):
    """A virtual clock was stopped: nobody can wait on it, or begin anything, any more."""


class VirtualTimeStuck(DispatcherError, RuntimeError):
    """A thread under virtual time really blocks, or all wait for something that cannot come.

    The message names the threads and shows where they are.
    """
