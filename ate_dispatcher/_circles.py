"""Finds producers that wait for each other in a circle, through a request sent in another.

A hand that serves a request may send another and wait for its end. If that needs, whatever lies in
between, something that only this hand can give, all in the circle wait until a deadline. Here is
who waits for whom; it is read without any lock, so it is good for a warning and for nothing else.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ._completion import Standing
from ._member import Hand, Member

__all__ = ["circle_of", "nested"]

nested: Dict[int, Hand] = {}
"""The hands that wait for a request in the middle of another, by identity: without any there is no
circle."""

Steps = Tuple[Tuple[Hand, str], ...]


def circle_of(hand: Hand) -> Optional[str]:
    """The circle that *hand* waits in, in words; None for none, or if it was named before."""
    try:
        found = _stuck(hand, hand, ())
    except (AttributeError, RuntimeError):
        # Something changed while it was read; who waits in a circle does not.
        return None
    if found is None or any(each.named == _work(each) for each, _ in found):
        return None
    for each, _ in found:
        each.named = _work(each)
    return "; ".join(f"{each.member.name} {waits}" for each, waits in found)


def _work(hand: Hand) -> Any:
    """What names the work that it is at."""
    turn = hand.turn
    entry = hand.running if turn is None else turn.entry
    return id(entry.desk), entry.id


def _stuck(hand: Hand, first: Hand, before: Steps) -> Optional[Steps]:
    """The steps by which *hand* waits for *first*, if it does."""
    awaited, turn = hand.awaits, hand.turn
    if awaited is not None:
        running = hand.running
        serves = f"serves request {running.id} and " if running is not None else ""
        steps = (*before, (hand, f"{serves}waits for request {awaited.id}"))
        pending = _pending(awaited)
        if awaited.extra is not None and awaited.extra.need is not None and len(pending) > 1:
            # Others may still bring what it needs.
            return None
        return _any(pending, first, steps, awaited)
    if turn is None or turn.standing is None:
        return None
    if turn.standing is Standing.AT_INSTRUMENT:
        for other in turn.entry.desk.instruments.ahead_of(turn):
            shared = [name for name in turn.names if name in other.names]
            waits = f"waits with request {turn.entry.id} for {' and '.join(shared)}"
            steps = (*before, (hand, f"{waits}, which {other.hand.member.name} has"))
            found = _follow(other.hand, first, steps)
            if found is not None:
                return found
        return None
    if turn.standing is Standing.AT_LINE:
        waits = f"waits at the start line of request {turn.entry.id}"
        present = [other.hand.member for other in turn.line.present]
        absent = [member for member in _pending(turn.entry) if member not in present]
        return _any(absent, first, (*before, (hand, waits)), turn.entry)
    return None


def _pending(entry: Any) -> List[Member]:
    """Who has given it no answer yet."""
    if entry.completion is not None:
        return []
    answered = {id(note.member) for note in entry.notes}
    answered.update(id(member) for member in entry.spoken())
    return [member for member in entry.roster if id(member) not in answered]


def _any(members: List[Member], first: Hand, steps: Steps, entry: Any) -> Optional[Steps]:
    """Whether one of *members* cannot go on with *entry*, because it waits for *first*."""
    for member in members:
        hand = member.hand_at(entry)
        # If it has not come to it, any of its hands may be the one that does.
        hands = member.hands if hand is None else (hand,)
        found = [_follow(each, first, steps) for each in hands]
        if all(each is not None for each in found):
            return found[0]
    return None


def _follow(hand: Hand, first: Hand, steps: Steps) -> Optional[Steps]:
    if hand is first:
        return steps
    if any(each is hand for each, _ in steps):
        # A circle of others, which is theirs to name.
        return None
    return _stuck(hand, first, steps)
