"""The producer that users subclass: it answers requests, on a thread of its own."""

from __future__ import annotations

import weakref
from collections import abc
from functools import partial
from threading import current_thread
from typing import (
    Any,
    Callable,
    Dict,
    Hashable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from .._arguments import check_awaited, count, is_async
from .._core.outcomes import Standing
from .._delivery.keyed_mailbox import KeyedMailbox
from .._delivery.local_member import LocalMember, LocalWorker
from .._delivery.sentinels import Leaving
from .._engine.engine import Engine
from .._engine.gather import engines_of
from .._engine.inline import InlineClock
from .._engine.serve import serve_all
from .._engine.sweep import decline, ended
from .._time.clock import REAL
from ..errors import BadType, BadValue
from .current_request import OfTheMoment
from .inline_life import InlineLife
from .participant import Life, Participant
from .rigging import run_rigged

__all__ = ["Exclusive", "Producer"]

_Names = Union[str, Sequence[str], None]

Exclusive = Union[_Names, Mapping[Hashable, _Names]]
"""Names of instruments: one, several, or none; for all topics, or for each."""


class Producer(Participant):
    """Answers requests: subclass it and override :meth:`produce_dispatcher_output`.

    Or give it a function. Where that is ``async def`` the producer has no thread: it lives on an
    event loop, together with all others of its kind, and must not block there. The end of a request
    cancels its coroutine. ``on_start`` and ``on_stop`` may be ``async def`` as well.

    ``stop()`` finishes what is queued, then ends the thread; ``start()`` may come before or after
    registering. One producer may be registered for many topics and with several dispatchers.

    Parameters
    ----------
    target: callable, optional
        What is called in the place of :meth:`produce_dispatcher_output`, with the same arguments.
    name: str, optional
        By default that of *target*, or the class's name and a number.
    daemon: bool, optional
        Whether its thread keeps the interpreter alive; True by default: it does not.
    stream: bool, optional
        When the method is a generator, each value that it yields is a reply of its own, and its
        end is the one verdict; once nobody wants more it is closed at the next value. Otherwise a
        generator is a value like any other; an asynchronous one is refused.
    exclusive: str, sequence of str, or mapping of topics or patterns to these, optional
        The instruments that it needs for itself alone. Of all producers that name one of them, one
        at a time is in its method for requests of the same dispatcher; who comes first is served
        first, and who names several gets them all at one moment. If the request ends before it has
        them it is not executed (verdict ``SKIPPED``). A mapping has the instruments of each topic
        that needs any: ``{"volts": "psu1"}``.
    workers: int, optional
        How many requests it may serve at a time, each on a thread of its own: the method must allow
        that. The first is its own thread, on which ``run()`` is; the others are daemons called
        ``<name>/2`` and so on. (If it is ``async def``, each in a task.) Requests are begun in
        order; those of one ``options(ordering_key=...)`` are also served one after the other.
    maxsize: int, optional
        How many requests may wait for it, besides those that it is at; any number by default. What
        is sent to it when it is full it declines at once (verdict ``DECLINED``).

    Raises
    ------
    BadType, BadValue
        Naming the parameter and the value.
    """

    def __init__(
        self,
        target: Optional[Callable[..., Any]] = None,
        *,
        name: Optional[str] = None,
        daemon: bool = True,
        stream: bool = False,
        exclusive: Exclusive = (),
        workers: int = 1,
        maxsize: Optional[int] = None,
    ) -> None:
        """All are optional, and keyword arguments but the first; see the class."""
        if not isinstance(stream, bool):
            raise BadType(f"stream must be True or False, not {stream!r}")
        if target is not None:
            check_awaited("target", target, streams=stream)
        workers = count("workers", workers, "threads")
        on_topics: Optional[Dict[Hashable, Tuple[str, ...]]] = None
        if isinstance(exclusive, abc.Mapping):
            on_topics = {topic: _instrument_names(some) for topic, some in exclusive.items()}
            names = tuple(dict.fromkeys(name for some in on_topics.values() for name in some))
        else:
            names = _instrument_names(exclusive)
        size = None if maxsize is None else count("maxsize", maxsize, "requests")
        super().__init__(name=name, daemon=daemon, target=target)
        if target is not None:
            self.__dict__["produce_dispatcher_output"] = target
        if workers > 1:
            self._ate_mailbox = KeyedMailbox()
            self._ate_place = REAL, self._ate_mailbox.parker
        self._ate_stream = stream
        self._ate_workers = workers
        self._ate_member = LocalMember(self, self._ate_mailbox, names, on_topics)
        self._ate_mailbox.owner = self._ate_member
        if size is not None:
            self._ate_mailbox.limit(size, partial(decline, self._ate_member))

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer one request: override this.

        Called on this producer's own thread, one request at a time, in the order they were sent
        (with ``workers=n`` on n threads, n at a time); may block as long as it likes. If it is
        ``async def``: each request in a task of an event loop, which it must not block. What it
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

    def on_start(self) -> Any:
        """Set up what belongs to its thread, such as a connection; before the first request.

        Override it; it does nothing here. On this producer's own thread, or its event loop, once,
        also with several workers. If it raises that is logged, and the producer ends: what waits
        for it, and what is sent later, is ``DECLINED``.
        """

    def on_stop(self) -> Any:
        """Clean up, after the last request. Likewise; not called if :meth:`on_start` raised.

        The end of a ``with`` block and that of the interpreter wait for who overrides this, for 2
        seconds at most; a program that goes on after ``stop()`` calls this producer's ``join()``.
        """

    request: OfTheMoment = OfTheMoment()
    """What :func:`current_request` gives, which inside the method is never None.

    Elsewhere, and of another producer, a DispatcherError. An attribute of that name in a subclass
    or on the object takes its place.
    """

    def run(self) -> None:
        """The thread's loop, until ``stop()``. Subclasses may wrap it."""
        mailbox, member = self._ate_mailbox, self._ate_member
        # Only a dispatcher sends requests: while none has it, what comes is STOP.
        while self._ate_workers > 1 and not member.engines and not mailbox.items:
            mailbox.park()
        serve_all(self._ate_clock or REAL, self, member)

    def _ate_put_stop(self, engines: Optional[List[Engine]] = None) -> None:
        # Behind what was sent to it and is still to be handed out, by one dispatcher after the
        # other, each once: what comes later need not be waited for.
        if engines is None:
            engines = engines_of(self._ate_member)
        while engines:
            engine = engines.pop()
            if engine.hands_out_first():
                engine.hold(Leaving(partial(self._ate_put_stop, engines)))
                return
        super()._ate_put_stop()
        for worker in self._ate_member.workers:
            # Its thread may wait for room with a listener.
            if isinstance(worker, LocalWorker) and worker.server is None:
                worker.unpark()

    def _ate_joins(self, engine: Engine) -> None:
        """It is registered with *engine*, perhaps again."""
        engines = self._ate_member.engines
        engines[engine.number] = weakref.ref(engine, partial(engines.pop, engine.number))
        unjudged = self._ate_member.unjudged
        for number in [each for each in list(unjudged) if each not in engines]:
            # It hangs, or never began, and those who asked it are gone.
            unjudged.pop(number, None)
        # Several workers begin when there is somebody to work for.
        self._ate_mailbox.attend()

    def _ate_begins(self) -> None:
        if self._ate_member.standing is Standing.NOT_STARTED:
            self._ate_member.standing = Standing.QUEUED

    def _ate_not_begun(self) -> None:
        if self._ate_member.standing is Standing.QUEUED:
            self._ate_member.standing = Standing.NOT_STARTED

    def _ate_inline_life(self, clock: InlineClock) -> Life:
        return InlineLife(clock, self)

    def _ate_why_not_inline(self) -> str:
        if self._ate_workers > 1:
            return f"it has {self._ate_workers} workers"
        return super()._ate_why_not_inline()

    def _ate_run(self) -> None:
        self._ate_fails(run_rigged(self))

    def _ate_fails(self, failure: Optional[str]) -> None:
        self._ate_member.failure = failure

    def _ate_awaited(self) -> Any:
        workers = [each for each in self._ate_member.workers if isinstance(each, LocalWorker)]
        found = [each._ate_awaited() for each in workers]
        return next((each for each in found if each is not None), None)

    def _ate_is_async(self) -> bool:
        return self._ate_threadless is not None or is_async(self.produce_dispatcher_output)

    def _ate_new_life(self) -> Life:
        from .event_loop import LoopLife, serve_all

        return LoopLife(self, lambda loop: serve_all(loop, self, self._ate_member))

    def _ate_forked(self) -> None:
        super()._ate_forked()
        member = self._ate_member
        if current_thread() is not self:
            member.standing = Standing.DEAD
        for worker in member.workers:
            if isinstance(worker, LocalWorker) and worker.runs_here():
                if isinstance(self._ate_mailbox, KeyedMailbox):
                    self._ate_mailbox.forked()
            else:
                worker.running = worker.claim = None

    def _ate_ends(self) -> None:
        member = self._ate_member
        member.standing = Standing.DEAD
        # Registered and asked meanwhile? Who looks at the attention from now on sees to it itself.
        ended(member)


def _instrument_names(exclusive: Any) -> Tuple[str, ...]:
    """One name or several, each once, as plain strings: they are compared inside the section."""
    names = () if exclusive is None else (exclusive,) if isinstance(exclusive, str) else exclusive
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise BadType(f"exclusive must be a name or a sequence of names, not {exclusive!r}")
    if not all(names):
        raise BadValue(f"exclusive must be names that are not empty, not {exclusive!r}")
    return tuple(dict.fromkeys(str.__str__(name) for name in names))
