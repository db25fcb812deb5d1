"""What a coroutine waits on, that anybody may wake."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Callable

from typing_extensions import Protocol

from .._core.durations import NEVER
from ..errors import DispatcherError

__all__ = ["Calls", "CoroutineParker"]


class Calls(Protocol):
    """The event loop, as far as it is known here."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def call(self, function: Callable[[], Any]) -> None:
        """Call it in the loop, soon. From anywhere; never blocks."""
        ...


class CoroutineParker:
    """What wakes a coroutine that waits for a mailbox, or for its instruments."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._future: Any = None

    def unpark(self, _: None = None) -> None:
        """From anywhere; never blocks, never raises."""
        self._calls.call(self.heard)

    def heard(self) -> None:
        """It was unparked: if it waits, it goes on."""
        if self._future is not None and not self._future.done():
            self._future.set_result(True)

    async def wait(self, seconds: float = NEVER) -> bool:
        """Until it is unparked, perhaps for something before; or for so long (False)."""
        loop = self._calls.loop
        future: asyncio.Future[bool] = loop.create_future()
        self._future = future
        timer = None
        if seconds < NEVER:
            # Virtual time may have come to its end.
            with contextlib.suppress(DispatcherError):
                timer = loop.call_later(seconds, _give_up, future)
        try:
            return await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()

    def park(self) -> None:
        """Coroutines await."""
        raise DispatcherError("what waits in an event loop parks on nothing")

    def park_until(self, deadline: float) -> bool:
        """Likewise."""
        self.park()
        return False


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
