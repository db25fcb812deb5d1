"""What each thread of a producer does, from its start to its STOP: one loop for all of them.

Per request one pass through the section, in which the last answer is handed in and the next message
is taken. The clock is read inside, straight after the method returned, so the order of stamps is
the order in which the ledger hears of them; the next request begins at the same instant. A request
that needs instruments, or has a start line, gets a claim in that pass and waits for it outside.
"""

from __future__ import annotations

import contextlib
from collections import abc
from functools import partial
from typing import Any, List, Optional, Tuple

from typing_extensions import Protocol

from .. import _log
from .._core.effects import ACCEPTED, ENDED, FAILED, ORDINARY
from .._core.member import Claim
from .._delivery.local_member import FurtherWorker, LocalMember
from .._delivery.mailbox import Mailbox
from .._delivery.sentinels import AGAIN, IDLE, STOP, Died
from .._observing.stacks import LOOPS
from .._time.clock import Clock, this_thread
from .backpressure import exceeded, wait_until_heard
from .context import InContext
from .engine import Engine
from .gather import (
    announce,
    apply,
    failed,
    forward,
    forward_apart,
    give_back,
    parts_of,
    without_our_frame,
)
from .messages import COMPLETION
from .process import CURRENT_WORKER, SECTION
from .sweep import come_to, died
from .threads import work_together
from .turns import Later, begins, take

__all__ = ["FINISHED", "Serving", "hand_in", "hand_in_part", "see_to_rest", "serve_all"]

FINISHED: Any = StopIteration("the stream has come to its end")
"""In the place of an error."""

_NO_ENGINE: Any = object()
"""Before the first request."""

_NO_TIME = float("nan")
"""Then; it is neither before nor after any deadline."""


class Serving(Protocol):
    """A producer, as far as the loop knows it."""

    _ate_stream: bool
    _ate_workers: int

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any: ...


def serve_all(clock: Clock, producer: Serving, member: LocalMember) -> None:
    """Serve with all of *member*'s workers until STOP. The thread of *producer*."""
    others = [FurtherWorker(member, clock.parker()) for _ in range(producer._ate_workers - 1)]
    member.workers = (member, *others)

    def fewer(count: int) -> None:
        member.workers = (member, *others[:count])

    helping = [(partial(_help, producer, worker), worker.parker) for worker in others]
    own = partial(_work, producer, member)
    work_together(clock, _log.name_of(producer), member.mailbox, own, helping, fewer)


def _help(producer: Serving, worker: FurtherWorker) -> None:
    """The thread of another worker than the first."""
    try:
        _work(producer, worker)
    except Died:
        # Without a word, and the others go on.
        pass
    finally:
        died(worker)


def _work(producer: Serving, worker: Any) -> None:
    """What each of them does."""
    worker.ident = this_thread()
    token = CURRENT_WORKER.set(worker)
    try:
        serve(producer, worker)
    finally:
        CURRENT_WORKER.reset(token)


