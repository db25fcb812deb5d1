"""From ``send_request`` to the mailboxes, on the caller's thread, which it never blocks."""

from __future__ import annotations

from typing import AbstractSet, Any, Dict, Hashable, Optional, Tuple

from .._core.durations import milliseconds
from .._core.member import Member
from .._core.outcomes import Completion
from .._core.request import Request
from .._delivery.channel import Roster, is_disabled
from .._delivery.local_member import LocalMember
from .._delivery.mailbox import CLOSED
from .._delivery.matched import SomeChannel
from .._delivery.registry import unhashable
from .._observing.translate import event_opened
from ..errors import DispatcherStopped
from .engine import Engine, Order
from .handle import Handle
from .link import Elsewhere, outlets_to, routes_to, unreached
from .options import NONE, Options
from .process import SECTION
from .sweep import withdrawn

__all__ = ["hand_out", "hand_out_held", "send"]

_LARGE = 1e15
"""Milliseconds beyond which a ttl takes the careful way."""

_NOBODY = Roster(object(), [])


def send(
    engine: Engine,
    topic: Hashable,
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
    ttl: Any,
    options: Optional[Options] = None,
) -> Handle:
    """Open a request and hand it to everybody registered for *topic*, or chosen by *options*."""
    # Functions in attributes are called by way of locals: CPython makes only that quick.
    clock, next_id, gate = engine.now, engine.next_id, engine.gate
    now = clock()
    if gate.refusal is not None:
        raise DispatcherStopped(gate.refusal)
    seen = engine.seen_ttl
    if ttl is seen[0]:
        deadline = now + seen[1]
    elif (ttl.__class__ is int or ttl.__class__ is float) and 0 <= ttl < _LARGE:
        seconds = ttl / 1000
        engine.seen_ttl = ttl, seconds
        if 0 < ttl < 1 and not engine.doubted:
            _doubt(engine, ttl)
        deadline = now + seconds
    else:
        deadline = now + milliseconds("ttl", ttl)
    try:
        channel: Optional[SomeChannel] = engine.channels.get(topic)
    except TypeError as error:
        raise unhashable(topic, error) from error
    roster = _NOBODY
    if channel is None:
        channel = engine.registry.find(topic)
    if channel is not None:
        roster = channel.producers.roster
        if roster.version is not channel.producers.version:
            roster = channel.asked()
            if options is None and (roster.disabled or roster.any_remote):
                options = NONE
    members = roster.members
    away: Optional[Elsewhere] = None
    if options is not None:
        disabled = roster.disabled
        if options is not NONE:
            members, disabled = options.choose(members, disabled, channel, engine.links)
        if options.is_open:
            members = options.widen(engine.links, members)
            channel = channel or engine.registry.lasting(topic)
    else:
        disabled = ()
    if not members:
        return _nobody(engine, topic, channel, roster, now, deadline, disabled)
    # As `Request.of`, in place.
    request = Handle()
    request.engine = engine
    request.id = next_id()
    request.topic = topic
    request.channel = channel
    request.roster = members
    request.sent = now
    request.deadline = request.until = deadline
    # Two thirds of the time of (topic, *args).
    request.call = (topic,) + args  # noqa: RUF005
    request.kwargs = kwargs or None
    request.chain = request.completion = request.cell = request.extras = None
    request.awaited = False
    outlet = roster.first
    if options is None:
        request.pending = roster.size
    else:
        request.pending = len(members)
        if disabled:
            request.more().disabled = disabled
        if roster.any_remote or roster.disabled:
            named = roster.names()
            if named is not None:
                request.more().names = named
        if roster.any_remote or options.is_open:
            away = options.pack(routes_to(roster, members), topic, args, kwargs)
            if away is not None:
                extras = request.more()
                extras.away, extras.unreached = away, unreached(engine.links)
        over = options.prepare(request)
        if over is not None:
            engine.over(request, over)
            return request
        if members is not roster.members:
            outlet = outlets_to(members)
    try:
        # No `try` in here, and no `while` with a condition (P14).
        # Before the puts, so that the ledger knows the request when the first reply comes (P5).
        engine.arrivals.append(request)
        if engine.hooks:
            engine.observers.tell(event_opened, request)
        if gate.held or (options is not None and options.after is not None):
            # The control loop hands it out: all that have a start line in one order, and whatever
            # is sent meanwhile behind them.
            engine.hold(request)
            return request
        while True:
            if outlet is None:
                break
            append = outlet.append
            append(request)
            attention: Any = outlet.mailbox.attention
            if attention:
                if attention.__class__ is list:
                    # Mailbox.attend, in place (P1): between parked threads this is all the time.
                    unpark = outlet.mailbox.unpark
                    unpark(None)
                    attention.clear()
                else:
                    engine.post(Order.BURY, outlet.mailbox.owner, request)
            outlet = outlet.next
        if away is not None:
            away.ask(request)
        if engine.disabled:
            engine.crossed(request)
        if deadline < engine.wakeup:
            engine.post(Order.KEEP, request)
    except BaseException:
        # A signal handler raised, or the stack is full: this send does not return, nobody can want
        # the answer. What says so calls nothing that needs a frame (P14).
        orders = engine.orders
        orders.items.append((Order.ABANDON, (request,)))
        attention = orders.attention
        if attention.__class__ is list:
            unpark = orders.unpark
            unpark(None)
            attention.clear()
        elif attention is CLOSED:
            engine.post_mortem()
        raise
    return request


