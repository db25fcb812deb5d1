"""How things end: the words for requests and for their members, and who is judged how."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Mapping, Optional

__all__ = [
    "ANSWERED",
    "AT_IT",
    "AT_THE_END",
    "HELD",
    "NOT_BEGUN",
    "WITHDRAWN_AT_ONCE",
    "ByIdentity",
    "Completion",
    "Standing",
    "Verdict",
    "word_of",
]


class ByIdentity(enum.Enum):
    """Constants that are hashed as the one object that each of them is.

    Enum does it in Python, by name.
    """

    if not TYPE_CHECKING:
        __hash__ = object.__hash__


class Completion(ByIdentity):
    """Why a request ended. Each request ends exactly once, with exactly one of these."""

    ALL_REPLIED = "all_replied"
    """Every member has a verdict: nobody is left to wait for, but perhaps somebody was not to be
    asked, or is gone. ``report.complete`` tells whether all of them are OK."""
    DEADLINE = "deadline"
    """The ttl passed first."""
    NO_PRODUCERS = "no_producers"
    """Nobody was registered for the topic when it was sent."""
    QUORUM = "quorum"
    """Enough members answered."""
    STALLED = "stalled"
    """No reply came for too long after the last one."""
    PREDICATE = "predicate"
    """The caller's own test said that it is enough."""
    IMPOSSIBLE = "impossible"
    """The policy cannot be met any more."""
    CANCELLED = "cancelled"
    """``handle.cancel()``, or a send that an exception cut short."""
    STOPPED = "stopped"
    """The dispatcher stopped before anything else ended it."""


class Verdict(ByIdentity):
    """What became of one member of a request. The sum over all verdicts is the fan-out."""

    OK = "ok"
    """Answered in time with a value."""
    ERROR = "error"
    """Raised in time: the exception is the answer."""
    DECLINED = "declined"
    """Could not be asked: its thread had ended."""
    WITHDRAWN = "withdrawn"
    """Stopped at once before it began."""
    SKIPPED = "skipped"
    """Not executed: its turn, or its instrument, came when the request was over."""
    CANCELLED = "cancelled"
    """Not begun when the request was cancelled, and never will be."""
    MISSING = "missing"
    """No answer when the request ended; :class:`Standing` tells what it was doing."""
    SURPLUS = "surplus"
    """Answered before the deadline, but the request was over."""
    LATE = "late"
    """Answered after the deadline."""
    GONE = "gone"
    """On a machine that left."""


class Standing(ByIdentity):
    """Where a member without an answer stands."""

    QUEUED = "queued"
    """The request waits in its mailbox."""
    NOT_STARTED = "not_started"
    """Nobody has called ``start()`` on it."""
    AT_INSTRUMENT = "at_instrument"
    """Its turn has come, and it waits for an instrument."""
    AT_LINE = "at_line"
    """It waits at the start line for the others."""
    RUNNING = "running"
    """It is in the producer's own code."""
    DEAD = "dead"
    """Its thread ended in between."""
    AWAY = "away"
    """Asked on another machine, from which no word has come of it."""


ANSWERED = (Verdict.OK, Verdict.ERROR)
"""The verdicts of who has come to its end in time, whatever that was."""


def word_of(verdict: Optional[Verdict], standing: Optional[Standing]) -> str:
    """The verdict, or that it is open, with the standing: ``"MISSING (running)"``."""
    word = verdict.name if verdict else "open"
    return f"{word} ({standing.value.replace('_', ' ')})" if standing else word


NOT_BEGUN = (Standing.QUEUED, Standing.NOT_STARTED)
"""Where a member stands that has not come to the request; its mailbox holds it."""

HELD = (Standing.AT_INSTRUMENT, Standing.AT_LINE)
"""Where one stands that has come to it, and has not begun: its hand waits."""


AT_IT = (Standing.RUNNING, Standing.AWAY)
"""Where one stands that may still answer after the end."""


def _at_the_end(completion: Completion, standing: Standing) -> Verdict:
    if completion is Completion.CANCELLED and standing in (*NOT_BEGUN, *HELD):
        return Verdict.CANCELLED
    return Verdict.SKIPPED if standing in HELD else Verdict.MISSING


AT_THE_END: Mapping[Completion, Mapping[Standing, Verdict]] = {
    completion: {standing: _at_the_end(completion, standing) for standing in Standing}
    for completion in Completion
}
"""The verdict on members without one: by why the request ended and where the member stood."""

WITHDRAWN_AT_ONCE: Mapping[Standing, Verdict] = {
    **AT_THE_END[Completion.STOPPED],
    **dict.fromkeys((*NOT_BEGUN, *HELD), Verdict.WITHDRAWN),
}
"""The same for a stop that does not let anybody begin any more."""
