"""Streams: what is published, and what comes in, read where the user likes to read it."""

from __future__ import annotations

import itertools
import weakref
from types import TracebackType
from typing import Any, Hashable, List, NamedTuple, Optional, Sequence, Tuple, Type

from typing_extensions import Self

from .. import _log
from .._arguments import count as counted
from .._core.durations import timeout_instant
from .._core.outcomes import Verdict
from .._delivery.mailbox import CLOSED
from .._delivery.overflow import Overflow, check_overflow
from .._delivery.registry import check_hashable
from .._delivery.room import Room
from .._delivery.sentinels import IDLE, STOP, Word
from .._delivery.stream_mailbox import StreamMailbox
from .._engine.delivery import Delivery
from .._engine.engine import Engine, Phase
from .._engine.messages import ResultMessage
from .._engine.process import SECTION
from .._engine.waiting import loop_parker
from .._time.clock import Clock, this_thread
from ..errors import BadType, DispatcherError, SlowConsumer
from .admission import deregister, register

__all__ = ["Item", "Stream"]


class Item(NamedTuple):
    """One value or result of a stream."""

    topic: Hashable
    value: Any
    request: Optional[int]
    """The id of the request whose result it is; None for a published value."""
    at: float
    """When it was published, or stamped: seconds on the dispatcher's clock."""
    lost: int
    """How many the stream has lost before this one, since the one before."""


