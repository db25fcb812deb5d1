"""The loop of a producer with several hands, or with instruments of its own.

Its own thread is the first hand; the others are threads of ours, which begin and end with it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, List, Tuple

from .. import _log
from .._core.member import Hand, Member, Ticket
from .._core.records import IDLE, STOP, Died
from .._delivery.keyed_mailbox import key_of
from .._participants import participant as _workers
from .._time.clock import NEVER, spawn, this_thread
from .streams import Streaming
from .sweep import come_to, died
from .turns import take_turn

__all__ = ["serve_hands"]


def serve_hands(home: Any, producer: Any, member: Member) -> None:
    """Serve with all hands until STOP. The thread of *producer*, with its *home*."""
    clock, rack = home.clock, member.mailbox
    helpers: List[Tuple[Any, Hand]] = []
    hands = [Hand(member, clock.bell()) for _ in range(producer._ate_workers - 1)]
    member.hands = (member, *hands)
    try:
        for number, hand in enumerate(hands, 2):
            name = f"{_log.name_of(producer)}/{number}"
            try:
                helpers.append(
                    (spawn(clock, partial(_help, home, producer, hand), name, hand.bell), hand)
                )
            except RuntimeError as error:
                _log.lost("%s works with fewer hands: %s", _log.name_of(producer), error)
                break
        _serve(home, producer, member)
        for thread, hand in helpers:
            clock.join(thread, hand.bell, NEVER)
    finally:
        with home.lock:
            rack.close()


def _help(home: Any, producer: Any, hand: Hand) -> None:
    """The thread of another hand than the first."""
    hand.ident = this_thread()
    _workers.helpers[hand.ident] = hand
    try:
        _serve(home, producer, hand)
    except Died:
        # Without a word, and the others go on.
        pass
    finally:
        _workers.helpers.pop(hand.ident, None)
        died(hand)


def _serve(home: Any, producer: Any, hand: Hand) -> None:
    member, rack = hand.member, hand.member.mailbox
    if producer._ate_stream:
        producer = Streaming(producer, hand)
    key = None
    try:
        while True:
            with home.lock:
                if key is not None:
                    rack.done(key)
                entry = rack.take(hand)
                key = None if entry.desk is None else key_of(entry)
            if member.absences:
                come_to(member)
            if entry is STOP:
                return
            if entry is IDLE:
                hand.park()
                continue
            ticket, entry = Ticket(entry), None
            take_turn(producer, hand, ticket)
    finally:
        if key is not None:
            # Its thread ended in the middle of it.
            with home.lock:
                rack.done(key)
                rack.look_round()
