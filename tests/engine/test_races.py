"""Races, provoked: a thread is held at the critical point while another one does its worst.

On real threads and real time, each at an ordinary pace and at one where threads are switched at
nearly every chance. What holds a thread is always something that users may write: a clock, a topic,
a callback, a log handler.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Tuple

import inside
import pytest
from rig import (
    PATIENCE,
    Answer,
    Gated,
    GatedListener,
    Recorder,
    came,
    ended,
    over,
    pace,
    settle,
    sums_add_up,
)
from typing_extensions import Self
from virtual import verdicts

from ate_dispatcher import (
    Completion,
    Dispatcher,
    DispatcherStopped,
    Handle,
    Producer,
    ResultListener,
)

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


class Gate:
    """Holds the first thread that comes by, until it is opened."""

    def __init__(self, whom: Callable[[], bool] = lambda: True) -> None:
        self.held = threading.Event()
        self.open = threading.Event()
        self._whom = whom
        self._once = deque([True])

    def here(self) -> None:
        if self._once and self._whom():
            try:
                self._once.pop()
            except IndexError:
                return
            self.held.set()
            assert self.open.wait(2 * PATIENCE), "nobody opened the gate"

    @classmethod
    def for_thread(cls, thread: threading.Thread) -> Gate:
        return cls(lambda: threading.current_thread() is thread)


class GatedTopic(str):
    """A topic that is hashed through gates: one for each time it is."""

    __slots__ = ("gates",)

    gates: List[Optional[Gate]]

    def __new__(cls, text: str, *gates: Optional[Gate]) -> Self:
        topic = super().__new__(cls, text)
        topic.gates = list(gates)
        return topic

    def __hash__(self) -> int:
        gate = self.gates.pop(0) if self.gates else None
        if gate is not None:
            gate.here()
        return super().__hash__()

    __eq__ = str.__eq__
    __ne__ = str.__ne__


class Theatre:
    """A dispatcher on a gated clock, and threads of the test that are seen to their end."""

    def __init__(self) -> None:
        self.clock = inside.GatedClock()
        self.dispatcher = Dispatcher(clock=self.clock)
        self.dispatcher.start()
        # What is sent before is scattered by the keeper, who is not to be held by accident.
        parked(self.dispatcher)
        self._cast: List[Any] = []
        self._threads: List[threading.Thread] = []
        self._failures: List[BaseException] = []

    def add(
        self, participant: Any, topic: Any = "t", dispatcher: Optional[Dispatcher] = None
    ) -> Any:
        where = dispatcher or self.dispatcher
        if isinstance(participant, Producer):
            where.register_result_producer(participant, topic, start=True)
        else:
            where.register_result_listener(participant, topic, start=True)
        self._cast.append(participant)
        return participant

    def meanwhile(self, function: Callable[..., Any], *args: Any) -> threading.Thread:
        """Run it on a thread of its own; what it raises fails the test at its end."""

        def run() -> None:
            try:
                function(*args)
            except BaseException as error:
                self._failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def hold_in_section(
        self, thread: threading.Thread, after: float = 0.0, passes: int = 0
    ) -> Gate:
        """Hold *thread* when it has read the clock in the section, later than *after*.

        But for so many *passes*: the dispatcher looks at the time before it takes orders.
        """
        left = [passes]

        def there() -> bool:
            if (
                threading.current_thread() is not thread
                or not inside.is_occupied(self.dispatcher)
                or not time.perf_counter() > after
            ):
                return False
            left[0] -= 1
            return left[0] < 0

        self.clock.at_now = Gate(there)
        return self.clock.at_now

    def hold_ring(self, participant: Any) -> Gate:
        """Hold whoever rings *participant*'s bell; it has to be parked for that."""
        parked(participant)
        gate = self.clock.at_ring[inside.parker_of(participant)] = Gate()
        return gate

    def close(self) -> None:
        self.dispatcher.stop(drain=500)
        over(*self._threads, self.dispatcher)
        for participant in self._cast:
            participant.stop()
        over(*self._cast)
        assert self._failures == []
        sums_add_up(self.dispatcher)


@pytest.fixture
def theatre() -> Iterator[Theatre]:
    """Closed at the end: all threads end, all sums are exact."""
    made = Theatre()
    yield made
    made.close()


