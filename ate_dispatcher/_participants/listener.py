"""The listener that users subclass: it hears results, on a thread of its own."""

from __future__ import annotations

import weakref
from typing import Any, Callable, FrozenSet, Optional, Sequence, Tuple

from .. import _log
from .._arguments import check_awaited, check_callable, count, is_async
from .._core.report import Reply, Report
from .._delivery.keyed_mailbox import KeyedMailbox
from .._delivery.mailbox import Mailbox
from .._delivery.overflow import BoundedKeyedMailbox, BoundedMailbox, Overflow, check_overflow
from .._delivery.sentinels import STOP, Word
from .._engine.inline import InlineClock
from .._engine.messages import COMPLETION, ERROR, REPLY, tell_of
from .._engine.process import SECTION, see_to
from .._engine.publish import hears_no_more
from .._engine.published import Published
from .._observing.stacks import LOOPS
from .._time.clock import REAL
from ..errors import BadValue, DispatcherError
from .drivers import Deliverer, ListenerWorker, hear_all
from .inline_life import InlineLife
from .participant import Life, Participant
from .rigging import run_rigged

__all__ = ["OPTIONAL", "ResultListener"]

RESULT = "process_dispatcher_result"

OPTIONAL = (ERROR, COMPLETION, REPLY)
"""What a listener may override as well."""


