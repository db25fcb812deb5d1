"""The listener that users subclass: it hears results, on a thread of its own."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Callable, FrozenSet, Optional

from .. import _log
from .._arguments import check_awaited, count, is_async
from .._core.report import Reply, Report
from .._delivery.overflow import BoundedMailbox, Overflow
from .._delivery.sentinels import STOP
from .._engine.delivery import Delivery
from .._engine.messages import COMPLETION, ERROR, REPLY
from .._engine.process import SECTION, see_to
from .._engine.publish import hears_no_more
from .._observing.stacks import LOOPS
from .._time.clock import REAL
from ..errors import BadType, BadValue
from .participant import Participant, run_rigged

if TYPE_CHECKING:
    from .event_loop import Life

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
    maxsize: int, optional
        How many results, reports and published values may wait for it; any number by default.
    overflow: Overflow, optional
        What becomes of the next one then; see `Overflow`. No policy makes a request wait, and
        whatever is lost counts in ``statistics()``. Reports of requests that end at their deadline
        are taken beyond the bound under ``BLOCK``.

    Raises
    ------
    BadType, BadValue
        Naming the parameter and the value.
    """

    #: The published value whose callback it is in.
    _ate_hears: Optional[Delivery] = None
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
        maxsize: Optional[int] = None,
        overflow: Overflow = Overflow.BLOCK,
    ) -> None:
        """All are optional, and keyword arguments but the first; see the class."""
        if target is not None:
            check_awaited("target", target)
        size = None if maxsize is None else count("maxsize", maxsize, "messages")
        if not isinstance(overflow, Overflow):
            raise BadType(f"overflow must be an Overflow, not {overflow!r}")
        if overflow is Overflow.DISCONNECT:
            raise BadValue("overflow must not be DISCONNECT for a listener: only a stream can end")
        super().__init__(name=name, daemon=daemon, target=target)
        if size is not None:
            self._ate_mailbox = bounded = BoundedMailbox(size, overflow, SECTION.left)
            self._ate_place = REAL, bounded.parker
            bounded.reader = weakref.ref(self)
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

        Optional; straight after :meth:`process_dispatcher_result`.
        """

    def process_dispatcher_error(self, topic: Any, reply: Reply) -> Any:
        """A producer raised in time: *reply* has ``producer`` and ``error``. Optional."""

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
                    else:
                        item(self)
            except BaseException as error:
                name = _log.name_of(self)
                on = item[0] if item.__class__ is tuple else getattr(item, "topic", None)
                _log.failed(f"{name} raised while it processed a result", error, topic=on)
                continue
            # Parked for long, perhaps: nobody's results stay alive in this frame.
            item = topic = value = None
            mailbox.park(posts)

    def _ate_run(self) -> None:
        self._ate_fails(run_rigged(self))

    def _ate_fails(self, failure: Optional[str]) -> None:
        self._ate_failure = failure

    def _ate_is_async(self) -> bool:
        if self._ate_on_loop is not None:
            return True
        called = [getattr(self, each) for each in (RESULT, *OPTIONAL)]
        return any(map(is_async, called))

    def _ate_new_life(self) -> Life:
        from .event_loop import Life, hear_all

        return Life(self, lambda loop: hear_all(loop, self))

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


LOOPS.add(ResultListener.run.__code__)
