"""Rare meetings of events, each of which has done harm once."""

from __future__ import annotations

import inspect
import os
import threading
import weakref
from collections import deque
from typing import Any, Callable, Dict, Iterator, List, Optional

import inside
import pytest
import seams
from rig import (
    PATIENCE,
    Answer,
    Gated,
    Recorder,
    all_over,
    all_told,
    came,
    ended,
    gone,
    only,
    over,
    settle,
    silent,
    strike,
)
from seams import Seam

from ate_dispatcher import Completion, Dispatcher, Handle, Reply, Report, Standing, Verdict
from ate_dispatcher._engine import process
from ate_dispatcher.errors import BadValue, ConnectionFailed
from ate_dispatcher.testing import VirtualClock

# -- what holds a thread -----------------------------------------------------------------------


class Gate:
    """Holds the first thread that comes by, if it has the name *whom*, until it is opened."""

    def __init__(self, whom: Optional[str] = None) -> None:
        self.held = threading.Event()
        self._opened = threading.Event()
        self._whom = whom
        self._once = deque([True])

    def here(self) -> None:
        """Come by."""
        if not self._once or self._whom not in (None, threading.current_thread().name):
            return
        try:
            self._once.pop()
        except IndexError:
            return
        self.held.set()
        assert self._opened.wait(2 * PATIENCE), "nobody opened the gate"

    def open(self) -> None:
        self._opened.set()


