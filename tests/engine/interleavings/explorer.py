"""Plays a scenario over and over, each time in another order, until one fails or all have been.

First by the default. Then with every single deviation, up to a limit: every stall, and then, in an
order by chance, every other actor that could have gone on. Then with two of them likewise: two
stalls first, for they find most. Then by random priorities. It is all the same in every run of the
same code on the same Python.
"""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import threading
import time
import traceback
from typing import Any, Callable, ContextManager, List, NamedTuple, Optional, Tuple

from typing_extensions import Self

from .places import Deviation
from .points import Points
from .stage import STALL, Abort, Stage, Strategy
from .strategies import ByNames, BySteps, Priorities, Steps
from .watchers import watcher_of

__all__ = ["Budget", "Explorer", "Finding", "Scenario"]

Scenario = Callable[[Stage], None]

_STUCK = 30.0
"""Seconds of real time that one run may take: it takes milliseconds."""


class Budget(NamedTuple):
    """How many schedules there may be with one deviation, with two and by chance, and how long.

    *seconds* of processor are for machines that are slow beyond measure: what is not played by
    then is missing from the run, and said to be.
    """

    singles: int = 400
    pairs: int = 60
    chances: int = 30
    seconds: float = 60.0


USUAL = Budget()


class Finding(NamedTuple):
    """What came of a scenario: *failure*, and the *plan* that leads there again, or neither.

    *how* it was found, after how many *schedules*; how many *steps* a schedule has; of all with
    *one* and with *two* deviations how many were played.
    """

    failure: Optional[str]
    plan: Tuple[Deviation, ...]
    how: str
    schedules: int
    steps: int
    one: Tuple[int, int]
    two: Tuple[int, int]
    seconds: float

    def __str__(self) -> str:
        rate = self.schedules / max(self.seconds, 1e-9)
        head = f"{self.schedules} schedules of {self.steps} points, {rate:.0f} a second"
        if self.failure is None:
            one, two = (f"{played} of {all_}" for played, all_ in (self.one, self.two))
            return f"{head}; {one} with one deviation, {two} with two"
        plan = " ".join(map(str, self.plan)) or "(the default)"
        return f"{head}; {self.how} fails: {self.failure}\n  plan: {plan}"


def _nothing(stage: Stage) -> ContextManager[Any]:
    return contextlib.nullcontext()


class Explorer:
    """Plays scenarios of the code that has *points*, once that is *installed* on the stage."""

    def __init__(
        self, points: Points, installed: Callable[[Stage], ContextManager[Any]] = _nothing
    ) -> None:
        self._watcher = watcher_of(points)
        self._installed = installed
        self._runs = 0

    def __enter__(self) -> Self:
        # What is garbage would be collected, and finalized, at any point of any thread.
        gc.disable()
        return self

    def __exit__(self, *_: object) -> None:
        gc.enable()
        self._watcher.close()

    def run(self, scenario: Scenario, strategy: Strategy, counted: bool = False) -> Stage:
        """Play it once."""
        stage = Stage(self._watcher, strategy, counted)
        thread = threading.Thread(
            target=stage.live, args=(stage.main, scenario, stage), name="main", daemon=True
        )
        stage.main.thread = thread
        stage.threads.append(thread)
        before = threading.excepthook
        threading.excepthook = _reporter(stage)
        try:
            with self._installed(stage):
                thread.start()
                if not stage.over.acquire(True, _STUCK):
                    stacks = map(traceback.format_stack, sys._current_frames().values())
                    raise RuntimeError("stuck:\n" + "\n".join("".join(each) for each in stacks))
                for each in stage.threads:
                    # Not its own: a class of threads may have a `join` of another kind.
                    threading.Thread.join(each, _STUCK)
        finally:
            threading.excepthook = before
        stage.threads.clear()
        self._runs += 1
        if self._runs % 256 == 0:
            gc.collect()
        return stage

    def replay(self, scenario: Scenario, plan: Tuple[Deviation, ...]) -> Tuple[Stage, ByNames]:
        """Play it with the deviations of *plan*; which of them were not met is told as well."""
        strategy = ByNames(plan)
        return self.run(scenario, strategy, counted=True), strategy

    def explore(self, scenario: Scenario, budget: Budget = USUAL, seed: str = "0") -> Finding:
        """Play it in all the ways that *budget* allows, until one fails."""
        return _Exploration(self, scenario, budget, seed).finding()