class ResultListener(Participant):
    """Hears results: subclass it and override :meth:`process_dispatcher_result`.

    Or give it a function. Where any of its callbacks is ``async def`` it has no thread: it lives on
    an event loop, together with all others of its kind, and must not block there.

    All callbacks run on this listener's own thread, or in its task of the event loop, one at a
    time; a slow or raising one delays nobody else, and what it raises is logged. The optional ones
    are overridden in the class before the listener is registered, or set on the object: that at any
    time, but :meth:`process_dispatcher_reply` before, too.

    Parameters
    ----------
    target: callable, optional
        What is called in the place of :meth:`process_dispatcher_result`, with the same arguments.
    name: str, optional
        By default that of *target*, or the class's name and a number.
    daemon: bool, optional
        True by default: its thread does not keep the interpreter alive.
    workers: int, optional
        How many threads it hears on, its own and n - 1 daemons called ``<name>/2`` and so on: the
        methods must allow that. They begin in the common order. Values published with one
        ``ordering_key`` are heard one after the other; an error and the report of a request after
        its results.
    maxsize: int, optional
        How many results, reports and published values may wait for it; any number by default.
    overflow: Overflow, optional
        What becomes of the next one then; see `Overflow`. No policy makes a request wait, and
        whatever is lost counts in ``statistics()``. Reports of requests that end at their deadline
        are taken beyond the bound under ``BLOCK``, and so is all that comes from other machines.
    deliver: callable, optional
        Where its callbacks are to be called: ``deliver(call)`` is called on its thread with a
        function without arguments, which is to be called once, on whatever thread; meanwhile the
        listener waits, so one is on its way at a time and bounds hold. For GUIs and main threads:
        ``deliver=main_queue.put``. After a deregistration no further callback is begun. What is
        dropped without having been called is lost (``ERROR``), and the listener goes on.

    Raises
    ------
    BadType, BadValue
        Naming the parameter and the value.
    """

    #: The published value whose callback it is in.
    _ate_hears: Optional[Published] = None
    #: What its set-up raised, in a few words.
    _ate_failure: Optional[str] = None
    #: Whether it was said that it is waited for and was never started.
    _ate_warned: bool = False
    #: The optional ones that its class overrides, as of the last registration.
    _ate_overrides: FrozenSet[str] = frozenset()

    def __init__(
        self,
        target: Optional[Callable[..., Any]] = None,
        *,
        name: Optional[str] = None,
        daemon: bool = True,
        workers: int = 1,
        maxsize: Optional[int] = None,
        overflow: Overflow = Overflow.BLOCK,
        deliver: Optional[Callable[[Callable[[], None]], Any]] = None,
    ) -> None:
        """All are optional, and keyword arguments but the first; see the class."""
        if target is not None:
            check_awaited("target", target)
        size = None if maxsize is None else count("maxsize", maxsize, "messages")
        check_overflow(overflow)
        if overflow is Overflow.DISCONNECT:
            raise BadValue("overflow must not be DISCONNECT for a listener: only a stream can end")
        workers = count("workers", workers, "threads")
        if deliver is not None:
            check_callable("deliver", deliver)
        super().__init__(name=name, daemon=daemon, target=target)
        self._ate_mailbox = _mailbox_for(self, workers, size, overflow)
        self._ate_place = REAL, self._ate_mailbox.parker
        self._ate_workers = workers
        self._ate_helpers: Tuple[ListenerWorker, ...] = ()
        self._ate_deliverer = None if deliver is None else Deliverer(deliver)
        if target is not None:
            self.__dict__["process_dispatcher_result"] = target

    def process_dispatcher_result(self, topic: Any, response: Any) -> Any:
        """One accepted value of one producer: override this.

        All listeners of a topic see the same order, which is that of arrival. Who overrides
        :meth:`process_dispatcher_reply` need not.
        """
        if not self._ate_heeds(REPLY):
            raise NotImplementedError(
                f"{type(self).__qualname__} has not implemented process_dispatcher_result"
            )

    def process_dispatcher_reply(self, topic: Any, reply: Reply) -> Any:
        """The same value once more, with whose it is: *reply* has ``value``, ``producer``.

        Optional; straight after :meth:`process_dispatcher_result`. ``producer`` is None for what
        was asked on another machine.
        """

    def process_dispatcher_error(self, topic: Any, reply: Reply) -> Any:
        """A producer raised in time: *reply* has ``producer`` and ``error``. Optional.

        Only for requests of this listener's own part, as is the following.
        """

    def process_dispatcher_completion(self, topic: Any, report: Report) -> Any:
        """A request ended, after its last result: the report as it stood then. Optional."""

    def on_start(self) -> Any:
        """Set up what belongs to its thread, such as a connection; before the first callback.

        Override it; it does nothing here. On this listener's own thread, or its event loop.
        If it raises that is logged, and the listener ends: it hears nothing.
        """

    def on_stop(self) -> Any:
        """Clean up, after the last callback. Likewise; not called if :meth:`on_start` raised."""

    def run(self) -> None:
        """The thread's loop, until ``stop()``. Subclasses may wrap it."""
        mailbox = self._ate_mailbox
        if self._ate_workers > 1:
            # Others are started when there is something to hear; till then it has no clock.
            while self._ate_clock is None and not mailbox.items:
                mailbox.park()
            hear_all(self, self._ate_clock or REAL)
            return
        deliverer = self._ate_deliverer
        items = mailbox.items
        popleft = mailbox.popleft
        item: Any = None
        while True:
            # They are others once it is registered with its first dispatcher.
            posts = self._ate_posts
            posted = posts.items
            try:
                while True:
                    if posted and posts.turn:
                        # Before all else: others may wait for it (P18).
                        see_to(posts)
                    if not items:
                        break
                    item = popleft()
                    if item.__class__ is tuple:
                        topic, value = item
                        self.process_dispatcher_result(topic, value)
                    elif item is STOP:
                        return
                    elif deliverer is None or item.__class__ is Word:
                        item.hear(self)
                    else:
                        deliverer.deliver(self, self, item)
            except BaseException as error:
                tell_of(self, item, error)
                continue
            # Parked for long, perhaps: nobody's results stay alive in this frame.
            item = topic = value = None
            mailbox.park(posts)

    def join(self, timeout: Optional[float] = None) -> None:
        """Wait until the thread has ended, *timeout* seconds at most.

        A DispatcherError on the thread that ``deliver`` has chosen, while a callback waits to be
        called there: this would wait for itself.
        """
        if self._ate_deliverer is not None and self._ate_deliverer.waits_for_this_thread():
            raise DispatcherError(
                f"join() of {_log.name_of(self)} waits for a callback that is to be called on this "
                "thread: let that come first"
            )
        super().join(timeout)

    def _ate_joins(self) -> None:
        """It is registered with a dispatcher, perhaps again."""
        self._ate_mailbox.attend()

    def _ate_inline_life(self, clock: InlineClock) -> Life:
        return InlineLife(clock, self)

    def _ate_why_not_inline(self) -> str:
        if self._ate_workers > 1:
            return f"it has {self._ate_workers} workers"
        return super()._ate_why_not_inline() or ("it has deliver=" if self._ate_deliverer else "")

    def _ate_is_apart(self) -> bool:
        """Whether it hears results in another way than as plain pairs on its own thread."""
        needs = self._ate_deliverer is not None or self._ate_workers > 1
        return needs or self._ate_mailbox.room is not None or self._ate_heeds(REPLY)

    def _ate_hearing(self) -> Sequence[Published]:
        """The published values whose callbacks it is in, or has sent on their way."""
        hears = [self._ate_hears, *(each._ate_hears for each in self._ate_helpers)]
        found = [each for each in hears if each is not None]
        deliverer = self._ate_deliverer
        return found if deliverer is None else [*found, *deliverer.on_their_way()]

    def _ate_run(self) -> None:
        self._ate_fails(run_rigged(self))

    def _ate_fails(self, failure: Optional[str]) -> None:
        self._ate_failure = failure

    def _ate_is_async(self) -> bool:
        if self._ate_threadless is not None:
            return True
        called = [getattr(self, each) for each in (RESULT, *OPTIONAL)]
        if not any(map(is_async, called)):
            return False
        if self._ate_workers > 1:
            raise BadValue(
                f"workers of {_log.name_of(self)} must be 1, since its methods are async def: "
                "one that waits keeps no other listener"
            )
        if self._ate_deliverer is not None:
            raise BadValue(
                f"deliver of {_log.name_of(self)} must not be given, since its methods are async "
                "def and are called in the event loop"
            )
        return True

    def _ate_new_life(self) -> Life:
        from .event_loop import LoopLife, hear_all

        return LoopLife(self, lambda loop: hear_all(loop, self))

    def _ate_ends(self) -> None:
        hears_no_more(self._ate_mailbox, self._ate_posts)

    def _ate_looks_at_class(self) -> None:
        """See which of the optional callbacks it overrides: here, since a class is users' code."""
        kind = type(self)
        self._ate_overrides = frozenset(
            name for name in OPTIONAL if getattr(kind, name) is not getattr(ResultListener, name)
        )

    def _ate_heeds(self, callback: str) -> bool:
        """Whether it overrides the optional *callback*, in its class or on itself."""
        return callback in self.__dict__ or callback in self._ate_overrides


def _mailbox_for(
    listener: ResultListener, workers: int, size: Optional[int], overflow: Overflow
) -> Mailbox:
    if size is None:
        return Mailbox() if workers == 1 else KeyedMailbox()
    kind = BoundedMailbox if workers == 1 else BoundedKeyedMailbox
    return kind(size, overflow, SECTION.left, weakref.ref(listener))


LOOPS.add(ResultListener.run.__code__)
