"""The facade that users hold: one request to many, and what comes in time.

>>> from ate_dispatcher import Dispatcher, Producer
>>> class Site(Producer):
...     def produce_dispatcher_output(self, topic, *args, **kwargs):
...         return sum(args)
>>> with Dispatcher() as dispatcher:
...     dispatcher.register_result_producer(Site(), "add", start=True)
...     dispatcher.send_request("add", 1, 2, ttl=1000).results()
[3]
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from functools import partial
from types import TracebackType
from typing import Any, Dict, Hashable, List, Optional, Sequence, Tuple, Type, Union

from typing_extensions import Literal, Self

from . import _log
from ._core.outcomes import Completion
from ._core.records import SHUT
from ._core.statistics import Statistics, statistics_of
from ._delivery.mailbox import DEAD
from ._delivery.registry import Seat, unhashable
from ._engine.control import Keeper
from ._engine.engine import Desk
from ._engine.gather import COMPLETION
from ._engine.handle import Handle
from ._engine.options import Options, options_of, send_with
from ._observing.observers import Hook
from ._observing.stacks import places_of
from ._participants import participant as _workers
from ._participants.participant import Producer, ResultListener, Worker
from ._time.clock import NEVER, REAL, Clock, milliseconds, spawn, spawn_raw
from .errors import BadType, DispatcherError, DispatcherStopped
from .policies import Policy

__all__ = ["ATEDispatcher", "Dispatcher", "Producer", "ResultListener", "Sender"]

_EXIT_MS = 2000
"""What open requests, and then the listeners, get at the exit of the interpreter."""

Some = Union[Producer, str, Sequence[Union[Producer, str]]]
"""One producer or its name, or several."""


class Dispatcher(Worker):
    """Sends each request to the producers of its topic and their timely answers to its listeners.

    A thread, like producers and listeners: ``start()``, ``stop()``, ``join()``, in any order with
    the registrations; or ``with Dispatcher() as dispatcher:``, which starts it, and at the end
    stops and joins it and its participants. Every method may be called from any thread, from a
    callback, a signal handler or a finalizer; those that wait say so.

    Parameters
    ----------
    name: str, optional
        By default ``Dispatcher-<n>``.
    daemon: bool, optional
        True by default: a forgotten ``stop()`` does not hang the interpreter. A program that shall
        live on after its main thread calls ``dispatcher.join()``.
    clock: Clock, optional
        What tells the time; real time by default. See ``ate_dispatcher.testing.VirtualClock``.
    hooks: sequence of callables, optional
        See :meth:`add_hook`.
    diagnose: bool, optional
        Note where in its code each producer is that still runs when its request ends; reports show
        it. Costs a look at its stack then, and nothing before.
    """

    def __init__(
        self,
        *,
        name: Optional[str] = None,
        daemon: bool = True,
        clock: Optional[Clock] = None,
        hooks: Sequence[Hook] = (),
        diagnose: bool = False,
    ) -> None:
        """Make a dispatcher; see the class. Starts nothing."""
        super().__init__(name=name, daemon=daemon)
        for method in ("now", "bell", "adopt"):
            if clock is not None and not callable(getattr(clock, method, None)):
                raise BadType(f"clock must have the method {method}(), {clock!r} has not")
        self._ate_desk = Desk(clock or REAL)
        self._ate_mailbox = self._ate_desk.inbox
        self._ate_join_clock(self._ate_desk.clock)
        self._ate_keeper = Keeper(self._ate_desk, _NameOf(self))
        #: The thread, with its bell, that has stopped it before it was started.
        self._ate_aside: Optional[Tuple[Any, Any]] = None
        # Its producers know their home, and so would keep everybody else who was registered.
        # Straight into C, where no signal handler comes in between.
        weakref.finalize(self, self._ate_desk.channels.clear).atexit = False
        if diagnose:
            self._ate_desk.ledger.witness = places_of
        if callable(hooks):
            raise BadType(f"hooks must be a sequence of callables, not {hooks!r}")
        for hook in hooks:
            self.add_hook(hook)

    # -- who takes part ------------------------------------------------------------------------

    def register_result_producer(
        self, producer: Producer, topic: Hashable, *topics: Hashable, start: bool = False
    ) -> None:
        """Let *producer* answer requests on *topic* (and *topics*) sent from now on.

        Twice is once. With ``start=True`` it is started too, unless it was.

        Raises
        ------
        BadType
            *producer* is no Producer, forgot ``super().__init__()`` or does not override
            ``produce_dispatcher_output``; a topic is not hashable.
        DispatcherStopped
            After :meth:`stop`.
        ClockMismatch
            It serves a dispatcher of another clock.
        """
        self._ate_admit(producer, Producer, "producer", "produce_dispatcher_output")
        self._ate_register(producer, producer._ate_member, "producers", (topic, *topics), start)

    def register_result_listener(
        self, listener: ResultListener, topic: Hashable, *topics: Hashable, start: bool = False
    ) -> None:
        """Let *listener* hear every result on *topic* (and *topics*) accepted from now on.

        Parameters and errors as for :meth:`register_result_producer`.
        """
        self._ate_admit(listener, ResultListener, "listener", "process_dispatcher_result")
        self._ate_register(listener, listener, "listeners", (topic, *topics), start)

    def deregister_result_producer(self, producer: Producer, topic: Hashable) -> None:
        """Ask *producer* no more on *topic*; it still answers what it was asked.

        Silent if it was not registered, also after :meth:`stop`.
        """
        self._ate_desk.registry.discard(topic, "producers", producer)

    def deregister_result_listener(self, listener: ResultListener, topic: Hashable) -> None:
        """Let *listener* hear no results on *topic* that are accepted later. Silent likewise."""
        self._ate_desk.registry.discard(topic, "listeners", listener)

    # -- asking --------------------------------------------------------------------------------

    def send_request(
        self, topic: Hashable, *args: Any, ttl: Optional[float] = 5000, **kwargs: Any
    ) -> Handle:
        """Ask every producer of *topic*; never blocks.

        Parameters
        ----------
        topic: hashable
            Who is asked is fixed now: those registered for it, in the order of registration.
        args, kwargs
            Passed on by reference to ``produce_dispatcher_output(topic, *args, **kwargs)``.
        ttl: real number, optional
            Milliseconds from now; an answer stamped later is dropped. 0 takes what is there at
            once, None or ``inf`` sets no deadline. Not passed on.

        Returns
        -------
        Handle
            Wait for it, iterate over it, await it, or ignore it.

        Raises
        ------
        BadType, BadValue
            A *ttl* that is no number, negative or NaN; a *topic* that is not hashable.
        DispatcherStopped
            After :meth:`stop`. Before :meth:`start` a request is kept, its deadline runs.
        """
        return self._ate_desk.send(topic, args, kwargs, ttl)

    def producers(self) -> List[Producer]:
        """Everybody who is registered as a producer on any topic, disabled ones too."""
        return self._ate_desk.registry.participants("producers")

    def disable(self, producer: Producer, *, by: Optional[str] = None) -> None:
        """Do not ask *producer* on any topic until :meth:`enable`; it stays registered.

        What it has not begun is withdrawn from it soon (verdict ``WITHDRAWN``); what it has begun
        counts. Reports name it as ``off``. From anywhere; twice is harmless. Programs, such as
        hooks, say *by* whom: then it is off until everybody who has disabled it enables it.
        """
        desk = self._ate_desk
        self._ate_check_switch(producer, by)
        desk.registry.switch_off(producer, by)
        desk.post("withdraw", producer._ate_member)

    def enable(self, producer: Producer, *, by: Optional[str] = None) -> None:
        """Ask *producer* again from now on, whoever has disabled it; harmless if nobody has.

        With *by* it stays off if it was disabled by somebody else, too.
        """
        self._ate_check_switch(producer, by)
        self._ate_desk.registry.switch_on(producer, by)

    def options(
        self,
        *,
        ttl: Optional[float] = 5000,
        need: Union[Policy, int, Literal["all", "first"], None] = None,
        only: Optional[Some] = None,
        without: Some = (),
        ordering_key: Optional[Hashable] = None,
        barrier: Union[bool, float, None] = False,
    ) -> Sender:
        """A sender with the same ``send_request``, bound to these options.

        Options never mix with the keywords meant for producers: through a sender even ``ttl`` is
        passed on to them.

        Parameters
        ----------
        ttl: real number, optional
            As for :meth:`send_request`.
        need: Policy, int or str, optional
            When the request is over before its deadline; see ``ate_dispatcher.policies``. A number
            is a quorum; ``"first"`` and ``"all"``, the default, are what they say.
        only, without: producers or their names, optional
            Ask of the topic's producers only those, or all but those: one, or a sequence. One that
            is not registered for the topic is a BadValue at the send.
        ordering_key: hashable, optional
            A producer with several workers serves requests with equal keys in the order in which
            they were sent, one after the other; those with others, or without, meanwhile.
        barrier: bool or real number, optional
            True: nobody begins before all are at the start line, with their instruments; then they
            begin together, and ``report.skew_ms`` says how far apart. Who has a verdict already is
            not waited for. If not all are there at the deadline nobody begins (``SKIPPED``). A
            number: after so many milliseconds since the send it starts with those who are there;
            later ones begin when they come. Producers that share an exclusive instrument are a
            BadValue at the send.

        Raises
        ------
        BadType, BadValue
            Naming the option and the value.
        """
        milliseconds("ttl", ttl)
        desk = self._ate_desk
        key = None if ordering_key is None else desk.keys.the(ordering_key)
        return Sender(desk, ttl, options_of(need, only, without, key, barrier))

    # -- watching ------------------------------------------------------------------------------

    def add_hook(self, hook: Hook) -> None:
        """Call ``hook(event)`` for everything that happens from now on (``ate_dispatcher.events``).

        On one observers' thread, one at a time, in the order of events. A hook that raises is
        logged once and removed. One whose class has a method ``joins`` is told by
        ``joins(dispatcher)`` whom it serves, before.
        """
        if not callable(hook):
            raise BadType(f"hook must be callable, not {hook!r}")
        if isinstance(hook, type) and any("__call__" in vars(base) for base in hook.__mro__):
            raise BadType(f"hook must be one {hook.__name__}, not the class: {hook.__name__}(...)")
        joins = getattr(type(hook), "joins", None)
        if callable(joins):
            joins(hook, self)
        self._ate_desk.observers.add(hook)
        self._ate_desk.post("observe")

    def remove_hook(self, hook: Hook) -> None:
        """Do not call *hook* any more; silent if it was not there."""
        self._ate_desk.observers.remove(hook)

    def statistics(self) -> Statistics:
        """The sums over the dispatcher's life, by verdict and by reason of the end."""
        desk = self._ate_desk
        over = [data[0] for what, data in desk.inbox.items.copy() if what == "nobody"]
        return statistics_of(desk.ledger, over)

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; what was sent before is scattered now, if it has not expired."""
        if _log.logger.isEnabledFor(logging.DEBUG) and self.ident is None:
            self.add_hook(_log_traffic)
        _remember(self)
        if self._ate_aside is not None:
            # It was stopped before. Two threads cannot be at its bell at once.
            self._ate_desk.clock.join(*self._ate_aside, NEVER)
        super().start()

    def run(self) -> None:
        """The thread's loop, until :meth:`stop`. Subclasses may wrap it."""
        self._ate_keeper.run()

    def stop(self, immediate: bool = False, drain: Optional[float] = 2000) -> None:
        """Take nothing new, end what is open, stop the participants; returns at once.

        Open requests run to their end, but for at most *drain* milliseconds (None: until their
        deadlines); the rest end as ``STOPPED``. Then the listeners are stopped, which finish what
        they have got. Harmless twice (the shorter drain counts) and before ``start()``.

        Parameters
        ----------
        immediate: bool
            Do not wait: open requests end as ``STOPPED`` now, and nobody begins a queued one.
        drain: real number or None
            Milliseconds.
        """
        if not isinstance(immediate, (bool, int)):
            raise BadType(f"immediate must be True or False, not {immediate!r}")
        desk = self._ate_desk
        until = desk.now() + milliseconds("drain", drain)
        unstarted = self.ident is None
        if desk.refusal is None:
            desk.refusal = (
                f"{_log.name_of(self)} was stopped; make a new dispatcher to send requests"
            )
            desk.gate.append(SHUT)
        desk.post("stop", bool(immediate or unstarted), until)
        if unstarted and (desk.inbox.items or desk.channels):
            # Nobody may ever start it, but what it keeps has to end, and its participants to stop.
            self._ate_run_aside()

    def __enter__(self) -> Self:
        if self.ident is None:
            self.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        desk = self._ate_desk
        until = desk.now() + _EXIT_MS / 1000
        threads: List[Any] = [self]
        if kind is None:
            threads += desk.registry.participants("producers")
            threads += desk.registry.participants("listeners")
            # Without arguments: a subclass may have overridden it as 0.1.0 had it.
            self.stop()
        else:
            self.stop()
            Dispatcher.stop(self, immediate=True)
        _join_all(threads, desk.clock, until)
        self._ate_join_observers(until)

    # -- inside --------------------------------------------------------------------------------

    def _ate_admit(self, participant: Any, kind: Any, parameter: str, method: str) -> None:
        if not isinstance(participant, kind):
            raise BadType(f"{parameter} must be a {kind.__name__}, not {participant!r}")
        if isinstance(participant, Producer) and isinstance(participant, ResultListener):
            raise BadType(f"{parameter} must not be a Producer and a ResultListener at once")
        shown = type(participant).__qualname__
        if "_ate_mailbox" not in participant.__dict__:
            raise BadType(f"{parameter} of class {shown} has not called super().__init__()")
        inherited = getattr(type(participant), method) is getattr(kind, method)
        if inherited and method not in participant.__dict__:
            raise BadType(f"{parameter} of class {shown} does not override {method}")

    def _ate_register(
        self, participant: Any, entry: Any, side: str, topics: Tuple[Hashable, ...], start: bool
    ) -> None:
        desk = self._ate_desk
        for topic in topics:
            try:
                hash(topic)
            except TypeError as error:
                raise unhashable(topic, error) from error
        if desk.refusal is not None:
            raise DispatcherStopped(desk.refusal)
        participant._ate_join_clock(desk.clock)
        if side == "producers":
            entry.serves(desk)
            if entry.home is None:
                entry.settle_at(desk)
                participant._ate_mailbox.attend()
        heeding = side == "listeners" and participant._ate_heeds(COMPLETION)
        seat = Seat(participant, entry, participant._ate_mailbox, heeding)
        for topic in topics:
            desk.registry.add(topic, side, seat)
        if desk.refusal is not None:
            # A stop came in between and may not have seen it.
            for topic in topics:
                desk.registry.discard(topic, side, participant)
            raise DispatcherStopped(desk.refusal)
        if start and participant.ident is None:
            participant.start()

    def _ate_check_switch(self, producer: Producer, by: Optional[str]) -> None:
        if not isinstance(producer, Producer):
            raise BadType(f"producer must be a Producer, not {producer!r}")
        if by is not None and not isinstance(by, str):
            raise BadType(f"by must be text, not {by!r}")

    def _ate_run_aside(self) -> None:
        """Let the keeper stop what was never started, on a thread that nobody joins."""
        clock, run = self._ate_desk.clock, partial(self._ate_keeper.run, True)
        try:
            if clock is REAL:
                spawn_raw(run)
            elif self._ate_aside is None:
                bell = clock.bell()
                self._ate_aside = spawn(clock, run, f"{_log.name_of(self)}-stopper", bell), bell
        except RuntimeError:
            # The interpreter exits and gives no more threads.
            run()

    def _ate_join_observers(self, until: float) -> None:
        desk, thread = self._ate_desk, self._ate_keeper.observers_thread
        if thread is not None and thread is not threading.current_thread():
            desk.clock.join(thread, desk.observers.mailbox.bell, until)

    def _ate_ends(self) -> None:
        # Does nothing if the keeper ran to its end; a subclass's `run` may have missed it.
        self._ate_desk.post("stop", True, self._ate_desk.now())
        self._ate_keeper.run(only_stop=True)

    def _ate_forked(self) -> None:
        # What is open ends here.
        desk = self._ate_desk
        desk.refusal = (
            f"{_log.name_of(self)} is a copy in a forked child; make a new dispatcher there"
        )
        desk.gate.append(SHUT)
        desk.renew()
        try:
            desk.ledger.stopped(desk.now(), False, 1 << 62)
        except Exception as error:
            # A thread that is not there may have been in the middle of it.
            _log.lost("what %s had open was lost in the fork: %r", _log.name_of(self), error)
        for entry in desk.ledger.open_requests():
            entry.ended = desk.now()
            entry.completion = Completion.STOPPED
        desk.inbox.alert = DEAD
        desk.post_mortem()


