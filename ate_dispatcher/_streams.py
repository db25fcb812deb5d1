"""Producers that stream: each value that their generator yields is a reply of its own.

On the producer's own thread. The values go the way of all replies, through the section; the end of
the generator is the member's one verdict.
"""

from __future__ import annotations

import contextlib
import types
from typing import Any

from ._effects import act, after
from ._entry import Member
from ._ledger import ACCEPTED
from ._messages import Finished

__all__ = ["Streaming", "finished"]


class Streaming:
    """What the loop serves in the place of a producer that streams."""

    def __init__(self, producer: Any, member: Member) -> None:
        self._producer = producer
        self._member = member

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
                if not _streamed(self._member, value):
                    # Over meanwhile: what comes of it now is late, or surplus.
                    return None
                value = None
        raise Finished


def _streamed(member: Member, value: Any) -> bool:
    """Hand one value in; whether more are wanted."""
    entry: Any = member.running
    desk = entry.desk
    with desk.lock:
        entry = member.running
        effects = desk.ledger.streamed(entry, member, value, desk.now())
        if effects & ACCEPTED:
            for _, ear in entry.channel.listeners.current().puts:
                ear.put((entry.topic, value))
        act(desk, entry, effects, member)
    after(desk, entry, effects)
    return entry.completion is None


def finished(desk: Any, member: Member) -> None:
    """The generator of *member* came to its end."""
    with desk.lock:
        entry = member.running
        assert entry is not None
        effects = desk.ledger.finished(entry, member, desk.now())
        member.running = None
        act(desk, entry, effects, member)
    after(desk, entry, effects)
