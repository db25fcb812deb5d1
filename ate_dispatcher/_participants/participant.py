"""Threads with a life cycle: the producers and listeners that users subclass.

Their plain attribute names belong to the users' subclasses; what is ours is called ``_ate_...``.
"""

from __future__ import annotations

import itertools
import numbers
import threading
import weakref
from functools import partial
from typing import Any, Dict, Hashable, Iterator, List, Optional, Sequence, Tuple, Union

from .. import _log
from .._core.member import Hand, Member
from .._core.outcomes import Standing
from .._core.records import STOP, Leaving
from .._core.report import Reply, Report, report_of
from .._core.request import Entry
from .._delivery.keyed_mailbox import Rack
from .._delivery.mailbox import DEAD, Mailbox
from .._observing.observers import event_progressed
from .._time.clock import NEVER, REAL, Bell, Clock, timeout_deadline
from ..errors import BadType, BadValue, ClockMismatch

__all__ = [
    "CurrentRequest",
    "Producer",
    "ResultListener",
    "Worker",
    "current_request",
    "own_hand",
]

_numbers: Dict[str, Iterator[int]] = {}

alive: Dict[int, weakref.ref[Worker]] = {}
"""The workers whose threads were started and have not ended, for the exit hook."""

helpers: Dict[int, Hand] = {}
"""The further hands of producers that have several, by the idents of their threads."""


def _telling_name(owner: object) -> str:
    kind = type(owner).__name__
    return f"{kind}-{next(_numbers.setdefault(kind, itertools.count(1)))}"


class Worker(threading.Thread):
    """A thread that serves a mailbox: what producers, listeners and dispatchers have in common.

    Parameters
    ----------
    name: str, optional
        By default the class's name and a number.
    daemon: bool, optional
        True by default: a forgotten ``stop()`` does not keep the interpreter alive.
    """

    def __init__(self, *, name: Optional[str] = None, daemon: bool = True) -> None:
        """Keyword arguments only, all optional; see the class. Starts nothing."""
        super().__init__(name=name or _telling_name(self), daemon=daemon)
        self._ate_mailbox = Mailbox()
        # Undecided until the first dispatcher; replaced once, by `_ate_join_clock`.
        self._ate_clock: Optional[Clock] = None
        # What its thread lives under and parks on, replaced as one: a registration may come while
        # the thread begins or ends.
        self._ate_place: Tuple[Clock, Bell] = (REAL, self._ate_mailbox.bell)

    def start(self) -> None:
        """Start the thread; a second time is a RuntimeError, as for any thread."""
        if self.ident is not None:
            super().start()
            return
        # Shadowed until the thread begins, so that its end is seen whatever the subclass's `run`
        # does: nothing else tells that a thread is over.
        own = self.__dict__.get("run")
        if getattr(own, "__func__", None) is not Worker._ate_life:
            self.__dict__["_ate_kept"] = {} if own is None else {"run": own}
        self.__dict__["run"] = self._ate_life
        clock, bell = self._ate_place
        try:
            self._ate_begins()
            clock.expected(bell)
            super().start()
        except BaseException:
            if self.ident is None:
                clock.left(bell)
                self._ate_unshadow()
                self._ate_not_begun()
            raise

    def stop(self) -> None:
        """Finish what is queued, then end the thread. From anywhere; twice is harmless."""
        if self._ate_mailbox.alert is not DEAD:
            self._ate_put_stop()

    def join(self, timeout: Optional[float] = None) -> None:
        """Wait until the thread has ended, *timeout* seconds at most."""
        clock = self._ate_clock
        deadline = timeout_deadline(REAL, timeout)
        if clock is None or clock is REAL:
            endless = timeout is None or deadline == NEVER
            super().join(None if endless else min(deadline - REAL.now(), threading.TIMEOUT_MAX))
        else:
            clock.join(self, self._ate_mailbox.bell, timeout_deadline(clock, timeout))

    def _ate_put_stop(self) -> None:
        self._ate_mailbox.put(STOP)

    def _ate_unshadow(self) -> None:
        """Put the object's own ``run`` back, if it has one."""
        self.__dict__.pop("run", None)
        self.__dict__.update(self.__dict__.pop("_ate_kept", {}))

    def _ate_life(self) -> None:
        self._ate_unshadow()
        key = id(self)
        alive[key] = weakref.ref(self, partial(alive.pop, key))
        clock, bell = self._ate_place
        clock.entered(bell)
        try:
            self.run()
        finally:
            self._ate_ends()
            alive.pop(key, None)
            # It may have come under another clock meanwhile.
            clock, bell = self._ate_place
            clock.left(bell)

    def _ate_begins(self) -> None:
        """The thread is about to be started."""

    def _ate_not_begun(self) -> None:
        """It could not be started; it may be tried again."""

    def _ate_ends(self) -> None:
        """The thread is over; still on it."""
        self._ate_mailbox.alert = DEAD
        self._ate_mailbox.items.clear()

    def _ate_forked(self) -> None:
        """In a forked child, which has none of our threads, but perhaps the one that forked."""
        self._ate_mailbox.emptied()
        if threading.current_thread() is self:
            # In the middle of its method: when that returns, the child's copy ends.
            self._ate_mailbox.items.append(STOP)
        else:
            self._ate_mailbox.alert = DEAD

    def _ate_join_clock(self, clock: Clock) -> None:
        """Belong to *clock* from now on; parked already or not, started or not."""
        if self._ate_clock is None:
            mailbox = self._ate_mailbox
            bell = clock.adopt(mailbox.bell, self, mailbox.parked)
            self._ate_place = clock, bell
            mailbox.hang(bell)
            self._ate_clock = clock
        elif self._ate_clock is not clock:
            raise ClockMismatch(f"{_log.name_of(self)} already belongs to another clock")


