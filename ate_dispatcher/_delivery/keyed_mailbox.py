"""A mailbox with several readers, in which messages of one key wait for each other.

Those that share their key wait for one that does not, and that for all of them.

Its readers are the workers of one producer. What they take, they take inside the section, the
oldest first of what may be begun: a message whose key another worker is busy with goes to the lane
of that key, where it is found again when the key is free.

Putters unpark as for any mailbox: there is attention while a worker is parked, put up before that
worker looks at the messages for the last time (P1). One unpark wakes one worker; one that takes a
message and sees that there may be more wakes the next. Only workers change the list of the parked,
each for itself and inside the section: a putter that was held after it unparked one could forget
one that has taken a message meanwhile and parked again.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple

from typing_extensions import Protocol

from .._core.durations import NEVER
from .._core.snapshots import copied
from .fifo import Fifo
from .mailbox import CALM, CLOSED, Mailbox
from .sentinels import AGAIN, IDLE, STOP

__all__ = ["KeyedMailbox", "Reader"]


_MANY = 64
"""So many messages are put into lanes in one go."""


class Reader(Protocol):
    """What takes messages, and parks."""

    def unpark(self) -> None:
        """Let it look again. From anywhere; never blocks."""
        ...

    def park(self, deadline: float) -> bool:
        """Wait for that. Its own thread only."""
        ...


class KeyedMailbox(Mailbox):
    """The mailbox, its lanes, and who is parked at it."""

    __slots__ = (
        "_at_stop",
        "_busy",
        "_ended",
        "_keys",
        "_lanes",
        "_lanes_swept",
        "_numbers",
        "_parked",
        "_shared",
        "_unswept",
    )

    def __init__(self) -> None:
        self._parked: Deque[Reader] = deque()
        super().__init__()
        #: The keys that workers are busy with, and those workers with their keys.
        self._busy: Dict[Any, List[Reader]] = {}
        #: Those of them whose messages share them.
        self._shared: Set[Any] = set()
        self._keys: Dict[Reader, Any] = {}
        self._lanes: Dict[Any, Fifo] = {}
        #: Those that are still to be looked through in this round.
        self._unswept: List[Any] = []
        self._lanes_swept = False
        self._numbers = itertools.count()
        #: STOP has come: what waits in the lanes is all that will be begun.
        self._at_stop = False
        self._ended = False

    def hang(self, parker: Any) -> None:
        """Make *parker* that of the first worker, which may be parked before there are others."""
        self.parker = parker
        self.unpark = self._wake

    def _wake(self, _: None = None) -> None:
        """Wake one worker that is parked. From anywhere; never blocks."""
        try:
            worker = self._parked[-1]
        except IndexError:
            self.parker.unpark(None)
            return
        worker.unpark()

    def emptied(self) -> List[Any]:
        """Take everything out that is in now, from the lanes too, the oldest first."""
        pairs = [pair for lane in self._lanes.values() for pair in lane.emptied()]
        pairs.sort(key=lambda pair: pair[0])
        self._lanes.clear()
        self._came_out(len(pairs))
        stops = [STOP] if self._at_stop else []
        self._at_stop = False
        return [message for _, message in pairs] + stops + super().emptied()

    def backlog(self) -> int:
        """How many messages wait, in the lanes too."""
        in_lanes = sum(lane.backlog() for lane in copied(self._lanes.values()))
        return super().backlog() + in_lanes + self._at_stop

    def waiting(self) -> List[Any]:
        lanes = [pair[1] for lane in copied(self._lanes.values()) for pair in copied(lane.items)]
        return [*lanes, *super().waiting()]

    def drop_oldest(self) -> Any:
        """As every mailbox; what waits in the lanes is older than what was not looked at."""
        if not self._lanes:
            return super().drop_oldest()
        return self._from_lane(min(self._lanes, key=self._age_of))

    def is_empty(self) -> bool:
        return not self.items and not self._lanes

    def busy_with(self, key: Any) -> Optional[Reader]:
        """The worker that has *key*, one of them if they share it."""
        readers = self._busy.get(key)
        return readers[0] if readers else None

    def sweep(
        self, limit: int = 0, gone: Callable[[Any], bool] = lambda item: False
    ) -> Tuple[List[Any], bool]:
        """As every mailbox; what waits in the lanes first."""
        if self.attention is CLOSED:
            return [], False
        if not self._unswept and not self._lanes_swept:
            self._unswept, self._lanes_swept = list(self._lanes), True
        if not self._unswept:
            out, more = super().sweep(limit, gone)
            # The next round begins with the lanes again.
            self._lanes_swept = more
            return out, more
        key = self._unswept[-1]
        lane = self._lanes.get(key)
        swept: List[Any] = []
        more = False
        if lane is not None:
            pairs, more = lane.look_through(limit, lambda pair: pair[1].is_over or gone(pair[1]))
            swept = [message for _, message in pairs]
            self._came_out(len(swept))
            if not lane.backlog():
                del self._lanes[key]
        if not more:
            self._unswept.pop()
        return swept, True

    # -- its readers, inside the section -------------------------------------------------------

    def take(self, worker: Any) -> Any:
        """What *worker* has to serve; STOP; or IDLE: when it has seen to all else, it `idles`.

        Or AGAIN, after so many messages that have to wait for their keys (P17).

        The key of what it gets is its own until it comes again, or is `let_go`.
        """
        self._drop_key(worker)
        self._is_awake(worker)
        if self._ended:
            return STOP
        found = self._next(worker)
        if found is STOP:
            self.end()
        elif found is not IDLE and found is not AGAIN:
            self._came_out(1)
            self._look_round()
        return found

    def idles(self, worker: Any) -> bool:
        """Whether *worker* counts as parked now, and shall `rest`; else it shall take again.

        From here to there it does nothing else: an unpark for it is one that no other gets.
        """
        # In this order: who appends after the last look sees the token (P1).
        self._parked.append(worker)
        self.attention = [True]
        if not self._ended and not self._has_more():
            return True
        self._is_awake(worker)
        return False

    def rest(self, worker: Any) -> None:
        """After IDLE: park. Who appended meanwhile has unparked one. Outside the section."""
        worker.park(NEVER)

    def let_go(self, worker: Any) -> None:
        """*worker* takes nothing any more."""
        self._drop_key(worker)
        self._is_awake(worker)
        if self.attention is not CLOSED:
            self._look_round()

    def end(self) -> None:
        """No worker takes anything any more."""
        self._ended = True
        if self.attention is not CLOSED:
            self.attention = CALM
        for worker in self._parked:
            worker.unpark()

    def forked(self) -> None:
        """In a forked child, where one worker is left: it ends when it comes back."""
        self._ended = True
        self._parked.clear()
        self._busy.clear()
        self._shared.clear()
        self._keys.clear()

    def _drop_key(self, worker: Any) -> None:
        """Nobody waits any more for the key of what *worker* took before."""
        key = self._keys.pop(worker, None)
        if key is None:
            return
        readers = self._busy[key]
        readers.remove(worker)
        if not readers:
            del self._busy[key]
            self._shared.discard(key)

    def _is_free(self, key: Any, message: Any) -> bool:
        """Whether *message* may be begun: nobody is at its key, or all of them share it."""
        return key not in self._busy or (message.shares and key in self._shared)

    def _free_lanes(self) -> List[Any]:
        """The keys of those whose first message may be begun."""
        return [key for key, lane in self._lanes.items() if self._is_free(key, lane.front()[1])]

    def _age_of(self, key: Any) -> int:
        number: int = self._lanes[key].front()[0]
        return number

    def _from_lane(self, key: Any) -> Any:
        lane = self._lanes[key]
        message = lane.oldest()[1]
        if not lane.backlog():
            del self._lanes[key]
        return message

    def _look_round(self) -> None:
        """Wake a worker if there may be something for it."""
        if self._parked and self._has_more():
            self._wake()

    def _has_more(self) -> bool:
        """Whether there may be something for a worker."""
        more = not self._lanes if self._at_stop else self.items
        return bool(more) or bool(self._free_lanes())

    def _is_awake(self, worker: Any) -> None:
        """An unpark for *worker* was heard, or is not needed; those who sleep have their token."""
        if worker in self._parked:
            self._parked.remove(worker)
        # Before anybody looks at the items, so that who appends after that look sees it (P1).
        if self.attention is not CLOSED:
            self.attention = [True] if self._parked else CALM

    def _next(self, worker: Reader) -> Any:
        """The oldest message that may be begun; STOP when it is the oldest of all, else IDLE."""
        # What is in a lane is older than what was never looked at.
        free = self._free_lanes()
        message: Any
        if free:
            key = min(free, key=self._age_of)
            message = self._from_lane(key)
            return self._taken(worker, key, message)
        for _ in range(_MANY):
            message = IDLE if self._at_stop else self.oldest()
            if message is STOP:
                self._at_stop = True
            if self._at_stop:
                if self._lanes:
                    return IDLE
                self._at_stop = False
                return STOP
            if message is IDLE:
                return IDLE
            # What has ended needs no key: the worker only passes by.
            key = None if message.completion is not None else message.key
            if key is None:
                return message
            if key not in self._lanes and self._is_free(key, message):
                return self._taken(worker, key, message)
            lane = self._lanes.setdefault(key, Fifo())
            lane.items.append((next(self._numbers), message))
        return AGAIN

    def _taken(self, worker: Reader, key: Any, message: Any) -> Any:
        if message.completion is None:
            self._busy.setdefault(key, []).append(worker)
            if message.shares:
                self._shared.add(key)
            self._keys[worker] = key
        return message
