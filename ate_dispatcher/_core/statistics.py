"""The sums over a dispatcher's life, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Sequence

from .ledger import Ledger
from .outcomes import Completion, Verdict
from .request import Entry

__all__ = ["Statistics", "statistics_of"]


@dataclass(frozen=True)
class Statistics:
    """The sums over a dispatcher's life; exact at any quiet moment.

    ``fan_out`` counts every (request, producer) pair; it equals the sum of ``verdicts`` plus
    ``pending``, the pairs of open requests without a verdict. ``completions`` sums to
    ``requests - open``.
    """

    requests: int
    open: int
    fan_out: int
    pending: int
    verdicts: Mapping[Verdict, int]
    completions: Mapping[Completion, int]

    def __str__(self) -> str:
        parts = [f"{self.requests} requests ({self.open} open), fan-out {self.fan_out}"]
        parts += [f"{number} {verdict.name}" for verdict, number in self.verdicts.items() if number]
        if self.pending:
            parts.append(f"{self.pending} pending")
        ends = [f"{number} {end.name}" for end, number in self.completions.items() if number]
        return ", ".join(parts) + (f"; ended: {', '.join(ends)}" if ends else "")


def statistics_of(ledger: Ledger, over: Sequence[Entry] = ()) -> Statistics:
    """The sums of *ledger*, with what the open requests have so far.

    Those in *over* were over when they were sent, and the ledger has not been told yet.
    """
    fan_out, verdicts, completions = ledger.sums.told()
    for entry in over:
        completions[entry.completion or Completion.NO_PRODUCERS] += 1
        fan_out += len(entry.roster)
        for note in entry.notes:
            verdicts[note.verdict] += 1
    still_open: Iterable[Entry] = ledger.open_requests()
    count = pending = 0
    for entry in still_open:
        count += 1
        fan_out += len(entry.roster)
        pending += entry.left
        notes = entry.notes
        verdicts[Verdict.ERROR] += entry.errors
        verdicts[Verdict.OK] += len(entry.roster) - entry.left - entry.errors - len(notes)
        for note in notes:
            verdicts[note.verdict] += 1
    return Statistics(
        requests=count + sum(completions.values()),
        open=count,
        fan_out=fan_out,
        pending=pending,
        verdicts=verdicts,
        completions=completions,
    )
