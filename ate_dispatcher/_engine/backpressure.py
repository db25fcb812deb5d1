"""Who waits until a listener has room: a producer after its result, a publisher before its value.

Never inside the section, and no longer than its own call or request says; nor when there is nothing
to wait for any more: the listener has ended, or was deregistered, or the dispatcher stops. In the
drain, too: nothing new comes, and what is open is to come to its end, which a slow listener would
keep it from. So the bound is exceeded then by what was asked before the stop at most.
"""

from __future__ import annotations

from typing import List, Optional, Sequence

from typing_extensions import Protocol

from .._delivery.local_member import LocalWorker
from .._delivery.mailbox import CLOSED, Mailbox
from .._delivery.matched import SomeChannel
from .._delivery.sentinels import STOP
from .._time.clock import REAL, QueueParker
from .engine import Engine, Phase
from .process import SECTION
from .published import Published

__all__ = ["exceeded", "find_places", "heard", "let_nobody_wait", "wait_until_heard"]


_LOOKS = 10
"""So often one looks whether anybody is in the section before one waits, if somebody is;"""

_A_MOMENT = 0.001
"""and so many seconds in between."""


class AsyncParker(Protocol):
    """What one coroutine waits on."""

    def unpark(self, _: None = None) -> None: ...

    async def wait(self, seconds: float) -> bool:
        """Until it is unparked, or for so long (False)."""
        ...


def exceeded(channel: Optional[SomeChannel]) -> List[Mailbox]:
    """Who of those that listen there has more than there is room for. Also inside the section."""
    if channel is None:
        return []
    return [each for each in channel.listeners.roster.apart if each.is_exceeded()]


def wait_until_heard(
    engine: Engine, channel: SomeChannel, worker: LocalWorker, full: List[Mailbox], until: float
) -> None:
    """Let *worker* wait until those that are *full* are not any more. On its own thread.

    Or until it is to stop itself.
    """
    own = worker.own_mailbox()
    for mailbox in full:
        room = mailbox.room
        if room is not None:
            wanted = _Wanted(engine, channel, mailbox, own)
            room.waiting.wait(worker.own_parker(), until, room.has_settled, wanted.is_over)


async def heard(
    engine: Engine,
    channel: SomeChannel,
    parker: AsyncParker,
    full: List[Mailbox],
    until: float,
) -> None:
    """The same for a coroutine, which waits on *parker*."""
    for mailbox in full:
        room = mailbox.room
        if room is None:
            continue
        wanted = _Wanted(engine, channel, mailbox)
        try:
            # As `Waiters.wait`.
            while True:
                room.waiting.enlist(parker)
                if room.has_settled() or wanted.is_over():
                    break
                if not await parker.wait(until - engine.now()):
                    break
                room.waiting.forget(parker)
        finally:
            room.waiting.dismiss(parker)


def find_places(
    delivery: Published, channel: SomeChannel, apart: Sequence[Mailbox], until: float
) -> None:
    """Let *delivery* have a place with each of its listeners that needs one, or be refused there.

    Waits for them *until* then. On the thread that publishes.
    """
    engine = delivery.engine
    delivery.places = []
    for mailbox in apart:
        if not _finds(engine, delivery, channel, mailbox, until):
            delivery.refuse(mailbox)
    if engine.phase is Phase.NEW:
        rooms = [(id(each), each.room) for each in apart if each.room is not None]
        engine.reserves((delivery.places, rooms))


def _finds(
    engine: Engine, delivery: Published, channel: SomeChannel, mailbox: Mailbox, until: float
) -> bool:
    def has_come() -> bool:
        return mailbox.reserve(id(mailbox), delivery.places)

    if has_come():
        return True
    if mailbox.room is None or until <= engine.now():
        return False
    if _is_inside():
        # A finalizer, or a signal handler, of a thread that others wait for.
        return False
    wanted = _Wanted(engine, channel, mailbox)
    return mailbox.room.waiting.wait(engine.clock.parker(), until, has_come, wanted.is_over)


def _is_inside() -> bool:
    """Whether the calling thread is in the section, as far as one can see without entering it."""
    parker = QueueParker()
    for _ in range(_LOOKS):
        if not SECTION.locked():
            return False
        # Others are in there for a tenth of that at most.
        parker.park_until(REAL.now() + _A_MOMENT)
    return True


def let_nobody_wait(engine: Engine) -> None:
    """It stops, and has said so before."""
    for listener in engine.registry.participants("listeners"):
        room = listener._ate_mailbox.room
        if room is not None:
            room.waiting.wake_all()


class _Wanted:
    """Whether there is anything to wait for at *mailbox*."""

    def __init__(
        self, engine: Engine, channel: SomeChannel, mailbox: Mailbox, own: Optional[Mailbox] = None
    ) -> None:
        """Unless there is a STOP in *own*."""
        self._own = own
        self._engine = engine
        self._channel = channel
        self._mailbox = mailbox

    def is_over(self) -> bool:
        return (
            self._mailbox.attention is CLOSED
            or self._engine.gate.refusal is not None
            or id(self._mailbox) not in self._channel.heard().keys
            or (self._own is not None and any(each is STOP for each in self._own.waiting()))
        )