class Producer(Worker):
    """Answers requests: subclass it and override :meth:`produce_dispatcher_output`.

    ``stop()`` finishes what is queued, then ends the thread; ``start()`` may come before or after
    registering. One producer may be registered for many topics and with several dispatchers.

    Parameters
    ----------
    name: str, optional
        By default the class's name and a number.
    daemon: bool, optional
        Whether its thread keeps the interpreter alive; True by default: it does not.
    stream: bool, optional
        When the method is a generator, each value that it yields is a reply of its own, and its
        end is the one verdict; once nobody wants more it is closed at the next value. Otherwise a
        generator is a value like any other.
    exclusive: str or sequence of str, optional
        The instruments that it needs for itself alone. Of all producers that name one of them, one
        at a time is in its method for requests of the same dispatcher; who comes first is served
        first, and who names several gets them all at one moment. If the request ends before it has
        them it is not executed (verdict ``SKIPPED``).
    workers: int, optional
        How many requests it may serve at a time, each on a thread of its own: the method must allow
        that. The first is its own thread, on which ``run()`` is; the others are daemons called
        ``<name>/2`` and so on. Requests are begun in order; those of one
        ``options(ordering_key=...)`` are also served one after the other.

    Raises
    ------
    BadType, BadValue
        Naming the parameter and the value.
    """

    def __init__(
        self,
        *,
        name: Optional[str] = None,
        daemon: bool = True,
        stream: bool = False,
        exclusive: Union[str, Sequence[str]] = (),
        workers: int = 1,
    ) -> None:
        """Keyword arguments only, all optional; see the class."""
        if not isinstance(stream, bool):
            raise BadType(f"stream must be True or False, not {stream!r}")
        if isinstance(workers, bool) or not isinstance(workers, int):
            raise BadType(f"workers must be a number of threads, not {workers!r}")
        if workers < 1:
            raise BadValue(f"workers must be at least 1 thread, not {workers!r}")
        names = _instrument_names(exclusive)
        super().__init__(name=name, daemon=daemon)
        if names or workers > 1:
            self._ate_mailbox = Rack()
            self._ate_place = REAL, self._ate_mailbox.bell
        self._ate_stream = stream
        self._ate_workers = workers
        self._ate_member = Member(self, self._ate_mailbox, names)
        self._ate_mailbox.reader = self._ate_member

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer one request: override this.

        Called on this producer's own thread, one request at a time, in the order they were sent
        (with ``workers=n`` on n threads, n at a time); may block as long as it likes. What it
        returns is the value of the reply; it is stamped straight after the return and counts if the
        stamp is not past the deadline. What it raises is the answer too (verdict ERROR): it is
        logged, and the thread goes on.

        Parameters
        ----------
        topic: hashable
            The topic of the request.
        args, kwargs
            As given to ``send_request``, by reference; *kwargs* is a dict of its own.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has not implemented produce_dispatcher_output"
        )

    def run(self) -> None:
        """The thread's loop, until ``stop()``. Subclasses may wrap it."""
        mailbox, member = self._ate_mailbox, self._ate_member
        member.ident = threading.get_ident()
        while True:
            home = member.home
            if home is None:
                mailbox.park()
                if member.home is None and mailbox.items:
                    # Only a dispatcher sends requests, and none has it: this is STOP.
                    return
            else:
                home.serve(self, member)
                return

    def _ate_put_stop(self, desks: Optional[List[Any]] = None) -> None:
        # Behind what was sent to it and is still to be handed out, by one dispatcher after the
        # other, each once: what comes later need not be waited for.
        if desks is None:
            desks = [reference() for reference in self._ate_member.desks.copy().values()]
        while desks:
            desk = desks.pop()
            if desk is not None and desk.begun and desk.gate and desk.refusal is None:
                desk.hold_stop(Leaving(partial(self._ate_put_stop, desks)))
                return
        super()._ate_put_stop()

    def _ate_begins(self) -> None:
        if self._ate_member.standing is Standing.NOT_STARTED:
            self._ate_member.standing = Standing.QUEUED

    def _ate_not_begun(self) -> None:
        if self._ate_member.standing is Standing.QUEUED:
            self._ate_member.standing = Standing.NOT_STARTED

    def _ate_forked(self) -> None:
        super()._ate_forked()
        member = self._ate_member
        if threading.current_thread() is not self:
            member.standing = Standing.DEAD
        for hand in member.hands:
            if hand.ident != threading.get_ident():
                hand.running = hand.turn = hand.awaits = None
                helpers.pop(hand.ident or 0, None)
            elif isinstance(self._ate_mailbox, Rack):
                self._ate_mailbox.forked()
        if member.home is not None:
            member.home.renew()

    def _ate_ends(self) -> None:
        member = self._ate_member
        member.standing = Standing.DEAD
        self._ate_mailbox.alert = DEAD
        # Registered and asked meanwhile? Who looks at the alert from now on sees to it itself.
        if member.home is not None:
            member.home.ended(member)


