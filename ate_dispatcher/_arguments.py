"""Arguments as users hand them in: callables that are no coroutines, counts, real numbers.

Numbers of any library will do: what Python itself would take as an index, or make a float of.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
from typing import Any, Callable, Optional

from .errors import BadType, BadValue

__all__ = ["check_awaited", "check_callable", "count", "is_async", "real"]


def count(parameter: str, value: Any, of: str) -> int:
    """*value* as a whole number of *of*, at least 1; BadType or BadValue naming *parameter*."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise BadType(f"{parameter} must be a number of {of}, not {value!r}") from None
    if number < 1:
        raise BadValue(f"{parameter} must be at least 1, not {value!r}")
    return number


def real(parameter: str, value: Any, wanted: str) -> float:
    """*value* as a float, NaN too; BadType naming *parameter* and what is *wanted*."""
    try:
        # Text has a float, too, but no method for it.
        if isinstance(value, bool) or not hasattr(type(value), "__float__"):
            raise TypeError
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except Exception:
        # Its conversion is somebody's code.
        shown = f"{value!r} ({type(value).__name__})"
        raise BadType(f"{parameter} must be {wanted}, not {shown}") from None


def check_callable(parameter: str, value: Any) -> None:
    """Refuse *value* as *parameter* if it cannot be called, or is async."""
    if not callable(value):
        raise BadType(f"{parameter} must be callable, not {value!r}")
    if is_async(value):
        raise BadType(f"{parameter} must not be async, nobody would await it: {value!r}")


def check_awaited(parameter: str, value: Any, streams: Optional[bool] = None) -> None:
    """Refuse *value* as *parameter* if it cannot be called; a coroutine function will do.

    An asynchronous generator with *streams* only; None is for what never streams.
    """
    if not callable(value):
        raise BadType(f"{parameter} must be callable, not {value!r}")
    if not streams and _is_async_generator(value):
        unless = "" if streams is None else " unless it is made with stream=True"
        raise BadType(f"{parameter} must not be an asynchronous generator{unless}: {value!r}")


def is_async(function: Any) -> bool:
    """Whether calling *function* gives a coroutine or an asynchronous generator, as far as seen."""
    return _any_is(function, inspect.iscoroutinefunction) or _is_async_generator(function)


def _is_async_generator(function: Any) -> bool:
    """Whether it gives an asynchronous generator, as far as seen."""
    return _any_is(function, inspect.isasyncgenfunction)


def _any_is(function: Any, kind: Callable[[Any], bool]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    kinds = [] if isinstance(function, type) else type(function).__mro__
    # What an object of the user's is called by.
    called = [vars(kind)["__call__"] for kind in kinds if "__call__" in vars(kind)][:1]
    try:
        for each in (function, *called):
            if kind(each):
                return True
    except Exception:
        # It was asked for what functions have, and did not like that.
        pass
    return False
