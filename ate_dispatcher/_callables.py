"""What users hand in to be called: it can be, and gives no coroutine that nobody awaits."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from .errors import BadType

__all__ = ["check_callable"]


def check_callable(parameter: str, value: Any) -> None:
    """Refuse *value* as *parameter* if it cannot be called, or is async."""
    if not callable(value):
        raise BadType(f"{parameter} must be callable, not {value!r}")
    if _is_async(value):
        raise BadType(f"{parameter} must not be async, nobody would await it: {value!r}")


def _is_async(function: Any) -> bool:
    """Whether calling *function* gives a coroutine or an asynchronous generator, as far as seen."""
    while isinstance(function, functools.partial):
        function = function.func
    kinds = [] if isinstance(function, type) else type(function).__mro__
    # What an object of the user's is called by.
    called = [vars(kind)["__call__"] for kind in kinds if "__call__" in vars(kind)][:1]
    try:
        return any(
            inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
            for each in (function, *called)
        )
    except Exception:
        # It was asked for what functions have, and did not like that.
        return False
