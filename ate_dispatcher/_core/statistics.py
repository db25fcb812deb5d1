"""The sums over a dispatcher's life: counted while requests end, shown as a value; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Iterable, Mapping

from .outcomes import Completion, Verdict
from .request import Request, Unanswered
from .tables import Table, Tabular

__all__ = ["Statistics", "Sums"]


@dataclass(frozen=True)
class Statistics(Tabular):
    """The sums over a dispatcher's life; exact at any quiet moment.

    ``fan_out`` counts every (request, producer) pair; it equals the sum of ``verdicts`` plus
    ``pending``, the pairs of open requests without a verdict. ``completions`` sums to
    ``requests - open``. ``published`` counts values, ``deliveries`` the verdicts of listeners on
    them; ``lost`` what listeners with a ``maxsize`` had no room for: values, results and reports.
    """

    requests: int
    open: int
    fan_out: int
    pending: int
    verdicts: Mapping[Verdict, int]
    completions: Mapping[Completion, int]
    published: int = 0
    deliveries: Mapping[Verdict, int] = field(default_factory=dict)
    lost: int = 0

    def _table(self) -> Table:
        rows = [("verdict", verdict.name, str(count)) for verdict, count in self.verdicts.items()]
        rows += [("verdict", "pending", str(self.pending)), ("request", "open", str(self.open))]
        rows += [("request", end.name, str(count)) for end, count in self.completions.items()]
        rows += [("value", "published", str(self.published))]
        rows += [("delivery", each.name, str(count)) for each, count in self.deliveries.items()]
        rows += [("message", "lost", str(self.lost))]
        title = f"{self.requests} requests ({self.open} open), fan-out {self.fan_out}"
        return Table(title, ("of each", "what", "how many"), [row for row in rows if row[2] != "0"])

    def __str__(self) -> str:
        parts = [f"{self.requests} requests ({self.open} open), fan-out {self.fan_out}"]
        parts += [f"{number} {verdict.name}" for verdict, number in self.verdicts.items() if number]
        if self.pending:
            parts.append(f"{self.pending} pending")
        ends = [f"{number} {end.name}" for end, number in self.completions.items() if number]
        text = ", ".join(parts) + (f"; ended: {', '.join(ends)}" if ends else "")
        if self.lost:
            text += f"; {self.lost} lost by listeners"
        if not self.published:
            return text
        heard = [f"{number} {each.name}" for each, number in self.deliveries.items() if number]
        values = "1 value" if self.published == 1 else f"{self.published} values"
        return f"{text}; {values} published: {', '.join(heard) or 'none heard'}"


class Sums:
    """What has ended, counted. Changed by the ledger, inside the section."""

    def __init__(self) -> None:
        #: Requests where everybody was OK have counters of their own, being many: how many
        #: members, how many requests.
        self.all_ok = 0
        self.all_replied = 0
        self._fan_out = 0
        self._verdicts: Dict[Verdict, int] = dict.fromkeys(Verdict, 0)
        self._completions: Dict[Completion, int] = dict.fromkeys(Completion, 0)

    def add(self, request: Request, completion: Completion) -> None:
        """*request* has ended, with the verdicts that it has."""
        self._fan_out += _count(request, 0, self._verdicts)
        self._completions[completion] += 1

    def judge(self, unanswered: Unanswered, outcome: Verdict) -> None:
        """What was MISSING at the end is *outcome*."""
        self._verdicts[unanswered.verdict] -= 1
        self._verdicts[outcome] += 1
        unanswered.outcome = outcome

    def shown(
        self,
        open_ones: Iterable[Request],
        over: Iterable[Request] = (),
        published: int = 0,
        heard: Iterable[Mapping[Verdict, int]] = (),
        lost: int = 0,
    ) -> Statistics:
        """Together with what is open; and what was *over* when it was sent, not yet added.

        With what listeners have *heard* of the values that were *published*.
        """
        deliveries = dict.fromkeys(Verdict, 0) if published else {}
        for each in heard:
            for verdict, number in each.items():
                deliveries[verdict] = deliveries.get(verdict, 0) + number
        verdicts, completions = dict(self._verdicts), dict(self._completions)
        verdicts[Verdict.OK] += self.all_ok
        completions[Completion.ALL_REPLIED] += self.all_replied
        fan_out = self._fan_out + self.all_ok
        for request in over:
            completions[request.completion or Completion.NO_PRODUCERS] += 1
            fan_out += _count(request, 0, verdicts)
        count = pending = 0
        for request in open_ones:
            count += 1
            left = request.left
            pending += left
            fan_out += _count(request, left, verdicts)
        return Statistics(
            requests=count + sum(completions.values()),
            open=count,
            fan_out=fan_out,
            pending=pending,
            verdicts=verdicts,
            completions=completions,
            published=published,
            deliveries=deliveries,
            lost=lost,
        )

    def check(self, open_ones: Iterable[Request]) -> None:
        """Raise AssertionError if they do not add up. Inside the section, or alone."""
        shown = self.shown(open_ones)
        assert shown.fan_out == sum(shown.verdicts.values()) + shown.pending, shown
        assert min(shown.verdicts.values()) >= 0, shown


def _count(request: Request, left: int, verdicts: Dict[Verdict, int]) -> int:
    """Add the verdicts that *request* has to *verdicts*, with *left* members that have none.

    Its fan-out.
    """
    extras, size = request.extras, len(request.roster)
    if extras is None:
        verdicts[Verdict.OK] += size - left
        return size
    tally = dict(extras.tally)
    verdicts[Verdict.OK] += size - left - extras.errors - sum(tally.values())
    verdicts[Verdict.ERROR] += extras.errors
    for verdict, number in tally.items():
        verdicts[verdict] += number
    return size