class ResultListener(Worker):
    """Hears results: subclass it and override :meth:`process_dispatcher_result`.

    All three callbacks run on this listener's own thread, one at a time; a slow or raising one
    delays nobody else, and what it raises is logged. The two optional ones are overridden in the
    class before the listener is registered, or set on the object at any time.
    """

    def process_dispatcher_result(self, topic: Any, response: Any) -> Any:
        """One accepted value of one producer: override this.

        All listeners of a topic see the same order, which is that of arrival.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has not implemented process_dispatcher_result"
        )

    def process_dispatcher_error(self, topic: Any, reply: Reply) -> Any:
        """A producer raised in time: *reply* has ``producer`` and ``error``. Optional."""

    def process_dispatcher_completion(self, topic: Any, report: Report) -> Any:
        """A request ended, after its last result: the report as it stood then. Optional."""

    def run(self) -> None:
        """The thread's loop, until ``stop()``. Subclasses may wrap it."""
        mailbox = self._ate_mailbox
        items = mailbox.items
        popleft = items.popleft
        while True:
            while items:
                item = popleft()
                try:
                    if item.__class__ is tuple:
                        topic, value = item
                        self.process_dispatcher_result(topic, value)
                    elif item is STOP:
                        return
                    else:
                        item(self)
                except BaseException as error:
                    _log.failed(f"{_log.name_of(self)} raised while it processed a result", error)
            # Parked for long, perhaps: nobody's results stay alive in this frame.
            item = topic = value = None
            mailbox.park()

    def _ate_heeds(self, callback: str) -> bool:
        """Whether it overrides the optional *callback*, in its class or on itself."""
        return callback in self.__dict__ or getattr(type(self), callback) is not getattr(
            ResultListener, callback
        )


