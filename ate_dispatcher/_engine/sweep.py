"""Clears mailboxes of what has ended, and judges what a producer that died has left.

On any thread of ours, which holds no section when it comes: each is entered by itself.
"""

from __future__ import annotations

from typing import Any, Callable

from .._core.ledger import Ledger
from .._core.member import Hand, Member
from .._core.request import Entry
from .._delivery.mailbox import DEAD
from .._delivery.registry import is_off
from .gather import act, after, its_turn, let_go, tidy

__all__ = ["come_to", "died", "ended", "swept", "withdraw", "withdrawn"]


def ended(member: Member) -> None:
    """*member*'s thread is over: what it was at, and what waits for it, gets its verdict."""
    died(member)
    _bury(member, Ledger.died)


def died(hand: Hand) -> None:
    """The thread of *hand* is over: what it was at gets its verdict."""
    if hand.running is not None:
        _judge(hand.member, hand.running, Ledger.died)
        hand.running = None


def swept(member: Member) -> None:
    """The next request has reached *member*: clear away what ended before it."""
    if member.mailbox.alert is DEAD:
        _bury(member, Ledger.declined)
    else:
        with member.home.lock:
            tidy(member)
        come_to(member)


def withdraw(desk: Any, member: Member) -> None:
    """*member* was disabled at *desk*: take out of its mailbox what of that is open there."""
    home = member.home
    if home is None or member.mailbox.alert is DEAD or not is_off(desk.off, member.producer):
        # The last: or enabled again.
        return
    with home.lock:
        taken = member.mailbox.emptied()
        ours = [entry for entry in taken if entry.desk is desk and entry.completion is None]
        gone = set(map(id, ours))
        member.mailbox.items.extendleft(item for item in reversed(taken) if id(item) not in gone)
        if member.mailbox.items:
            member.mailbox.attend()
    for entry in ours:
        withdrawn(member, entry)
    for hand in member.hands:
        _take_away(desk, hand)


def withdrawn(member: Member, entry: Entry) -> None:
    """*entry* is in *member*'s mailbox no more, or was never put there."""
    _judge(member, entry, Ledger.withdrawn)


def _take_away(desk: Any, hand: Hand) -> None:
    """What *hand* has come to, but not begun, is withdrawn too."""
    with desk.lock:
        turn = hand.turn
        entry = None if turn is None or not turn.waits else turn.entry
        if turn is None or entry is None or entry.desk is not desk:
            return
        effects = desk.ledger.withdrawn(entry, hand.member, desk.now())
        act(desk, entry, effects, hand.member)
        let_go(desk, turn)
    after(desk, entry, effects)


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
        effects = fact(desk.ledger, entry, member, desk.now())
        act(desk, entry, effects, member)
    after(desk, entry, effects)
