"""What one part says to another: numbered, so that what is lost on the way is said again.

Messages to one part are numbered in series. Who finds that one is missing takes none of those that
follow, and asks for all from there on. All of it on the link's thread.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, Dict, List, Optional
from uuid import uuid1

from .._core.durations import NEVER
from . import frames
from .history import History
from .transport import Transport

__all__ = ["Sequences", "Taken"]

_PATIENCE = 0.25
"""Seconds after which what is missing is asked for once more."""

_PAUSE = 0.05
"""Seconds in which nobody has the same said twice: a hostile one could fill our memory."""

_LONG = 10.0
"""Seconds after which nobody asks for it any more: who is silent for so long is gone."""


class Taken(Enum):
    """What is to be done with a message."""

    #: It is the next one.
    YES = 1
    #: It begins a series: of what was said before nothing more will come.
    ANEW = 2
    #: It has come before.
    BEFORE = 3
    #: Something before it has not, which is asked for.
    TOO_SOON = 4


class _Sequence:
    """Both directions between this part and one other."""

    __slots__ = ("asked", "history", "series", "served", "taken", "theirs", "wanted")

    def __init__(self, series: int) -> None:
        #: Which of ours this is: each is greater than those before.
        self.series: int = series
        self.history: History[List[bytes]] = History()
        #: Which of theirs it is, 0 if that is not known yet; and the last that was taken of it.
        self.theirs: int = 0
        self.taken: int = 0
        #: When something missing was asked for, and of which; what is late of an old one, or was
        #: forged, they do not say again.
        self.asked: float = -NEVER
        self.wanted: int = 0
        #: When they have asked.
        self.served: float = -NEVER


class Sequences:
    """Those with all parts that are known, by their names."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        # In milliseconds of the system's clock: nobody has begun so many, also before a restart.
        self._series = uuid1().time // 10_000
        self._by_part: Dict[str, _Sequence] = {}

    def __contains__(self, part: str) -> bool:
        return part in self._by_part

    # -- out -----------------------------------------------------------------------------------

    def begin(self, part: str) -> None:
        """*part* has come: what is said to it is numbered from 1."""
        self._by_part[part] = _Sequence(self._next_series())

    def begin_anew(self, part: str) -> None:
        """What was said to it is forgotten, and it shall know."""
        sequence = self._by_part.get(part)
        if sequence is not None:
            sequence.series, sequence.history = self._next_series(), History()

    def end(self, part: str) -> None:
        """It is gone, and hears nothing of what was said."""
        self._by_part.pop(part, None)

    def numbered(self, part: str, said: List[bytes], size: int, now: float) -> bytes:
        """The message in which *said* goes to *part*, which is known; kept for a while."""
        sequence = self._by_part[part]
        number = sequence.history.add(said, size, now)
        return b"\n".join([frames.seq(sequence.series, number).encode(), *said])

    def say_again(
        self, part: str, series: int, first: int, now: float, goes: Callable[[bytes], bool]
    ) -> Optional[int]:
        """*part* has missed all from *first* on: what *goes* of it is said to it once more.

        How many messages that were; None if they are not all there.
        """
        sequence = self._by_part.get(part)
        if sequence is None or series != sequence.series or now < sequence.served + _PAUSE:
            return 0
        history = sequence.history
        if first < history.first:
            return None
        sequence.served = now
        for number, _, said in history.items(first, history.last):
            head = frames.seq(series, number).encode()
            self._transport.send(part, b"\n".join([head, *filter(goes, said)]))
        return max(0, history.last + 1 - first)

    def forget_old(self, now: float) -> None:
        """What was said long ago was heard."""
        for sequence in self._by_part.values():
            sequence.history.forget(now - _LONG)

    # -- in ------------------------------------------------------------------------------------

    def take(self, part: str, series: int, number: int, now: float) -> Taken:
        """*part*, which is known, has sent a message of that *number*: what to do with it."""
        sequence = self._by_part[part]
        if series == sequence.theirs:
            if number <= sequence.taken:
                return Taken.BEFORE
            missing = sequence.taken + 1
            if number == missing:
                sequence.taken = number
                return Taken.YES
        else:
            missing = 1
            if not sequence.theirs:
                # What it has said before we knew it was not for us.
                sequence.theirs, sequence.taken = series, number
                return Taken.YES
            if number == 1 and (series > sequence.theirs or series == sequence.wanted):
                sequence.theirs, sequence.taken = series, number
                return Taken.ANEW
        if now >= sequence.asked + _PATIENCE or series != sequence.wanted:
            sequence.asked, sequence.wanted = now, series
            self._transport.send(part, frames.resend(series, missing).encode())
        return Taken.TOO_SOON

    def seen(self, part: str) -> str:
        """For *part*: how far we have taken what it says."""
        sequence = self._by_part.get(part)
        if sequence is None or not sequence.theirs:
            return frames.PROBE
        return frames.seen(sequence.theirs, sequence.taken)

    def has_missed(self, part: str, series: int, number: int) -> bool:
        """Whether *part*, which has taken ours up to *number*, does not know of all."""
        sequence = self._by_part.get(part)
        return sequence is not None and series == sequence.series and number < sequence.history.last

    def connected(self) -> None:
        """Again, perhaps: what was asked for may have been lost."""
        for sequence in self._by_part.values():
            sequence.asked = sequence.served = -NEVER

    def _next_series(self) -> int:
        self._series += 1
        return self._series
