"""A ledger without threads, and how the tests of the core speak of it."""

from __future__ import annotations

import itertools
from typing import Dict, List, Optional, Tuple

from ate_dispatcher._core.effects import ABSENT, ACCEPTED, DISCARDED, ENDED, FAILED, NOTED
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Member
from ate_dispatcher._core.outcomes import Standing, Verdict
from ate_dispatcher._core.report import report_of
from ate_dispatcher._core.request import Entry
from ate_dispatcher._core.statistics import statistics_of

TOLD = ACCEPTED | FAILED | ENDED | ABSENT | DISCARDED | NOTED
"""The effects with a meaning of their own; how a short end is told from others is tested apart."""

DEADLINE = 10.0
BEFORE, AFTER = 9.0, 11.0


class Someone:
    """What a member's producer is to the ledger: nothing. To the report: a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Payload:
    """Something a weak reference can point at."""


class WeakEntry(Entry):
    """An entry whose life can be watched."""

    __slots__ = ("__weakref__",)


class Books(Ledger):
    """A ledger with the bits of a desk that the facts need around them; its own desk."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = itertools.count(1)

    def opened(self, *roster: Member, deadline: float = DEADLINE, sent: float = 0.0) -> WeakEntry:
        entry = WeakEntry(
            self, next(self.ids), "t", None, roster, sent, deadline, ("t", Payload()), {"k": 1}
        )
        self.nursery.append(entry)
        return entry

    def answers(
        self, entry: Entry, member: Member, stamp: float, error: Optional[BaseException] = None
    ) -> int:
        """*member* has begun, if the test did not say so before, and answers now."""
        if member.running is None or member.running.id != entry.id:
            begins(entry, member, min(stamp, entry.deadline))
        assert member.running is not None
        assert member.running.id == entry.id
        # The worker answers to what it runs: after the end, that may be less than the entry.
        effects = self.replied(member.running, member, None if error else "value", error, stamp)
        member.running = None
        return effects & TOLD

    def expire(self, now: float) -> List[Tuple[Entry, int]]:
        self.gather()
        return [(entry, effects & TOLD) for entry, effects in self.time_passed(now)]


def member(name: str = "m", standing: Standing = Standing.QUEUED) -> Member:
    """A member whose thread lives, unless said otherwise."""
    made = Member(Someone(name), None)
    made.standing = standing
    return made


def begins(entry: Entry, member: Member, at: float) -> None:
    """The worker of *member* takes *entry* out of the mailbox, as the desk notes it."""
    member.running, member.began = entry, at


def verdicts(entry: Entry) -> List[Optional[Verdict]]:
    """In the order of the roster, as the report has them."""
    return [line.verdict for line in report_of(entry, 99.0).members]


def standings(entry: Entry) -> List[Optional[Standing]]:
    """Likewise, where they stood."""
    return [line.standing for line in report_of(entry, 99.0).members]


def counted(ledger: Ledger) -> Dict[Verdict, int]:
    """The verdicts of the sums that are not zero, after checking that the sums add up."""
    sums = statistics_of(ledger)
    assert sums.fan_out == sum(sums.verdicts.values()) + sums.pending
    assert sums.requests == sums.open + sum(sums.completions.values())
    return {verdict: count for verdict, count in sums.verdicts.items() if count}