class ErrorMessage:
    """Tells a listener of a producer's error."""

    __slots__ = ("_entry", "_record")

    def __init__(self, entry: Entry, record: Any) -> None:
        self._entry = entry
        self._record = record

    def __call__(self, listener: ResultListener) -> None:
        reply = Reply(self._record, self._entry.sent)
        listener.process_dispatcher_error(self._entry.topic, reply)


class EndMessage:
    """Tells a listener that a request ended; the report is made on the listener's thread."""

    __slots__ = ("_entry",)

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __call__(self, listener: ResultListener) -> None:
        report = report_of(self._entry, self._entry.ended, at_the_end=True)
        listener.process_dispatcher_completion(self._entry.topic, report)


class CurrentRequest:
    """What a producer may ask about the request it is serving. Valid on any thread."""

    __slots__ = ("_entry", "_hand")

    def __init__(self, entry: Entry, hand: Hand) -> None:
        self._entry = entry
        self._hand = hand

    @property
    def id(self) -> int:
        return self._entry.id

    @property
    def topic(self) -> Hashable:
        return self._entry.topic

    @property
    def remaining_ms(self) -> Optional[float]:
        """Milliseconds until the deadline, 0 when it has passed; None without one."""
        if self._entry.deadline == NEVER:
            return None
        now: float = self._entry.desk.clock.now()
        return max(0.0, (self._entry.deadline - now) * 1000)

    @property
    def cancelled(self) -> bool:
        """Whether the request is over, for whatever reason: nobody wants the answer any more."""
        return self._entry.completion is not None

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the work is, from 0 to 1: seen in ``handle.progress`` and by hooks.

        Never blocks. Of no consequence when the request is over.
        """
        if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real):
            raise BadType(f"fraction must be a number from 0 to 1, not {fraction!r}")
        if not 0 <= fraction <= 1:
            raise BadValue(f"fraction must be from 0 to 1, not {fraction!r}")
        if not isinstance(text, str):
            raise BadType(f"text must be a str, not {text!r}")
        entry, hand = self._entry, self._hand
        if entry.completion is None:
            hand.progress = id(entry.desk), entry.id, float(fraction), text
            if entry.desk.hooks:
                at: float = entry.desk.clock.now()
                told = (entry, hand.member, at, fraction, text)
                entry.desk.observers.tell(event_progressed, *told)


def current_request() -> Optional[CurrentRequest]:
    """The request that the calling thread is serving as a producer; None elsewhere."""
    hand = own_hand()
    running = None if hand is None else hand.running
    return None if hand is None or running is None else CurrentRequest(running, hand)


def own_hand() -> Optional[Hand]:
    """The hand of a producer that is the calling thread, if it is one."""
    thread = threading.current_thread()
    if isinstance(thread, Producer):
        return thread._ate_member
    return helpers.get(thread.ident or 0)


def _instrument_names(exclusive: Any) -> Tuple[str, ...]:
    """One name or several, each once, as plain strings: they are compared inside the section."""
    names = (exclusive,) if isinstance(exclusive, str) else exclusive
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise BadType(f"exclusive must be a name or a sequence of names, not {exclusive!r}")
    if not all(names):
        raise BadValue(f"exclusive must be names that are not empty, not {exclusive!r}")
    return tuple(dict.fromkeys(str.__str__(name) for name in names))
