"""What lives for topics, weakly: one thing for each topic at any time.

No lock: things come from any thread, a signal handler or a finalizer. They stand in buckets in the
order in which they came. Who brings one looks afterwards which was the first for its topic that
lives, and takes that; what is gone does not come back, so all take the same. Buckets stay, there is
a bounded number of them: to take an empty one away would lose what somebody puts into it.

Topics are compared only where their hashes are equal, on the thread of the call that names one.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any, Callable, Deque, Dict, Generic, Hashable, List, Optional, TypeVar

from typing_extensions import Protocol

from .._core.snapshots import copied

__all__ = ["Living"]

_BUCKETS = 1_024


class OnTopic(Protocol):
    """What lives for a topic, with the hash of that, and its plain text if it is text."""

    topic: Hashable
    text: Optional[str]
    hash: int


T = TypeVar("T", bound=OnTopic)


class _Reference(weakref.ref):  # type: ignore[type-arg]
    """To one of them, with the hash of its topic."""

    __slots__ = ("hash",)

    hash: int


class Living(Generic[T]):
    """All of them, as long as somebody else keeps them."""

    __slots__ = ("_buckets", "_gone", "_is_gone")

    def __init__(self) -> None:
        #: By the rest of the hash, then by identity.
        self._buckets: Dict[int, Dict[int, _Reference]] = {}
        self._gone: Deque[_Reference] = deque()
        # Straight into C, where no signal handler comes in between.
        self._is_gone: Callable[[Any], None] = self._gone.append

    def find(self, topic: Hashable) -> Optional[T]:
        """The one that lives for *topic*."""
        for found in self._with(hash(topic)):
            if found.topic == topic:
                return found
        return None

    def find_text(self, text: str) -> Optional[T]:
        """The one that lives for the topic of that plain *text*. Calls no code of users."""
        for found in self._with(hash(text)):
            if found.text == text:
                return found
        return None

    def first(self, thing: T) -> T:
        """*thing*, which is known from now on; or the one that was there for its topic before."""
        reference = _Reference(thing, self._is_gone)
        number = reference.hash = thing.hash
        bucket = self._buckets.setdefault(number % _BUCKETS, {})
        bucket[id(reference)] = reference
        if len(bucket) == 1:
            return thing
        return self.find(thing.topic) or thing

    def all(self) -> List[T]:
        if self._gone:
            self._clear()
        references: List[Any] = []
        for bucket in copied(self._buckets.values()):
            references += copied(bucket.values())
        return [each for each in [reference() for reference in references] if each is not None]

    def _with(self, number: int) -> List[T]:
        """Those of topics with that hash, in the order in which they came."""
        if self._gone:
            self._clear()
        bucket = self._buckets.get(number % _BUCKETS)
        if not bucket:
            return []
        there: List[Any] = [each() for each in copied(bucket.values()) if each.hash == number]
        return [each for each in there if each is not None]

    def _clear(self) -> None:
        """What is left here of those that are gone, goes."""
        while self._gone:
            try:
                reference = self._gone.popleft()
            except IndexError:
                return
            # A signal handler may have struck before it had one, or stood in its bucket.
            number = getattr(reference, "hash", 0)
            self._buckets.get(number % _BUCKETS, {}).pop(id(reference), None)
