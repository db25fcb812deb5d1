"""What a producer does whose methods are coroutines, in an event loop: no thread for each worker.

A worker serves each request in a task of its own, which takes the request in its first step, so
that none begins before its coroutine does, and hands the answer in straight after that has
returned. Between two tasks nothing of it is in the loop; who unparks it has the next one made.

Everything here runs in the event loop but what says that it may be called from anywhere.
"""

from __future__ import annotations

import asyncio
from collections import abc
from contextvars import Context, copy_context
from typing import Any, Optional, Tuple

from .._core.durations import NEVER
from .._core.member import Claim
from .._delivery.keyed_mailbox import KeyedMailbox
from .._delivery.local_member import FurtherWorker, LocalMember
from .._delivery.mailbox import CALM
from .._delivery.sentinels import IDLE, STOP, Died
from .._observing.deadlocks import LOOKS
from .backpressure import exceeded, heard
from .context import InContext
from .coroutine_parker import Calls, CoroutineParker
from .engine import Engine
from .gather import announce, engines_of, failed, give_back, without_our_frame
from .process import CURRENT_WORKER, SECTION, nested
from .serve import FINISHED, Serving, hand_in, hand_in_part, see_to_rest
from .sweep import come_to, died
from .turns import Later, Taken, comes_on, has_begun, take
from .waiting import look_for_circle

__all__ = ["serve_all"]


async def serve_all(calls: Calls, producer: Serving, member: LocalMember) -> None:
    """Serve with all of *member*'s workers until STOP."""
    # With what was set when it was set up.
    context = copy_context()
    servers = [_Server(calls, producer, context) for _ in range(producer._ate_workers)]
    others = [FurtherWorker(member, each) for each in servers[1:]]
    member.workers = (member, *others)
    for server, worker in zip(servers, member.workers):
        server.serves(worker)
    mailbox = member.mailbox
    mailbox.hang(servers[0])
    try:
        for server in servers:
            server.goes_on()
        for server in servers:
            await server.ended
    finally:
        with SECTION:
            mailbox.end()