def until(condition: Callable[[], Any]) -> None:
    """Give way to other threads until it holds; for moments that no gate can tell."""
    lost = time.perf_counter() + PATIENCE
    while not condition():
        assert time.perf_counter() < lost, "it did not happen"
        time.sleep(0)


def parked(participant: Any) -> None:
    until(lambda: inside.is_parked(participant))


def past(deadline: float) -> None:
    until(lambda: time.perf_counter() > deadline)


def opened(handle: Handle) -> None:
    """Wait until its producer has begun."""
    until(lambda: handle.report().members[0].ran_ms is not None)


# -- a thread is held in the middle of a send --------------------------------------------------


def test_registrations_during_a_scatter_concern_later_requests_only(theatre: Theatre) -> None:
    """One who comes is not asked, one who leaves still is: the roster was fixed."""
    first, second = theatre.add(Answer(lambda *_: 1)), theatre.add(Answer(lambda *_: 2))
    handles: List[Handle] = []
    gate = theatre.hold_ring(first)
    theatre.meanwhile(lambda: handles.append(theatre.dispatcher.send_request("t", ttl=None)))
    came(gate.held)
    theatre.dispatcher.deregister_result_producer(second, "t")
    theatre.add(Answer(lambda *_: 3))
    later = theatre.dispatcher.send_request("t", ttl=None)
    gate.open.set()
    assert sorted(later.results(PATIENCE)) == [1, 3]
    until(lambda: handles)
    assert sorted(handles[0].results(PATIENCE)) == [1, 2]


@pytest.mark.parametrize("immediate", [True, False])
def test_a_stop_during_a_scatter_ends_the_request_all_the_same(
    theatre: Theatre, immediate: bool
) -> None:
    """Although its dispatcher has ended before the second producer is reached."""
    first, second = theatre.add(Answer(lambda *_: 1)), theatre.add(Answer(lambda *_: 2))
    parked(second)
    handles: List[Handle] = []
    gate = theatre.hold_ring(first)
    theatre.meanwhile(lambda: handles.append(theatre.dispatcher.send_request("t", ttl=None)))
    came(gate.held)
    theatre.meanwhile(lambda: theatre.dispatcher.stop(immediate=immediate, drain=50))
    over(theatre.dispatcher)
    gate.open.set()
    until(lambda: handles)
    ended(*handles)
    assert handles[0].completion is Completion.STOPPED
    over(second)
    # It ended unasked, before the message came, which nobody will read.
    assert inside.backlog(second) == 0
    assert "open" not in " ".join(verdicts(handles[0]))


def test_a_send_that_crosses_a_stop_is_refused_or_served(theatre: Theatre) -> None:
    """Held between the look whether it is stopped and the look for its topic."""
    theatre.add(Answer(lambda *_: 1))
    gate = Gate()
    outcome: List[Any] = []

    def sends() -> None:
        try:
            outcome.append(theatre.dispatcher.send_request(GatedTopic("t", gate), ttl=None))
        except DispatcherStopped as error:
            outcome.append(error)

    sender = theatre.meanwhile(sends)
    came(gate.held)
    theatre.dispatcher.stop()
    over(theatre.dispatcher)
    gate.open.set()
    over(sender)
    assert isinstance(outcome[0], DispatcherStopped)


def test_a_slow_topic_holds_nobody_up(theatre: Theatre) -> None:
    """Topics are hashed and compared under no lock: others send, register and answer meanwhile."""
    theatre.add(Answer(lambda *_: 1))
    heard = theatre.add(Recorder())
    gate, handles = Gate(), []
    topic = GatedTopic("t", gate)
    theatre.meanwhile(lambda: handles.append(theatre.dispatcher.send_request(topic, ttl=None)))
    came(gate.held)
    assert theatre.dispatcher.send_request("t", ttl=None).results(PATIENCE) == [1]
    theatre.add(Answer(lambda *_: 2))
    assert len(theatre.dispatcher.send_request("t", ttl=None).results(PATIENCE)) == 2
    expired = theatre.dispatcher.send_request("nobody", ttl=0)
    ended(expired)
    heard.after(3)
    gate.open.set()
    until(lambda: handles)
    assert sorted(handles[0].results(PATIENCE)) == [1, 2]
    theatre.dispatcher.deregister_result_producer(Answer(), topic)


