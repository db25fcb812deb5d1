"""Finds producers that wait for each other in a circle, through a request sent in another.

A hand that serves a request may send another and wait for its end. If that needs, whatever lies in
between, something that only this hand can give, all in the circle wait until a deadline. Here is
who waits for whom; it is read without any lock, so it is good for a warning and for nothing else.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple

from . import _log
from ._completion import Standing
from ._member import Hand, Member

__all__ = ["circle_of", "nested"]

nested: Dict[int, Hand] = {}
"""The hands that wait for a request in the middle of another, by identity: without any there is no
circle."""

_TRIES = 10
"""How often it is tried to read what changes meanwhile."""

Steps = Tuple[Tuple[Hand, str], ...]


def circle_of(hand: Hand) -> Optional[str]:
    """The circle that *hand* waits in, in words; None for none, or if it was named before."""
    found: Optional[Steps] = None
    for _ in range(_TRIES):
        try:
            found = _Search(hand).stuck(hand)
            break
        except (AttributeError, RuntimeError):
            # Something changed while it was read; who waits in a circle does not change.
            continue
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


class _Search:
    """From one hand on, along whom each waits for, until it comes back."""

    def __init__(self, first: Hand) -> None:
        self._first = first
        #: The steps from there to the first, or None.
        self._known: Dict[int, Optional[Steps]] = {}
        #: Those whose steps are being looked for.
        self._open: Set[int] = set()

    def stuck(self, hand: Hand) -> Optional[Steps]:
        """The steps by which *hand* waits for the first, if it does."""
        awaited, turn = hand.awaits, hand.turn
        if awaited is not None:
            pending = _pending(awaited)
            if awaited.extra is not None and awaited.extra.need is not None and len(pending) > 1:
                # Others may still bring what it needs.
                return None
            running = hand.running
            serves = "" if running is None else f"serves {_told(running)} and "
            return self._one_of(pending, awaited, (hand, f"{serves}waits for {_told(awaited)}"))
        if turn is not None and turn.standing is Standing.AT_INSTRUMENT:
            for other in turn.entry.desk.instruments.ahead_of(turn):
                found = self._follow(other.hand)
                if found is not None:
                    shared = " and ".join(name for name in turn.names if name in other.names)
                    waits = f"waits with request {turn.entry.id} for {shared}, which"
                    return ((hand, f"{waits} {other.hand.member.name} has"), *found)
        elif turn is not None and turn.standing is Standing.AT_LINE:
            present = [other.hand.member for other in turn.line.present]
            absent = [member for member in _pending(turn.entry) if member not in present]
            waits = f"waits at the start line of request {turn.entry.id}"
            return self._one_of(absent, turn.entry, (hand, waits))
        return None

    def _one_of(self, members: List[Member], entry: Any, step: Tuple[Hand, str]) -> Optional[Steps]:
        """Whether one of *members* cannot go on with *entry*, because it waits for the first."""
        for member in members:
            hand = member.hand_at(entry)
            if hand is None and entry.extra is not None and entry.extra.key is not None:
                hand = member.mailbox.busy_with(entry.extra.key)
            # If it has not come to it, any of its hands may be the one that does.
            hands = member.hands if hand is None else (hand,)
            # Who is on the way from the first to here waits as well.
            others = [each for each in hands if id(each) not in self._open]
            found = [self._follow(each) for each in others]
            if found and found[0] is not None and None not in found:
                return (step, *found[0])
        return None

    def _follow(self, hand: Hand) -> Optional[Steps]:
        if hand is self._first:
            return ()
        if id(hand) in self._open:
            return None
        if id(hand) not in self._known:
            self._open.add(id(hand))
            self._known[id(hand)] = self.stuck(hand)
            self._open.discard(id(hand))
        return self._known[id(hand)]


def _told(entry: Any) -> str:
    return f"request {entry.id} on {_log.text_of(entry.topic)}"


def _pending(entry: Any) -> List[Member]:
    """Who has given it no answer yet."""
    if entry.completion is not None:
        return []
    answered = {id(note.member) for note in entry.notes}
    answered.update(id(member) for member in entry.spoken())
    return [member for member in entry.roster if id(member) not in answered]
