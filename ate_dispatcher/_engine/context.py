"""A request that takes its sender's context with it: what is in context variables.

It stands in the place of the keywords that go to the producers, so requests without one pay nothing
for it.
"""

from __future__ import annotations

import contextvars
from collections import abc
from functools import partial
from typing import Any, Callable, Dict, Tuple

from .process import CURRENT_WORKER

__all__ = ["InContext"]


class InContext:
    """Keywords, and the context in which methods are to be called with them. Immutable."""

    __slots__ = ("_context", "_kwargs")

    def __init__(self, kwargs: Dict[str, Any]) -> None:
        """Take the context of the calling thread, or task, as it is now."""
        self._context = contextvars.copy_context()
        self._kwargs = kwargs

    def call(
        self, worker: Any, method: Callable[..., Any], call: Tuple[Any, ...], streams: bool
    ) -> Any:
        """Call *method* in a copy of it, which is *worker*'s own; on its thread.

        A coroutine goes on in there as well; with *streams* a generator, too, which else is a value
        like any other.
        """
        # No context is entered twice, and several may be asked at once.
        context = self._context.copy()
        context.run(CURRENT_WORKER.set, worker)
        value = context.run(partial(method, *call, **self._kwargs))
        if streams and isinstance(value, abc.Generator):
            return _Generator(context, value)
        if streams and isinstance(value, abc.AsyncGenerator):
            return _AsyncGenerator(context, value)
        if isinstance(value, abc.Coroutine):
            return _Coroutine(context, value)
        return value


class _Generator(abc.Generator):  # type: ignore[type-arg]
    """One whose code runs in that context, whoever drives it."""

    def __init__(self, context: contextvars.Context, generator: Any) -> None:
        self._context = context
        self._generator = generator

    def send(self, value: Any) -> Any:
        return self._context.run(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        return self._context.run(self._generator.throw, *error)


class _Coroutine(_Generator, abc.Coroutine):  # type: ignore[type-arg]
    """Likewise; or what else an event loop sends its answers to."""

    def __await__(self) -> Any:
        return self


class _AsyncGenerator(abc.AsyncGenerator):  # type: ignore[type-arg]
    """Likewise."""

    def __init__(self, context: contextvars.Context, generator: Any) -> None:
        self._context = context
        self._generator = generator

    def asend(self, value: Any) -> Any:
        return _Coroutine(self._context, self._generator.asend(value))

    def athrow(self, *error: Any) -> Any:
        return _Coroutine(self._context, self._generator.athrow(*error))

    def aclose(self) -> Any:
        return _Coroutine(self._context, self._generator.aclose())