# -- a thread is held in the section -----------------------------------------------------------


def begins_in_time(producer: Gated, handle: Handle) -> bool:
    """Whether *producer* has begun with it before its deadline, once one of the two is so."""
    while not (producer.entered.is_set() or handle.done()):
        time.sleep(0.001)
    return producer.entered.is_set()


def test_a_reply_stamped_in_time_is_not_overtaken_by_the_expiry(theatre: Theatre) -> None:
    """Its thread is held, stamp in hand, until after the deadline."""
    heard = theatre.add(Recorder())
    in_time = False
    # The machine may be too busy to have the stamp before a near deadline.
    for ttl in (100, 1000, 10_000):
        producer = theatre.add(Gated(), ttl)
        theatre.dispatcher.register_result_listener(heard, ttl)
        handle = theatre.dispatcher.send_request(ttl, "answer", ttl=ttl)
        if not begins_in_time(producer, handle):
            producer.gate.set()
            continue
        gate = theatre.hold_in_section(producer)
        producer.gate.set()
        came(gate.held)
        in_time = time.perf_counter() < handle.deadline
        past(handle.deadline)
        if in_time:
            assert not handle.done()
        gate.open.set()
        ended(handle)
        if in_time:
            break
    assert in_time
    assert handle.results() == [("answer",)]
    assert handle.completion is Completion.ALL_REPLIED
    assert heard.after(1) == [(ttl, ("answer",))]


def test_a_reply_behind_the_expiry_is_late(theatre: Theatre) -> None:
    """The keeper is in the section, the deadline read as passed, when the method returns."""
    heard = theatre.add(Recorder())
    other = theatre.add(Answer(lambda *_: "other"), "u")
    theatre.add(heard, "u")
    # The machine may be too busy to begin before a near deadline.
    for ttl in (400, 1000, 10_000):
        producer = theatre.add(Gated(), ttl)
        theatre.dispatcher.register_result_listener(heard, ttl)
        handle = theatre.dispatcher.send_request(ttl, 1, ttl=ttl)
        gate = theatre.hold_in_section(theatre.dispatcher, handle.deadline)
        came(gate.held)
        producer.gate.set()
        if producer.entered.is_set():
            break
        gate.open.set()
        ended(handle)
    gate.open.set()
    assert handle.results(PATIENCE) == []
    until(lambda: verdicts(handle) == ["LATE"])
    assert handle.completion is Completion.DEADLINE
    # Results come in one order: had the late one been handed on, it would be here before.
    assert theatre.dispatcher.send_request("u", ttl=None).results(PATIENCE) == ["other"]
    assert heard.after(1) == [("u", "other")]
    assert other.is_alive()


@pytest.mark.parametrize("first", ["reply", "cancel"])
def test_a_cancel_and_a_reply_at_once_have_one_winner(theatre: Theatre, first: str) -> None:
    """Who came into the section first; the other one changes nothing."""
    producer = theatre.add(Gated())
    handle = theatre.dispatcher.send_request("t", 1, ttl=None)
    came(producer.entered)
    if first == "reply":
        gate = theatre.hold_in_section(producer)
    else:
        gate = theatre.hold_in_section(theatre.dispatcher, passes=1)
    if first == "reply":
        producer.gate.set()
        came(gate.held)
        handle.cancel()
    else:
        handle.cancel()
        came(gate.held)
        producer.gate.set()
    assert not handle.done()
    gate.open.set()
    ended(handle)
    if first == "reply":
        assert handle.completion is Completion.ALL_REPLIED
        assert handle.results() == [(1,)]
    else:
        assert handle.completion is Completion.CANCELLED
        until(lambda: verdicts(handle) == ["SURPLUS"])
        assert handle.results() == []
    settle(theatre.dispatcher)
    completions = theatre.dispatcher.statistics().completions
    assert completions[handle.completion] == 1


