"""The facade that users hold: one request to many, and what comes in time.

>>> from ate_dispatcher import Dispatcher, Producer
>>> class Site(Producer):
...     def produce_dispatcher_output(self, topic, *args, **kwargs):
...         return sum(args)
>>> with Dispatcher() as dispatcher:
...     site = dispatcher.register_result_producer(Site(), "add", start=True)
...     dispatcher.send_request("add", 1, 2, ttl=1000).results()
[3]
"""

from __future__ import annotations

import logging
import weakref
from functools import partial
from threading import Thread, current_thread
from types import TracebackType
from typing import Any, Callable, Dict, Hashable, List, Optional, Sequence, Tuple, Type, Union

from typing_extensions import Literal, Self

from . import _log
from ._arguments import check_callable
from ._core.durations import NEVER, milliseconds
from ._core.outcomes import Completion
from ._core.statistics import Statistics
from ._delivery.overflow import Overflow
from ._engine.delivery import Delivery
from ._engine.engine import Engine, Order
from ._engine.handle import Handle
from ._engine.inline import InlineClock, InlineEngine, InlineLoop, loop_of
from ._engine.options import check_keywords, options_of
from ._engine.process import (
    EXIT_SECONDS,
    at_exit,
    drain_before_executors,
    living_dispatchers,
    living_participants,
    made,
    remember,
    started,
    unstarted_dispatchers,
)
from ._engine.publish import publish, unheard_results
from ._engine.scatter import send
from ._engine.waiting import beside_the_loop
from ._observing.observers import Hook
from ._observing.stacks import witness
from ._participants.connection import Connecting
from ._participants.inline_life import DispatcherLife
from ._participants.listener import ResultListener
from ._participants.participant import Life, Participant
from ._participants.producer import Producer
from ._participants.registrar import Registrar
from ._participants.rigging import cleans_up
from ._participants.sender import UNNAMED, Sender
from ._participants.subscription import Stream
from ._time.clock import REAL, Clock, spawn, spawn_raw
from .errors import BadType, BadValue, DispatcherError, DispatcherStopped
from .policies import Policy

__all__ = ["ATEDispatcher", "Dispatcher", "Producer", "ResultListener", "Sender"]

Some = Union[Producer, str, Sequence[Union[Producer, str]]]
"""One producer or its name, or several."""


_NAMES = ("need", "only", "without", "ordering_key", "barrier", "context", "members")
_STOPPED = Completion.STOPPED


