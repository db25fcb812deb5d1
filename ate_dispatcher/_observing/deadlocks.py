"""Finds producers that wait for each other in a circle, through a request sent in another.

A hand that serves a request may send another and wait for its end. If that needs, whatever lies in
between, something that only this hand can give, all in the circle wait until a deadline. Here is
who waits for whom; it is read without any lock, so it is good for a warning and for nothing else.

What a hand waits for is a list of *clauses*: it goes on when in each of them one of the hands does.
Whoever waits for nothing goes on, then those whom these let go on, and so forth; who is left waits
in a circle, or for one.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple

from .. import _log
from .._core.member import Hand, Member
from .._core.outcomes import Standing
from .._delivery.keyed_mailbox import key_of

__all__ = ["circle_of", "nested"]

nested: Dict[int, Hand] = {}
"""The hands that wait for a request in the middle of another, by identity: without any there is no
circle."""

_TRIES = 10
"""How often it is tried to read what changes meanwhile."""

Clause = Tuple[str, List[Hand]]
"""In words, what is waited for; and who can give it."""


def circle_of(hand: Hand) -> Optional[str]:
    """The circle that *hand* or one that waits in a request is in, in words.

    None for none, or if it was named before.
    """
    for _ in range(_TRIES):
        try:
            for first in (hand, *nested.values()):
                found = _circle(first)
                if found:
                    return _named(found)
            return None
        except (AttributeError, RuntimeError):
            # Something changed while it was read; who waits in a circle does not change.
            continue
    return None


def _named(circle: List[Tuple[Hand, str]]) -> Optional[str]:
    works = [(hand, (id(hand.awaits), hand.work)) for hand, _ in circle]
    if any(hand.named == work for hand, work in works):
        return None
    for hand, work in works:
        hand.named = work
    return "; ".join(f"{hand.member.name} {waits}" for hand, waits in circle)


def _circle(first: Hand) -> List[Tuple[Hand, str]]:
    """The hands of a circle that *first* waits in, or for, each with what it waits for."""
    waits: Dict[Hand, List[Clause]] = {}
    new = [first]
    while new:
        hand = new.pop()
        if hand not in waits:
            waits[hand] = _clauses(hand)
            for _, others in waits[hand]:
                new += others
    stuck = _left(waits)
    steps: Dict[Hand, str] = {}
    hand = first
    while hand in stuck and hand not in steps:
        # One of its clauses has nobody who goes on.
        words, others = next(c for c in waits[hand] if stuck.issuperset(c[1]))
        steps[hand] = words
        hand = others[0]
    if hand not in steps:
        return []
    path = list(steps.items())
    return path[[each for each, _ in path].index(hand) :]


def _left(waits: Dict[Hand, List[Clause]]) -> Set[Hand]:
    """Who does not go on."""
    stuck = set(waits)
    while True:
        free = {h for h in stuck if not any(stuck.issuperset(others) for _, others in waits[h])}
        if not free:
            return stuck
        stuck -= free


def _clauses(hand: Hand) -> List[Clause]:
    """What *hand* waits for: nothing, if it works."""
    awaits, turn = hand.awaits, hand.turn
    if awaits is not None:
        entry, any_reply = awaits
        running = hand.running
        serves = "" if running is None else f"serves {_told(running)} and "
        words = f"{serves}waits for {_told(entry)}"
        servers = [_servers(member, entry) for member in _pending(entry)]
        if any_reply or (entry.extra is not None and entry.extra.need is not None):
            # One of them may be enough.
            return [(words, [each for some in servers for each in some])] if servers else []
        return [(words, some) for some in servers]
    if turn is None or turn.standing is None:
        return []
    if turn.standing is Standing.AT_INSTRUMENT:
        found = []
        for other in turn.entry.desk.instruments.ahead_of(turn):
            shared = " and ".join(name for name in turn.names if name in other.names)
            words = f"waits with request {turn.entry.id} for {shared}, which"
            found.append((f"{words} {other.hand.member.name} has", [other.hand]))
        return found
    if turn.standing is Standing.AT_LINE and turn.line.endless:
        words = f"waits at the start line of request {turn.entry.id}"
        present = [other.hand.member for other in turn.line.present]
        absent = [member for member in _pending(turn.entry) if member not in present]
        return [(words, _servers(member, turn.entry)) for member in absent]
    return []


def _servers(member: Member, entry: Any) -> List[Hand]:
    """Which of *member*'s hands may give *entry* its answer."""
    hand = member.hand_at(entry)
    key = key_of(entry)
    if hand is None and key is not None:
        hand = member.mailbox.busy_with(key)
    # If it has not come to it, any of its hands may be the one that does.
    return list(member.hands) if hand is None else [hand]


def _pending(entry: Any) -> List[Member]:
    """Who has given it no answer yet."""
    if entry.completion is not None:
        return []
    judged = entry.judged()
    return [member for member in entry.roster if id(member) not in judged]


def _told(entry: Any) -> str:
    return f"request {entry.id} on {_log.text_of(entry.topic)}"