@pytest.mark.parametrize("first", ["reply", "stop"])
def test_a_stop_at_once_and_a_reply_have_one_winner(theatre: Theatre, first: str) -> None:
    """The reply that was stamped before counts; one behind the stop is surplus."""
    producer = theatre.add(Gated())
    heard = theatre.add(Recorder())
    handle = theatre.dispatcher.send_request("t", 1, ttl=None)
    came(producer.entered)
    if first == "reply":
        gate = theatre.hold_in_section(producer)
        producer.gate.set()
        came(gate.held)
        theatre.dispatcher.stop(immediate=True)
        gate.open.set()
        over(theatre.dispatcher)
        assert handle.completion is Completion.ALL_REPLIED
        assert handle.results(PATIENCE) == [(1,)]
        over(heard)
        assert heard.heard == [("t", (1,))]
    else:
        theatre.dispatcher.stop(immediate=True)
        over(theatre.dispatcher)
        producer.gate.set()
        over(producer, heard)
        assert handle.completion is Completion.STOPPED
        assert verdicts(handle) == ["SURPLUS"]
        assert heard.heard == []


def test_a_stop_with_drain_waits_for_the_reply_that_is_on_its_way(theatre: Theatre) -> None:
    """And whoever ends the last request wakes the keeper: it does not sleep out the drain."""
    producer = theatre.add(Gated())
    handle = theatre.dispatcher.send_request("t", 1, ttl=None)
    came(producer.entered)
    theatre.dispatcher.stop(drain=None)
    until(lambda: inside.is_draining(theatre.dispatcher))
    producer.gate.set()
    over(theatre.dispatcher)
    assert handle.results() == [(1,)]


# -- callbacks that change what calls them -----------------------------------------------------