def serve(producer: Serving, worker: Any) -> None:
    """The loop of *worker*'s thread, until its STOP.

    In one piece because it is the hot path. What nearly every request needs is written out in it,
    the *fast lane*: its reply is settled as ``Ledger.replied`` and ``gather.forward`` do it, and
    the next one is begun as ``Ledger.began`` does. All else goes by way of `hand_in` and `take`.
    """
    enter, leave = SECTION.enter, SECTION.leave
    member: LocalMember = worker.member
    mailbox, items, unjudged = member.mailbox, member.mailbox.items, member.unjudged
    popleft, streams = items.popleft, producer._ate_stream
    plain = mailbox.__class__ is Mailbox and mailbox.room is None and not member.exclusive
    # Who has more to see to than the next call, or is not plain, takes nothing in passing.
    in_passing = FAILED if plain else 0
    #: Whether there is more to see to after the section than the next call; and whether what was
    #: handed in is all behind what was posted.
    more = behind = False
    engine: Any = _NO_ENGINE
    now: Any = _NO_TIME.__float__
    counted: Any = None
    posts: Any = ()
    hooks: Any = ()
    later: Later = []
    request: Any = IDLE
    following: Any
    call: Any
    value: Any = None
    outlet: Any
    heard: Any
    claim: Optional[Claim] = None
    full: List[Mailbox] = []
    outlet = heard = value = error = call = kwargs = None
    try:
        while True:
            enter()
            try:
                stamp = now()
                effects = 0
                if stamp <= request.until and error is None:
                    # A value, and the request is open and wants no other look.
                    request.chain = (value, None, member, worker.began, stamp, request.chain)
                    request.pending = pending = request.pending - 1
                    if pending <= 0:
                        effects = counted(request, True, stamp)
                    value = (request.topic, value)
                    side = request.channel.listeners
                    heard = side.roster
                    if heard.version is not side.version:
                        SECTION.left.append(heard)
                        more = True
                        heard = request.channel.heard()
                    outlet = heard.plain
                    if posts:
                        more = True
                        if engine.posts.go_first():
                            posts.extend(parts_of(request, heard, value))
                            outlet, behind = None, True
                    while True:
                        if outlet is None:
                            break
                        append = outlet.append
                        append(value)
                        attention = outlet.mailbox.attention
                        if attention:
                            if attention.__class__ is list:
                                # Mailbox.attend, in place (P1).
                                unpark = outlet.mailbox.unpark
                                unpark(None)
                                attention.clear()
                            else:
                                outlet.mailbox.attend()
                        outlet = outlet.next
                    if heard.apart:
                        more = True
                        if not behind:
                            forward_apart(request, heard.apart)
                        full = exceeded(request.channel)
                        in_passing = 0 if full else in_passing
                    if effects or hooks:
                        effects |= ACCEPTED
                        if (
                            effects > ORDINARY
                            or hooks
                            or heard.heeding
                            or request.extras is not None
                            or engine.gate.refusal is not None
                        ):
                            apply(engine, request, effects, member)
                            more = True
                        else:
                            outlet = heard.first
                            while True:
                                if outlet is None:
                                    break
                                if COMPLETION in outlet.attributes:
                                    apply(engine, request, effects, member)
                                    break
                                outlet = outlet.next
                elif request is not IDLE:
                    effects = hand_in(engine, worker, value, error, stamp)
                    full = exceeded(request.channel)
                    in_passing = 0 if full else in_passing
                    more = True
                if claim is not None:
                    give_back(engine, claim)
                    claim = None
                # What users' code may see to comes first: meanwhile nothing has been begun.
                if effects < in_passing:
                    if items:
                        following = popleft()
                        if stamp <= following.until and following.engine is engine:
                            worker.running = following
                            worker.began = stamp
                            call, kwargs = following.call, following.kwargs
                        else:
                            more = True
                            following, call, kwargs, claim = take(worker, following, later)
                    else:
                        # As Mailbox.take, in place (P1).
                        more = True
                        worker.running = None
                        following = IDLE
                        mailbox.attention = [True]
                else:
                    more = True
                    worker.running = None
                    following = AGAIN if effects > ORDINARY or full else mailbox.take(worker)
                    following, call, kwargs, claim = take(worker, following, later)
            except BaseException as defect:
                if engine is not _NO_ENGINE:
                    engine.broken(defect)
                raise
            finally:
                leave(None)
            if unjudged:
                come_to(member)
            if effects > ORDINARY or request.awaited:
                announce(engine, request, effects)
            elif effects & ENDED:
                request.call = request.kwargs = None
            if error is not None:
                if error is not FINISHED:
                    failed(producer, request, error)
                error = None
            if more:
                more = behind = False
                see_to_rest(later)
                if full:
                    # Nobody's payload waits here for long, either (P15).
                    where, until = request.channel, request.deadline
                    request = IDLE
                    outlet = heard = side = append = unpark = value = None
                    wait_until_heard(engine, where, worker, full, until)
                    full, in_passing = [], FAILED if plain else 0
                # Parked for long, perhaps: this frame keeps nobody's payload (P15).
                request, following = following, None
                heard = outlet = side = append = unpark = value = None
                if request.engine is not engine:
                    if request.engine is None:
                        if request is STOP:
                            return
                        if request is IDLE and (plain or _idles(mailbox, worker)):
                            mailbox.rest(worker)
                        request = IDLE
                        continue
                    engine = request.engine
                    now, hooks, counted = engine.now, engine.hooks, engine.ledger.counted
                    posts = engine.posts.items
                request = None
                if claim is not None and not begins(engine, worker, claim):
                    request, claim, call, kwargs = IDLE, None, None, None
                    continue
            # The worker alone refers to the request from here: if it ends while this runs, for
            # long perhaps, the ledger puts a stub there that holds nobody's results (P15).
            request = following = heard = outlet = value = None
            try:
                if kwargs:
                    if kwargs.__class__ is InContext:
                        method = producer.produce_dispatcher_output
                        value = kwargs.call(worker, method, call, streams)
                    else:
                        value = producer.produce_dispatcher_output(*call, **kwargs)
                else:
                    value = producer.produce_dispatcher_output(*call)
                if streams and isinstance(value, abc.Generator):
                    value, error = _streamed(worker, value)
            except Died:
                raise
            except BaseException as raised:
                value, error = None, without_our_frame(raised)
            # Before the section: it may be that nobody else has them any more (P16).
            call = kwargs = None
            request = worker.running
    finally:
        # At its STOP, or cut short by the end of its thread.
        with SECTION:
            if claim is not None and (claim.granted or claim.waits):
                give_back(engine, claim)
            worker.claim = None
            mailbox.let_go(worker)


