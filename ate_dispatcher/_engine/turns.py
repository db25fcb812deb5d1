"""A request that takes the careful way, served by one hand from its turn to its answer.

So do requests of a dispatcher that is not the producer's home, those with a start line, and all of
a producer that needs instruments or has several hands. Each of them is one turn: it comes out of
the mailbox, waits for its instruments, then at the start line, and then begins; or the request ends
before, and it does not. Whoever ends that waiting says so inside the section, and rings.
"""

from __future__ import annotations

from typing import Any

from .._core.effects import ACCEPTED
from .._core.member import Hand, Start, Ticket, Turn
from .._core.outcomes import Standing
from .._core.records import Died, Finished
from .._delivery.registry import is_off
from .._observing.deadlocks import nested
from .._time.clock import NEVER
from .gather import act, after, failed, forward, goes_to, let_go, missed, without_our_frame

__all__ = ["finish_stream", "take_turn"]


def take_turn(producer: Any, hand: Hand, ticket: Ticket) -> None:
    """Serve the request of *ticket*, or find that it is over. On the thread of *hand*; waits."""
    entry: Any = ticket.punch()
    desk = entry.desk
    call: Any = None
    kwargs = value = error = None
    turn = Turn(entry, hand, NEVER)
    try:
        with desk.lock:
            now = turn.came = desk.now()
            effects = missed(desk, entry, now)
            if entry.completion is None and is_off(desk.off, hand.member.producer):
                # Disabled since it left the mailbox: nobody else has seen it.
                turn.standing = None
                effects = desk.ledger.withdrawn(entry, hand.member, now)
                act(desk, entry, effects, hand.member)
            elif entry.completion is None:
                call, kwargs = entry.call, entry.kwargs
                hand.turn = turn
                if turn.names:
                    goes_to(desk.instruments.ask(turn), hand)
                if turn.granted or not turn.names:
                    effects = _goes_on(desk, turn, now)
                elif nested:
                    desk.leave("look_for_circle", hand)
            else:
                turn.standing = None
        after(desk, entry, effects)
        while turn.waits:
            hand.park()
            if turn.granted and turn.taken is None:
                with desk.lock:
                    effects = _goes_on(desk, turn, desk.now())
                after(desk, entry, effects)
        if turn.standing is None:
            return
        # While it runs, for long perhaps, the hand alone refers to the request: if that ends, the
        # ledger puts a stub there that holds nobody's results.
        entry = turn.entry = hand.turn = None
        if turn.lined is not None:
            # On its own thread, since this is what a skew is measured by.
            now = desk.now()
            hand.began = Start(now, turn.spent(now))
        try:
            value = producer.produce_dispatcher_output(*call, **(kwargs or {}))
        except Died:
            raise
        except Finished:
            call = kwargs = None
            finish_stream(desk, hand, turn)
            return
        except BaseException as raised:
            error = without_our_frame(raised)
        call = kwargs = None
        with desk.lock:
            entry = hand.running
            effects = desk.ledger.replied(entry, hand, value, error, desk.now())
            if effects & ACCEPTED:
                forward(entry, value)
            hand.running = None
            act(desk, entry, effects, hand.member)
            let_go(desk, turn)
        after(desk, entry, effects)
        if error is not None:
            failed(producer, entry, error)
    finally:
        hand.turn = None
        if turn.granted or turn.waits:
            # It is cut short: by the end of its thread.
            with desk.lock:
                let_go(desk, turn)


def finish_stream(desk: Any, hand: Hand, turn: Any = None) -> None:
    """The generator in *hand* came to its end."""
    with desk.lock:
        entry = hand.running
        assert entry is not None
        effects = desk.ledger.finished(entry, hand, desk.now())
        hand.running = None
        act(desk, entry, effects, hand.member)
        if turn is not None:
            let_go(desk, turn)
    after(desk, entry, effects)


def _goes_on(desk: Any, turn: Turn, now: float) -> int:
    """It has its instruments: to the start line, if there is one, or to work. In the section."""
    entry, hand = turn.entry, turn.hand
    turn.taken = now
    if turn.standing is None:
        # The end was quicker.
        return 0
    effects = missed(desk, entry, now)
    if entry.completion is not None:
        return effects
    if entry.line is None:
        turn.standing = Standing.RUNNING
        hand.running = entry
        hand.began = Start(now, turn.spent(now)) if turn.names else now
        return 0
    effects = desk.ledger.lined_up(entry, turn, now)
    act(desk, entry, effects, hand.member)
    if nested and turn.standing is Standing.AT_LINE:
        desk.leave("look_for_circle", hand)
    return int(effects)