class Stage:
    """Gates on lines of the package, and whoever plays: seen to the end with the test.

    A gate on a line holds a thread that is about to execute it. It has to be there before the
    function is called, on a thread that is started after the stage was set: so it never holds the
    test's own thread.
    """

    def __init__(self) -> None:
        self._lines: Dict[Any, Dict[int, Gate]] = {}
        self._gates: List[Gate] = []
        self._cast: List[Any] = []

    def gate(self, whom: Optional[str] = None) -> Gate:
        """A gate that is opened at the end of the test, if not before."""
        gate = Gate(whom)
        self._gates.append(gate)
        return gate

    def at(self, seam: Seam, whom: Optional[str] = None) -> Gate:
        """A gate in front of that line."""
        function, text = seam
        source, first = inspect.getsourcelines(function)
        found = [number for number, line in enumerate(source, first) if text in line]
        assert len(found) == 1, (function, text, found)
        gate = self.gate(whom)
        self._lines.setdefault(function.__code__, {})[found[0]] = gate
        return gate

    def dispatcher(self, name: str = "dispatcher", *, start: bool = True) -> Dispatcher:
        dispatcher = Dispatcher(name=name)
        self._cast.append(dispatcher)
        if start:
            dispatcher.start()
        return dispatcher

    def cast(self, participant: Any) -> Any:
        """Stop *participant* at the end of the test, and open its gate if it has one."""
        self._cast.append(participant)
        return participant

    def thread(self, name: str, target: Callable[[], Any]) -> threading.Thread:
        """A started thread."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def called(self, frame: Any, event: str, arg: Any) -> Any:
        """What is traced: the functions in which there are gates."""
        return self._reached if frame.f_code in self._lines else None

    def _reached(self, frame: Any, event: str, arg: Any) -> Any:
        if event == "line":
            gate = self._lines[frame.f_code].get(frame.f_lineno)
            if gate is not None:
                gate.here()
        return self._reached

    def clear(self) -> None:
        for gate in self._gates:
            gate.open()
        for each in self._cast:
            if isinstance(each, Gated):
                each.gate.set()
            if isinstance(each, Dispatcher):
                each.stop(immediate=True)
            else:
                each.stop()


@pytest.fixture(autouse=True)
def stage() -> Iterator[Stage]:
    """An empty stage; afterwards nothing is traced and no thread of the test is left."""
    before = set(threading.enumerate())
    # threading.gettrace is younger than Python 3.8.
    tracing = threading._trace_hook  # type: ignore[attr-defined]
    stage = Stage()
    threading.settrace(stage.called)
    try:
        yield stage
    finally:
        threading.settrace(tracing)
        stage.clear()
    all_over(but=before)


class Items(deque):
    """What is in a mailbox, with gates in front of those who take something out."""

    def __init__(self) -> None:
        super().__init__()
        self.at_popleft: Optional[Gate] = None
        self.at_remove: Optional[Gate] = None
        #: Somebody has taken one out, or failed to.
        self.tried = threading.Event()

    def popleft(self) -> Any:
        if self.at_popleft is not None:
            self.at_popleft.here()
        try:
            return super().popleft()
        finally:
            self.tried.set()

    def remove(self, item: Any) -> None:
        if self.at_remove is not None:
            self.at_remove.here()
        super().remove(item)


# -- two dispatchers, one producer -------------------------------------------------------------


def test_a_wake_up_is_not_lost_while_a_mailbox_is_cleared(stage: Stage) -> None:
    """A worker that looks into its mailbox while its content is out, and parks, is rung."""
    parks = stage.at(seams.WORKER_PUTS_UP_ITS_TOKEN)
    looks = stage.at(seams.WORKER_LOOKS_AGAIN)
    waits = stage.at(seams.WORKER_PARKS)
    cleared = stage.at(seams.CLEARED_MAILBOX_IS_FILLED)
    home, other = stage.dispatcher("home"), stage.dispatcher("other")
    producer = stage.cast(Answer(lambda topic, n: n))
    for dispatcher in (home, other):
        dispatcher.register_result_producer(producer, "t")
    producer.start()
    came(parks.held)
    # It has seen nothing, and its token is not up: nobody unparks it for these.
    wanted = home.send_request("t", 1, ttl=None)
    unwanted = [other.send_request("t", 2, ttl=None) for _ in range(63)]
    parks.open()
    came(looks.held)
    for each in unwanted:
        each.cancel()
    came(cleared.held)
    looks.open()
    came(waits.held)
    cleared.open()
    ended(*unwanted)
    waits.open()
    assert wanted.results(PATIENCE) == [1]


class Crossing:
    """A send of an ended dispatcher that has still to hand its request to a producer.

    The producer is in a request of its *home*, which lives on, and the next message that comes to
    it shall have its mailbox cleared.
    """

    def __init__(self, stage: Stage) -> None:
        self.home, other = stage.dispatcher("home"), stage.dispatcher("other")
        self.producer = stage.cast(Gated(name="producer"))
        self.items = Items()
        inside.put_items(self.producer, self.items)
        for dispatcher in (self.home, other):
            dispatcher.register_result_producer(self.producer, "t")
        self.producer.start()
        self.begun = self.home.send_request("t", 0, ttl=None)
        came(self.producer.entered)
        self.home.send_request("t", ttl=None).cancel()
        settle(self.home)
        self._gate = stage.at(seams.SEND_PUTS, "sender")
        self._other = other
        self.handles: List[Handle] = []
        self.sender = stage.thread("sender", self._send)
        came(self._gate.held)
        # Now the stop of the other one leaves the producer alone.
        other.deregister_result_producer(self.producer, "t")
        other.stop(immediate=True)
        over(other)
        self.removes = self.items.at_remove = stage.gate("sender")

    def _send(self) -> None:
        try:
            self.handles.append(self._other.send_request("t", ttl=None))
        finally:
            # It has not come by and never will.
            self.removes.held.set()

    def go_on(self) -> None:
        """Until it would take its request out again, or has returned."""
        self._gate.open()
        came(self.removes.held)
        assert len(self.items) == 1

    def end(self) -> None:
        self.removes.open()
        over(self.sender)
        (handle,) = self.handles
        assert handle.completion is Completion.STOPPED


def test_a_send_that_crosses_a_stop_takes_nothing_from_a_living_producer(stage: Stage) -> None:
    """It has seen a message in its mailbox, so there has to be one when it takes it."""
    crossing = Crossing(stage)
    crossing.go_on()
    takes = crossing.items.at_popleft = stage.gate("producer")
    crossing.producer.gate.set()
    came(takes.held)
    crossing.end()
    crossing.items.tried.clear()
    takes.open()
    came(crossing.items.tried)
    assert crossing.begun.results(PATIENCE) == [(0,)]
    assert crossing.home.send_request("t", 1, ttl=None).results(PATIENCE) == [(1,)]
    assert crossing.producer.asked == [(0,), (1,)]


def test_a_send_that_crosses_a_stop_takes_nothing_from_a_keeper_that_clears(stage: Stage) -> None:
    """It takes one out of a mailbox, while the other takes its own."""
    crossing = Crossing(stage)
    crossing.go_on()
    home, producer = crossing.home, crossing.producer
    handles = [home.send_request("t", n, ttl=None) for n in (1, 2, 3)]
    settle(home)
    assert len(crossing.items) == 4
    takes = crossing.items.at_remove = stage.gate("home")
    handles[1].cancel()
    came(takes.held)
    crossing.end()
    takes.open()
    settle(home)
    producer.gate.set()
    assert [handle.results(PATIENCE) for handle in handles] == [[(1,)], [], [(3,)]]
    assert home.is_alive()
    assert producer.asked == [(0,), (1,), (3,)]


def test_a_guest_that_has_begun_is_not_called_back(stage: Stage) -> None:
    """The request ends between the begin and the call: it is executed, as any that has begun."""
    home, other = stage.dispatcher("home"), stage.dispatcher("other")
    begun = stage.at(seams.WORKER_CALLS, "guest")
    asked: List[int] = []
    producer = stage.cast(Answer(lambda topic, n: asked.append(n), name="guest"))
    for dispatcher in (home, other):
        dispatcher.register_result_producer(producer, "t")
    producer.start()
    handle = other.send_request("t", 1, ttl=None)
    came(begun.held)
    handle.cancel()
    ended(handle)
    begun.open()
    ended(home.send_request("t", 2, ttl=None))
    assert asked == [1, 2]
    assert only(handle).verdict is Verdict.SURPLUS


# -- before the start, and around it -----------------------------------------------------------


def test_what_was_cancelled_before_the_start_is_not_begun(stage: Stage) -> None:
    """Also by a producer that is quicker than the dispatcher's thread."""
    dispatcher, other = stage.dispatcher("late", start=False), stage.dispatcher("other")
    asked: List[int] = []
    producer = stage.cast(Answer(lambda topic, n: asked.append(n)))
    for each in (dispatcher, other):
        each.register_result_producer(producer, "t")
    producer.start()
    cancelled = dispatcher.send_request("t", 1, ttl=None)
    cancelled.cancel()
    gate = stage.gate("late")
    inside.before_each_round(dispatcher, gate.here)
    dispatcher.start()
    came(gate.held)
    # Whatever had been handed out is served before this.
    ended(other.send_request("t", 2, ttl=None))
    assert asked == [2]
    gate.open()
    ended(cancelled)
    assert only(cancelled).verdict is Verdict.CANCELLED