def _reporter(stage: Stage) -> Callable[[Any], None]:
    def report(args: Any) -> None:
        if not issubclass(args.exc_type, Abort):
            name = "a thread" if args.thread is None else args.thread.name
            stage.report(f"{name}: {args.exc_type.__name__}: {args.exc_value}")

    return report


class _OutOfTime(Exception):
    pass


class _Exploration:
    """One scenario's."""

    def __init__(self, explorer: Explorer, scenario: Scenario, budget: Budget, seed: str) -> None:
        self._explorer = explorer
        self._scenario = scenario
        self._budget = budget
        self._seed = seed
        self._began = time.process_time()
        self._schedules = self._steps = 0
        self._one = self._two = (0, 0)
        self._failed: Optional[Tuple[str, Strategy]] = None
        self._how = ""

    def finding(self) -> Finding:
        failure: Optional[str] = None
        plan: Tuple[Deviation, ...] = ()
        try:
            again = self._search()
        except _OutOfTime:
            again = None
            self._how = f"out of time in: {self._how}"
        schedules, seconds = self._schedules, time.process_time() - self._began
        if again is not None:
            # Once more, to give names to the places.
            stage = self._explorer.run(self._scenario, again, counted=True)
            failure, plan = stage.failure or "only once", tuple(stage.story)
        return Finding(
            failure, plan, self._how, schedules, self._steps, self._one, self._two, seconds
        )

    def _search(self) -> Optional[Strategy]:
        """A strategy that fails, if there is one; fresh, for it is used up by a run."""
        self._how = "the default"
        stage = self._play(BySteps((), logs=True))
        if stage.failure:
            return BySteps()
        self._how = "one deviation"
        singles, pairs = self._stalls_first(_beyond((), stage)), []
        for number, steps in enumerate(singles[: self._budget.singles], 1):
            self._one = number, len(singles)
            stage = self._play(BySteps(steps, logs=True))
            if stage.failure:
                return BySteps(steps)
            pairs += _beyond(steps, stage)
        self._how = "two deviations"
        pairs = self._stalls_first(pairs)
        for number, steps in enumerate(pairs[: self._budget.pairs], 1):
            self._two = number, len(pairs)
            if self._play(BySteps(steps)).failure:
                return BySteps(steps)
        self._how = "chance"
        for number in range(self._budget.chances):
            seed = f"{self._seed}/{number}"
            if self._play(Priorities(seed, self._steps)).failure:
                return Priorities(seed, self._steps)
        self._how = "all"
        return None

    def _stalls_first(self, plans: List[Steps]) -> List[Steps]:
        """By the number of stalls, and by chance among those that have as many."""
        random.Random(self._seed).shuffle(plans)
        return sorted(plans, key=lambda steps: -[kind for _, kind in steps].count(STALL))

    def _play(self, strategy: Strategy) -> Stage:
        if time.process_time() - self._began > self._budget.seconds:
            raise _OutOfTime
        stage = self._explorer.run(self._scenario, strategy)
        self._schedules += 1
        if self._schedules == 1:
            self._steps = stage.step
        return stage


def _beyond(steps: Steps, stage: Stage) -> List[Steps]:
    """All plans with one more deviation than *steps*, later than those."""
    last = steps[-1][0] if steps else -1
    found: List[Steps] = []
    for option in stage.options:
        if option.step > last:
            if option.held:
                found.append((*steps, (option.step, STALL)))
            found += [(*steps, (option.step, other.number)) for other in option.others]
    return found
