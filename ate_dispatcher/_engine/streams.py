"""Producers that stream: each value that their generator yields is a reply of its own.

On the producer's own thread. The values go the way of all replies, through the section; the end of
the generator is the member's one verdict.
"""

from __future__ import annotations

import contextlib
import types
from typing import Any

from .._core.effects import ACCEPTED
from .._core.member import Hand
from .._core.records import Finished
from .gather import act, after, forward

__all__ = ["Streaming"]


class Streaming:
    """What the loop serves in the place of a producer that streams."""

    def __init__(self, producer: Any, hand: Hand) -> None:
        self._producer = producer
        self._hand = hand

    @property
    def name(self) -> Any:
        return self._producer.name

    def produce_dispatcher_output(self, *args: Any, **kwargs: Any) -> Any:
        """Go through the generator; a value that is none is an answer like any other."""
        generator = self._producer.produce_dispatcher_output(*args, **kwargs)
        if not isinstance(generator, types.GeneratorType):
            return generator
        with contextlib.closing(generator):
            for value in generator:
                if not _streamed(self._hand, value):
                    # Over meanwhile: what comes of it now is late, or surplus.
                    return None
                value = None
        raise Finished


def _streamed(hand: Hand, value: Any) -> bool:
    """Hand one value in; whether more are wanted."""
    entry: Any = hand.running
    desk = entry.desk
    with desk.lock:
        entry = hand.running
        effects = desk.ledger.streamed(entry, hand, value, desk.now())
        if effects & ACCEPTED:
            forward(entry, value)
        act(desk, entry, effects, hand.member)
    after(desk, entry, effects)
    return entry.completion is None