def test_a_start_that_failed_may_be_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the object has a `run` of its own: that is called, and its end is seen."""
    producer = stage.cast(Answer())
    calls: List[str] = []

    def run() -> None:
        calls.append("run")
        Answer.run(producer)

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    producer.run = run
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            producer.start()
    assert producer.run is run
    dispatcher = stage.dispatcher()
    dispatcher.register_result_producer(producer, "t")
    producer.start()
    assert len(dispatcher.send_request("t", ttl=None).results(PATIENCE)) == 1
    assert calls == ["run"]
    producer.stop()
    over(producer)
    afterwards = dispatcher.send_request("t", ttl=None)
    ended(afterwards)
    assert only(afterwards).verdict is Verdict.DECLINED


def test_a_start_that_was_interrupted_may_be_tried_again(stage: Stage) -> None:
    """By an exception of a signal handler, at whichever moment of a registration that starts."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    def attempt(at: int) -> bool:
        producer, topic, calls = stage.cast(Answer()), f"t{at}", []

        def run() -> None:
            calls.append("run")
            Answer.run(producer)

        def register() -> None:
            dispatcher.register_result_producer(producer, topic, start=True)

        producer.run = run
        try:
            struck = strike(register, at, interrupt)
        except KeyboardInterrupt:
            struck = True
        register()
        assert len(dispatcher.send_request(topic, ttl=None).results(PATIENCE)) == 1
        assert calls == ["run"]
        producer.stop()
        over(producer)
        ended(dispatcher.send_request(topic, ttl=None))
        return struck

    dispatcher = stage.dispatcher()
    at = 1
    while attempt(at):
        at += 1
    assert at > 10


def test_a_request_to_nobody_counts_before_the_start(stage: Stage) -> None:
    """It has ended, so the statistics know it, although no thread has seen to it."""
    dispatcher = stage.dispatcher(start=False)
    dispatcher.send_request("nobody listens here")
    statistics = dispatcher.statistics()
    assert statistics.requests == 1
    assert statistics.completions[Completion.NO_PRODUCERS] == 1


