"""Who may sleep on virtual time, and how a coroutine does."""

from __future__ import annotations

from threading import current_thread
from typing import Any

from ..errors import ClockMismatch, DispatcherError
from .running_loop import running_loop

__all__ = ["asleep", "check_may_sleep"]


def check_may_sleep(clock: Any) -> None:
    """Refuse a thread of another clock, and one that coroutines of *clock* live on."""
    own = getattr(current_thread(), "_ate_clock", clock)
    if own is not clock and own is not None:
        raise ClockMismatch(f"{current_thread().name} belongs to another clock")
    if _lives_under(running_loop(), clock):
        raise DispatcherError(
            "sleep() in a coroutine keeps all others: write await virtual_clock.asleep(seconds)"
        )


async def asleep(clock: Any, seconds: float) -> None:
    """Let so much of its time pass, in the event loop that lives under *clock*."""
    loop: Any = running_loop()
    if not _lives_under(loop, clock):
        raise DispatcherError(
            "asleep() is for coroutines of producers and listeners under this clock: no other "
            "event loop moves virtual time; elsewhere call sleep()"
        )
    await loop.asleep(seconds)
    clock.refuse_if_stopped()


def _lives_under(loop: Any, clock: Any) -> bool:
    return getattr(loop, "clock", None) is clock
