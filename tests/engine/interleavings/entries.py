"""The list of scenarios, and how one is entered."""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple

from .explorer import Scenario

__all__ = ["SCENARIOS", "Entry", "scenario"]


class Entry(NamedTuple):
    """A scenario; how many schedules with one and with two deviations it is worth; a focus."""

    play: Scenario
    singles: int
    pairs: int
    focus: str


SCENARIOS: Dict[str, Entry] = {}


def scenario(
    pairs: int = 60, focus: str = "", singles: int = 300
) -> Callable[[Scenario], Scenario]:
    """Enter what follows in the list; where it has its *focus* one goes deeper."""

    def enter(play: Scenario) -> Scenario:
        SCENARIOS[play.__name__] = Entry(play, singles, pairs, focus)
        return play

    return enter
