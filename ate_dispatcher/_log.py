"""The one logger, and reports that cannot do harm.

Every record has the attributes ``request`` (its id), ``topic`` (as text, if it is none),
``producer`` (a name) and ``asker`` (who has sent the request from elsewhere), None where there is
nothing to tell. Errors of user code go to ``ate_dispatcher`` at ERROR, losses at WARNING, which
machines come and go at INFO, the traffic at DEBUG. There is no NullHandler: a program that
configured nothing sees errors and losses on stderr.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any, Callable, Dict, Optional

_FIELDS: Dict[str, Any] = {"request": None, "topic": None, "producer": None, "asker": None}

_PLAIN = frozenset([str, int, float, bool, type(None)])

logger = logging.getLogger("ate_dispatcher")


def name_of(thing: Any) -> str:
    """What *thing* is called in reports; never raises, whatever its class makes of ``name``."""
    try:
        name = getattr(thing, "name", None) or getattr(thing, "__qualname__", None)
        return str(name or type(thing).__qualname__)
    except BaseException:
        return f"{type(thing).__qualname__} at {id(thing):#x}"


def text_of(thing: Any) -> str:
    """Its repr; never raises, whatever its class makes of that."""
    try:
        return repr(thing)
    except BaseException:
        return f"<{type(thing).__qualname__} at {id(thing):#x}>"


def report(
    level: int, message: str, *args: Any, error: Optional[BaseException] = None, **fields: Any
) -> None:
    """Log, with the traceback of *error*; whatever goes wrong in doing so changes nothing."""
    try:
        if not logger.isEnabledFor(level):
            return
        # Texts: a record may be kept for long, and nobody's topic with it.
        shown = {n: v if v.__class__ in _PLAIN else text_of(v) for n, v in fields.items()}
        try:
            logger.log(level, message, *args, exc_info=error, extra={**_FIELDS, **shown})
        except KeyError:
            # The program's own record factory has set one of them: the record goes without ours.
            logger.log(level, message, *args, exc_info=error)
    except BaseException:
        pass


def failed(what: str, error: BaseException, **fields: Any) -> None:
    """User code raised *error*: say so, with its traceback, on the thread where it happened."""
    report(logging.ERROR, "%s", what, error=error, **fields)


def lost(message: str, *args: Any, **fields: Any) -> None:
    """Something was lost, or will be."""
    report(logging.WARNING, message, *args, **fields)


class Later:
    """Text that is made when it is written: for those who must not be kept by users' code."""

    __slots__ = ("_data", "_make", "_text")

    def __init__(self, make: Callable[..., Any], *data: Any) -> None:
        self._make = make
        self._data = data
        self._text: Optional[str] = None

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self._text is None:
            # Once: whoever keeps the text for long does not keep what it was made of.
            self._text = str(self._make(*self._data))
            self._data = ()
        return self._text


class NameOf:
    """The name of a dispatcher, without keeping that alive."""

    __slots__ = ("_owner",)

    def __init__(self, owner: object) -> None:
        self._owner = weakref.ref(owner)

    def __call__(self) -> str:
        owner = self._owner()
        return "Dispatcher" if owner is None else name_of(owner)