class Dispatcher(Connecting):
    """Sends each request to the producers of its topic and their timely answers to its listeners.

    A thread, like producers and listeners: ``start()``, ``stop()``, ``join()``, in any order with
    the registrations; or ``with Dispatcher() as dispatcher:``, which starts it, and at the end
    stops and joins it and its participants (in a coroutine ``async with``, which blocks no loop).
    Every method may be called from any thread, from a callback, a signal handler or a finalizer;
    those that wait say so.

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
    inline: bool, optional
        Without threads: everything happens on the thread of the call, breadth first, in the order
        of the registrations. For tests and small programs. ``start()`` starts nothing, but lets
        participants have their turns. One thread at a time; whatever would wait for itself, or
        needs a thread, is refused.
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
        inline: bool = False,
    ) -> None:
        """Make a dispatcher; see the class. Starts nothing."""
        super().__init__(name=name, daemon=daemon)
        for method in [name for name in vars(Clock) if not name.startswith("_")]:
            if clock is not None and not callable(getattr(clock, method, None)):
                raise BadType(f"clock must have the method {method}(), {clock!r} has not")
        remember(made, self)
        self._ate_engine = InlineEngine(clock or REAL) if inline else Engine(clock or REAL)
        self._ate_mailbox = self._ate_engine.orders
        self._ate_join_clock(self._ate_engine.clock)
        self._ate_loop = loop_of(self._ate_engine, _log.NameOf(self))
        #: The thread, with its parker, that has stopped it before it was started.
        self._ate_aside: Optional[Tuple[Any, Any]] = None
        self._ate_engine.owner = weakref.ref(self)
        for each in self._ate_engine.at_drop():
            weakref.finalize(self, each).atexit = False
        if diagnose:
            self._ate_engine.ledger.ends.witness = witness
        if callable(hooks):
            raise BadType(f"hooks must be a sequence of callables, not {hooks!r}")
        for hook in hooks:
            self.add_hook(hook)

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
            A *ttl* that is no number, negative or NaN; a *topic* that is not hashable, or is a
            TopicPattern. Arguments that cannot travel, if somebody elsewhere is to be asked.
        ConnectionFailed
            Somebody elsewhere is to be asked, and too much waits for the connection already.
        DispatcherStopped
            After :meth:`stop`. Before :meth:`start` a request is kept, its deadline runs.
        """
        if kwargs:
            check_keywords(kwargs)
        return send(self._ate_engine, topic, args, kwargs, ttl)

    def publish(
        self,
        topic: Hashable,
        value: Any,
        *,
        ttl: Optional[float] = None,
        ordering_key: Optional[Hashable] = None,
        room_ms: Optional[float] = 0,
    ) -> Delivery:
        """Let every listener of *topic* hear *value*; never blocks, unless *room_ms* says so.

        All listeners hear values and results in one order: that of the publishing, and for results
        of their arrival. Before :meth:`start` a value is kept.

        Parameters
        ----------
        topic: hashable
            Who hears it is fixed now: those registered for it.
        value: object
            Passed on by reference to ``process_dispatcher_result(topic, value)``.
        ttl: real number, optional
            Milliseconds from now: a listener that has not begun to hear it by then does not
            (verdict ``SKIPPED``). By default it is heard however late.
        ordering_key: hashable, optional
            A listener with several workers hears values with equal keys one after the other.
        room_ms: real number, optional
            Milliseconds that it may wait here for room in the mailboxes of listeners with a
            ``maxsize`` that ``BLOCK``; None without limit. Who has none by then does not hear it
            (verdict ``DECLINED``); the others do. A stop ends that wait.

        Returns
        -------
        Delivery
            Wait for it, await it, or ignore it.

        Raises
        ------
        BadType, BadValue
            A *ttl* or *room_ms* that is no number, negative or NaN; a *topic* that is not hashable,
            or is a TopicPattern.
        DispatcherStopped
            After :meth:`stop`.
        """
        return publish(self._ate_engine, topic, value, ttl, ordering_key, room_ms)

    def subscribe(
        self,
        topic: Hashable,
        *topics: Hashable,
        maxsize: Optional[int] = None,
        overflow: Overflow = Overflow.DROP_OLDEST,
        count: Optional[int] = None,
    ) -> Stream:
        """A stream of what is published, and what results come, on *topic* (and *topics*).

        It takes in from its ``with`` on, and is read by ``for``, ``async for`` or ``get()``.

        Parameters
        ----------
        maxsize: int, optional
            How many items may wait to be read; any number by default.
        overflow: Overflow, optional
            What becomes of the next one then. ``DISCONNECT`` ends the stream with `SlowConsumer`.
        count: int, optional
            It ends after so many items.

        Raises
        ------
        BadType, BadValue
            Naming the parameter and the value.
        DispatcherStopped
            From its ``with``, after :meth:`stop`.
        """
        return Stream(self._ate_engine, (topic, *topics), maxsize, overflow, count)

    def options(
        self,
        *,
        ttl: Optional[float] = UNNAMED,
        need: Union[Policy, int, Literal["all", "first"], None] = None,
        only: Optional[Some] = None,
        without: Some = (),
        ordering_key: Optional[Hashable] = None,
        barrier: Union[bool, float, None] = False,
        context: bool = False,
        members: Optional[Literal["open"]] = None,
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
            is not registered for the topic is a BadValue at the send, which says who is.
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

        context: bool, optional
            Whether context variables (``contextvars``) have in the producers' method, and in what
            it yields, the values that they have at the send.
        members: str, optional
            ``"open"``: ask the topic's producers on this machine, and on others whoever answers:
            also programs without this package. They are no members, since nobody knows how many
            they are; so it ends at its ttl, or when *need* is met. After :meth:`connect`.

        Raises
        ------
        BadType, BadValue
            Naming the option and the value.
        """
        milliseconds("ttl", ttl)
        engine = self._ate_engine
        if barrier and isinstance(engine, InlineEngine):
            raise BadValue("barrier: an inline dispatcher begins one after the other")
        key = None if ordering_key is None else engine.keys.intern(ordering_key)
        options = options_of(need, only, without, key, barrier, context, members)
        named = (need, only, without or None, ordering_key, barrier or None, context or None)
        return Sender(engine, ttl, options, dict(zip(_NAMES, (*named, members))))

    # -- watching ------------------------------------------------------------------------------

    def add_hook(self, hook: Hook) -> None:
        """Call ``hook(event)`` for everything that happens from now on (``ate_dispatcher.events``).

        On one observers' thread, one at a time, in the order of events. A hook that raises is
        logged once and removed. One whose class has a method ``joins`` is told by
        ``joins(dispatcher)`` whom it serves, before.
        """
        check_callable("hook", hook)
        if isinstance(hook, type) and any("__call__" in vars(base) for base in hook.__mro__):
            raise BadType(f"hook must be one {hook.__name__}, not the class: {hook.__name__}(...)")
        joins = getattr(type(hook), "joins", None)
        if callable(joins):
            check_callable("joins of hook", joins)
            joins(hook, self)
        self._ate_engine.observers.add(hook)
        self._ate_engine.post(Order.OBSERVE)

    def remove_hook(self, hook: Hook) -> None:
        """Do not call *hook* any more; silent if it was not there."""
        self._ate_engine.observers.remove(hook)

    def statistics(self) -> Statistics:
        """The sums over the dispatcher's life, by verdict and by reason of the end."""
        engine = self._ate_engine
        published, heard = engine.heard()
        return engine.ledger.sums.shown(
            engine.ledger.open.all(), engine.over_meanwhile(), published, heard, engine.lost
        )

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; what was sent before is scattered now, if it has not expired."""
        if _log.logger.isEnabledFor(logging.DEBUG) and self.ident is None:
            self.add_hook(_log_traffic)
        remember(started, self)
        drain_before_executors()
        if self._ate_aside is not None:
            # It was stopped before. Two threads cannot be at its parker at once.
            self._ate_engine.clock.join(*self._ate_aside, NEVER)
        super().start()

    def run(self) -> None:
        """The thread's loop, until :meth:`stop`. Subclasses may wrap it."""
        self._ate_loop.run()

    def stop(self, *, immediate: bool = False, drain: Optional[float] = 2000) -> None:
        """Take nothing new, end what is open, stop the participants; returns at once.

        Open requests run to their end, but for at most *drain* milliseconds (None: until their
        deadlines); the rest end as ``STOPPED``. Until then listeners also hear what was published,
        and participants may publish from their methods; what is not heard by then is withdrawn,
        with a word in the log. Then the listeners are stopped, which finish the results that they
        have got. Harmless twice (the shorter drain counts) and before ``start()``.

        Parameters
        ----------
        immediate: bool
            Do not wait: open requests end as ``STOPPED`` now, and nobody begins a queued one.
        drain: real number or None
            Milliseconds.
        """
        if not isinstance(immediate, bool):
            raise BadType(f"immediate must be True or False, not {immediate!r}")
        engine = self._ate_engine
        until = engine.now() + milliseconds("drain", drain)
        unstarted = self.ident is None
        engine.gate.refuse(f"{_log.name_of(self)} was stopped; make a new dispatcher")
        engine.post(Order.STOP, bool(immediate or unstarted), until)
        if unstarted and (engine.orders.items or any(engine.registry.tables())):
            # Nobody may ever start it, but what it keeps has to end, and its participants to stop.
            self._ate_run_aside()

    def __enter__(self) -> Self:
        if self.ident is None:
            self.start()
        elif self._ate_engine.gate.refusal is not None:
            raise DispatcherStopped(self._ate_engine.gate.refusal)
        return self

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._ate_engine.clock is not REAL:
            # Virtual time does not pass in an event loop; here it takes no time.
            self.__exit__(kind, error, traceback)
            return
        # That may take 2 seconds: the event loop goes on meanwhile.
        await beside_the_loop(self._ate_leave(kind))

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._ate_leave(kind)()

    # -- inside --------------------------------------------------------------------------------

    def _ate_leave(self, kind: Any) -> Callable[[], None]:
        """Stop, at the end of a ``with`` block; what is returned waits for who is to end."""
        engine = self._ate_engine
        until = engine.now() + EXIT_SECONDS
        threads = [*Registrar.producers(self), *Registrar.listeners(self)]
        # In a hurry only those are waited for that have to switch something off.
        threads = [self, *(each for each in threads if kind is None or cleans_up(each))]
        if kind is None:
            # Without arguments: a subclass may have overridden it as 0.1.0 had it.
            self.stop()
        else:
            self.stop()
            Dispatcher.stop(self, immediate=True)
        return partial(self._ate_see_off, threads, until)

    def _ate_see_off(self, threads: List[Any], until: float) -> None:
        """Wait for *threads* until then, and say who is left behind."""
        _join_all(threads, until)
        self._ate_join_links(until)
        self._ate_join_observers(until)
        left = [each for each in threads if not each._ate_is_here() and each.is_alive()]
        if left:
            _log.lost(
                "%g s after the end of the with block these have not ended: %s",
                EXIT_SECONDS,
                ", ".join(map(_log.name_of, left)),
            )

    def _ate_run_aside(self) -> None:
        """Let the control loop stop what was never started, on a thread that nobody joins."""
        clock, run = self._ate_engine.clock, partial(self._ate_loop.run, True)
        try:
            if clock is REAL:
                # A signal handler may be at it, which must not wait for a lock of `threading`.
                spawn_raw(partial(_start_thread, run, f"{_log.name_of(self)}-stopper"))
            elif self._ate_aside is None:
                parker = clock.parker()
                self._ate_aside = spawn(clock, run, f"{_log.name_of(self)}-stopper", parker), parker
        except RuntimeError:
            # The interpreter exits and gives no more threads.
            run()

    def _ate_is_busy(self) -> bool:
        """Whether something is open that can end while one waits; at the exit."""
        engine = self._ate_engine
        return self.is_alive() and engine.clock is REAL and bool(engine.ledger.open)

    def _ate_join_observers(self, until: float) -> None:
        engine, thread = self._ate_engine, self._ate_loop.observers_thread
        if thread is not None and thread is not current_thread():
            engine.clock.join(thread, engine.observers.mailbox.parker, until)

    def _ate_inline_life(self, clock: InlineClock) -> Life:
        assert isinstance(self._ate_loop, InlineLoop)
        return DispatcherLife(clock, self._ate_loop)

    def _ate_begins(self) -> None:
        self._ate_engine.starts = True

    def _ate_not_begun(self) -> None:
        self._ate_engine.starts = False

    def _ate_ends(self) -> None:
        # Does nothing if the control loop ran to its end; a subclass's `run` may have missed it.
        self._ate_engine.post(Order.STOP, True, self._ate_engine.now())
        self._ate_loop.run(only_stop=True)

    def _ate_forked(self) -> None:
        name = _log.name_of(self)
        self._ate_engine.forked(f"{name} is a copy in a forked child; make a new dispatcher there")


ATEDispatcher = Dispatcher
"""The name of 0.1.0."""


def _log_traffic(event: Any) -> None:
    fields = {name: getattr(event, name, None) for name in ("request", "topic", "producer")}
    _log.report(logging.DEBUG, "%s", event, **fields)


def _start_thread(run: Any, name: str) -> None:
    """On a thread that has no name: give way to one that has."""
    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        run()


# -- exit --------------------------------------------------------------------------------------


def _join_all(threads: Sequence[Any], until: float) -> None:
    """Wait for *threads* until then, all together, but for the calling one."""
    for thread in threads:
        if thread._ate_was_started() and not thread._ate_is_here():
            thread._ate_join_until(until)


def _stop_all_at_exit() -> None:
    """A forgotten ``stop()``: drain, let listeners finish, then let the interpreter go."""
    for each in unstarted_dispatchers():
        kept = len(each._ate_engine.gate)
        if kept and each._ate_engine.gate.refusal is None:
            said = "%s was never started: %d requests and values were kept for that"
            _log.lost(said, _log.name_of(each), kept)
    dispatchers: List[Dispatcher] = living_dispatchers()
    before = [dispatcher.statistics().completions for dispatcher in dispatchers]
    for dispatcher in dispatchers:
        Dispatcher.stop(dispatcher, drain=EXIT_SECONDS * 1000)
    for dispatcher in dispatchers:
        clock = dispatcher._ate_engine.clock
        try:
            _join_all([dispatcher], clock.now() + EXIT_SECONDS + 0.5)
            dispatcher._ate_join_links(clock.now() + EXIT_SECONDS)
            dispatcher._ate_join_observers(clock.now() + EXIT_SECONDS)
        except DispatcherError as error:
            # Only a virtual clock refuses to wait.
            _log.lost("gave up waiting for %s at exit: %s", _log.name_of(dispatcher), error)
    for dispatcher, then in zip(dispatchers, before):
        cut = dispatcher.statistics().completions[_STOPPED] - then[_STOPPED]
        if cut:
            said = "the exit cut %d open requests of %s short: wait for them, or join() it"
            _log.lost(said, cut, _log.name_of(dispatcher))
    # Listeners have still to hear what is theirs, and others to switch something off.
    there = living_participants()
    last = [each for each in there if isinstance(each, ResultListener) or cleans_up(each)]
    # All together have that long, on each clock.
    untils: Dict[int, float] = {}
    for each in last:
        Participant.stop(each)
    for each in last:
        clock = each._ate_clock or REAL
        untils.setdefault(id(clock), clock.now() + EXIT_SECONDS)
        try:
            _join_all([each], untils[id(clock)])
        except DispatcherError as error:
            _log.lost("gave up waiting for %s at exit: %s", _log.name_of(each), error)
        left = unheard_results(each._ate_mailbox) if isinstance(each, ResultListener) else 0
        if each.is_alive() and left:
            _log.lost("%s left %d results and reports unread at exit", _log.name_of(each), left)


at_exit.append(_stop_all_at_exit)
