"""What another part has not taken yet: it is said again, or later than it was written, or given up.

On the link's thread.
"""

from __future__ import annotations

from functools import partial
from typing import Dict

from .._core.durations import NEVER
from .._core.ledger import Ledger
from .._engine.process import lost
from . import frames
from .asks import Asks
from .guests import Guests
from .membership import BEAT
from .pending import Pending
from .results import Results
from .sequence import LONG, Taken
from .shared import Shared

__all__ = ["Recovery"]

_AGO = 3_600.0
"""Seconds before it was asked that what nobody is to begin is said to have ended: by no clock is
that now."""

_MANY = 1_000
"""So many frames that have waited leave before others have their turn."""


class Recovery:
    """With all parts, as their `Sequences` say."""

    def __init__(self, shared: Shared, asks: Asks, guests: Guests, results: Results) -> None:
        self._shared = shared
        self._asks = asks
        self._guests = guests
        self._results = results
        # Who wants to know what we have taken, and who has not taken all that we have said: nobody
        # is told more than once for all that it says at a time.
        self._asked: Dict[str, None] = {}
        self._behind: Dict[str, None] = {}
        # To whom more may be let out, when others have had their turn.
        self._going_on: Dict[str, None] = {}

    def is_next(self, size: int, sender: str, series: int, number: int, ours: int) -> bool:
        """Whether a message of that *size* and number is to be read now; *sender* is known."""
        shared = self._shared
        taken = shared.sequences.take(sender, series, number, ours, shared.now, size)
        if taken is Taken.ANEW:
            self._lose_track(sender)
        elif taken is Taken.INSTEAD:
            # What that part has answered before is lost; what it was asked just now it may have.
            self._remind(sender)
        elif taken is not Taken.YES:
            shared.count("duplicates" if taken is Taken.BEFORE else "gaps")
            return False
        return True

    def in_resend(self, sender: str, series: int, first: int, theirs: int) -> None:
        """It has missed all from *first* on; *theirs* is the series in which it speaks."""
        shared, again = self._shared, partial(self._again, sender)
        number = shared.sequences.say_again(sender, series, first, theirs, shared.now, again)
        if number is None:
            self._begin_anew(sender)
        elif number:
            shared.count("sent_again", number)
        elif shared.sequences.is_over(sender, series):
            self._behind[sender] = None

    def in_passed(self, sender: str, series: int, number: int) -> None:
        """It does not say again what it has said up to that *number*."""
        shared, now = self._shared, self._shared.now
        taken = shared.sequences.pass_over(sender, series, number, now)
        if taken is Taken.ANEW:
            self._lose_track(sender)
        elif taken is Taken.YES:
            # The answer to what was asked before may be among that.
            self._give_up(sender, now - LONG * BEAT)

    def in_seen(self, sender: str, series: int, number: int) -> None:
        """It has taken what we have said up to that *number*, and waits for more."""
        if not self._shared.sequences.has_taken(sender, series, number):
            self._behind[sender] = None
        self._let_out(sender)

    def in_took(self, sender: str, series: int, number: int) -> None:
        """It has taken that, and there is room for more."""
        self._shared.sequences.says_taken(sender, series, number)
        self._let_out(sender)

    def in_probe(self, sender: str) -> None:
        """It wants to know how much we have taken."""
        self._asked[sender] = None

    def look(self) -> bool:
        """Tell those who want to know something; give up who will not go on.

        Whether there is more to do at once.
        """
        sequences = self._shared.sequences
        if self._asked:
            for part in self._asked:
                sequences.say_taken(part)
            self._asked.clear()
        if self._behind:
            # From the number of this they know.
            self._shared.to_at_once(frames.PROBE, *self._behind)
            self._behind.clear()
        if not sequences.crowded:
            return False
        going_on, self._going_on = self._going_on, {}
        for part in going_on:
            self._let_out(part)
        for part in sequences.overrun():
            said = "part %s takes too little of what is said to it, or nothing: %d MB are given up"
            lost(said, part, sequences.waiting_for(part) // 1_000_000)
            self._begin_anew(part)
        return bool(self._going_on)

    def let_all_out(self) -> None:
        """What waits for others to take what was said before: this part leaves."""
        for part in list(self._shared.sequences.crowded):
            self._let_out(part, True)

    def _let_out(self, part: str, at_any_rate: bool = False) -> None:
        """What waits for *part*, as far as there is room."""
        shared = self._shared
        if not shared.connected:
            return
        now, number = partial(self._left if at_any_rate else self._leaves, part), 0
        for message, frames_of_it in shared.sequences.next_for(part, now, at_any_rate):
            if message:
                shared.send(part, message, frames_of_it)
            number += frames_of_it
            if number > _MANY and not at_any_rate:
                self._going_on[part] = None
                break

    def _begin_anew(self, part: str) -> None:
        """What was said to it is not there any more, or never taken."""
        self._shared.sequences.begin_anew(part)
        self._shared.to_at_once(frames.PROBE, part)
        self._lose_track(part)

    def _lose_track(self, part: str) -> None:
        """What this part and that one have said is lost: nobody waits for what may not come."""
        self._give_up(part, NEVER)
        self._guests.gone(part)

    def _give_up(self, part: str, before: float) -> None:
        """What *part* was asked *before* that is not waited for any more."""
        # What has come before that comes before the ends.
        self._asks.hand_in()
        self._results.hand_on()
        given_up = self._asks.gone(part, False, before)
        if given_up:
            said = (
                "part %s begins anew, cut off for long or with too much not taken: %d answers are "
                "given up"
            )
            lost(said, part, given_up)

    def _again(self, part_name: str, frame: bytes) -> bytes:
        """*frame*, which that part says it has missed, as it is said to it once more.

        What has ended does not leave: in its place goes that it is over. Who asks twice may have
        taken it in between, so it is that part which knows whether it skips it.
        """
        number = frames.number_asked(frame)
        pending = None if number is None else self._asks.pending.get(number)
        if number is None or (pending is not None and not pending.request.is_over):
            return frame
        return b"" if pending is None else _over(number, pending, part_name).encode()

    def _leaves(self, part_name: str, frame: bytes) -> bytes:
        """*frame*, which has waited until that part had taken what was said to it before, as now.

        Nobody is asked who shall not begin it any more.
        """
        number = frames.number_asked(frame)
        pending = None if number is None else self._asks.pending.get(number)
        if number is None or pending is None or pending.request.is_over:
            return self._again(part_name, frame)
        if frames.is_over(frame):
            # That is for who has begun it.
            return frame
        keys, withdrawn = [], pending.withdrawn or ()
        for place in pending.of(part_name):
            if place in withdrawn:
                self._asks.will_not(Ledger.withdrawn, number, pending, pending.left[place])
            else:
                keys.append(place[1])
        topic = str(pending.request.topic)
        return frames.asked_now(frame, self._shared.now, topic, keys) if keys else b""

    def _left(self, part_name: str, frame: bytes) -> bytes:
        """Likewise, as this part leaves: nobody begins anything for it any more."""
        return frame if frames.number_asked(frame) is None else b""

    def _remind(self, part_name: str) -> None:
        """Ask that part again, which may have answered unheard: what it has no more is GONE."""
        for number in self._asks.pending.open:
            pending = self._asks.pending[number]
            if part_name in pending.debtors():
                self._shared.to(_over(number, pending, part_name), part_name)


def _over(number: int, pending: Pending, part_name: str) -> str:
    """What that part was asked, once more for who has begun it: nobody begins it any more."""
    keys = [key for _, key in pending.of(part_name)]
    topic, clock_s = str(pending.request.topic), pending.since - _AGO
    return frames.ask(number, 0.0, clock_s, topic, keys, "[]", "{}") if keys else ""
