"""Hooks that are ready to use: ``dispatcher.add_hook(SetAside(after=3))``.

They know what events say and use what everybody may use, so each is an example for one of your own.
"""

from __future__ import annotations

import bisect
import logging
import math
import weakref
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Hashable, List, Optional, Tuple

from . import _log, events
from ._arguments import count
from ._core.durations import NEVER, milliseconds
from ._core.outcomes import ANSWERED, Completion, Verdict
from .errors import BadValue

__all__ = ["Advice", "MailboxAdvice", "SetAside", "Suggestion", "TtlAdvice"]

_BY = "SetAside"


class SetAside:
    """Disables a producer that has missed *after* times in a row, and probes it back in.

    A miss is a request that ended at its deadline without its answer, or that could not reach it;
    an error is an answer, and who only waited for an instrument or at a start line has not missed.
    After *probe_every* milliseconds the next request but one asks it again: if it answers, it is
    back; if it misses, it is off for as long again. Who was disabled by somebody else stays so.
    Runs on the observers' thread, so what it does holds for requests sent a moment later; it says
    so in the log, as a WARNING when one goes. One for each dispatcher.

    Parameters
    ----------
    after: int
        How many misses in a row are too many.
    probe_every: float
        Milliseconds; None does not probe: somebody calls ``dispatcher.enable``.
    """

    def __init__(self, *, after: int = 3, probe_every: Optional[float] = 60_000) -> None:
        self._dispatcher: Callable[[], Any] = lambda: None
        self._after = count("after", after, "misses")
        self._probe_every = milliseconds("probe_every", probe_every)
        # By the members' numbers: two may have one name.
        self._missed: Dict[int, int] = {}
        self._probed: Dict[int, float] = {}
        self._aside: Dict[int, Tuple[str, float]] = {}

    @property
    def aside(self) -> Dict[str, float]:
        """The producers that are off by this, by name, with the instant at which they went."""
        return dict(self._aside.copy().values())

    def joins(self, dispatcher: Any) -> None:
        """Called by ``dispatcher.add_hook``: its producers are meant."""
        if self._dispatcher() not in (None, dispatcher):
            raise BadValue(f"hook serves {self._dispatcher()!r} already; make another")
        self._dispatcher = weakref.ref(dispatcher)

    def __call__(self, event: events.Event) -> None:
        """Take an event in."""
        if isinstance(event, events.RequestCompleted):
            for number, (name, verdict) in zip(event.numbers, event.verdicts):
                if verdict in ANSWERED:
                    self._missed.pop(number, None)
                    if self._aside.pop(number, None) is not None:
                        self._switch(number, "enable")
                        _log.report(logging.INFO, "%s is back", name)
                elif verdict is Verdict.DECLINED or (
                    # Under any other end it was not waited for until its time was over.
                    verdict is Verdict.MISSING and event.completion is Completion.DEADLINE
                ):
                    self._miss(number, name, event.at)
        if isinstance(event, events.RequestOpened) and self._probe_every < NEVER:
            for number, (_, since) in list(self._aside.items()):
                if event.at - max(since, self._probed.get(number, since)) >= self._probe_every:
                    self._probed[number] = event.at
                    self._switch(number, "enable")

    def _miss(self, number: int, name: str, at: float) -> None:
        missed = self._missed[number] = self._missed.get(number, 0) + 1
        if missed >= self._after:
            if self._aside.setdefault(number, (name, at))[1] == at:
                _log.lost("%s has missed %d requests in a row and is set aside", name, missed)
            self._probed[number] = at
            self._switch(number, "disable")

    def _switch(self, number: int, how: str) -> None:
        dispatcher = self._dispatcher()
        if dispatcher is None:
            return
        # Also those on other machines, which are nobody's to stop or to join.
        for producer in dispatcher._ate_engine.registry.participants("producers", remote=True):
            if producer._ate_member.number == number:
                getattr(dispatcher, how)(producer, by=_BY)


_STEPS = 32
"""Buckets for each doubling of the time: an answer is known to 2.2 %."""


@dataclass(frozen=True)
class Advice:
    """What the replies on one topic say about its ttl. Milliseconds, rounded up by 2.2 % at most.

    ``replies`` counts those that came at all, late ones included, and ``late`` those that came too
    late; ``missing`` those that never came, or not yet. With a ttl of ``p95`` 95 % of the replies
    that came would have been in time, with ``p100`` all of those. A stream has come when it has
    come to its end. Times count from the send, all waiting included.
    """

    topic: Hashable
    replies: int
    late: int
    missing: int
    p95: float
    p99: float
    p100: float

    def __str__(self) -> str:
        return (
            f"{self.topic!r}: {self.replies} replies, {self.late} of them late, {self.missing} "
            f"missing; of those that came a ttl of {self.p95:.4g} ms keeps 95 %, "
            f"{self.p99:.4g} ms 99 %, {self.p100:.4g} ms all"
        )


class TtlAdvice:
    """Learns how long answers take: ``advice.of(topic)`` says what ttl would have kept how many.

    In bounded memory: counts by the size of the time, and *topics* topics at most, those that came
    first. Called on the observers' thread; ``of`` may be called from any.
    """

    def __init__(self, *, topics: int = 1000) -> None:
        self._most = count("topics", topics, "topics")
        self._topics: Dict[Hashable, _Counts] = {}

    def __call__(self, event: events.Event) -> None:
        """Take an event in."""
        counts = self._topics.get(event.topic)
        if counts is None:
            if len(self._topics) >= self._most:
                return
            counts = self._topics[event.topic] = _Counts()
        if isinstance(event, events.ReplyDiscarded):
            counts.add(event.elapsed_ms)
            counts.late += event.verdict is Verdict.LATE
            counts.missing -= counts.missing > 0
        elif isinstance(event, events.RequestCompleted):
            for member in event.report.members:
                counts.missing += member.verdict is Verdict.MISSING
                if member.verdict in ANSWERED:
                    # The whole of it: a stream has answered when it has come to its end.
                    counts.add((member.began_ms or 0.0) + (member.ran_ms or 0.0))

    def of(self, topic: Hashable) -> Optional[Advice]:
        """What is known of *topic*; None before the first reply."""
        counts = self._topics.get(topic)
        if counts is None or not counts.replies:
            return None
        p95, p99, p100 = map(counts.keeps, (0.95, 0.99, 1.0))
        return Advice(topic, counts.replies, counts.late, counts.missing, p95, p99, p100)