ATEDispatcher = Dispatcher
"""The name of 0.1.0."""


class Sender:
    """``send_request`` with fixed options; made by :meth:`Dispatcher.options`, reusable."""

    __slots__ = ("_desk", "_options", "_ttl")

    def __init__(self, desk: Any, ttl: Optional[float], options: Optional[Options]) -> None:
        self._desk = desk
        self._ttl = ttl
        self._options = options

    def send_request(self, topic: Hashable, *args: Any, **kwargs: Any) -> Handle:
        """As :meth:`Dispatcher.send_request`; every keyword goes to the producers."""
        desk, ttl, options = self._desk, self._ttl, self._options
        if options is not None:
            return send_with(desk, topic, args, kwargs, ttl, options)
        handle: Handle = desk.send(topic, args, kwargs, ttl)
        return handle


class _NameOf:
    """The name of a dispatcher, without keeping it alive."""

    def __init__(self, owner: Dispatcher) -> None:
        self._owner = weakref.ref(owner)

    def __call__(self) -> str:
        owner = self._owner()
        return "Dispatcher" if owner is None else _log.name_of(owner)


def _log_traffic(event: Any) -> None:
    _log.report(logging.DEBUG, "%s", event)


# -- exit and fork -----------------------------------------------------------------------------

_started: Dict[int, weakref.ref[Dispatcher]] = {}