class Stream:
    """What is published, and what results come, on some topics; from :meth:`Dispatcher.subscribe`.

    ::

        with dispatcher.subscribe("volts", maxsize=100) as stream:
            for item in stream:
                plot(item.at, item.value)

    It is registered from the ``with`` to its end, or to ``close()``, and takes in meanwhile;
    ``for``, ``async for`` and ``get()`` take out, on whatever threads and as many as like. All
    streams and listeners have one order. It ends when the dispatcher stops, behind what it has
    taken in; the stop waits for that, as for listeners.

    Attributes
    ----------
    topics: tuple
        As they were subscribed to.
    lost: int
        How many values and results it had no room for.
    """

    # What a listener has as well, as far as others look at it.
    _ate_failure: None = None
    _ate_warned: bool = True

    def __init__(
        self,
        engine: Engine,
        topics: Tuple[Hashable, ...],
        maxsize: Optional[int],
        overflow: Overflow,
        count: Optional[int],
    ) -> None:
        """See :meth:`Dispatcher.subscribe`."""
        size = None if maxsize is None else counted("maxsize", maxsize, "items")
        check_overflow(overflow)
        if any(isinstance(topic, bool) for topic in topics[1:]):
            raise BadType(f"topics must not be {topics[-1]!r}: it takes in from its with on")
        for topic in topics:
            check_hashable(topic)
        self.topics: Tuple[Hashable, ...] = topics
        self._engine = engine
        self._ate_mailbox = StreamMailbox(size, overflow, SECTION.left, weakref.ref(self))
        self._count = None if count is None else counted("count", count, "items")
        #: A place for each item that may still be read; and how many were.
        self._wanted = None if self._count is None else Room(self._count)
        self._read_so_far = itertools.count(1)
        #: Whether a reader has found no such place since one was given back.
        self._was_refused = False
        self._ident: Optional[int] = None
        self._has_ended = False

    @property
    def name(self) -> str:
        """What reports and logs call it."""
        return f"stream on {', '.join(map(_log.text_of, self.topics))}"

    @property
    def lost(self) -> int:
        return self._ate_mailbox.lost

    # -- its life ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._ident is not None or self._has_ended:
            raise DispatcherError(f"{self.name} was used before: subscribe again for another")
        self._ident = this_thread()
        register(self._engine, self, "listeners", self.topics, start=False)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        # Nothing before the `try`, here and in `close`: from 3.11 on a signal handler may raise at
        # the entry of a function, where none can be, but nowhere else is all left as it was.
        try:
            self.close()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take in nothing more; what was not read is not read any more. From anywhere; twice too.

        Who waits in it comes back. Its deliveries are ``WITHDRAWN``.
        """
        try:
            self._leave()
        except BaseException:
            # A signal handler raised: nobody else would do the rest. Twice is harmless.
            self._leave(again=True)
            raise

    def _leave(self, again: bool = False) -> None:
        self._has_ended = True
        if self._ident is not None:
            deregister(self._engine, self, "listeners", self.topics)
        mailbox = self._ate_mailbox
        mailbox.close()
        for each in mailbox.waiting():
            # In this order: nobody knows of what was taken out by a call that is cut short.
            self._withdraw(each, running=again)
            mailbox.remove(each)

    # -- reading -------------------------------------------------------------------------------

    def get(self, timeout: Optional[float] = None) -> Optional[Item]:
        """The next item; blocks, *timeout* seconds at most, until there is one.

        Returns
        -------
        Item or None
            None if nothing came in time, or the stream has ended.

        Raises
        ------
        SlowConsumer
            It was disconnected, and all that it had was read.
        DispatcherError
            Outside the ``with`` block, before it.
        """
        engine = self._engine
        deadline = timeout_instant(engine.now(), timeout)
        item = self._next()
        if item is not None or self._is_over():
            return self._or_end(item)
        if timeout == 0 and engine.looked is not None:
            engine.looked(id(self))
        found: List[Optional[Item]] = [None]

        def has_come() -> bool:
            found[:] = [self._next()]
            return found[0] is not None

        readers = self._ate_mailbox.readers
        readers.wait(engine.clock.parker(), deadline, has_come, self._is_over)
        return self._or_end(found[0])

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        item = self.get()
        if item is None:
            raise StopIteration
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        readers = self._ate_mailbox.readers
        while True:
            parker = loop_parker(self._engine)
            readers.enlist(parker)
            try:
                item = self._next()
                if item is not None or self._is_over():
                    break
                await parker.future
            finally:
                readers.dismiss(parker)
        item = self._or_end(item)
        if item is None:
            raise StopAsyncIteration
        return item

    def _next(self) -> Optional[Item]:
        """The next that is there; None if nothing is, or nothing more will come."""
        if self._ident is None:
            raise DispatcherError(f'{self.name} takes in nothing before "with": use it in there')
        while not self._has_ended:
            if self._wanted is not None and not self._wanted.admit(True, []):
                # Others are reading all that is wanted; or look, and give that back.
                self._was_refused = True
                return None
            taken: List[Any] = []
            item: Optional[Item] = None
            try:
                message = self._ate_mailbox.next(taken)
                if message is IDLE:
                    return None
                item = self._read(message)
                if item is not None:
                    return item
            except BaseException:
                # A signal handler raised: nobody else knows of it any more.
                for each in taken:
                    self._withdraw(each, running=True)
                raise
            finally:
                if item is None and self._wanted is not None:
                    self._wanted.give()
                    if self._was_refused:
                        self._was_refused = False
                        self._ate_mailbox.readers.wake_all()
        return None

    def _read(self, message: Any) -> Optional[Item]:
        """The item of a *message* that was taken out; None if it is none, or the end."""
        if message is STOP:
            self._has_ended = True
            return None
        if not isinstance(message, (ResultMessage, Delivery)):
            # A word from who stops the dispatcher.
            message.hear(self)
            return None
        item = self._item_of(message)
        if item is not None and next(self._read_so_far) == self._count:
            self.close()
        return item

    def _withdraw(self, message: Any, running: bool) -> None:
        if isinstance(message, Delivery):
            message.give_up(self._ate_mailbox, Verdict.WITHDRAWN, running)
            # One that was given up by a call that was cut short may not be told of.
            message.ends_if_over()
        elif isinstance(message, Word):
            message.missed_by(self._ate_mailbox)

    def _item_of(self, message: Any) -> Optional[Item]:
        self._ident = this_thread()
        mailbox = self._ate_mailbox
        number, lost = mailbox.lost_before(message)
        if isinstance(message, ResultMessage):
            return Item(message.topic, message.value, message.request or None, message.stamp, lost)
        value = message.read_from(mailbox)
        if value is not None:
            return Item(message.topic, value[0], None, message.sent, lost)
        mailbox.pass_on(number, lost)
        return None

    def _is_over(self) -> bool:
        """Whether nothing more will be read."""
        ended = self._engine.phase is Phase.ENDED and not self._ate_mailbox.items
        return ended or self._has_ended or self._ate_mailbox.attention is CLOSED

    def _or_end(self, item: Optional[Item]) -> Optional[Item]:
        if item is None and self._ate_mailbox.is_disconnected and self._is_over():
            self.close()
            raise SlowConsumer(
                f"{self.name} was not read quickly enough: {self.lost} items were lost"
            )
        return item

    # -- for those who deal with listeners -----------------------------------------------------

    @property
    def ident(self) -> Optional[int]:
        """The thread that has read from it last, or entered it; None before."""
        return self._ident

    def is_alive(self) -> bool:
        """Whether it takes anything in."""
        return self._ident is not None and self._ate_mailbox.attention is not CLOSED

    def _ate_hearing(self) -> Sequence[Delivery]:
        return ()

    def _ate_was_started(self) -> bool:
        return self._ident is not None

    def _ate_heeds(self, callback: str) -> bool:
        return False

    def _ate_join_clock(self, clock: Clock) -> None:
        """It parks on whatever its readers have."""

    def _ate_stops_at_once(self) -> bool:
        return True

    def _ate_put_stop(self) -> None:
        self._ate_mailbox.put(STOP)

    def __repr__(self) -> str:
        waiting = self._ate_mailbox.backlog()
        return f"<{self.name}: {waiting} to be read, {self.lost} lost>"