class _Counts:
    """How many answers took how long, by the logarithm of the time."""

    def __init__(self) -> None:
        self.replies = self.late = self.missing = 0
        self._buckets: Dict[int, int] = {}
        self._longest = 0.0

    def add(self, ms: float) -> None:
        # From a nanosecond on, so there are some thousand buckets at most.
        bucket = math.ceil(math.log2(max(ms, 1e-6)) * _STEPS)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._longest = max(self._longest, ms)
        self.replies += 1

    def keeps(self, share: float) -> float:
        """The time that at least that share of the answers did not exceed."""
        buckets = sorted(self._buckets.copy().items())
        sums: List[int] = []
        for _, number in buckets:
            sums.append(number + (sums[-1] if sums else 0))
        at = bisect.bisect_left(sums, share * sums[-1])
        return min(2 ** (buckets[at][0] / _STEPS), self._longest)


@dataclass(frozen=True)
class Suggestion:
    """What events say about the mailbox of one participant: how many places it would have needed.

    ``maxsize`` is its bound, None if it has lost nothing; ``lost`` how many it has lost in how many
    ``episodes``, as far as that was told: of the last one only the first. As quick as it was it
    would have lost some of those with fewer places than ``at_least``, and none with ``enough``.
    ``waiting`` is the most that was seen to wait, where that is 10,000 or more: without a bound
    both are that. ``where`` are the lines of its callback at which it stood at a first loss, the
    most frequent first: what could be faster.
    """

    participant: str
    maxsize: Optional[int] = None
    lost: int = 0
    episodes: int = 0
    at_least: int = 0
    enough: int = 0
    waiting: int = 0
    where: Tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.maxsize is None:
            return (
                f"{self.participant}: {self.waiting} have waited, without a loss; it would have to "
                "be faster, or to have a maxsize that says how much is too much"
            )
        stood = f"; it could be faster at {self.where[0]}" if self.where else ""
        return (
            f"{self.participant}: {self.lost} lost with maxsize={self.maxsize}, episodes: "
            f"{self.episodes}; at least {self.at_least} places were needed, {self.enough} would "
            f"have lost none of those{stood}"
        )


class MailboxAdvice:
    """Learns whose mailbox is too small, or who is too slow: ``print(advice.report())``.

    It knows what events say: each first loss since a mailbox was empty (`ValuesLost`), and what is
    very high (`MailboxHigh`). So it tells of nobody who has kept up, and of the last episode of
    each only its first loss. Participants are told apart by name. In bounded memory:
    *participants* of them at most, those that came first. Called on the observers' thread; the rest
    may be called from any.
    """

    def __init__(self, *, participants: int = 1000) -> None:
        self._most = count("participants", participants, "participants")
        #: Replaced whole.
        self._known: Dict[str, Suggestion] = {}
        self._stood: Dict[str, Dict[str, int]] = {}

    def __call__(self, event: events.Event) -> None:
        """Take an event in."""
        if isinstance(event, events.ValuesLost):
            before = self._of(event.listener)
            if before is not None:
                self._known[event.listener] = self._with_loss(before, event)
        elif isinstance(event, events.MailboxHigh):
            before = self._of(event.participant)
            if before is not None:
                most = max(before.waiting, event.waiting)
                if before.maxsize is None:
                    before = replace(before, at_least=most, enough=most)
                self._known[event.participant] = replace(before, waiting=most)

    def _of(self, name: str) -> Optional[Suggestion]:
        known = self._known.get(name)
        if known is None and len(self._known) < self._most:
            known = Suggestion(name)
        return known

    def _with_loss(self, before: Suggestion, event: events.ValuesLost) -> Suggestion:
        size = max(event.maxsize, before.maxsize or 0)
        # All that the episode before has lost: each event counts the first of its own. Of two by
        # one name it may be less.
        lost = max(event.lost, before.lost)
        episode = lost - before.lost if before.episodes else 1
        if event.where:
            stood = self._stood.setdefault(event.listener, {})
            if event.where in stood or len(stood) < _LINES:
                stood[event.where] = stood.get(event.where, 0) + 1
        lines = self._stood.get(event.listener, {})
        return replace(
            before,
            maxsize=size,
            lost=lost,
            episodes=before.episodes + 1,
            # It was full at the last of them, and has read nothing else meanwhile.
            at_least=max(before.at_least if before.episodes else 0, size + max(episode, 1)),
            enough=size + lost,
            where=tuple(sorted(lines, key=lambda line: -lines[line])),
        )

    def suggestions(self) -> List[Suggestion]:
        """One for each that did not keep up, who has lost most first."""
        found = list(self._known.copy().values())
        return sorted(found, key=lambda each: (-each.lost, -each.waiting, each.participant))

    def report(self) -> str:
        """The same as text, a line for each."""
        return "\n".join(map(str, self.suggestions())) or "everybody has kept up"


_LINES = 100
"""So many lines of one participant are counted."""
