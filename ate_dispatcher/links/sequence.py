"""What one part says to another: numbered, so that what is lost on the way is said again.

Messages to one part are numbered in series. Who finds that one is missing takes none of those that
follow, and asks for all from there on. Each says how far it has taken them, now and then: no more
than a window of them is on its way to a part, and the rest waits here. All of it on the link's
thread.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Callable, Deque, Dict, Iterator, List, Optional, Tuple
from uuid import uuid1

from .._core.durations import NEVER
from . import frames
from .history import History
from .transport import Transport

__all__ = ["LONG", "Sequences", "Taken"]

_PATIENCE, _LONGEST_PATIENCE = 0.25, 2.0
"""Seconds after which what is missing is asked for once more; twice as many each time, at most."""

_PAUSE = 0.05
"""Seconds in which nobody has the same said twice, after it has left; as long again as that took,
if that is longer; and in which no two series begin. A hostile one could fill our memory, and have
us do nothing else."""

_ROOM, _ROOM_FOR_ALL = 16 * 1024 * 1024, 64 * 1024 * 1024
"""So much text at most is kept of what was said to one part, and to all."""

_WINDOW, _WINDOWS = 8 * 1024 * 1024, 32 * 1024 * 1024
"""So much text at most is on the way to one part that says what it takes, and to all: as much is
on the way to one, from all. A server cuts off whoever has some 64 MB waiting there;"""

_LEAST, _MESSAGES = 128 * 1024, 4_000
"""but so much to each, however many parts there are; and never more messages than that."""

_SAYS = 64 * 1024
"""After so much text that it has taken a part says so. While less is on the way to it, none may be
heard of: what is longer than all there is room for may follow then."""

LONG = 10
"""Beats of ours after which nobody waits for what was said: who does says what it has heard five
times as often. Without a connection, and while it is frozen, a part has none; a clock would go
on."""

_STUCK, _WAITING = 30, 512 * 1024 * 1024
"""Likewise, after which who says what it takes, and takes nothing more, will not go on; nor will
who has so much text waiting. New requests are declined long before that, but what is open may make
more than that one takes."""

_NONE = 1
"""No series of anybody."""


class Taken(Enum):
    """What is to be done with a message."""

    #: It is the next one.
    YES = 1
    #: It begins a series: of what was said before nothing more will come.
    ANEW = 2
    #: It begins a series, but not the one that was asked for: of that nothing will come.
    INSTEAD = 3
    #: It has come before.
    BEFORE = 4
    #: Something before it has not, which is asked for.
    TOO_SOON = 5


class _Sequence:
    """Both directions between this part and one other."""

    __slots__ = (
        *("anew_at", "asked", "history", "is_paced", "patience", "rests_until", "series", "served"),
        *("stirred", "taken", "theirs", "unsaid", "waited_size", "waiting", "waiting_size"),
        *("wanted",),
    )

    def __init__(self, series: int) -> None:
        #: Which of ours this is: each is greater than those before.
        self.series: int = series
        self.history: History[List[bytes]] = History()
        #: Whether they say what they have taken of it; and what waits for that.
        self.is_paced: bool = False
        self.waiting: Deque[Tuple[List[bytes], int]] = deque()
        self.waiting_size: int = 0
        #: How much has waited and does not any more.
        self.waited_size: int = 0
        #: In which of our beats that has begun, or they have taken something.
        self.stirred: int = 0
        #: Which of theirs it is, 0 if that is not known yet; and the last that was taken of it.
        self.theirs: int = 0
        self.taken: int = 0
        #: How much of that we have not said.
        self.unsaid: int = 0
        #: From when on they may begin another: to lose track of what was said takes long.
        self.anew_at: float = -NEVER
        #: When something missing was asked for, and of which; what is late of an old one, or was
        #: forged, they do not say again.
        self.asked: float = -NEVER
        self.patience: float = _PATIENCE
        self.wanted: int = 0
        #: When they have asked, and from when on they may again.
        self.served: float = -NEVER
        self.rests_until: float = -NEVER

    def begins(self, series: int, number: int, now: float) -> Taken:
        """They begin that *series*, taken up to that *number*; ANEW or INSTEAD of another."""
        taken = Taken.ANEW if self.theirs else Taken.YES
        if taken is Taken.YES and self.wanted not in (0, series):
            taken = Taken.INSTEAD
        self.theirs, self.taken, self.anew_at = series, number, now + _PAUSE
        return taken


class Sequences:
    """Those with all parts that are known, by their names."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        # In milliseconds of the system's clock: nobody has begun so many, also before a restart.
        self._series = uuid1().time // 10_000
        self._by_part: Dict[str, _Sequence] = {}
        self._beats = 0
        #: To whom there is no room to say more.
        self.crowded: Dict[str, None] = {}
        #: To whom something is said again that has not left yet, perhaps.
        self._served: List[_Sequence] = []

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
            self._forget_waiting(part, sequence)

    def end(self, part: str) -> None:
        """It is gone, and hears nothing of what was said."""
        sequence = self._by_part.pop(part, None)
        if sequence is not None:
            self._forget_waiting(part, sequence)

    def say(self, part: str, said: List[bytes], size: int) -> Optional[bytes]:
        """The message in which *said* goes to *part*, which is known; kept until that has taken it.

        None while there is no room for that on its way: see `next_for`.
        """
        sequence = self._by_part[part]
        if sequence.is_paced and (sequence.waiting or not self._has_room(sequence, size)):
            if not sequence.waiting:
                self.crowded[part], sequence.stirred = None, self._beats
            sequence.waiting.append((said, size))
            sequence.waiting_size += size
            return None
        return self._numbered(sequence, said, size)

    def say_at_once(self, part: str, said: List[bytes], size: int) -> bytes:
        """Likewise, before what waits: what *part* needs to go on taking."""
        return self._numbered(self._by_part[part], said, size)

    def next_for(
        self, part: str, now: Callable[[bytes], bytes], at_any_rate: bool
    ) -> Iterator[Tuple[bytes, int]]:
        """What waits for *part*, as long as there is room: messages, and how many frames they had.

        Each frame as it is *now*: with the time that is left, or none if it has ended; the message
        is b"" if that is true of all. Who has heard enough of it may go on later.
        """
        sequence = self._by_part.get(part)
        while sequence is not None and sequence.waiting:
            said, size = sequence.waiting[0]
            if not (at_any_rate or self._has_room(sequence, size)):
                return
            sequence.waiting.popleft()
            sequence.waiting_size -= size
            sequence.waited_size += size
            if not sequence.waiting:
                self.crowded.pop(part, None)
            left = list(filter(None, map(now, said)))
            message = self._numbered(sequence, left, sum(map(len, left))) if left else b""
            yield message, len(said)

    def waiting_for(self, part: str) -> int:
        """So much text waits to be said to it."""
        return self._by_part[part].waiting_size if part in self.crowded else 0

    def all_for(self, part: str) -> int:
        """What `has_let_out` is to be asked, to know when what waits for *part* now has left."""
        sequence = self._by_part.get(part)
        return 0 if sequence is None else sequence.waited_size + sequence.waiting_size

    def has_let_out(self, part: str, size: int) -> bool:
        """Whether nothing is left of what waited for *part* when `all_for` was that."""
        sequence = self._by_part.get(part)
        return sequence is None or sequence.waited_size >= size

    def _has_room(self, sequence: _Sequence, size: int) -> bool:
        history = sequence.history
        if len(history) >= _MESSAGES:
            return False
        # Nearly always there is that little on its way.
        if history.size < _SAYS:
            return True
        room = min(_WINDOW, max(_LEAST, _WINDOWS // len(self._by_part)))
        return history.size + size <= room

    def _numbered(self, sequence: _Sequence, said: List[bytes], size: int) -> bytes:
        room = min(_ROOM, _ROOM_FOR_ALL // len(self._by_part))
        if sequence.is_paced:
            # More than a window is nothing but what was said at once.
            room = size + _ROOM_FOR_ALL
        number = sequence.history.add(said, size, self._beats, room)
        head = frames.seq(sequence.series, number, sequence.theirs)
        return b"\n".join([head.encode(), *said])

    def _forget_waiting(self, part: str, sequence: _Sequence) -> None:
        sequence.waiting.clear()
        sequence.waited_size += sequence.waiting_size
        sequence.waiting_size = 0
        self.crowded.pop(part, None)

    def say_again(
        self,
        part: str,
        series: int,
        first: int,
        theirs: int,
        now: float,
        again: Callable[[bytes], bytes],
    ) -> Optional[int]:
        """*part* has missed all from *first* on: it is said to it once more, as *again* makes it.

        *theirs* is the series in which it speaks itself. How many messages that were; None if they
        are not all there, or *part* has given up some of them: it had taken us for gone.
        """
        sequence = self._by_part.get(part)
        if sequence is None or series != sequence.series or now < sequence.rests_until:
            return 0
        history = sequence.history
        if first == 1 and sequence.theirs not in (0, theirs):
            # That of before says nothing more.
            sequence.theirs = sequence.taken = 0
            return None
        if first <= history.lost:
            return None
        sequence.served, sequence.rests_until = now, NEVER
        self._served.append(sequence)
        if first < history.first:
            # Too old: who waits for something would have asked for it long ago.
            self._transport.send(part, frames.passed(series, history.first - 1).encode())
        for number, _, said in history.items(first, history.last):
            head = frames.seq(series, number, sequence.theirs).encode()
            self._transport.send(part, b"\n".join([head, *filter(None, map(again, said))]))
        return max(0, history.last + 1 - max(first, history.first))

    def look(self, now: float) -> None:
        """What was said has left: more may be said."""
        if self._served:
            served, self._served = self._served, []
            for sequence in served:
                sequence.rests_until = now + max(_PAUSE, now - sequence.served)

    def forget_old(self, is_waited_for: Callable[[List[bytes]], bool]) -> None:
        """What was said long ago was heard, where nobody says so. Once in each beat.

        Not by who heard nothing at all: if it asks for what still *is_waited_for*, all begins anew.
        """
        self._beats += 1
        for sequence in self._by_part.values():
            if not sequence.is_paced:
                sequence.history.forget(self._beats - LONG, is_waited_for)

    def overrun(self) -> List[str]:
        """For whom something waits, and who takes nothing more, or far too little."""
        since = self._beats - _STUCK
        found = [(each, self._by_part[each]) for each in self.crowded]
        return [
            name for name, each in found if each.stirred < since or each.waiting_size > _WAITING
        ]

    # -- in ------------------------------------------------------------------------------------

    def take(
        self, part: str, series: int, number: int, ours: int, now: float, size: int = 0
    ) -> Taken:
        """*part*, which is known, has sent a message of that *number*: what to do with it.

        It hears this part in the series *ours*, 0 if in none.
        """
        sequence = self._by_part[part]
        if series == sequence.theirs:
            if number <= sequence.taken:
                return Taken.BEFORE
            missing = sequence.taken + 1
            if number == missing:
                sequence.taken, sequence.asked = number, -NEVER
                sequence.unsaid += size
                if sequence.unsaid >= _SAYS:
                    self.say_taken(part)
                return Taken.YES
        else:
            missing, is_newer = 1, series > sequence.theirs
            may_begin = now >= sequence.anew_at and (is_newer or series == sequence.wanted)
            if number == 1 and may_begin:
                taken = sequence.begins(series, number, now)
                if taken is Taken.ANEW and ours != sequence.series:
                    # It had taken us for gone, and waits for the first of a series.
                    self.begin_anew(part)
                # From now on it knows that we say so.
                self.say_taken(part)
                return taken
        if sequence.asked == -NEVER or series != sequence.wanted:
            sequence.patience, sequence.wanted = _PATIENCE, series
        elif now < sequence.asked + sequence.patience:
            return Taken.TOO_SOON
        else:
            # It may be on its way.
            sequence.patience = min(2 * sequence.patience, _LONGEST_PATIENCE)
        sequence.asked = now
        asks = frames.resend(series, missing, sequence.series)
        self._transport.send(part, asks.encode())
        return Taken.TOO_SOON

    def pass_over(self, part: str, series: int, number: int, now: float) -> Taken:
        """Messages up to that *number* do not come any more: they are `LONG` ago."""
        sequence = self._by_part.get(part)
        if sequence is None or series not in (sequence.theirs, sequence.wanted):
            return Taken.BEFORE
        if series == sequence.theirs:
            if number <= sequence.taken:
                return Taken.BEFORE
            sequence.taken = number
            return Taken.YES
        if now < sequence.anew_at:
            return Taken.TOO_SOON
        return sequence.begins(series, number, now)

    def misses(self, part: str) -> bool:
        """Whether *part* has said something that we have missed, and asked for."""
        sequence = self._by_part.get(part)
        if sequence is None or sequence.asked == -NEVER:
            return False
        return sequence.wanted == sequence.theirs

    def seen(self, part: str) -> str:
        """For *part*: how far we have taken what it says; a series of nobody, if nothing yet."""
        sequence = self._by_part.get(part)
        if sequence is None:
            return frames.PROBE
        return frames.seen(sequence.theirs or _NONE, sequence.taken or 1)

    def say_taken(self, part: str) -> None:
        """Tell *part* how far we have taken what it says, if we have."""
        sequence = self._by_part.get(part)
        if sequence is not None and sequence.theirs:
            sequence.unsaid = 0
            self._transport.send(part, frames.took(sequence.theirs, sequence.taken).encode())

    def has_taken(self, part: str, series: int, number: int) -> bool:
        """*part* has taken that *series* up to *number*: that is not kept any longer.

        Whether it knows of all.
        """
        sequence = self._by_part.get(part)
        if sequence is None:
            return True
        if series != sequence.series:
            return False
        if number >= sequence.history.first:
            sequence.stirred = self._beats
        sequence.history.forget_until(number)
        return number >= sequence.history.last

    def says_taken(self, part: str, series: int, number: int) -> None:
        """Likewise; and it goes on saying so, from now on."""
        sequence = self._by_part.get(part)
        if sequence is not None and series == sequence.series:
            sequence.is_paced = True
            self.has_taken(part, series, number)

    def is_over(self, part: str, series: int) -> bool:
        """Whether we say nothing more to *part* in that *series*."""
        sequence = self._by_part.get(part)
        return sequence is not None and series != sequence.series

    def connected(self) -> None:
        """Again, perhaps: what was asked for may have been lost."""
        for sequence in self._by_part.values():
            sequence.asked = sequence.rests_until = -NEVER

    def _next_series(self) -> int:
        self._series += 1
        return self._series
