"""What one test, or one fixture, has of ours: makes it, shows what went on there, ends it."""

from __future__ import annotations

from typing import Any, Callable, Iterable, List, Optional, Sequence, Set, Tuple

from .._observing.observers import Hook
from .._participants.producer import Exclusive
from .._time.clock import Clock
from .._time.virtual_clock import VirtualClock
from .._time.virtual_watch import LET_IT_PASS
from ..dispatcher import Dispatcher
from ..errors import BadType
from ..views.timeline import Timeline
from .leaks import closed, ended, left, told, workers
from .scripts import Outcome, RecordingListener, ScriptedProducer

__all__ = ["DispatcherFactory", "Makes", "Rig"]


class _Stand:
    """A dispatcher with what remembers its last requests, and the instant at which that began."""

    def __init__(self, made: Dispatcher, timeline: Timeline) -> None:
        self.made = made
        self.clock = made._ate_engine.clock
        #: When it was told to end.
        self.ended: Optional[float] = None
        self.watched(timeline)

    def watched(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.began = self.clock.now()
        #: What is said of others that were here before.
        self.noted = self.clock.notes() if isinstance(self.clock, VirtualClock) else []
        #: Who was not free at that instant, and for which request.
        self.busy = [
            f"{member.name} was still at request {worker.work}, which was sent before these"
            for member in (each._ate_member for each in self.made.producers())
            for worker in member.workers
            if worker.work
        ]

    def picture(self) -> str:
        """The last requests; on virtual time with what is to be said of that."""
        # Before the rest is told: that lets happen what is due.
        notes = [_notes(self, self.clock)] if isinstance(self.clock, VirtualClock) else []
        try:
            told(self.made, self.timeline)
            busy = ["\n".join(self.busy)] if self.busy else []
            return "\n\n".join([str(self.timeline), *busy, *notes])
        except Exception as error:
            # A topic's own repr, for example: no reason to end the run.
            return f"they cannot be shown: {error!r}"


class Makes:
    """Who makes scripted participants for a rig."""

    def scripted_producer(
        self,
        dispatcher: Dispatcher,
        topic: Any,
        *script: Any,
        name: Optional[str] = None,
        start_ms: float = 0,
        exclusive: Exclusive = (),
        workers: int = 1,
    ) -> ScriptedProducer:
        """A :class:`ScriptedProducer`, registered for *topic* with *dispatcher*, and started."""
        rig = self._ate_mine()
        _check(dispatcher, topic)
        producer = ScriptedProducer(
            *script, name=name, start_ms=start_ms, exclusive=exclusive, workers=workers
        )
        rig._cast.append((dispatcher.deregister_result_producer, producer, topic))
        dispatcher.register_result_producer(producer, topic, start=True)
        return producer

    def recording_listener(
        self, dispatcher: Dispatcher, topic: Any, *, name: Optional[str] = None, takes_ms: float = 0
    ) -> RecordingListener:
        """A :class:`RecordingListener`, registered for *topic* with *dispatcher*, and started."""
        rig = self._ate_mine()
        _check(dispatcher, topic)
        listener = RecordingListener(name=name, takes_ms=takes_ms)
        rig._cast.append((dispatcher.deregister_result_listener, listener, topic))
        dispatcher.register_result_listener(listener, topic, start=True)
        return listener

    def _ate_mine(self) -> Rig:
        """The rig that ends them."""
        raise NotImplementedError


class Rig(Makes):
    """Dispatchers and scripted participants of one test, for a test framework of your own.

    pytest has fixtures that do this, unittest has :class:`DispatcherTestMixin`. Make one at the
    beginning of a test, on its thread, and call :meth:`end` when it is over::

        rig = Rig()
        dispatcher = rig.dispatcher(clock=rig.virtual_clock())
        site = rig.scripted_producer(dispatcher, "volts", answers(5, after_ms=20))
        ...
        problems = rig.end()

    All methods are for the test's own thread.
    """

    def __init__(self) -> None:
        #: What lived when it began.
        self.before: Set[Any] = workers()
        self._stands: List[_Stand] = []
        self._cast: List[Tuple[Any, Any, Any]] = []
        self._clocks: List[VirtualClock] = []
        self._suspects: Optional[Set[Any]] = None
        self._shown = False
        #: What was found so far by whoever ends it in parts.
        self.problems: List[str] = []

    # -- making --------------------------------------------------------------------------------

    def virtual_clock(self, patience: float = 10.0) -> VirtualClock:
        """A virtual clock, stopped by :meth:`end`; *patience* in real seconds, see there."""
        clock = VirtualClock(patience=patience)
        self._clocks.append(clock)
        return clock

    def dispatcher(
        self,
        *,
        clock: Optional[Clock] = None,
        name: Optional[str] = None,
        hooks: Sequence[Hook] = (),
    ) -> Dispatcher:
        """A started dispatcher, on real time without a *clock*; it notes where producers are.

        Parameters and errors as for :class:`Dispatcher`.
        """
        timeline = Timeline()
        made = Dispatcher(clock=clock, name=name, hooks=[timeline, *hooks], diagnose=True)
        self._stands.append(_Stand(made, timeline))
        made.start()
        return made

    def _ate_mine(self) -> Rig:
        return self

    # -- showing -------------------------------------------------------------------------------

    def pictures(self) -> List[Tuple[str, str]]:
        """The last requests of each dispatcher, as title and text, for a report of a failure.

        Those that were sent since the last call of this or of :meth:`begins`. Lets happen what is
        due now, but no time pass.
        """
        found = []
        for stand in self._stands:
            text = stand.picture()
            # That there are none is worth a word the first time, to the test that made it.
            if len(stand.timeline) or not (self._shown or self._suspects):
                found.append((f"requests of {stand.made.name}", text))
        self._shown = True
        self.begins()
        return found

    def begins(self) -> None:
        """Forget the requests so far: another test begins, that uses the same dispatchers."""
        for stand in [each for each in self._stands if each.ended is None]:
            earlier, timeline = stand.timeline, Timeline()
            # What was sent before is no request of the new one, whenever the rest is told.
            stand.made.add_hook(timeline)
            stand.made.remove_hook(earlier)
            stand.watched(timeline)

    # -- ending --------------------------------------------------------------------------------

    def suspects(self, started: Iterable[Any]) -> None:
        """Only what was *started* here has to have ended, and not all that is new since it began.

        For one that lives on while other tests begin and end.
        """
        self._suspects = {*(self._suspects or ()), *started}

    def close(self, made: Dispatcher) -> List[str]:
        """Stop one of its dispatchers, *made*, with its participants; what is wrong with them.

        Blocks until all have ended, with limits in real time.
        """
        scripted = [each for _, each, _ in self._cast if isinstance(each, ScriptedProducer)]
        for stand in self._stands:
            if stand.made is made:
                stand.ended = stand.clock.now()
        return closed(made, scripted)

    def dismiss(self) -> List[str]:
        """Stop the scripted participants, and wait for them; what is wrong with them."""
        cast, self._cast = self._cast, []
        for deregister, participant, topic in cast:
            # The dispatcher may live longer, and would ask it in vain.
            deregister(participant, topic)
        return ended(participant for _, participant, _ in cast)

    def left(self) -> List[str]:
        """What has been started and lives on: a sentence for each. It is told to end."""
        suspects = workers() - self.before if self._suspects is None else self._suspects
        return left(suspects)

    def end(self) -> List[str]:
        """End it all: what is not as it should be, in sentences; an empty list if nothing is.

        Each dispatcher has ended, and each request of it; each producer that was asked has its
        verdict; no producer, listener or dispatcher that was started lives on. Blocks meanwhile,
        for some seconds of real time at most.
        """
        for stand in reversed(self._stands):
            if stand.ended is None:
                self.problems += self.close(stand.made)
        self.problems += self.dismiss()
        for clock in self._clocks:
            clock.stop()
        return [*self.problems, *self.left()]


class DispatcherFactory(Makes):
    """What the pytest fixture ``dispatcher_factory`` is.

    What it makes belongs to the fixture that is being set up, or else to the test, and is stopped
    and checked after that: so the scope of a project's own fixture is the scope of its rig. All
    calls are for the thread that runs the tests.
    """

    def __init__(self, mine: Callable[[], Rig]) -> None:
        """*mine* tells for which rig something is made now."""
        self._ate_mine = mine  # type: ignore[method-assign]

    def __call__(
        self,
        *,
        clock: Optional[Clock] = None,
        name: Optional[str] = None,
        hooks: Sequence[Hook] = (),
    ) -> Dispatcher:
        """A started dispatcher, on real time without a *clock*; it notes where producers are.

        Parameters and errors as for :class:`Dispatcher`.
        """
        return self._ate_mine().dispatcher(clock=clock, name=name, hooks=hooks)

    def virtual_clock(self, patience: float = 10.0) -> VirtualClock:
        """A virtual clock for its dispatchers, stopped after them; *patience* in real seconds."""
        return self._ate_mine().virtual_clock(patience)


def _check(dispatcher: Any, topic: Any) -> None:
    if not isinstance(dispatcher, Dispatcher):
        raise BadType(f"dispatcher must be a Dispatcher, not {dispatcher!r}; then comes the topic")
    if isinstance(topic, Outcome):
        raise BadType(f"topic must not be an outcome; it comes before the script: {topic!r}")


def _notes(stand: _Stand, clock: VirtualClock) -> str:
    """What is to be said of virtual time: from when to when, and why it did not move."""
    now = clock.now() if stand.ended is None else stand.ended
    lines = [f"virtual time: from {stand.began * 1000:.12g} ms to {now * 1000:.12g} ms"]
    lines += [note for note in clock.notes() if note not in stand.noted]
    opened = stand.made._ate_engine.ledger.open.all()
    still = [request.id for request in opened if request.sent == now]
    if still and not clock.stuck:
        which = f"request {still[0]} was" if len(still) == 1 else f"{len(still)} requests were"
        lines.append(f"virtual time has not moved since {which} sent: {LET_IT_PASS}")
    return "\n".join(lines)
