"""The stage: threads are its actors, one of them at a time goes on, and time is its own.

By default whoever goes on does so until it waits for something; then comes whoever was ready first;
whoever was held comes last. Time passes when nobody else can go on. A strategy may deviate: in
front of a visible operation it holds the actor that is about to do it, and lets another one go on;
or it *stalls* it, until nobody else can go on. When an actor waits, it may choose who comes next.
"""

from __future__ import annotations

import _thread
import math
import sys
import threading
from typing import Any, Callable, List, NamedTuple, NoReturn, Optional, Tuple, Union

from typing_extensions import Protocol

from .places import Deviation, Places
from .points import Points

__all__ = ["FOREVER", "STALL", "Abort", "Actor", "Option", "Stage", "Strategy"]

FOREVER = math.inf
STALL = "stall"
LIMIT = 50_000
"""Points of one run; beyond them threads wake each other for ever."""


class Abort(BaseException):
    """The run is over: every thread of it unwinds."""


class Actor:
    """One thread of the run."""

    __slots__ = ("arrived", "deadline", "done", "gate", "name", "number", "thread", "waits_for")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.done = False
        self.waits_for: Any = None
        self.deadline = FOREVER
        self.thread: Optional[threading.Thread] = None
        #: Taken by nobody else: it waits there for its turn.
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        #: Free once its thread is there, waits for its turn and has its name.
        self.arrived = _thread.allocate_lock()
        self.arrived.acquire()

    def __repr__(self) -> str:
        return self.name


class Option(NamedTuple):
    """A step at which the strategy could have deviated: *held*, or because somebody waits."""

    step: int
    held: bool
    others: Tuple[Actor, ...]


class Strategy(Protocol):
    """Who chooses. It is asked from step *next_step* on, and noted for what it *logs*."""

    next_step: float
    logs: bool

    def at_point(self, stage: Stage, step: int) -> Union[Actor, str, None]:
        """Whose turn it is instead of the current actor's; STALL; None: it may go on."""
        ...

    def at_wait(self, stage: Stage, step: int) -> Optional[Actor]:
        """Which of the ready comes next, since the current actor waits; None: the first."""
        ...

    def woken(self) -> None:
        """One more actor is ready."""
        ...


class Watcher(Protocol):
    """Who stops the calling thread at visible operations."""

    points: Points

    def watch(self, stage: Stage, on: bool) -> None:
        """Begin, or end, with the calling thread."""
        ...

    def explores(self, stage: Stage) -> None:
        """From now on points matter, also in functions that the actors are in the middle of."""
        ...