def hand_out(engine: Engine, request: Request, spared: AbstractSet[int] = frozenset()) -> None:
    """Hand a request that was held to its roster but for *spared* identities. The control loop."""
    for member in request.roster:
        if isinstance(member, LocalMember) and id(member) not in spared:
            member.mailbox.deliver(request)
            if member.mailbox.attention is CLOSED:
                engine.post(Order.BURY, member, request)
    away = None if request.extras is None else request.extras.away
    if isinstance(away, Elsewhere):
        away.ask(request, spared)


def _doubt(engine: Engine, ttl: float) -> None:
    engine.doubted = True
    said = "ttl=%r is less than a millisecond: a ttl is in milliseconds, not seconds; said once"
    engine.observers.lost(said, ttl)
    engine.post(Order.OBSERVE)


def _nobody(
    engine: Engine,
    topic: Hashable,
    channel: Optional[SomeChannel],
    roster: Roster,
    now: float,
    deadline: float,
    disabled: Tuple[Member, ...],
) -> Handle:
    """A request that nobody is asked."""
    if engine.gate.refusal is not None:
        # Stopped meanwhile, and so everybody is forgotten.
        raise DispatcherStopped(engine.gate.refusal)
    number = engine.next_id()
    request = Handle.of(engine, number, topic, channel, (), now, deadline, None, None)
    why = unreached(engine.links)
    if why is not None:
        request.more().unreached = why
    if disabled:
        request.more().disabled, request.more().names = disabled, roster.names()
    elif roster.size or roster.disabled:
        # The options have left them all out.
        pass
    else:
        # The order that `over` leaves has somebody see to it.
        engine.nobody_on(topic, "producers", "nobody is registered for topic %s%s")
    engine.over(request, Completion.NO_PRODUCERS)
    return request


def hand_out_held(engine: Engine, request: Request) -> None:
    """Hand out what was held, but not to those who were disabled meanwhile."""
    disabled = engine.disabled
    spared = [m for m in request.roster if disabled and is_disabled(disabled, m.producer)]
    for member in spared:
        withdrawn(member, request)
    if request.is_over:
        # All of them were.
        return
    line = request.line
    if line is None:
        hand_out(engine, request, {id(member) for member in spared})
        return
    needy = [member for member in request.roster if member.exclusive]
    # Those of all dispatchers come into all mailboxes in one order: that of the lines.
    with SECTION:
        if needy:
            engine.instruments.reserve(line, needy)
        hand_out(engine, request, {id(member) for member in spared})