@pytest.mark.parametrize("kind", ["plain", "settled", "with its own stop", "two stops"])
def test_a_dispatcher_on_virtual_time_may_be_started_after_its_stop(kind: str) -> None:
    """It ends what it has kept, then itself; nobody waits for a bell that another one has."""

    class OwnStop(Answer):
        def stop(self) -> None:
            super().stop()

    clock = VirtualClock()
    dispatcher = Dispatcher(clock=clock)
    producer = OwnStop() if kind == "with its own stop" else Answer()
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)
    try:
        dispatcher.stop()
        if kind == "two stops":
            dispatcher.stop()
        elif kind == "settled":
            clock.settle()
        dispatcher.start()
        dispatcher.join(1000)
        assert not dispatcher.is_alive()
        producer.join(1000)
        assert not producer.is_alive()
        assert handle.completion is Completion.STOPPED
    finally:
        clock.stop()


def test_an_empty_dispatcher_on_virtual_time_may_be_started_after_its_stop() -> None:
    """There is nothing to end but its own thread."""
    clock = VirtualClock()
    dispatcher = Dispatcher(clock=clock)
    try:
        dispatcher.stop()
        dispatcher.start()
        dispatcher.join(1000)
        assert not dispatcher.is_alive()
    finally:
        clock.stop()


def test_two_stops_before_a_start_that_never_comes_do_no_harm_on_virtual_time() -> None:
    """One thread sees to what was kept; a second one would be at the same bell."""
    clock = VirtualClock()
    dispatcher, producer = Dispatcher(clock=clock), Answer()
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)
    try:
        dispatcher.stop()
        dispatcher.stop()
        clock.settle()
        assert handle.completion is Completion.STOPPED
        producer.join(1000)
        assert not producer.is_alive()
    finally:
        clock.stop()


# -- the end, and what comes behind it ---------------------------------------------------------


def test_a_registration_at_any_moment_of_a_producers_end_leaves_nothing_open(stage: Stage) -> None:
    """A producer that was stopped before it had a home is registered and asked while it ends."""
    dispatcher = stage.dispatcher()

    def attempt(at: int) -> bool:
        producer, topic = Answer(), f"t{at}"
        handles: List[Handle] = []

        def ask() -> None:
            try:
                dispatcher.register_result_producer(producer, topic)
            except BadValue:
                # It has ended, and that was seen.
                return
            handles.append(dispatcher.send_request(topic, ttl=None))

        producer.stop()
        # Its whole life, on this thread.
        struck = strike(lambda: inside.whole_life(producer), at, ask)
        ended(*handles)
        return struck

    at = 1
    while attempt(at):
        at += 1
    assert at > 10


@pytest.mark.parametrize("started", [True, False], ids=["started", "never started"])
def test_an_ended_dispatcher_keeps_nobody_alive(started: bool) -> None:
    """Not through a producer that lives on, which knows where it was at home."""

    def session(keep: Answer) -> List[Callable[[], Any]]:
        dispatcher, producer, listener = Dispatcher(), Answer(), Recorder()
        for each in (keep, producer):
            dispatcher.register_result_producer(each, "t", start=started)
        dispatcher.register_result_listener(listener, "t", start=started)
        if started:
            dispatcher.start()
        handle = dispatcher.send_request("t", ttl=None)
        if started:
            ended(handle)
        dispatcher.stop()
        ended(handle)
        if started:
            over(dispatcher, keep, producer, listener)
        else:
            inside.to_its_end(dispatcher)
        return [weakref.ref(each) for each in (dispatcher, producer, listener)]

    keep = Answer()
    references = session(keep)
    assert [gone(reference) for reference in references] == [True] * 3
    del keep


