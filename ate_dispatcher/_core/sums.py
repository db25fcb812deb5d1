"""The sums over ended requests: by verdict, and by reason of the end; pure."""

from __future__ import annotations

from typing import Dict, Tuple

from .outcomes import Completion, Verdict
from .request import Entry, Note

__all__ = ["Sums"]


class Sums:
    """Those of one dispatcher's life. Changed by the ledger, inside the section."""

    def __init__(self) -> None:
        #: Requests where everybody was OK have counters of their own, being many: how many
        #: members, how many requests.
        self.all_ok = 0
        self.all_replied = 0
        self._fan_out = 0
        self._verdicts: Dict[Verdict, int] = dict.fromkeys(Verdict, 0)
        self._completions: Dict[Completion, int] = dict.fromkeys(Completion, 0)

    def add(self, entry: Entry, completion: Completion) -> None:
        """*entry* has ended, with the verdicts that it has."""
        notes = entry.notes
        self._fan_out += len(entry.roster)
        self._verdicts[Verdict.OK] += len(entry.roster) - len(notes) - entry.errors
        self._verdicts[Verdict.ERROR] += entry.errors
        for note in notes:
            self._verdicts[note.verdict] += 1
        self._completions[completion] += 1

    def judge(self, note: Note, outcome: Verdict) -> None:
        """What was MISSING at the end is *outcome*."""
        self._verdicts[note.verdict] -= 1
        self._verdicts[outcome] += 1
        note.outcome = outcome

    def told(self) -> Tuple[int, Dict[Verdict, int], Dict[Completion, int]]:
        """Fan-out, verdicts and completions."""
        verdicts, completions = dict(self._verdicts), dict(self._completions)
        verdicts[Verdict.OK] += self.all_ok
        completions[Completion.ALL_REPLIED] += self.all_replied
        return self._fan_out + self.all_ok, verdicts, completions
