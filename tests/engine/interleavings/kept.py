"""Schedules that have found something, kept to be played again.

They are in ``kept.txt``: a line for each, of a scenario, a colon and the plan as it was printed,
below lines with ``#`` that say what it found. A plan names lines by where they stand in their
function, so it outlives changes elsewhere; when its places are gone it proves nothing any more.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple

__all__ = ["Kept", "kept"]


class Kept(NamedTuple):
    """One kept schedule: what it *found*, and how it is played."""

    found: str
    scenario: str
    plan: str


def kept() -> List[Kept]:
    """All of them."""
    schedules: List[Kept] = []
    found = ""
    text = Path(__file__).with_name("kept.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            found = f"{found} {line[1:].strip()}".strip()
        elif line.strip():
            scenario, plan = line.split(":", 1)
            schedules.append(Kept(found, scenario, plan.strip()))
            found = ""
    return schedules
