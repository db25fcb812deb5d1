"""What a sender is bound to beside the ttl, and what that does to a request before it is sent."""

from __future__ import annotations

from typing import Any, Optional

from ._completion import Completion, Verdict
from ._entry import Entry, Note
from ._need import Need
from .policies import All, Policy, policy_of

__all__ = ["Options", "options_of"]


class Options:
    """Checked options. Immutable: any number of threads send by them."""

    __slots__ = ("_policy",)

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def prepare(self, entry: Entry) -> bool:
        """Put *entry* under them, before anybody else knows it. False if it is over by that."""
        need = Need(self._policy)
        entry.needs(need)
        if need.weigh(entry.left, 0, entry.sent) is None:
            return True
        # It cannot have what it needs: nobody is asked.
        entry.more().notes = [
            Note(entry, member, Verdict.WITHDRAWN, member.standing, entry.sent)
            for member in entry.roster
        ]
        entry.call = entry.kwargs = None
        entry.ended = entry.sent
        entry.completion = Completion.IMPOSSIBLE
        return False


def options_of(need: Any = None) -> Optional[Options]:
    """The options, or None where there are none: such requests pay nothing."""
    policy = policy_of(need)
    return None if policy == All() else Options(policy)
