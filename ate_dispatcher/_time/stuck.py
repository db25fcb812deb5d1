"""What can be said of the threads under a virtual clock that stands still."""

from __future__ import annotations

import sys
import traceback
from threading import enumerate as all_threads
from typing import Container, Optional

__all__ = ["explain"]


def explain(holder: Optional[int], ours: Container[Optional[int]], now: float, what: str) -> str:
    """*what* has come up at the instant *now*: where the *holder* of the baton and the others are.

    *ours* are the threads that live under the clock.
    """
    frames = sys._current_frames()
    lines = [f"{what} at virtual time {now}:"]
    # Whoever has the baton first: there it stands still.
    for thread in sorted(all_threads(), key=lambda each: each.ident != holder):
        ident = thread.ident
        if ident in ours and ident in frames:
            role = "runs and does not come back" if ident == holder else "is parked"
            lines.append(f"\n{thread.name} {role}:\n")
            lines += traceback.format_stack(frames[ident])[-4 if ident == holder else -2 :]
    if holder is None:
        lines.append(
            "\neverybody is parked and nobody waits for an instant: a request without a ttl"
            " that nobody answers, or a dispatcher that was not started?"
        )
    return "\n".join(line.rstrip("\n") for line in lines)
