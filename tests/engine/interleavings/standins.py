"""What threads wait for, as the stage has it: a lock, a queue and a parker."""

from __future__ import annotations

import queue
from collections import deque
from typing import Any, Deque, Optional

from .stage import FOREVER, Actor, Stage

__all__ = ["Lock", "Parker", "Queue"]


class Lock:
    """As ``_thread.allocate_lock()``: no owner that could take it twice."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._owner: Optional[Actor] = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self._stage.stop_here()
        while self._owner is not None:
            if not blocking:
                return False
            self._stage.block(self)
        self._owner = self._stage.current
        return True

    def release(self, *_: Any) -> None:
        # No point: between this and its next one nobody notices what its thread does.
        self._owner = None
        self._stage.wake_all(self)

    def locked(self) -> bool:
        return self._owner is not None

    __enter__ = acquire
    __exit__ = release

    def __repr__(self) -> str:
        return f"what {self._owner} has locked"


class Queue:
    """As ``queue.SimpleQueue``; with one token in it, it is a lock."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._items: Deque[Any] = deque()

    def put(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        self._stage.stop_here()
        self._items.append(item)
        self._stage.wake_all(self)

    def get(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        self._stage.stop_here()
        deadline = FOREVER if timeout is None else self._stage.time + timeout
        while not self._items:
            if not block or self._stage.time >= deadline:
                raise queue.Empty
            self._stage.block(self, deadline)
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)

    put_nowait = put

    def __repr__(self) -> str:
        return "a queue"


class Parker:
    """What one thread parks on. Two wake-ups before it parks may be one: here they always are."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._woken = False
        #: Whose it is, if that is a thread of the code under test.
        self.actor: Optional[Actor] = None

    def unpark(self, _: Any = None) -> None:
        self._stage.stop_here()
        self._woken = True
        self._stage.wake_all(self)

    def park(self) -> None:
        self._stage.stop_here()
        if not self._woken:
            self._stage.block(self)
        self._woken = False

    def park_until(self, deadline: float) -> bool:
        self._stage.stop_here()
        if not self._woken and deadline > self._stage.time:
            self._stage.block(self, deadline)
        woken, self._woken = self._woken, False
        return woken

    def __repr__(self) -> str:
        return "to be unparked"