class _Server(CoroutineParker):
    """One worker of a producer: what it parks on, and the task in which it is, if it is in one."""

    def __init__(self, calls: Calls, producer: Serving, context: Context) -> None:
        super().__init__(calls)
        self._producer = producer
        self._context = context.copy()
        self._worker: Any = None
        self._task: Optional[asyncio.Task[None]] = None
        #: What the task awaits of the producer's, and whether that was cancelled.
        self.awaited: Any = None
        self._cancelled = False
        #: Has the error of the first worker, if it was cut short by one.
        self.ended: asyncio.Future[None] = calls.loop.create_future()

    def serves(self, worker: Any) -> None:
        """That is the one."""
        self._worker = worker
        worker.server = self
        self._context.run(CURRENT_WORKER.set, worker)

    def is_here(self) -> bool:
        """Whether the calling task is that one."""
        return self._task is not None and asyncio.current_task() is self._task

    def interrupt(self) -> None:
        """What it is at is over. From anywhere; never blocks."""
        self._calls.call(self._interrupt)

    def _interrupt(self) -> None:
        running = self._worker.running
        over = running is not None and running.is_over
        if over and self._task is not None and self.awaited is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def heard(self) -> None:
        """It was unparked: by who has put something, or for what it waits for before it begins."""
        if self._task is not None:
            super().heard()
        elif not self.ended.done():
            self.goes_on()

    def goes_on(self) -> None:
        """To the next request, in a task of its own, with a context of its own."""
        self._task = self._context.run(self._calls.loop.create_task, self._serve())

    async def _serve(self) -> None:
        """One request, from the mailbox to the answer; or the look that finds none."""
        engine: Optional[Engine] = None
        claim: Optional[Claim] = None
        try:
            request, call, kwargs, claim = self._take()
            engine = request.engine
            if engine is not None:
                request = None
                if claim is None or await self._begins(engine, claim):
                    value, error = None, None
                    self._cancelled = False
                    try:
                        self.awaited = value = self._called(call, kwargs)
                        if isinstance(value, abc.Coroutine):
                            value = await value
                        elif self._producer._ate_stream and isinstance(value, abc.AsyncGenerator):
                            value, error = await self._streamed(value)
                    except Died:
                        raise
                    except BaseException as raised:
                        value, error = None, without_our_frame(raised)
                    self.awaited = None
                    # Before the section: it may be that nobody else has them any more (P16).
                    call = kwargs = None
                    request = self._hand_in(engine, value, error, claim)
                    claim = value = error = None
                    full = exceeded(request.channel)
                    if full:
                        await heard(engine, request.channel, self, full, request.deadline)
                    request = None
                claim = None
            elif request is STOP:
                self._ends()
                return
            elif request is IDLE and self._rests():
                self._task = None
                return
        except BaseException as error:
            self._ends(error, engine, claim)
        else:
            self.goes_on()

    def _take(self) -> Taken:
        """What is next, and what that brings with it."""
        worker: Any = self._worker
        member: LocalMember = worker.member
        mailbox = member.mailbox
        later: Later = []
        with SECTION:
            try:
                if not isinstance(mailbox, KeyedMailbox):
                    # It is not parked any more.
                    mailbox.attention = CALM
                taken = take(worker, mailbox.take(worker), later)
            except BaseException as defect:
                for engine in engines_of(member):
                    engine.broken(defect)
                raise
        if member.unjudged:
            come_to(member)
        see_to_rest(later)
        return taken

    def _rests(self) -> bool:
        """Whether nothing has come since that look; then an unpark brings it back."""
        mailbox = self._worker.member.mailbox
        with SECTION:
            idles = mailbox.idles(self._worker)
        # As Mailbox.rest (P1).
        return idles and (isinstance(mailbox, KeyedMailbox) or not mailbox.items)

    async def _begins(self, engine: Engine, claim: Claim) -> bool:
        """As `turns.begins`, but that nobody blocks."""
        worker = self._worker
        looks = iter(LOOKS if nested else ())
        began = engine.now()
        look = began + next(looks, NEVER)
        while claim.waits:
            if not await self.wait(look - engine.now()):
                look_for_circle(worker)
                look = began + next(looks, NEVER)
            comes_on(engine, claim)
        return has_begun(engine, worker, claim)

    def _called(self, call: Any, kwargs: Any) -> Any:
        """What the producer's method, looked up at every call, gives."""
        producer = self._producer
        if kwargs.__class__ is InContext:
            method = producer.produce_dispatcher_output
            return kwargs.call(self._worker, method, call, producer._ate_stream)
        return producer.produce_dispatcher_output(*call, **(kwargs or {}))

    async def _streamed(self, generator: Any) -> Tuple[Any, Any]:
        """Each value that it yields is a reply; the value and the error that it comes to."""
        try:
            async for value in generator:
                request = hand_in_part(self._worker, value)
                full = exceeded(request.channel)
                if full:
                    await heard(request.engine, request.channel, self, full, request.deadline)
                if request.is_over:
                    # Over meanwhile: what comes of it now is late, or surplus.
                    return None, None
                request = value = None
        finally:
            await generator.aclose()
        return None, FINISHED

    def _hand_in(self, engine: Engine, value: Any, error: Any, claim: Optional[Claim]) -> Any:
        """The answer, stamped straight after the coroutine has returned; the request."""
        worker = self._worker
        with SECTION:
            try:
                stamp = engine.now()
                # Only now: if it ended meanwhile, a stub stands for it.
                request = worker.running
                effects = hand_in(engine, worker, value, error, stamp)
                worker.running = None
                if claim is not None:
                    give_back(engine, claim)
            except BaseException as defect:
                engine.broken(defect)
                raise
        announce(engine, request, effects)
        ours = self._cancelled and isinstance(error, asyncio.CancelledError)
        if error is not None and error is not FINISHED and not ours:
            failed(self._producer, request, error)
        return request

    def _ends(
        self,
        error: Optional[BaseException] = None,
        engine: Optional[Engine] = None,
        claim: Optional[Claim] = None,
    ) -> None:
        """It takes nothing any more: at its STOP, or with an *error* that is no answer."""
        worker = self._worker
        self._task = self.awaited = None
        with SECTION:
            if engine is not None and claim is not None and (claim.granted or claim.waits):
                give_back(engine, claim)
            worker.claim = None
            worker.member.mailbox.let_go(worker)
        if error is not None and worker is not worker.member:
            # Without a word, if it was killed, and the others go on.
            died(worker)
            if isinstance(error, Died):
                error = None
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
