"""How many places a bounded mailbox has, and who waits for one.

A place is a token in a deque. Who puts something in takes one out, who takes that out puts one
back; both are one operation each, written with iterators in C, so that no signal handler comes in
between and a place is lost. So the bound holds without a lock, however many threads put.

What has to be taken in its place though there is none, is *over*: it is paid for with the tokens
that come back. Only inside the section is it paid.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain, compress, islice, repeat
from operator import itemgetter
from typing import Any, Callable, Deque, Iterator, List, Tuple, Union

from .waiters import Waiters

__all__ = ["Reserved", "Room", "give_all_back"]

Reserved = Tuple[List[int], List[Tuple[int, "Room"]]]
"""The places of a value, by keys of theirs, and the rooms that they are in, by the same. Nothing of
a user's: what has the list may outlive the dispatcher."""

_UNLIKE = object()
"""Equal to nothing that is ever compared with it."""

_FIRST = 64
"""So many tokens are made at first, then as many more as there are: most bounds are never met."""

_first: Callable[[Any], Any] = itemgetter(0)

_tokens: Callable[[int], Iterator[bool]] = partial(repeat, True)


class Room:
    """The places; *size* of them.

    Attributes: *over*, one for each that was taken in without a place; *waiting*, those that wait.
    """

    __slots__ = ("_free", "_give", "_unmade", "over", "size", "waiting")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.over: Deque[bool] = deque()
        self._free: Deque[bool] = deque()
        #: The length of it: whether there is a place for one who waits.
        self.waiting: Waiters = Waiters(self._free.__len__)
        self._give: Callable[[], None] = partial(self._free.append, True)
        self._unmade: Deque[int] = deque()
        step = _FIRST
        while size > 0:
            self._unmade.append(min(step, size))
            size, step = size - step, step * 2

    def admit(self, item: Any, into: Union[Deque[Any], List[Any]]) -> bool:
        """Append *item* to *into* if there is a place for it, which it takes. From anywhere."""
        while True:
            try:
                into.extend(compress((item,), iter(self._free.pop, None)))
                return True
            except IndexError as error:
                _reraise(error)
            if not self._make():
                return False

    def take(self, items: Deque[Any], into: List[Any]) -> None:
        """Take the first of *items* out, into *into*; its place is free again. If there is one."""
        leaving = zip(iter(items.popleft, _UNLIKE), iter(self._give, _UNLIKE))
        try:
            into.extend(map(_first, islice(leaving, 1)))
        except IndexError as error:
            _reraise(error)

    def give(self, places: int = 1) -> None:
        """So many are free again."""
        self._free.extend(_tokens(places))

    def settle(self) -> None:
        """What is over takes the places that have come back. Inside the section."""
        while self.over and self._free:
            try:
                # Others may take a place meanwhile, but nobody else pays.
                next(zip(iter(self._free.pop, None), iter(self.over.pop, None)))
            except IndexError as error:
                _reraise(error)

    def has_settled(self) -> bool:
        """Whether all that is in has a place, or would have if one settled."""
        return len(self.over) <= len(self._free)

    def has_room(self) -> bool:
        """Whether there is a place that nobody has, or is owed."""
        return len(self._free) > len(self.over) or bool(self._unmade)

    def _make(self) -> bool:
        """Make some of the tokens that were never needed; False if there are none left."""
        some = islice(iter(self._unmade.popleft, None), 1)
        try:
            self._free.extend(chain.from_iterable(map(_tokens, some)))
        except IndexError as error:
            _reraise(error)
            return False
        return True


def give_all_back(reserved: Deque[Reserved]) -> None:
    """The dispatcher was dropped before its start: nobody hands out what has those places.

    Others that share its listeners have them. From anywhere.
    """
    for _ in range(len(reserved)):
        places, rooms = reserved.popleft()
        for key, room in rooms:
            # Who takes it out of the places has it.
            if key in places:
                places.remove(key)
                room.give()
                room.waiting.wake()


def _reraise(error: IndexError) -> None:
    """Raise *error*, unless it comes from the line itself: then a signal handler has raised it."""
    traceback = error.__traceback__
    if traceback is not None and traceback.tb_next is not None:
        raise error
