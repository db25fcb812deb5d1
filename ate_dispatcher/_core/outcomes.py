"""How things end: the words for requests and for their members, and nothing else."""

from __future__ import annotations

import enum

__all__ = ["Completion", "Standing", "Verdict"]


class Completion(enum.Enum):
    """Why a request ended. Each request ends exactly once, with exactly one of these."""

    ALL_REPLIED = "all_replied"
    """Every member has a verdict; ``report.complete`` tells whether all of them are OK."""
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


class Verdict(enum.Enum):
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


class Standing(enum.Enum):
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