# -- inside the section ------------------------------------------------------------------------


def hand_in(engine: Engine, worker: Any, value: Any, error: Any, stamp: float) -> int:
    """An answer that is not in the fast lane: an error, a stream's end, after or near an end."""
    # Only now: if it ended meanwhile, a stub stands for it.
    request = worker.running
    if error is FINISHED:
        effects = engine.ledger.finished(request, worker, stamp)
    else:
        effects = engine.ledger.replied(request, worker, value, error, stamp)
    if effects & ACCEPTED:
        forward(request, value)
    apply(engine, request, effects, worker.member)
    return effects


def _idles(mailbox: Mailbox, worker: Any) -> bool:
    """Whether nothing has come meanwhile; then nothing is let go of here before it parks."""
    enter, leave = SECTION.enter, SECTION.leave
    enter()
    try:
        return mailbox.idles(worker)
    finally:
        leave(None)


# -- after the section -------------------------------------------------------------------------


def see_to_rest(later: Later) -> None:
    """What came up on the way, and what came out for good."""
    if SECTION.left:
        SECTION.drop()
    while later:
        request, effects = later.pop(0)
        announce(request.engine, request, effects)


def _streamed(worker: Any, generator: Any) -> Tuple[Any, Any]:
    """Go through *generator*, each value a reply; the value and the error that it comes to."""
    with contextlib.closing(generator):
        for value in generator:
            request = hand_in_part(worker, value)
            full = exceeded(request.channel)
            if full:
                wait_until_heard(request.engine, request.channel, worker, full, request.deadline)
            if request.is_over:
                # Over meanwhile: what comes of it now is late, or surplus.
                return None, None
            request = value = None
    return None, FINISHED


def hand_in_part(worker: Any, value: Any) -> Any:
    """One of the values of a stream; the request, which may be over."""
    with SECTION:
        # Only now: if it ended meanwhile, a stub stands for it.
        request = worker.running
        engine: Engine = request.engine
        effects = engine.ledger.streamed(request, worker, value, engine.now())
        if effects & ACCEPTED:
            forward(request, value)
        if effects != ACCEPTED or engine.hooks or request.extras.guest is not None:
            apply(engine, request, effects, worker.member)
    if effects != ACCEPTED or request.awaited:
        announce(engine, request, effects)
    return request


LOOPS.add(serve.__code__)
