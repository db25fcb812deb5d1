"""Serves requests of one dispatcher for a producer that is at home at another."""

from __future__ import annotations

from typing import Any, List

from ._effects import act, after, failed, without_our_frame
from ._entry import Member
from ._ledger import ACCEPTED
from ._messages import Died, Finished
from ._streams import finished

__all__ = ["serve_guest"]


def serve_guest(desk: Any, producer: Any, member: Member, guest: List[Any]) -> None:
    """Serve one request of *desk* for a *producer* that is at home at another.

    It comes in a list and is taken out: while it runs no frame of ours holds it.
    """
    entry: Any = guest.pop()
    with desk.lock:
        began = desk.now()
        call, kwargs = entry.call or (), entry.kwargs
        begun = entry.completion is None and began <= entry.deadline
        if begun:
            member.running = entry
            member.began = began
            effects = 0
        else:
            effects = desk.missed(member, entry, began)
    if not begun:
        after(desk, entry, effects)
        return
    value = error = None
    del entry
    try:
        value = producer.produce_dispatcher_output(*call, **(kwargs or {}))
    except Died:
        raise
    except Finished:
        finished(desk, member)
        return
    except BaseException as raised:
        error = without_our_frame(raised)
    with desk.lock:
        entry = member.running
        effects = desk.ledger.replied(entry, member, value, error, desk.now())
        if effects & ACCEPTED:
            for _, ear in entry.channel.listeners.current().puts:
                ear.put((entry.topic, value))
        member.running = None
        act(desk, entry, effects, member)
    after(desk, entry, effects)
    if error is not None:
        failed(producer, entry, error)
