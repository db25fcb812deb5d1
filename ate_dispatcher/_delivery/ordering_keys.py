"""The ordering keys that open requests and senders use: equal ones are one object.

Keys are the users' objects, so they are hashed and compared only here, on the thread of the call
that names one. What travels is an object of ours, compared by identity. It is held by whoever uses
it and by nobody else: when the last is gone, so is the user's key, and what is left of it here is
cleared away by the next call.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any, Deque, Dict, Hashable, Optional

from ..errors import BadType

__all__ = ["Key", "Keys"]


class Key:
    """One ordering key; compared by identity."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Hashable) -> None:
        self.value: Hashable = value

    def __repr__(self) -> str:
        return f"<ordering key {self.value!r}>"


class _Trace:
    """What stands for a key in the table: equal to what has an equal key, while both live."""

    __slots__ = ("hash", "reference")

    def __init__(self, key: Key, gone: Any) -> None:
        self.hash = hash(key.value)
        # Straight into C when it dies, where no user code and no signal handler comes in between.
        self.reference = weakref.ref(key, gone)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Trace):
            return NotImplemented
        mine, others = self.reference(), other.reference()
        if mine is None or others is None:
            return False
        # As in a dict: what is the same is equal, whatever it says of itself.
        return mine.value is others.value or bool(mine.value == others.value)


class Keys:
    """The table of one dispatcher. Any thread; no lock, single atomic operations."""

    def __init__(self) -> None:
        self._known: Dict[_Trace, _Trace] = {}
        #: References to keys that are gone.
        self._gone: Deque[Any] = deque()

    def intern(self, value: Any) -> Key:
        """The one object for what equals *value*."""
        key = Key(value)
        try:
            trace = _Trace(key, self._gone.append)
        except TypeError as error:
            kind = type(value).__name__
            raise BadType(f"ordering_key must be hashable, not {kind}: {error}") from error
        self._clear()
        while True:
            known = self._known.setdefault(trace, trace)
            found: Optional[Key] = known.reference()
            if found is not None:
                return found

    def _clear(self) -> None:
        if not self._gone:
            return
        self._gone.clear()
        for trace in list(self._known):
            if trace.reference() is None:
                self._known.pop(trace, None)