def test_a_dispatcher_stopped_before_its_start_keeps_no_request() -> None:
    """Nor whom it had asked and who was deregistered since, while the dispatcher is there."""

    def session(dispatcher: Dispatcher) -> List[Callable[[], Any]]:
        producer = Answer()
        dispatcher.register_result_producer(producer, "t")
        handle = dispatcher.send_request("t", ttl=None)
        dispatcher.deregister_result_producer(producer, "t")
        dispatcher.stop()
        ended(handle)
        inside.to_its_end(dispatcher)
        return [weakref.ref(producer)]

    dispatcher = Dispatcher()
    (reference,) = session(dispatcher)
    assert gone(reference)


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "not observed"])
def test_a_hook_added_after_the_end_is_not_kept(stage: Stage, observed: bool) -> None:
    """It could hear nothing, and a producer that lives on would keep it."""

    class Hook:
        def __call__(self, event: Any) -> None:
            pass

    dispatcher, producer, hook = Dispatcher(), stage.cast(Answer()), Hook()
    reference = weakref.ref(hook)
    dispatcher.register_result_producer(producer, "t", start=True)
    if observed:
        dispatcher.add_hook(lambda event: None)
    dispatcher.start()
    ended(dispatcher.send_request("t", ttl=None))
    dispatcher.stop()
    over(dispatcher)
    if observed:
        all_told(dispatcher)
    dispatcher.add_hook(hook)
    del dispatcher, hook
    assert gone(reference)


def test_a_done_callback_is_not_lost_to_one_that_crossed_the_end(stage: Stage) -> None:
    """A thread that was held while it woke the keeper clears nothing away when that has ended."""
    parked = stage.at(seams.LOOP_PARKS)
    wakes = stage.at(seams.ORDER_WAKES_THE_LOOP, "early")
    left = stage.at(seams.ORDER_WAS_APPENDED, "late")
    dispatcher = stage.dispatcher(start=False)
    handle = dispatcher.send_request("nobody listens here")
    dispatcher.start()
    called: List[str] = []
    came(parked.held)
    early = stage.thread("early", lambda: handle.add_done_callback(lambda _: called.append("e")))
    came(wakes.held)
    parked.open()
    dispatcher.stop()
    over(dispatcher)
    late = stage.thread("late", lambda: handle.add_done_callback(lambda _: called.append("l")))
    came(left.held)
    wakes.open()
    over(early)
    left.open()
    over(late)
    all_told(dispatcher)
    assert sorted(called) == ["e", "l"]


def test_a_done_callback_of_the_last_moment_does_not_hold_up_the_dispatcher(stage: Stage) -> None:
    """It is called on the observers' thread, and the dispatcher's ends meanwhile."""
    ends = stage.at(seams.LOOP_ENDS)
    dispatcher = stage.dispatcher()
    handle = dispatcher.send_request("nobody listens here")
    dispatcher.stop()
    came(ends.held)
    callers: List[threading.Thread] = []
    called, gate = threading.Event(), stage.gate()

    def callback(_: Handle) -> None:
        callers.append(threading.current_thread())
        called.set()
        gate.here()

    handle.add_done_callback(callback)
    ends.open()
    came(called)
    assert callers != [dispatcher]
    over(dispatcher)
    assert [caller.name for caller in callers] == [f"{dispatcher.name}-observers"]


def test_an_old_stop_does_not_replace_the_error_of_a_with_block() -> None:
    """A subclass may have overridden it as it once was, without parameters."""

    class Old(Dispatcher):
        def stop(self) -> None:  # type: ignore[override]
            stops.append(self)
            super().stop()

    stops: List[Dispatcher] = []
    dispatcher = Old()
    try:
        with pytest.raises(KeyError, match="mine"), dispatcher:
            raise KeyError("mine")
        over(dispatcher)
        assert stops == [dispatcher]
    finally:
        Dispatcher.stop(dispatcher)


def test_an_ended_producer_keeps_no_stop(stage: Stage) -> None:
    """Nobody would ever take them out."""
    dispatcher, producer = stage.dispatcher(), Answer()
    dispatcher.register_result_producer(producer, "t", start=True)
    producer.stop()
    over(producer)
    for _ in range(10):
        producer.stop()
    assert inside.backlog(producer) == 0


@pytest.mark.parametrize("seconds", [1e12, float("inf")])
def test_a_join_may_last_as_long_as_you_like(seconds: float) -> None:
    """Longer than a system can wait is no error."""
    producer = Answer()
    producer.start()
    producer.stop()
    producer.join(seconds)
    assert not producer.is_alive()


# -- what users bring along --------------------------------------------------------------------