class Acting(ResultListener):
    """Does something at its first result, then only listens."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        super().__init__()
        self.deed: Optional[Callable[[], Any]] = deed
        self.heard: List[Any] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard.append(response)
        deed, self.deed = self.deed, None
        if deed is not None:
            deed()


@pytest.mark.parametrize("who", ["listener", "producer", "hook", "done callback"])
@pytest.mark.parametrize("deed", ["register", "deregister", "stop", "stop at once", "cancel"])
def test_callbacks_may_register_deregister_and_stop(theatre: Theatre, who: str, deed: str) -> None:
    """From wherever they are called; nothing deadlocks, and everything sent comes to an end."""
    dispatcher = theatre.dispatcher
    leaving = theatre.add(Answer(lambda *_: "leaving"))
    done = threading.Event()
    coming = Answer(lambda *_: "coming")
    handles: List[Handle] = []

    def act(*_: Any) -> str:
        if not done.is_set():
            if deed == "register":
                theatre.add(coming)
                theatre.add(Recorder())
            elif deed == "deregister":
                dispatcher.deregister_result_producer(leaving, "t")
                dispatcher.deregister_result_listener(acting, "t")
            elif deed == "cancel":
                for handle in tuple(handles):
                    handle.cancel()
            else:
                dispatcher.stop(immediate=deed == "stop at once")
            done.set()
        return "acted"

    acting = theatre.add(Acting(act if who == "listener" else lambda: None))
    if who == "producer":
        theatre.add(Answer(act))
    elif who == "hook":
        dispatcher.add_hook(act)
    for _ in range(20):
        try:
            handles.append(dispatcher.send_request("t", ttl=10_000))
        except DispatcherStopped:
            break
        if who == "done callback":
            handles[-1].add_done_callback(act)
    came(done)
    ended(*handles)
    if deed.startswith("stop"):
        over(dispatcher, leaving, acting)
        with pytest.raises(DispatcherStopped):
            dispatcher.send_request("t")
    else:
        results = dispatcher.send_request("t", ttl=10_000).results(PATIENCE)
        assert ("leaving" in results) == (deed != "deregister")
        assert ("coming" in results) == (deed == "register")


def test_a_registration_that_crosses_a_stop_is_refused_or_stopped_with_the_rest(
    theatre: Theatre,
) -> None:
    """Held after the look whether it is stopped: its participant must not live on for ever."""
    gate, outcome = Gate(), []
    producer = Answer()
    producer.start()

    def registers() -> None:
        try:
            topic = GatedTopic("t", None, gate)
            outcome.append(theatre.dispatcher.register_result_producer(producer, topic))
        except DispatcherStopped as error:
            outcome.append(error)

    registering = theatre.meanwhile(registers)
    came(gate.held)
    theatre.dispatcher.stop()
    over(theatre.dispatcher)
    gate.open.set()
    over(registering)
    if isinstance(outcome[0], DispatcherStopped):
        producer.stop()
    over(producer)


@pytest.mark.parametrize("guest", [False, True], ids=["at home", "guest"])
def test_a_stale_roster_is_not_used(theatre: Theatre, guest: bool) -> None:
    """A registration that has returned holds, also while another one, which was held before it
    could look at the token again, has put an older roster back.
    """
    producer = Answer(lambda topic, n: n)
    if guest:
        Dispatcher(clock=theatre.clock).register_result_producer(producer, "elsewhere")
    theatre.add(producer)
    listener = theatre.add(Recorder())
    stale = inside.listeners_roster(theatre.dispatcher, "t")
    quick = theatre.add(Recorder())
    inside.put_back(theatre.dispatcher, "t", stale)
    ended(theatre.dispatcher.send_request("t", 1, ttl=None))
    for each in (listener, quick):
        assert each.after(1) == [("t", 1)]


def test_who_registers_while_the_last_one_leaves_is_asked(theatre: Theatre) -> None:
    """The topic is about to be forgotten; the one who came is known from his return on."""
    leaving, staying = Answer(), Answer(lambda *_: "here")
    dispatcher = theatre.dispatcher
    dispatcher.register_result_producer(leaving, "t")
    forgetting, restoring = Gate(), Gate()
    # Found, removed, put back: in the order in which a deregistration looks at its topic.
    topic = GatedTopic("t", None, forgetting, restoring)
    leaves = theatre.meanwhile(dispatcher.deregister_result_producer, leaving, topic)
    came(forgetting.held)
    theatre.add(staying)
    assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["here"]
    forgetting.open.set()
    until(lambda: restoring.held.is_set() or not leaves.is_alive())
    assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["here"]
    heard = theatre.add(Recorder())
    assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["here"]
    heard.after(1)
    restoring.open.set()
    over(leaves)
    assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["here"]
    heard.after(2)


def test_registrations_and_sends_in_a_storm_lose_nobody(theatre: Theatre) -> None:
    """Others come and go on the same topic; one that stays is asked by every request."""
    theatre.add(Answer(lambda *_: "stays"), "elsewhere")
    dispatcher = theatre.dispatcher
    storming = threading.Event()

    def comes_and_goes() -> None:
        passing = Answer(lambda *_: "passing")
        while not storming.is_set():
            dispatcher.register_result_producer(passing, "t")
            dispatcher.deregister_result_producer(passing, "t")
            time.sleep(0)

    storm = [theatre.meanwhile(comes_and_goes) for _ in range(2)]
    for _ in range(50):
        staying = Answer(lambda *_: "stays")
        dispatcher.register_result_producer(staying, "t", start=True)
        handle = dispatcher.send_request("t", ttl=None)
        opened_or_answered(handle, staying)
        handle.cancel()
        dispatcher.deregister_result_producer(staying, "t")
        staying.stop()
    storming.set()
    over(*storm)


def opened_or_answered(handle: Handle, producer: Producer) -> None:
    assert producer in [member.producer for member in handle.roster]
    for reply in handle:
        if reply.producer is producer:
            return
    raise AssertionError("it was not asked")


# -- waiters -----------------------------------------------------------------------------------


def test_many_threads_wait_for_one_request(theatre: Theatre) -> None:
    """By wait, results and iteration, before and after the replies; nobody is forgotten."""
    producers = [theatre.add(Gated()) for _ in range(3)]
    handle = theatre.dispatcher.send_request("t", 7, ttl=None)
    came(producers[0].entered)
    found: List[Any] = []
    waits: List[Callable[[], Any]] = [
        lambda: found.append(handle.wait(PATIENCE) and 3),
        lambda: found.append(len(handle.results(PATIENCE))),
        lambda: found.append(len(list(handle))),
        lambda: found.append(handle.wait() and 3),
    ]
    threads = [theatre.meanwhile(waits[n % 4]) for n in range(12)]
    impatient = theatre.meanwhile(lambda: handle.wait(0))
    for producer in producers:
        producer.gate.set()
    over(*threads, impatient)
    assert found == [3] * 12
    until(lambda: not inside.waiting(theatre.dispatcher))


def test_a_waiter_that_sees_the_end_first_forgets_nobody_else(theatre: Theatre) -> None:
    """The keeper has ended the request and is held before it rings those who wait for it."""
    producers = [theatre.add(Gated()), theatre.add(Answer(lambda *_: 1))]
    dispatcher, clock = theatre.dispatcher, theatre.clock
    elder = dispatcher.send_request("t", ttl=None)
    younger = dispatcher.send_request("t", ttl=None)
    came(producers[0].entered)
    theatre.meanwhile(elder.wait)
    until(lambda: inside.waiting_for(elder, dispatcher))
    (parker,) = inside.waiting_for(elder, dispatcher)
    gate = clock.at_ring[parker] = Gate()
    replies = iter(younger)
    assert next(replies).value == 1
    patient = theatre.meanwhile(younger.wait)
    until(lambda: inside.waiting_for(younger, dispatcher))
    dispatcher.stop(immediate=True)
    came(gate.held)
    assert younger.done()
    assert list(replies) == []
    gate.open.set()
    over(patient)
    producers[0].gate.set()


def test_requests_are_cancelled_from_everywhere_at_once(theatre: Theatre) -> None:
    """Callers, producers and callbacks cancel what is being answered; each ends once."""
    theatre.add(Answer(lambda topic, n: n))
    theatre.add(Answer(lambda topic, n: n))
    ends: Dict[int, int] = {}

    def done(handle: Handle) -> None:
        ends[handle.id] = ends.get(handle.id, 0) + 1

    handles = []
    start = threading.Barrier(3)
    for n in range(150):
        handles.append(theatre.dispatcher.send_request("t", n, ttl=None))
        handles[-1].add_done_callback(done)

    def cancels(order: int) -> None:
        start.wait(PATIENCE)
        for handle in handles[::order]:
            handle.cancel()

    threads = [theatre.meanwhile(cancels, order) for order in (1, -1)]
    start.wait(PATIENCE)
    ended(*handles)
    over(*threads)
    until(lambda: len(ends) == 150)
    settle(theatre.dispatcher)
    assert set(ends.values()) == {1}
    for handle in handles:
        assert (handle.completion is Completion.ALL_REPLIED) == (len(handle.results()) == 2)


# -- reports that take long --------------------------------------------------------------------


def test_a_log_handler_that_blocks_delays_its_own_thread_only(theatre: Theatre) -> None:
    """The reply was handed in before it was logged; the others go on answering."""

    class Blocking(logging.Handler):
        def __init__(self, gate: Gate) -> None:
            super().__init__()
            self.gate = gate

        def handle(self, record: logging.LogRecord) -> bool:
            # Without the handler's own lock, which would be the user's to hold.
            self.gate.here()
            return True

    def breaks(topic: Any) -> None:
        raise ValueError("x")

    raising = theatre.add(Answer(breaks))
    theatre.add(Answer(lambda *_: "fine"))
    gate = Gate.for_thread(raising)
    logger, handler = logging.getLogger("ate_dispatcher"), Blocking(gate)
    logger.addHandler(handler)
    try:
        handle = theatre.dispatcher.send_request("t", ttl=None)
        assert handle.results(PATIENCE) == ["fine"]
        came(gate.held)
        assert verdicts(handle) == ["ERROR", "OK"]
        second = theatre.dispatcher.send_request("t", ttl=None)
        assert next(iter(second)).value == "fine"
        assert not second.done()
        gate.open.set()
        assert second.results(PATIENCE) == ["fine"]
    finally:
        logger.removeHandler(handler)
        gate.open.set()


def test_a_blocked_listener_does_not_hold_up_a_stop(theatre: Theatre) -> None:
    """The dispatcher ends, the other listener has everything."""
    blocked, other = theatre.add(GatedListener()), theatre.add(Recorder())
    theatre.add(Answer(lambda *_: 1))
    for _ in range(3):
        assert theatre.dispatcher.send_request("t", ttl=None).results(PATIENCE) == [1]
    came(blocked.entered)
    theatre.dispatcher.stop()
    over(theatre.dispatcher, other)
    assert len(other.heard) == 3
    assert blocked.is_alive()
    blocked.gate.set()
    over(blocked)
    assert blocked.heard == other.heard


# -- load --------------------------------------------------------------------------------------


class Noting(Answer):
    """Remembers in which order it was asked."""

    def __init__(self, mark: int) -> None:
        super().__init__()
        self.mark = mark
        self.asked: List[Tuple[int, int]] = []

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(args)  # type: ignore[arg-type]
        return (*args, self.mark)


class Following(ResultListener):
    """Remembers what it heard, without any lock."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: List[Any] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard.append(response)