class Stage:
    """The actors of one run, who of them goes on, and what time it is.

    Attributes: *failure*, what went wrong; *step*, the number of points so far; *options*, where
    the strategy could have deviated; *story*, where it did, if *places* are counted; *clock* and
    whatever else the code under test needs is put there by who installs it.
    """

    clock: Any = None

    def __init__(self, watcher: Watcher, strategy: Strategy, counted: bool = False) -> None:
        self.watcher = watcher
        self.strategy = strategy
        self.places = Places(watcher.points) if counted else None
        self.step, self.time = 0, 0.0
        self.exploring = self.aborting = False
        self.failure: Optional[str] = None
        self.options: List[Option] = []
        self.story: List[Deviation] = []
        self.actors: List[Actor] = []
        self.ready: List[Actor] = []
        self.stalled: List[Actor] = []
        self.blocked: List[Actor] = []
        self.threads: List[threading.Thread] = []
        self._cast: List[Actor] = []
        self._settling: Optional[Actor] = None
        self._arriving: Optional[Actor] = None
        self.over = _thread.allocate_lock()
        self.over.acquire()
        self.current = self.main = self.new("main")

    # -- for scenarios -------------------------------------------------------------------------

    def play(self, **cast: Callable[[], Any]) -> None:
        """Let them play, each on a thread; until all is quiet again, everything is explored."""
        for name, target in cast.items():
            actor = self.new(name)
            thread = threading.Thread(target=self._part, args=(actor, target), daemon=True)
            self._cast.append(actor)
            self.ready.append(actor)
            thread.start()
            actor.arrived.acquire()
        self.exploring = True
        self.watcher.explores(self)
        self.settle()
        self.exploring = False

    def settle(self) -> None:
        """Wait until the cast is done and everybody else waits."""
        self._settling = self.current
        self.block("quiet")

    def tick(self, seconds: float) -> None:
        """Time passes now, whoever is busy."""
        self.point()
        self.pass_time(seconds)

    def sleep(self, seconds: float) -> None:
        """The current actor goes on so much later."""
        self.block("later", self.time + seconds)

    def step_aside(self) -> None:
        """Let all others go on, until they wait."""
        self.stalled.append(self.current)
        target = self._next()
        if target is not self.current:
            self._hand_over(target, self.current)

    def has_ended(self, thread: threading.Thread) -> bool:
        """Whether *thread* has come to its end; also if it never was an actor."""
        return all(actor.done for actor in self.actors if actor.thread is thread)

    # -- for stand-ins -------------------------------------------------------------------------

    def point(self) -> None:
        """In front of a visible operation of the current actor: here it may be held."""
        if self.aborting:
            raise Abort
        if not self.exploring:
            return
        step = self.step
        self.step = step + 1
        if step > LIMIT:
            self.fail("no end: threads wake each other")
        if self._arriving is not None:
            self._meet()
        if self.places is not None:
            self.places.count(self.current.name)
        if self.ready or self.stalled:
            strategy = self.strategy
            if strategy.logs and step < strategy.next_step:
                self.options.append(Option(step, True, tuple(self.ready)))
            if step >= strategy.next_step:
                choice = strategy.at_point(self, step)
                if choice is not None:
                    self._hold(choice)

    def stop_here(self) -> None:
        """The point of a stand-in, unless the operation that called it was one."""
        frame, points = sys._getframe(2), self.watcher.points
        if self.aborting:
            raise Abort
        if not points.ignores(frame.f_code) and frame.f_lasti not in points.of(frame.f_code):
            self.point()

    def block(self, until: Any, deadline: float = FOREVER) -> None:
        """The current actor waits until *until* is said, or for the deadline."""
        if self.aborting:
            raise Abort
        me = self.current
        me.waits_for, me.deadline = until, deadline
        self.blocked.append(me)
        target = self._next()
        if target is not me:
            self._hand_over(target, me)

    def wake_all(self, until: Any) -> None:
        """*until* is said."""
        for actor in [each for each in self.blocked if each.waits_for is until]:
            self._wake(actor)

    def pass_time(self, seconds: float) -> None:
        """It is so much later; who waited for that is ready."""
        self.time += seconds
        for actor in [each for each in self.blocked if each.deadline <= self.time]:
            self._wake(actor)

    # -- threads come and go -------------------------------------------------------------------

    def new(self, name: str) -> Actor:
        """One more actor; names are made different."""
        self.actors.append(Actor(len(self.actors), name))
        return self.actors[-1]

    def expect(self) -> Actor:
        """The calling thread is about to start another one, which is ready at once."""
        self._arriving = actor = self.new("somebody")
        self.ready.append(actor)
        return actor

    def enter(self, actor: Actor) -> None:
        """First thing on the thread of *actor*; returns when it is its turn."""
        thread = threading.current_thread()
        same = sum(each.name.split("~")[0] == thread.name for each in self.actors)
        actor.name = f"{thread.name}~{same + 1}" if same else thread.name
        actor.thread = thread
        self.threads.append(thread)
        actor.arrived.release()
        actor.gate.acquire()
        if self.aborting:
            raise Abort
        self.watcher.watch(self, True)

    def leave(self, actor: Actor) -> None:
        """Last thing on the thread of *actor*, or on that of whoever could not start it."""
        actor.done = True
        if actor.thread is None and actor is not self.main:
            self._arriving = None
            self.ready.remove(actor)
            return
        self.watcher.watch(self, False)
        if actor is self.main:
            self._unwind()
            self.over.release()
        elif not self.aborting:
            self.wake_all(actor)
            try:
                self.current = self._next()
            except Abort:
                return
            self.current.gate.release()

    def live(self, actor: Actor, target: Callable[..., Any], *args: Any) -> None:
        """The life of a thread of the scenario."""
        try:
            self.watcher.watch(self, True)
            if not self.aborting:
                target(*args)
        except Abort:
            pass
        except BaseException as error:
            self.report(f"{actor}: {type(error).__name__}: {error}")
        self.leave(actor)

    def _part(self, actor: Actor, target: Callable[[], Any]) -> None:
        actor.thread = threading.current_thread()
        self.threads.append(actor.thread)
        actor.arrived.release()
        actor.gate.acquire()
        self.live(actor, target)

    # -- the end -------------------------------------------------------------------------------

    def report(self, failure: str) -> None:
        """The run has failed: it need not go on."""
        if not self.aborting:
            self.failure = self.failure or failure
            self._unwind()

    def fail(self, failure: str) -> NoReturn:
        """The same, on the thread of an actor, which is done."""
        self.report(failure)
        raise Abort

    def _unwind(self) -> None:
        """Let everybody go, to the end. From here on threads run together."""
        self.aborting = True
        for actor in self.actors:
            try:
                actor.gate.release()
            except RuntimeError:
                # It has been let go, and has not come here since.
                pass

    # -- who goes on ---------------------------------------------------------------------------

    def _meet(self) -> None:
        """Whoever was started last has a name, before anybody chooses by names."""
        actor, self._arriving = self._arriving, None
        if actor is not None and not actor.arrived.acquire(True, 10):
            self.fail("a thread that was expected has not come: a point lies before its start")

    def _hold(self, choice: Union[Actor, str]) -> None:
        me = self.current
        if isinstance(choice, Actor):
            target = choice
            self.ready.remove(target)
            self.ready.append(me)
        else:
            target = (self.ready or self.stalled).pop(0)
            self.stalled.append(me)
        if self.places is not None:
            then = choice if isinstance(choice, str) else target.name
            self.story.append(Deviation(me.name, *self.places.here, then))
        self._hand_over(target, me)

    def _hand_over(self, target: Actor, me: Actor) -> None:
        self.current = target
        target.gate.release()
        me.gate.acquire()
        if self.aborting:
            raise Abort

    def _next(self) -> Actor:
        """Who goes on, since the current actor does not."""
        if self._arriving is not None:
            self._meet()
        if not self.ready and self.stalled:
            self.ready.append(self.stalled.pop(0))
        if not self.ready and self._settling is not None and all(each.done for each in self._cast):
            self._wake(self._settling)
            self._settling = None
        if not self.ready:
            soonest = min([each.deadline for each in self.blocked], default=FOREVER)
            if soonest != FOREVER:
                self.pass_time(soonest - self.time)
        if not self.ready:
            waits = ", ".join(f"{each} for {each.waits_for}" for each in self.blocked)
            self.fail(f"all wait for ever: {waits}")
        step, target = self.step, self.ready[0]
        self.step = step + 1
        if self.exploring:
            target = self._chosen(step, target)
        self.ready.remove(target)
        return target

    def _chosen(self, step: int, first: Actor) -> Actor:
        if self.places is not None:
            self.places.count(self.current.name, waits=True)
        if len(self.ready) < 2:
            return first
        target = self.strategy.at_wait(self, step) or first
        if self.strategy.logs:
            others = tuple([each for each in self.ready if each is not target])
            self.options.append(Option(step, False, others))
        if target is not first and self.places is not None:
            self.story.append(Deviation(self.current.name, *self.places.here, target.name))
        return target

    def _wake(self, actor: Actor) -> None:
        self.blocked.remove(actor)
        actor.waits_for, actor.deadline = None, FOREVER
        self.ready.append(actor)
        self.strategy.woken()