def _remember(dispatcher: Dispatcher) -> None:
    key = id(dispatcher)
    _started[key] = weakref.ref(dispatcher, partial(_started.pop, key))


def _join_all(threads: Sequence[Any], clock: Clock, until: float) -> None:
    """Wait for *threads* until then, all together, but for the calling one."""
    for thread in threads:
        if thread.ident is not None and thread is not threading.current_thread():
            clock.join(thread, thread._ate_mailbox.bell, until)


def _at_exit() -> None:
    """A forgotten ``stop()``: drain, let listeners finish, then let the interpreter go."""
    dispatchers = [d for d in (ref() for ref in list(_started.values())) if d is not None]
    for dispatcher in dispatchers:
        Dispatcher.stop(dispatcher, drain=_EXIT_MS)
    for dispatcher in dispatchers:
        clock = dispatcher._ate_desk.clock
        try:
            _join_all([dispatcher], clock, clock.now() + _EXIT_MS / 1000 + 0.5)
            dispatcher._ate_join_observers(clock.now() + _EXIT_MS / 1000)
        except DispatcherError as error:
            # Only a virtual clock refuses to wait.
            _log.lost("gave up waiting for %s at exit: %s", _log.name_of(dispatcher), error)
    workers = [w for w in (ref() for ref in list(_workers.alive.values())) if w is not None]
    listeners = [w for w in workers if isinstance(w, ResultListener)]
    # All together have that long, on each clock.
    untils: Dict[int, float] = {}
    for listener in listeners:
        Worker.stop(listener)
    for listener in listeners:
        clock = listener._ate_clock or REAL
        untils.setdefault(id(clock), clock.now() + _EXIT_MS / 1000)
        try:
            _join_all([listener], clock, untils[id(clock)])
        except DispatcherError as error:
            _log.lost("gave up waiting for %s at exit: %s", _log.name_of(listener), error)
        left = len(listener._ate_mailbox.items) - 1
        if listener.is_alive() and left > 0:
            _log.lost("%s left %d messages unread at exit", _log.name_of(listener), left)


def _after_fork() -> None:
    for reference in list(_started.values()):
        dispatcher = reference()
        if dispatcher is not None:
            dispatcher._ate_forked()
    _started.clear()
    for worker_reference in list(_workers.alive.values()):
        worker = worker_reference()
        if worker is not None:
            worker._ate_forked()
    _workers.alive.clear()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