def load(
    theatre: Theatre,
    dispatchers: List[Dispatcher],
    producers: List[Noting],
    callers: int,
    each: int,
) -> List[Handle]:
    """Send *each* requests from each of *callers* threads per dispatcher; wait for all."""
    handles: List[Handle] = []
    together = threading.Barrier(callers * len(dispatchers))

    def calls(dispatcher: Dispatcher, caller: int) -> None:
        together.wait(PATIENCE)
        mine = [dispatcher.send_request("t", caller, n, ttl=None) for n in range(each)]
        handles.extend(mine)

    threads = [
        theatre.meanwhile(calls, dispatcher, caller + 100 * k)
        for k, dispatcher in enumerate(dispatchers)
        for caller in range(callers)
    ]
    over(*threads)
    ended(*handles)
    for handle in handles:
        assert sorted(mark for *_, mark in handle.results()) == [p.mark for p in producers]
    for producer in producers:
        assert len(producer.asked) == len(handles)
        by_caller: Dict[int, List[int]] = {}
        for caller, n in producer.asked:
            by_caller.setdefault(caller, []).append(n)
        assert len(by_caller) == len(threads)
        assert all(sequence == list(range(each)) for sequence in by_caller.values())
    return handles


def test_everybody_agrees_under_load(theatre: Theatre) -> None:
    """8 producers, 4 listeners, 2,000 requests from 4 threads: one sequence at all listeners,
    each caller's order at every producer, nothing lost and nothing doubled.
    """
    ears = [theatre.add(Following()) for _ in range(4)]
    producers = [theatre.add(Noting(mark)) for mark in range(8)]
    load(theatre, [theatre.dispatcher], producers, 4, 500)
    for ear in ears:
        until(lambda ear=ear: len(ear.heard) == 16_000)
        assert ear.heard == ears[0].heard
    assert len(set(ears[0].heard)) == 16_000
    statistics = theatre.dispatcher.statistics()
    assert (statistics.requests, statistics.fan_out) == (2000, 16_000)
    assert statistics.completions[Completion.ALL_REPLIED] == 2000


