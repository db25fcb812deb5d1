"""What can be said of the threads under a virtual clock that stands still."""

from __future__ import annotations

import sys
import traceback
from threading import enumerate as all_threads
from threading import get_ident
from typing import Container, Optional

from .virtual_watch import is_at_work

__all__ = ["explain"]


def explain(
    holder: Optional[int],
    ours: Container[Optional[int]],
    outside: Container[Optional[int]],
    now: float,
    what: str,
) -> str:
    """*what* has come up at the instant *now*: where the *holder* of the baton and the others are.

    *ours* are the threads that live under the clock, those *outside* the others that wait for it.
    The threads of a pool that have work are told too: somebody may wait for them.
    """
    frames = sys._current_frames()
    lines = [f"{what} at virtual time {now}:"]
    # Whoever has the baton first: there it stands still.
    for thread in sorted(all_threads(), key=lambda each: each.ident != holder):
        ident = thread.ident
        if ident not in frames or (ident == get_ident() and ident != holder):
            # The one that asks is told by its own traceback.
            continue
        if ident == holder:
            role = "runs and does not come back"
        elif ident in ours:
            role = "is parked"
        elif ident in outside:
            role = "waits for virtual time"
        elif is_at_work(frames[ident]):
            role = "is at work beside virtual time"
        else:
            continue
        lines.append(f"\n{thread.name} {role}:\n")
        deep = 2 if role == "is parked" else 4
        lines += traceback.format_stack(frames[ident])[-deep:]
    if holder is None:
        lines.append(
            "\neverybody is parked and nobody waits for an instant: a request without a ttl"
            " that nobody answers, or a dispatcher that was not started?"
        )
    return "\n".join(line.rstrip("\n") for line in lines)
