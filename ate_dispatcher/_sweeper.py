"""Clears mailboxes of what has ended, and judges what a producer that died has left.

On any thread of ours, which holds no section when it comes: each is entered by itself.
"""

from __future__ import annotations

from typing import Callable

from ._effects import act, after, its_turn, tidy
from ._entry import Entry, Member
from ._ledger import Ledger
from ._mailbox import DEAD

__all__ = ["come_to", "ended", "swept"]


def ended(member: Member) -> None:
    """*member*'s thread is over: what it was at, and what waits for it, gets its verdict."""
    if member.running is not None:
        _judge(member, member.running, Ledger.died)
    _bury(member, Ledger.died)


def swept(member: Member) -> None:
    """The next request has reached *member*: clear away what ended before it."""
    if member.mailbox.alert is DEAD:
        _bury(member, Ledger.declined)
    else:
        with member.home.lock:
            tidy(member)
        come_to(member)


def come_to(member: Member) -> None:
    """*member* has come to what ended before it began it, on whatever desk."""
    for desk in list(member.absences):
        with desk.lock:
            its_turn(desk, member)


def _bury(member: Member, fact: Callable[..., int]) -> None:
    with member.home.lock:
        mailbox = member.mailbox
        mailbox.alert = DEAD
        left = mailbox.emptied()
    for entry in left:
        if entry.completion is None:
            _judge(member, entry, fact)
    come_to(member)


def _judge(member: Member, entry: Entry, fact: Callable[..., int]) -> None:
    desk = entry.desk
    with desk.lock:
        member.running = None
        effects = fact(desk.ledger, entry, member, desk.now())
        act(desk, entry, effects)
    after(desk, entry, effects)