def test_two_dispatchers_share_their_producers_under_load(theatre: Theatre) -> None:
    """Some at home here, some there; each dispatcher has its own exact sums and order."""
    other = Dispatcher(clock=theatre.clock)
    other.start()
    both = [theatre.dispatcher, other]
    producers = [Noting(mark) for mark in range(4)]
    for producer in producers:
        for dispatcher in both[:: 1 if producer.mark % 2 else -1]:
            theatre.add(producer, dispatcher=dispatcher)
    ears = [[theatre.add(Following(), dispatcher=d) for _ in range(2)] for d in both]
    load(theatre, both, producers, 2, 300)
    for dispatcher, (one, two) in zip(both, ears):
        until(lambda one=one, two=two: len(one.heard) == len(two.heard) == 2400)
        assert one.heard == two.heard
        assert len(set(one.heard)) == 2400
        statistics = dispatcher.statistics()
        assert (statistics.requests, statistics.fan_out, statistics.pending) == (600, 2400, 0)
    other.stop()
    over(other)
    sums_add_up(other)


def test_a_shared_producer_serves_on_when_its_first_dispatcher_has_ended(theatre: Theatre) -> None:
    """If it was deregistered there in time; its requests of both are all answered."""
    first = Dispatcher(clock=theatre.clock)
    first.start()
    shared = theatre.add(Answer(lambda topic, n: n), dispatcher=first)
    theatre.add(shared)
    handles = [d.send_request("t", 1, ttl=None) for d in (first, theatre.dispatcher)]
    first.deregister_result_producer(shared, "t")
    first.stop()
    over(first)
    handles += [theatre.dispatcher.send_request("t", 1, ttl=None) for _ in range(50)]
    ended(*handles)
    assert all(handle.results() == [1] for handle in handles)
    expired = theatre.dispatcher.send_request("t", 1, ttl=0)
    ended(expired)


