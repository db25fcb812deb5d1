"""Which schedule: a plan by steps, a plan by names, or chance."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import DefaultDict, Dict, Iterable, List, Optional, Set, Tuple, Union

from .places import Deviation
from .stage import FOREVER, STALL, Actor, Stage

__all__ = ["ByNames", "BySteps", "Priorities", "Steps", "deviations_of"]

Steps = Tuple[Tuple[int, Union[int, str]], ...]
"""Pairs of a step and the number of the actor whose turn it is then, or STALL."""

Choice = Union[Actor, str, None]


class BySteps:
    """The default but at some steps; notes at which others it could have deviated.

    Steps are quick to compare, and mean something only for the same code on the same Python.
    """

    def __init__(self, steps: Steps = (), logs: bool = False) -> None:
        self.logs = logs
        self._steps = dict(steps)
        self.next_step: float = min(self._steps, default=FOREVER)

    def at_point(self, stage: Stage, step: int) -> Choice:
        chosen = self._steps.get(step)
        if chosen is None:
            return None
        self.next_step = min([each for each in self._steps if each > step], default=FOREVER)
        if chosen == STALL:
            return STALL
        for actor in stage.ready:
            if actor.number == chosen:
                return actor
        return stage.fail(f"went another way before step {step}: is it all deterministic?")

    def at_wait(self, stage: Stage, step: int) -> Optional[Actor]:
        chosen = self.at_point(stage, step)
        return chosen if isinstance(chosen, Actor) else None

    def woken(self) -> None:
        """Steps do not depend on who is ready."""


class ByNames:
    """The default but for some named deviations, of which *unmet* are those whose place never came.

    The stage has to count places.
    """

    logs = False

    def __init__(self, deviations: Iterable[Deviation]) -> None:
        self.next_step: float = 0
        self._then: Dict[Tuple[str, str, int], Deviation] = {
            (each.actor, each.place, each.nth): each for each in deviations
        }
        self.unmet: Set[Deviation] = set(self._then.values())

    def at_point(self, stage: Stage, step: int) -> Choice:
        assert stage.places is not None
        deviation = self._then.get((stage.current.name, *stage.places.here))
        if deviation is None:
            return None
        if deviation.then == STALL:
            self.unmet.discard(deviation)
            return STALL
        for actor in stage.ready:
            if actor.name == deviation.then:
                self.unmet.discard(deviation)
                return actor
        return None

    def at_wait(self, stage: Stage, step: int) -> Optional[Actor]:
        chosen = self.at_point(stage, step)
        return chosen if isinstance(chosen, Actor) else None

    def woken(self) -> None:
        """Names do not depend on who is ready."""


class Priorities:
    """Actors with random priorities; at two random steps whoever goes on becomes the last of all.

    After Burckhardt and others, "A randomized scheduler with probabilistic guarantees of finding
    bugs" (ASPLOS 2010).
    """

    logs = False

    def __init__(self, seed: str, steps: int, changes: int = 2) -> None:
        chance = random.Random(seed)
        self.next_step: float = 0
        self._changes: List[int] = sorted(chance.randrange(max(1, steps)) for _ in range(changes))
        self._priorities: DefaultDict[Actor, float] = defaultdict(chance.random)

    def at_point(self, stage: Stage, step: int) -> Choice:
        while self._changes and self._changes[0] <= step:
            # The later the change, the lower.
            self._priorities[stage.current] = -1.0 - self._changes.pop(0)
        self.next_step = self._changes[0] if self._changes else FOREVER
        if not stage.ready:
            return None
        best = self.at_wait(stage, step)
        mine, others = self._priorities[stage.current], self._priorities[best]
        return best if others > mine else None

    def at_wait(self, stage: Stage, step: int) -> Actor:
        return max(stage.ready, key=self._priorities.__getitem__)

    def woken(self) -> None:
        """It may be one with a higher priority."""
        self.next_step = 0


def deviations_of(text: str) -> List[Deviation]:
    """The deviations that *text* names, as they are printed, with spaces in between."""
    found: List[Deviation] = []
    for each in text.split():
        where, then = each.rsplit(">", 1)
        actor, rest = where.split("@", 1)
        place, nth = rest.rsplit("#", 1)
        found.append(Deviation(actor, place, int(nth), then))
    return found