class Attentive(Recorder):
    """Also remembers errors and completions."""

    def process_dispatcher_error(self, topic: Any, reply: Reply) -> None:
        self.heard.append((topic, type(reply.error)))

    def process_dispatcher_completion(self, topic: Any, report: Report) -> None:
        self.heard.append((topic, report.completion))


def test_a_listener_hears_all_although_an_older_reading_is_held(stage: Stage) -> None:
    """Errors and ends too, while a roster without it has been put back for a moment."""
    made = stage.at(seams.ROSTER_IS_MADE, "registers")
    stored = stage.at(seams.ROSTER_WAS_STORED, "registers")
    dispatcher = stage.dispatcher()

    def answer(topic: Any, n: int) -> int:
        if n == 0:
            raise ZeroDivisionError
        return n

    producer, first, second = Answer(answer), Attentive(), stage.cast(Attentive())
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.register_result_listener(first, "t", start=True)
    reader = stage.thread("registers", lambda: inside.reads_listeners(dispatcher, "t"))
    came(made.held)
    dispatcher.register_result_listener(second, "t", start=True)
    made.open()
    came(stored.held)
    for n in (0, 1):
        ended(dispatcher.send_request("t", n, ttl=None))
    second.stop()
    over(second)
    stored.open()
    over(reader)
    assert [what for _, what in second.heard] == [
        ZeroDivisionError,
        Completion.ALL_REPLIED,
        1,
        Completion.ALL_REPLIED,
    ]


class Stubborn(Exception):
    """Does not let anybody touch its traceback."""

    def with_traceback(self, traceback: Any) -> Any:
        raise RuntimeError("no")


class Hermetic(Exception):
    """Does not let anybody touch anything."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


@pytest.mark.parametrize("kind", [Stubborn, Hermetic])
def test_an_exception_that_defends_itself_is_an_answer(stage: Stage, kind: type) -> None:
    """As any other, and the producer's thread goes on."""

    def answer(topic: Any, n: int) -> int:
        if n == 0:
            raise kind
        return n

    dispatcher, producer = stage.dispatcher(), Answer(answer)
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t", 0, ttl=None)
    ended(handle)
    (reply,) = handle.replies
    assert type(reply.error) is kind
    assert only(handle).verdict is Verdict.ERROR
    assert dispatcher.send_request("t", 1, ttl=None).results(PATIENCE) == [1]


def test_a_topic_is_compared_only_with_one_of_equal_hash(stage: Stage) -> None:
    """As in a dict: one that minds others does no harm to them, registered or not any more."""

    class Touchy:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if not isinstance(other, Touchy):
                raise TypeError(f"compared with {other!r}")
            return self is other

    dispatcher, producer, topic = stage.dispatcher(), stage.cast(Gated()), Touchy()
    dispatcher.register_result_producer(producer, topic, start=True)
    still_open = dispatcher.send_request(topic, ttl=None)
    dispatcher.deregister_result_producer(producer, topic)
    assert dispatcher.send_request("volts").completion is Completion.NO_PRODUCERS
    dispatcher.register_result_producer(producer, "volts")
    assert still_open.completion is None


def test_a_report_that_is_taken_while_the_request_ends_says_running(stage: Stage) -> None:
    """Of a producer that is at it, also when what it refers to has been replaced already."""
    sums_up = stage.at(seams.SUMS_ARE_ADDED)
    dispatcher, producer = stage.dispatcher(), stage.cast(Gated())
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)
    came(producer.entered)
    handle.cancel()
    came(sums_up.held)
    assert handle.completion is None
    member = only(handle)
    assert (member.verdict, member.standing) == (None, Standing.RUNNING)
    sums_up.open()
    ended(handle)
    assert only(handle).standing is Standing.RUNNING


def test_a_send_that_crosses_a_disable_does_not_wait_behind_it(stage: Stage) -> None:
    """What it puts into the mailbox when that has been looked through is withdrawn all the same."""
    puts = stage.at(seams.SEND_PUTS, "sender")
    dispatcher, producer = stage.dispatcher(), stage.cast(Gated())
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.send_request("t", ttl=None)
    came(producer.entered)
    handles: List[Any] = []
    thread = stage.thread("sender", lambda: handles.append(dispatcher.send_request("t", ttl=None)))
    came(puts.held)
    dispatcher.disable(producer)
    settle(dispatcher)
    puts.open()
    over(thread)
    ended(*handles)
    assert only(handles[0]).verdict is Verdict.WITHDRAWN


