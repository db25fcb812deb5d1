"""Results and published values on their way between parts: numbered, so that none is lost unseen.

Each part numbers what it sends over all topics. Who finds a gap asks the sender for what is
missing, which keeps the last of it; what it does not have any more is lost, and said so. On the
link's thread.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from .._core.durations import NEVER
from .._delivery.matched import SomeChannel
from .._engine.process import lost
from .._engine.remote import Heard, let_hear
from ..errors import BadType, BadValue
from . import frames
from .frame_reader import Coded
from .history import History
from .shared import Shared
from .subjects import subject_of

__all__ = ["LINGERS", "Results"]

LINGERS = 10.0
"""Seconds for which a part that was lost may come back, and has missed nothing."""

_PATIENCE, _LONGEST_PATIENCE = 0.25, 2.0
"""Seconds after which what is missing is asked for once more; twice as many each time, at most;"""

_PAUSE = 0.05
"""and so many after the last of it that has come."""

_PIECE = 4 * 1024 * 1024
"""So much text at most is sent again at a time, to one part."""

_SAYS = 1.0
"""Seconds after which it is said again that something was lost."""

_HELD, _ROOM = 10_000, 16 * 1024 * 1024
"""So many are held of one part behind a gap, and so much text of them: beyond, what is missing is
given up. It is not to be had any more where as much is kept."""

_TABLE = 64
"""Bytes of one that is empty."""


class _Held(NamedTuple):
    """One behind a gap; no two have one number."""

    seq: int
    size: int
    item: Tuple[str, Any, Optional[int]]


class _Source:
    """What was heard of one part."""

    __slots__ = (
        *("asked", "held", "is_fresh", "lost", "numbers", "patience", "said", "sender", "seq"),
        *("size", "told"),
    )

    def __init__(self, sender: str, seq: int) -> None:
        self.sender: str = sender
        #: The last one that was handed on.
        self.seq: int = seq
        #: The newest that it is known to have sent.
        self.told: int = seq
        #: Whether it is not known yet from where on what it sends is for us.
        self.is_fresh: bool = False
        #: Those behind a gap, as a heap: nobody's gaps make us look through all of them.
        self.held: List[_Held] = []
        self.numbers: Set[int] = set()
        self.size: int = 0
        #: When what is missing is to be asked for again.
        self.asked: float = -NEVER
        self.patience: float = _PATIENCE
        #: How many were lost since that was said, and when it was.
        self.lost: int = 0
        self.said: float = -NEVER

    @property
    def first(self) -> int:
        """The number of the first one behind a gap; that of the next one, if there is none."""
        return self.held[0].seq if self.held else self.told + 1

    def hold(self, seq: int, topic: str, value: Any, request: Optional[int]) -> None:
        """Behind a gap."""
        # About as long as it was on the wire; and what a list or a dict takes, which is more.
        text = repr(value)
        size = len(topic) + len(text) + _TABLE * (text.count("[") + text.count("{"))
        self.numbers.add(seq)
        self.size += size
        heappush(self.held, _Held(seq, size, (topic, value, request)))

    def take(self) -> Tuple[str, Any, Optional[int]]:
        """The first of them."""
        seq, size, item = heappop(self.held)
        self.numbers.discard(seq)
        self.size -= size
        return item


class Results:
    """Both directions of one link."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._history: History[str] = History()
        self._sources: Dict[str, _Source] = {}
        #: Those of which something is missing, or lost and not yet said so; perhaps also others.
        self._troubled: Dict[str, None] = {}
        #: Those of parts that were lost: until when, and which instance.
        self._lost: Dict[str, Tuple[float, str, _Source]] = {}
        self._heard: List[Heard] = []
        # Whether anybody here listens to anything.
        self._hears = False
        # To whom something was sent again that waits for room, or since the last look: nobody has
        # us fill our memory.
        self._served: Dict[str, int] = {}

    @property
    def seq(self) -> int:
        """The number of the last one that we have sent."""
        return self._history.last

    # -- out -----------------------------------------------------------------------------------

    def send(self, topic: str, value: Any, request: Optional[int]) -> None:
        """To all who listen elsewhere. BadType or BadValue if it cannot travel."""
        shared, subject = self._shared, subject_of(topic)
        text = shared.codec.encode("value", value)
        frame = frames.res(self.seq + 1, topic, text, request)
        if not shared.fits(frame):
            raise BadValue(
                f"value on topic {topic!r} is {len(frame)} bytes as text, and a message has room "
                f"for {shared.largest}"
            )
        self._history.add(frame, len(frame), shared.now)
        if shared.connected:
            # Else whoever misses it asks for it.
            shared.on(subject, frame)

    def again(self, sender: str, first: int, last: int) -> None:
        """*sender* has missed those."""
        if sender in self._served or sender not in self._sources:
            return
        oldest = self._history.first
        if first < oldest:
            self._shared.to(frames.lost(first, min(last, oldest - 1)), sender)
        size = 0
        for _, length, frame in self._history.items(first, last):
            size += length
            if size > _PIECE:
                break
            self._shared.count("sent_again")
            self._shared.to(frame, sender)
        self._shared.flush()
        self._served[sender] = self._shared.sequences.all_for(sender)

    # -- in ------------------------------------------------------------------------------------

    def hear(self, on: bool) -> None:
        """Whether anybody here listens to anything; what was before that is not for us."""
        if on and not self._hears:
            for source in self._sources.values():
                source.is_fresh = True
        self._hears = on
        self._shared.transport.hear(on)

    def connected(self) -> None:
        """Again, perhaps: what was asked for may have been lost."""
        for source in self._sources.values():
            source.asked, source.patience = min(source.asked, 0.0), _PATIENCE

    def begins(self, sender: str, instance: str, seq: int) -> None:
        """A part has come that has sent *seq* until now; what was before is not for us.

        But for one that was lost for a moment.
        """
        _, before, source = self._lost.pop(sender, (0.0, "", None))
        if source is not None and before == instance:
            source.asked, source.patience = min(source.asked, 0.0), _PATIENCE
        else:
            self._end(sender, source)
            source = _Source(sender, seq)
        self._sources[sender], self._troubled[sender] = source, None

    def gone(self, sender: str, instance: str, for_good: bool) -> None:
        """It was lost; or has left, and what is held of it is all that will come."""
        source = self._sources.pop(sender, None)
        self._served.pop(sender, None)
        if source is None or for_good:
            self._end(sender, source)
        else:
            self._lost[sender] = self._shared.now + LINGERS, instance, source

    def came(self, sender: str, seq: int, topic: str, value: Any, request: Optional[int]) -> None:
        """One of them."""
        source = self._sources.get(sender)
        if source is None or not self._hears:
            # It will say who it is; or nobody listens any more.
            return
        if source.is_fresh:
            if self._shared.sequences.misses(sender):
                # It has perhaps said from where on, before this.
                return
            self._starts(source, seq - 1)
        if seq <= source.seq or seq in source.numbers:
            self._shared.count("duplicates")
            return
        source.told = max(source.told, seq)
        if seq == source.seq + 1:
            source.seq = seq
            self._take(sender, (topic, value, request))
            self._take_held(source)
            if source.asked > -NEVER and source.seq < source.told:
                source.asked = self._shared.now + _PAUSE
            return
        source.hold(seq, topic, value, request)
        while len(source.held) > _HELD or source.size > _ROOM:
            self._pass_over(source, source.first - 1)
        self._ask_for_missing(sender, source)

    def told(self, sender: str, seq: int) -> None:
        """It says that it has sent *seq* until now."""
        source = self._sources.get(sender)
        if source is None:
            return
        if source.is_fresh and self._shared.sequences.misses(sender):
            return
        if source.is_fresh or not self._hears:
            self._starts(source, seq)
        source.told = max(source.told, seq)
        self._ask_for_missing(sender, source)

    def lost(self, sender: str, first: int, last: int) -> None:
        """Those are lost for good."""
        source = self._sources.get(sender)
        if source is not None and first <= source.seq + 1 <= last:
            self._pass_over(source, min(last, source.told))

    def look(self, now: float) -> float:
        """Ask once more for what is still missing; when to look again."""
        until = NEVER
        if self._served:
            has_let_out = self._shared.sequences.has_let_out
            for sender in [each for each in self._served if has_let_out(each, self._served[each])]:
                del self._served[sender]
        for sender, (at, _, source) in list(self._lost.items()):
            if at <= now:
                del self._lost[sender]
                self._end(sender, source)
            else:
                until = min(until, at)
        for sender in list(self._troubled):
            troubled = self._sources.get(sender)
            until = min(until, NEVER if troubled is None else self._look_at(troubled, now))
            if troubled is None or not (troubled.lost or troubled.told > troubled.seq):
                del self._troubled[sender]
        self.hand_on()
        return until

    def _look_at(self, source: _Source, now: float) -> float:
        until = NEVER
        if source.told > source.seq and self._shared.connected:
            if source.asked <= now:
                self._ask_for_missing(source.sender, source)
            until = source.asked
        if source.lost:
            if source.said + _SAYS <= now:
                source.said = now
                self._say_lost(source.sender, source)
            else:
                until = min(until, source.said + _SAYS)
        return until

    def hand_on(self) -> None:
        """What has come so far, to those who listen here."""
        if self._heard:
            heard, self._heard = self._heard, []
            let_hear(self._shared.engine, heard, self._shared.outbox)
            self._shared.let_go(heard)

    # -- inside --------------------------------------------------------------------------------

    def _starts(self, source: _Source, seq: int) -> None:
        """From *seq* on, what it sends arrives here: all of it in its order, or not yet any."""
        source.is_fresh = False
        source.seq = source.told = max(source.seq, seq)
        source.asked, source.patience = -NEVER, _PATIENCE
        source.held.clear()
        source.numbers.clear()
        source.size = 0

    def _end(self, sender: str, source: Optional[_Source]) -> None:
        if source is None:
            return
        if source.held:
            self._pass_over(source, max(source.numbers))
        self._say_lost(sender, source)

    def _take(self, sender: str, item: Tuple[str, Any, Optional[int]]) -> None:
        topic, value, request = item
        shared = self._shared
        channel: Optional[SomeChannel] = shared.engine.registry.find(topic)
        if channel is None:
            return
        try:
            if value.__class__ is Coded:
                value = shared.codec.decode(value.found)
        except (BadType, BadValue) as error:
            shared.unreadable(sender, topic, error)
            return
        self._heard.append(Heard(channel, topic, value, request))

    def _ask_for_missing(self, sender: str, source: _Source) -> None:
        if source.told <= source.seq:
            return
        self._troubled[sender] = None
        now = self._shared.now
        if now < source.asked or not self._shared.connected:
            return
        if source.asked == -NEVER:
            self._shared.count("gaps")
        source.asked = now + source.patience
        source.patience = min(2 * source.patience, _LONGEST_PATIENCE)
        self._shared.to(frames.again(source.seq + 1, source.first - 1), sender)

    def _pass_over(self, source: _Source, last: int) -> None:
        """What is missing until *last* does not come."""
        missing = last - source.seq
        while source.first <= last:
            missing -= 1
            self._take(source.sender, source.take())
        self._shared.count("lost", missing)
        source.lost += missing
        self._troubled[source.sender] = None
        source.seq = last
        self._take_held(source)

    def _take_held(self, source: _Source) -> None:
        while source.held and source.first == source.seq + 1:
            source.seq += 1
            self._take(source.sender, source.take())
        if source.seq >= source.told:
            source.asked, source.patience = -NEVER, _PATIENCE

    def _say_lost(self, sender: str, source: _Source) -> None:
        number, source.lost = source.lost, 0
        if number:
            lost("%d results and values of part %s were lost on the way here", number, sender)
