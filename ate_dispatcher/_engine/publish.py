"""From ``publish`` to the mailboxes of the listeners: on the caller's thread, and for all others.

The caller never enters the section. One listener, and nothing posted before: it puts the value into
its mailbox. Otherwise it appends one post, and wakes one reader (P18).
"""

from __future__ import annotations

from typing import Any, Hashable, List, Optional, Sequence

from .._core.durations import NEVER, milliseconds
from .._core.outcomes import Verdict
from .._delivery.channel import Outlet, Roster
from .._delivery.mailbox import Mailbox
from .._delivery.matched import SomeChannel
from .._delivery.posts import Posts
from .._delivery.registry import unhashable
from .._delivery.sentinels import Word
from .._observing.translate import event_published
from ..errors import DispatcherStopped
from .backpressure import find_places
from .delivery import Delivery
from .engine import Engine, Order, Phase
from .messages import EndMessage, ErrorMessage, ResultMessage
from .process import SECTION, is_ours, release, see_to
from .published import Published

__all__ = [
    "give_up_all",
    "go_on",
    "hand_out_value",
    "has_values",
    "hears_no_more",
    "publish",
    "unheard_results",
    "withdraw_rest",
]

_NOBODY = Roster(object(), [])


def publish(
    engine: Engine,
    topic: Hashable,
    value: Any,
    ttl: Optional[float],
    ordering_key: Optional[Hashable],
    room_ms: Optional[float],
) -> Delivery:
    """Let everybody who listens on *topic* hear *value*."""
    # As `scatter.send`: functions in attributes by way of locals, what is usual without a call.
    clock, next_id, gate = engine.now, engine.next_id, engine.gate
    now = clock()
    deadline = NEVER if ttl is None else now + milliseconds("ttl", ttl)
    room_until = (
        now if room_ms == 0 and room_ms is not False else now + milliseconds("room_ms", room_ms)
    )
    refusal = gate.refusal
    if refusal is not None and not (engine.takes_values and is_ours()):
        raise DispatcherStopped(refusal)
    try:
        channel: Optional[SomeChannel] = engine.channels.get(topic)
    except TypeError as error:
        raise unhashable(topic, error) from error
    roster = _NOBODY
    if channel is None:
        channel = engine.registry.find(topic)
    if channel is not None:
        roster = channel.listeners.roster
        if roster.version is not channel.listeners.version:
            roster = channel.heard()
    key = None if ordering_key is None else engine.keys.intern(ordering_key)
    number = next_id()
    delivery = Delivery(engine, number, topic, value, channel, roster, now, deadline, key)
    next(engine.publishes)
    if engine.hooks:
        told = delivery.id, topic, roster.members, now
        engine.observers.tell(event_published, *told)
    if roster.first is None:
        engine.nobody_on(topic, "listeners", "nobody listens on topic %s%s")
        engine.post(Order.OBSERVE)
        return delivery
    if channel is not None and roster.apart:
        try:
            find_places(delivery, channel, roster.apart, room_until)
            _send(delivery, roster.first, refusal is None)
        except BaseException:
            # If it is on its way all the same it goes without.
            delivery.gives_places_back(roster.apart)
            raise
    else:
        _send(delivery, roster.first, refusal is None)
    return delivery


def _send(delivery: Delivery, first: Outlet, may_wait: bool) -> None:
    if delivery.engine.gate.held and may_wait:
        # Before the start, and behind what has a start line: the control loop hands it out.
        delivery.engine.hold(delivery)
    else:
        hand_out_value(delivery, first)


def hand_out_value(delivery: Delivery, first: Outlet) -> None:
    """Put *delivery* into the mailboxes of that chain, or have it put there."""
    engine = delivery.engine
    outlet: Optional[Outlet] = first
    posts = engine.posts
    try:
        # No `try` in here, and no `while` with a condition (P14).
        if first.next is None and not (
            posts.items or SECTION.locked() or first.mailbox.room is not None
        ):
            # Nobody is in the middle of a chain either, and there is no bound.
            first.mailbox.deliver(delivery)
            return
        post = [first, delivery, engine]
        posts.items.append(post)
        if not posts.is_oldest(post):
            # Whoever sees to the one before looks again when that is out.
            return
        while True:
            if outlet is None:
                # All are busy, or were not started, or have ended.
                engine.post(Order.DISTRIBUTE)
                return
            attention: Any = outlet.mailbox.attention
            if attention.__class__ is list:
                # If it ends in this moment it sees to the posts, too.
                outlet.mailbox.unpark(None)
                attention.clear()
                return
            outlet = outlet.next
    except BaseException:
        # A signal handler raised, or the stack is full: it is on its way all the same, whole.
        engine.orders.items.append((Order.DISTRIBUTE, (first.mailbox,)))
        engine.orders.unpark(None)
        raise


def go_on(engine: Engine, mailbox: Optional[Mailbox] = None, turn: bool = False) -> None:
    """Put a part of what was posted into the mailboxes; with a *turn* the next in the next round.

    The control loop. *mailbox* may have woken nobody.
    """
    posts, ends = engine.posts, engine.phase is Phase.ENDED
    if mailbox is not None:
        mailbox.unpark(None)
    if turn and not ends:
        with SECTION:
            posts.distribute()
        if posts.items:
            engine.leave(Order.DISTRIBUTE, None, True)
            return
    if turn:
        posts.turn.append(True)
    if ends:
        engine.see_to_posts_apart()
    else:
        see_to(posts, passes=1)


def give_up_all(engine: Engine, mailbox: Mailbox, hears: Sequence[Published], begun: bool) -> int:
    """Nobody begins any more what *engine* has published into *mailbox*; how many values.

    Nor what its reader *hears* next, or, if it has *begun*, now. Not inside the section.
    """
    found = 0
    for item in mailbox.waiting():
        if isinstance(item, Delivery) and item.engine is engine:
            found += item.is_pending(mailbox)
            item.end_for(mailbox, Verdict.WITHDRAWN)
    for each in hears:
        if each.engine is engine:
            waits = each.is_pending(mailbox)
            found += waits
            verdict = Verdict.WITHDRAWN if waits else Verdict.MISSING
            if waits or begun:
                each.end_for(mailbox, verdict, running=True)
    return found


def hears_no_more(mailbox: Mailbox, posts: Posts) -> None:
    """The reader of *mailbox* ends; still on its thread."""
    with SECTION:
        mailbox.close()
    if mailbox.room is not None:
        mailbox.room.waiting.wake_all()
    # Somebody may have counted on this thread, if it was killed while it was parked.
    see_to(posts)
    release(withdraw_rest(mailbox, Verdict.MISSING))


def withdraw_rest(mailbox: Mailbox, verdict: Verdict) -> List[Any]:
    """What was left in *mailbox*, which is closed, taken out; its reader has that *verdict*."""
    left = mailbox.emptied()
    for item in left:
        if isinstance(item, Word):
            item.missed_by(mailbox)
        elif isinstance(item, Delivery):
            item.end_for(mailbox, verdict)
    return left


def has_values(engine: Engine, mailbox: Mailbox) -> bool:
    """Whether anything waits in *mailbox* that *engine* has published."""
    return any(isinstance(item, Delivery) and item.engine is engine for item in mailbox.waiting())


def unheard_results(mailbox: Mailbox) -> int:
    """How many results and reports wait in *mailbox*."""
    kinds = (tuple, ResultMessage, ErrorMessage, EndMessage)
    return sum(isinstance(item, kinds) for item in mailbox.waiting())
