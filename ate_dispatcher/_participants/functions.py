"""Functions as participants: what a decorator makes, and a registration makes of a function."""

from __future__ import annotations

import functools
from typing import Any, Callable, Generic, Optional, TypeVar

from typing_extensions import ParamSpec, TypedDict

from .._delivery.overflow import Overflow
from .listener import ResultListener
from .participant import Participant
from .producer import Exclusive, Producer

__all__ = [
    "FunctionListener",
    "FunctionProducer",
    "ListenerOptions",
    "ProducerOptions",
    "is_function",
]

P = ParamSpec("P")
R = TypeVar("R")


class _Options(TypedDict, total=False):
    name: Optional[str]
    daemon: bool
    workers: int
    maxsize: Optional[int]


class ListenerOptions(_Options, total=False):
    """The keyword parameters of :class:`ResultListener`."""

    overflow: Overflow
    deliver: Optional[Callable[[Callable[[], None]], Any]]


class ProducerOptions(_Options, total=False):
    """Those of :class:`Producer`."""

    stream: bool
    exclusive: Exclusive


class _OfFunction(Generic[P, R]):
    """Called itself it calls the function, on the spot, without any dispatcher."""

    __wrapped__: Callable[P, R]

    def _ate_wraps(self, target: Callable[P, R]) -> None:
        functools.update_wrapper(self, target, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.__wrapped__(*args, **kwargs)


class FunctionProducer(_OfFunction[P, R], Producer):
    """A producer whose answers ``target(topic, *args, **kwargs)`` gives."""

    def __init__(self, target: Callable[P, R], **options: Any) -> None:
        """The parameters of :class:`Producer`."""
        Producer.__init__(self, target, **options)
        self._ate_wraps(target)


class FunctionListener(_OfFunction[P, R], ResultListener):
    """A listener that lets ``target(topic, value)`` hear."""

    def __init__(self, target: Callable[P, R], **options: Any) -> None:
        """The parameters of :class:`ResultListener`."""
        ResultListener.__init__(self, target, **options)
        self._ate_wraps(target)


def is_function(thing: Any) -> bool:
    """Whether *thing* is to be made a participant of: it can be called, and is none itself."""
    return callable(thing) and not isinstance(thing, (Participant, type))