# -- wake-ups ----------------------------------------------------------------------------------


def test_no_wake_up_is_lost_in_thousands_of_requests(theatre: Theatre) -> None:
    """One at a time and without deadline: nothing else would ever wake who sleeps."""
    theatre.add(Answer(lambda topic, n: n))
    listener = theatre.add(Following())
    for n in range(5000):
        handle = theatre.dispatcher.send_request("t", n, ttl=None)
        assert handle.wait(PATIENCE), n
    until(lambda: len(listener.heard) == 5000)


def test_no_waiter_and_no_canceller_is_forgotten_in_thousands_of_requests(theatre: Theatre) -> None:
    """The keeper parks between any two of them."""
    theatre.add(Gated())
    for n in range(1000):
        handle = theatre.dispatcher.send_request("t", ttl=None)
        handle.cancel()
        assert handle.wait(PATIENCE), n
    theatre._cast[0].gate.set()


class Crossing(Deque[Any]):
    """A mailbox's items into which something falls between the reader's look and its parking.

    Python's own switches hit that moment once in a blue moon; here it is hit every time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deed: Optional[Callable[[], Any]] = None
        self.blind = False
        self.newest: Any = None

    def append(self, item: Any) -> None:
        self.newest = item
        super().append(item)

    def __bool__(self) -> bool:
        found = len(self) > 0
        if not found and self.deed is not None:
            deed, self.deed = self.deed, None
            deed()
        return found


class Stale(Crossing):
    """The same, to a reader that does not look again: it is told what the first look showed."""

    def __bool__(self) -> bool:
        if self.blind:
            self.blind = False
            return False
        waiting = self.deed is not None
        found = super().__bool__()
        self.blind = waiting and self.deed is None
        return found


def crossed(theatre: Theatre, kind: Any, items: Crossing) -> bool:
    """Whether a message that comes while the reader is about to park is served."""
    participant = kind()
    inside.put_items(participant, items)
    if kind is CrossedListener:
        theatre.add(Answer(lambda topic, n: n))
    theatre.add(participant)
    sent: List[Handle] = []
    heard = threading.Event()

    def send() -> None:
        # On the reader's own thread, inside the section even: a send only appends.
        sent.append(theatre.dispatcher.send_request("t", 2, ttl=None))

    def put() -> None:
        # What a producer's thread does in that moment: the same message once more.
        items.append(items.newest)

    def hears(n: int) -> None:
        if not crossing.is_set():
            # From the reader's own callback: the look that comes next is the one before parking.
            items.deed = send if kind is Crossed else put
            crossing.set()
        else:
            heard.set()

    crossing = threading.Event()
    participant.heard = hears
    came(inside.parker_of(participant).parking)
    theatre.dispatcher.send_request("t", 1, ttl=None)
    came(crossing)
    until(lambda: items.deed is None)
    served = heard.wait(PATIENCE if type(items) is Crossing else 0.1)
    for handle in sent:
        handle.cancel()
    return served


class Crossed(Answer):
    """A producer that tells what it was asked."""

    heard: Any = None

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        if self.heard is not None:
            self.heard(*args)
        return args[0]


class CrossedListener(ResultListener):
    """A listener that tells what it heard."""

    heard: Any = None

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard(response)


@pytest.mark.parametrize("kind", [Crossed, CrossedListener])
def test_what_comes_while_the_reader_is_about_to_park_wakes_it(theatre: Theatre, kind: Any) -> None:
    """It has said that it parks, then it looks again."""
    assert crossed(theatre, kind, Crossing())


@pytest.mark.parametrize("kind", [Crossed, CrossedListener])
def test_that_test_bites(theatre: Theatre, kind: Any) -> None:
    """A reader that does not look again sleeps on over the very same message."""
    assert not crossed(theatre, kind, Stale())