# -- fork --------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

CAST = """
    import os, signal, sys, threading, warnings
    from ate_dispatcher import Completion, Dispatcher, IncompleteError, Producer, Standing, Verdict
    warnings.simplefilter('ignore', DeprecationWarning)

    def in_child(check):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(20)
                check()
                status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status

    class Site(Producer):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            entered.set()
            gate.wait(60)
            return args

    entered, gate = threading.Event(), threading.Event()
    dispatcher, site = Dispatcher(), Site(name='site')
    dispatcher.register_result_producer(site, 't', start=True)
"""


@needs_fork
def test_what_was_open_at_a_fork_has_its_verdict_in_the_child() -> None:
    """It ended as STOPPED, so whoever had not answered is missing, and all adds up."""
    silent(
        CAST
        + """
    dispatcher.start()
    handle = dispatcher.send_request('t', ttl=None)
    entered.wait(30)

    def check():
        report = handle.report()
        member, = report.members
        assert report.completion is Completion.STOPPED
        assert (member.verdict, member.standing) == (Verdict.MISSING, Standing.RUNNING), member
        assert report.missing == ('site',), report
        statistics = dispatcher.statistics()
        assert (statistics.requests, statistics.open, statistics.fan_out) == (1, 0, 1), statistics
        assert statistics.verdicts[Verdict.MISSING] == 1, statistics
        try:
            handle.results(require='all')
        except IncompleteError as error:
            assert 'from: site' in str(error), error
        else:
            raise AssertionError('not refused')

    in_child(check)
    gate.set()
    assert handle.results(30) == [()]
    """
    )


@needs_fork
def test_a_section_that_was_occupied_at_a_fork_is_free_in_the_child() -> None:
    """Also that of a home that was never started, which a copied producer belongs to."""
    silent(
        CAST
        + f"""
    def check():
        new = Dispatcher()
        new.start()
        gate.set()
        new.register_result_producer(Site(), 't', start=True)
        handle = new.send_request('t', 5, ttl=None)
        assert handle.wait(10), 'it hangs'
        assert handle.results() == [(5,)]

    section = {inside.SECTION}
    section.enter()
    in_child(check)
    section.leave(None)
    """
    )


@needs_fork
def test_a_producer_that_forks_serves_only_in_the_parent() -> None:
    """When its method returns in the child, that has nothing left to do and ends."""
    silent(
        CAST
        + """
    class Forking(Producer):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            pid = os.fork()
            if pid == 0:
                signal.alarm(10)
                return 'child'
            return os.waitpid(pid, 0)[1]

    dispatcher.start()
    dispatcher.register_result_producer(Forking(), 'fork', start=True)
    results = dispatcher.send_request('fork', ttl=None).results(30)
    assert results == [0], results
    """
    )


# -- threads that are not there any more -------------------------------------------------------


class _Ends:
    """A transport whose thread has had its link step, and ends, as no server is there."""

    largest = 1 << 20

    def __init__(self) -> None:
        self.ident = 0

    def __str__(self) -> str:
        return "nothing"

    def open(self, receiver: Any, clock: Any, wait: bool) -> None:
        def run() -> None:
            self.ident = threading.get_ident()
            receiver.step()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        raise ConnectionFailed("nobody is there")

    def unpark(self, _: object = None) -> None:
        """Nobody is parked."""

    send = close = join = unpark


def test_a_thread_is_not_taken_for_that_of_a_connection_that_has_failed() -> None:
    """Though it has its ident: what it lets go of is gone at once, and what it logs is written."""
    dispatcher, transport = Dispatcher(), _Ends()
    dispatcher.start()
    with pytest.raises(ConnectionFailed):
        dispatcher.connect(transport)
    is_gone: List[bool] = []
    all_there = threading.Barrier(20)

    def lets_go() -> None:
        all_there.wait(PATIENCE)
        if threading.get_ident() == transport.ident:
            thing = Gate()
            reference, things = weakref.ref(thing), [thing]
            del thing
            process.release(things)
            is_gone.append(reference() is None)

    threads = [threading.Thread(target=lets_go) for _ in range(all_there.parties)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    dispatcher.stop()
    over(dispatcher)
    if not is_gone:
        pytest.skip("the system has given that ident to nobody")
    assert is_gone == [True]
