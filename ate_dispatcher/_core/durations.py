"""Durations at the door, and the instants that they become.

Inside the package time is float seconds of one clock; a *duration* exists only where a user names
one. Pure: what the present instant is comes as an argument.
"""

from __future__ import annotations

import math
from typing import Any, Optional

from .._arguments import real
from ..errors import BadValue

__all__ = ["NEVER", "in_ms", "milliseconds", "past", "timeout_instant"]

NEVER = math.inf
"""The instant that does not come: a request without deadline, a wait without timeout."""


def past(instant: float) -> float:
    """The first instant that is past *instant*.

    A reply stamped exactly at the deadline is in time, so an expiry has to come later than that,
    by the smallest step there is; on a virtual clock anything less would come round for ever.
    """
    if math.isinf(instant):
        return instant
    # math.nextafter is younger than Python 3.8; one part in 2**52 is at least one step.
    return instant + max(abs(instant) * 2.0**-52, 5e-324)


def in_ms(seconds: float) -> float:
    """For reports: to the nanosecond, since the noise of a subtraction is nobody's time.

    But for what is less, so that what is late is never late by nothing.
    """
    return round(seconds * 1000, 6) or seconds * 1000


def milliseconds(name: str, value: Any) -> float:
    """A duration at the door, in seconds: any real number >= 0 but bool; None is for ever.

    Raises
    ------
    BadType, BadValue
        Naming *name* and *value*.
    """
    if value is None:
        return NEVER
    number = real(name, value, "a number of milliseconds or None")
    if not number >= 0:
        raise BadValue(f"{name} must be at least 0 ms, not {value!r}")
    return number / 1000


def timeout_instant(now: float, timeout: Optional[float]) -> float:
    """A *timeout* in seconds, as everywhere in `threading`, as an instant; None is never."""
    if timeout is None:
        return NEVER
    seconds = real("timeout", timeout, "a number of seconds or None")
    if math.isnan(seconds):
        raise BadValue(f"timeout must be a number of seconds or None, not {timeout!r}")
    return now + seconds
