"""Promises between threads that broke once: order, who sees what, who removes what.

Others stand beside this: ``_time``, ``_bounds``, ``_growth``, ``_facts``, ``_callbacks``, and
``_payloads``, about what is let go of where.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterator, List

import inside
import pytest
from rig import PATIENCE, Answer, Gated, Recorder, came, ended, over, strike
from seams import Seam
from typing_extensions import Self
from virtual import FOREVER, World, verdicts, world

from ate_dispatcher import Completion, Dispatcher, Producer, Standing
from ate_dispatcher._delivery.mailbox import Mailbox
from ate_dispatcher._engine.waiting import wait_for

__all__ = ["world"]

# -- the inside --------------------------------------------------------------------------------

RUN_PARKS = Seam(Producer.run, "mailbox.park()")
"""A producer's thread parks before its loop has begun."""
HOW_TO_PARK_THERE = {"workers": 2}
"""What makes it do so."""
IS_BURIED = Seam(Mailbox.bury, "self.tombstones += 1")
"""What has ended is not the first in the mailbox: who comes is about to count it."""


def store_of(dispatcher: Dispatcher) -> List[Any]:
    """Where requests with a deadline are kept, each in a cell that is emptied at its end."""
    heap: List[Any] = inside.engine_of(dispatcher).ledger.open._heap
    return heap


def waits(dispatcher: Dispatcher, handle: Any) -> bool:
    """What ``wait`` does for one who has just seen the request open."""
    return wait_for(inside.engine_of(dispatcher), handle, inside.NEVER, None)


# -- what holds, and counts --------------------------------------------------------------------


def soon(true: Callable[[], Any]) -> bool:
    """Whether it becomes *true* by itself; for what nobody tells of. It is only looked at."""
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True


class Hold:
    """Holds the first thread that is about to execute a line, until it is let go."""

    def __init__(self, seam: Seam) -> None:
        source, first = inspect.getsourcelines(seam.function)
        (self.line,) = [n for n, text in enumerate(source, first) if seam.text in text]
        self.code = seam.function.__code__
        self.held = threading.Event()
        self.gate = threading.Event()

    def here(self, line: int) -> None:
        if line == self.line and not self.held.is_set():
            self.held.set()
            assert self.gate.wait(2 * PATIENCE), "nobody let it go"

    def let_go(self) -> None:
        came(self.held)
        self.gate.set()


@pytest.fixture
def hold() -> Iterator[Callable[[Seam], Hold]]:
    """Makes holds, which work on threads that are started later."""
    holds: Dict[Any, Hold] = {}
    # threading.gettrace is younger than Python 3.8.
    before = threading._trace_hook  # type: ignore[attr-defined]

    def reached(frame: Any, event: str, arg: Any) -> Any:
        if event == "line":
            holds[frame.f_code].here(frame.f_lineno)
        return reached

    def make(seam: Seam) -> Hold:
        made = Hold(seam)
        holds[made.code] = made
        threading.settrace(lambda frame, *_: reached if frame.f_code in holds else None)
        return made

    yield make
    threading.settrace(before)
    for each in holds.values():
        each.gate.set()


# -- a stop travels behind what was sent before it (1) -----------------------------------------


def stop_both(dispatcher: Dispatcher, producer: Producer) -> None:
    dispatcher.stop()
    producer.stop()


def stop_both_the_other_way_round(dispatcher: Dispatcher, producer: Producer) -> None:
    producer.stop()
    dispatcher.stop()


def stop_the_producer(dispatcher: Dispatcher, producer: Producer) -> None:
    producer.stop()
    producer.stop()


STOPS = pytest.mark.parametrize(
    "stop", [stop_both, stop_both_the_other_way_round, stop_the_producer]
)


@STOPS
def test_what_waits_to_be_handed_out_is_served_before_a_stop(world: World, stop: Any) -> None:
    """Barrier requests, and the plain ones behind them: all are answered, whoever stops whom."""
    producer = world.producer(1)
    world.clock.settle()
    together = world.dispatcher.options(ttl=None, barrier=True)
    handles = []
    for _ in range(20):
        handles += [together.send_request("t"), world.send(ttl=None)]
    stop(world.dispatcher, producer)
    world.clock.advance(1000)
    assert [each.completion for each in handles] == [Completion.ALL_REPLIED] * 40
    assert all(each.report().complete for each in handles)
    assert not producer.is_alive()


@STOPS
def test_what_was_kept_for_the_start_is_served_before_a_stop(stop: Any) -> None:
    """Sent before the start, which has begun when the stop comes."""
    world = World(start=False)
    producer = world.producer(1)
    handles = [world.send(ttl=None) for _ in range(5)]
    world.dispatcher.start()
    stop(world.dispatcher, producer)
    world.clock.advance(1000)
    assert [verdicts(each) for each in handles] == [["OK"]] * 5
    world.close()


def test_the_gate_opens_although_others_go_on_sending(world: World) -> None:
    """Whoever sends meanwhile waits behind the barrier, but not for ever."""
    world.producer(0)
    engine = inside.engine_of(world.dispatcher)
    held: List[int] = []

    def others_send() -> None:
        held.append(engine.describe().held)
        if held[-1]:
            assert len(held) < 30, held
            for _ in range(50):
                world.send(ttl=None)

    inside.before_each_round(world.dispatcher, others_send)
    world.dispatcher.options(ttl=None, barrier=True).send_request("t")
    for _ in range(500):
        world.send(ttl=None)
    world.clock.settle()
    assert max(held) > 300
    assert engine.describe().held == 0


def test_a_stop_waits_for_what_two_dispatchers_have_to_hand_out(world: World) -> None:
    """A producer of both ends after the last request of either."""
    other = world.second()
    producer = world.producer(1)
    other.register_result_producer(producer, "t")
    world.clock.settle()
    both = [each.options(ttl=None, barrier=True) for each in (world.dispatcher, other)]
    handles = [sender.send_request("t") for _ in range(5) for sender in both]
    world.dispatcher.stop()
    other.stop()
    producer.stop()
    world.clock.advance(1000)
    assert [verdicts(each) for each in handles] == [["OK"]] * 10


# -- without a GIL too (5) ---------------------------------------------------------------------


class Busy:
    """Threads that do something over and over; what they raise is kept."""

    def __init__(self, *deeds: Callable[[], Any]) -> None:
        self.raised: List[BaseException] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._do, args=[deed]) for deed in deeds]

    def _do(self, deed: Callable[[], Any]) -> None:
        try:
            while not self._over.is_set():
                deed()
        except BaseException as error:
            self.raised.append(error)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        over(*self._threads)


@pytest.mark.parametrize("round_", range(3))
def test_a_dispatcher_may_be_started_while_others_send(round_: int) -> None:
    """And while they cancel, and register; each request is answered, or was cancelled."""
    dispatcher = Dispatcher()
    producers = [Answer() for _ in range(2)]
    for producer in producers:
        dispatcher.register_result_producer(producer, "t", start=True)
    handles: List[Any] = []
    begun = threading.Event()

    def send() -> None:
        handles.append(dispatcher.send_request("t", ttl=None))
        if len(handles) > 50:
            begun.set()
        if len(handles) > 3000:
            time.sleep(0.001)

    def cancel() -> None:
        dispatcher.send_request("t", ttl=None).cancel()
        time.sleep(0.0001)

    with Busy(send, send, cancel) as busy:
        came(begun)
        dispatcher.start()
        ended(dispatcher.send_request("t", ttl=None))
    assert busy.raised == []
    assert dispatcher.is_alive()
    ended(*handles)
    assert all(each.completion is Completion.ALL_REPLIED for each in handles)
    assert soon(lambda: dispatcher.statistics().open == 0)
    dispatcher.stop()
    over(dispatcher, *producers)


@pytest.mark.parametrize("round_", range(3))
def test_statistics_may_be_asked_for_while_others_work(round_: int) -> None:
    """Sums, reports and what a dispatcher tells of itself: none raises, whatever goes on."""
    dispatcher = Dispatcher()
    dispatcher.start()
    producers = [Answer() for _ in range(3)]
    for producer in producers:
        dispatcher.register_result_producer(producer, "t", start=True)
    newest: List[Any] = [dispatcher.send_request("t", ttl=None)]

    def send() -> None:
        handles = [dispatcher.send_request("t", ttl=1) for _ in range(20)]
        dispatcher.send_request("nobody")
        newest[0] = handles[-1]
        ended(handles[-1])

    with Busy(send, send) as busy:
        for _ in range(100):
            statistics = dispatcher.statistics()
            assert statistics.requests >= statistics.open >= 0
            str(newest[0].report())
            inside.engine_of(dispatcher).describe()
    assert busy.raised == []
    dispatcher.stop()
    over(dispatcher, *producers)


def test_statistics_may_look_at_a_request_that_ends(world: World) -> None:
    """It was there at the first look, and is not at the next: they are of one moment or another."""
    world.producer(FOREVER)
    handle = world.send(ttl=FOREVER)
    world.clock.settle()

    class Cell(list):  # type: ignore[type-arg]
        looks = 0

        def __getitem__(self, index: Any) -> Any:
            self.looks += 1
            return None if self.looks > 2 else super().__getitem__(index)

    (kept,) = store = store_of(world.dispatcher)
    store[0] = Cell(kept)
    try:
        assert world.dispatcher.statistics().open <= 1
    finally:
        store[0] = kept
    assert not handle.done()


@pytest.mark.parametrize("round_", range(3))
def test_diagnosis_harms_nobody(round_: int) -> None:
    """Producers that run in code of their own at their deadline: the report says where, or why
    that cannot be said.
    """
    leave = threading.Event()
    entered = threading.Semaphore(0)

    def dive(depth: int) -> int:
        return dive(depth - 1) + 1 if depth else 0

    def spin(topic: Any, *args: Any) -> int:
        total = 0
        entered.release()
        while not leave.is_set():
            total += dive(20)
        return total

    dispatcher = Dispatcher(diagnose=True)
    dispatcher.start()
    producers = [Answer(spin) for _ in range(3)]
    for producer in producers:
        dispatcher.register_result_producer(producer, "t", start=True)
    first = dispatcher.send_request("t", ttl=None)
    others = [dispatcher.send_request("t", ttl=ttl) for ttl in (10, 11, 12)]
    for _ in producers:
        assert entered.acquire(timeout=PATIENCE)
    first.cancel()
    ended(first, *others)
    members = first.report().members
    leave.set()
    for member in members:
        assert member.standing is Standing.RUNNING
        assert member.stack
    dispatcher.stop()
    over(dispatcher, *producers)


# -- a parked mailbox is woken, whatever is cleared in it (6) ----------------------------------


def test_a_producer_that_parks_while_its_mailbox_is_cleared_is_served(
    hold: Callable[[Seam], Hold],
) -> None:
    """It parks before its loop has begun, while what has ended is being buried."""
    parks, buries = hold(RUN_PARKS), hold(IS_BURIED)
    producer = Answer(lambda topic, *args: "value", **HOW_TO_PARK_THERE)
    producer.start()
    came(parks.held)
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(producer, "t")
    # Held at the gate when it ends, so the mailbox does not have it.
    dispatcher.send_request("t", ttl=None).cancel()
    dispatcher.start()
    came(buries.held)
    parks.let_go()
    assert soon(lambda: inside.is_parked(producer))
    buries.let_go()
    ended(dispatcher.send_request("t", ttl=None))
    dispatcher.stop()
    over(dispatcher, producer)


# -- a send that had no stack left leaves nothing open (7) -------------------------------------


def plainly(dispatcher: Dispatcher) -> None:
    """A send as most are."""


def with_a_hook(dispatcher: Dispatcher) -> None:
    dispatcher.add_hook(lambda event: None)


def with_one_disabled(dispatcher: Dispatcher) -> None:
    dispatcher.disable(dispatcher.producers()[0])


@pytest.mark.parametrize("careful", [False, True], ids=["plain", "with options"])
@pytest.mark.parametrize("prepare", [plainly, with_a_hook, with_one_disabled])
@pytest.mark.parametrize("started", [True, False], ids=["started", "before the start"])
def test_a_send_at_the_end_of_the_stack_leaves_nothing_open(
    started: bool, prepare: Callable[[Dispatcher], None], careful: bool
) -> None:
    """Wherever in a send it comes, RecursionError means: not sent. Without another event."""
    dispatcher = Dispatcher()
    producers = [Answer(lambda topic: "value"), Gated()]
    for producer in producers:
        dispatcher.register_result_producer(producer, "t", start=True)
    if started:
        dispatcher.start()
    prepare(dispatcher)
    sender = dispatcher.options(ttl=None, barrier=True)
    raised: List[int] = []
    sent: List[Any] = []

    def send(depth: int) -> Any:
        if depth:
            return send(depth - 1)
        if careful:
            return sender.send_request("t")
        return dispatcher.send_request("t", ttl=None)

    def at_every_depth() -> None:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(200)
        try:
            for depth in range(100, 200):
                try:
                    sent.append(send(depth))
                except RecursionError:
                    raised.append(depth)
        finally:
            sys.setrecursionlimit(limit)

    thread = threading.Thread(target=at_every_depth)
    thread.start()
    over(thread)
    assert sent
    assert len(raised) > 3
    if not started:
        dispatcher.start()
    # What did not come back is not open; what did waits for the one who is held.
    assert soon(lambda: dispatcher.statistics().open <= len(sent)), dispatcher.statistics()
    producers[1].gate.set()
    ended(*sent)
    assert soon(lambda: dispatcher.statistics().open == 0)
    assert {each.completion for each in sent} == {Completion.ALL_REPLIED}
    dispatcher.stop()
    over(dispatcher, *producers)


# -- a wait that is over costs nobody anything (8) ---------------------------------------------


STRIKES = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="`strike` finds code by the garbage collector, which does not know functions there",
)


def timed_out(world: World, handle: Any) -> None:
    """A wait that comes back before the end."""
    assert not handle.wait(0.001)


def abandoned(world: World, handle: Any) -> None:
    """An iteration that nobody goes on with."""
    for _ in handle:
        break


def interrupted(world: World, handle: Any) -> None:
    """A Ctrl-C at every moment of a wait that came too late to find the request open."""

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    gone = world.send(topic="gone")
    gone.wait()
    moment, struck = 0, True
    while struck:
        moment += 1
        try:
            struck = strike(lambda: waits(world.dispatcher, gone), moment, ctrl_c)
        except KeyboardInterrupt:
            pass
    assert moment > 10


@pytest.mark.parametrize("wait", [timed_out, abandoned, pytest.param(interrupted, marks=STRIKES)])
def test_a_wait_that_is_over_makes_no_later_reply_dearer(wait: Any) -> None:
    """To the line: what a producer's thread does for a reply is what it did before."""
    lines: Dict[str, int] = {}

    def count(frame: Any, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if "ate_dispatcher" not in name or "virtual" in name:
            return None
        if event == "line":
            thread = threading.current_thread().name
            lines[thread] = lines.get(thread, 0) + 1
        return count

    before = threading._trace_hook  # type: ignore[attr-defined]
    threading.settrace(count)
    try:
        world = World()
        world.producer(0, topic="fast", name="fast")
        world.producer(0, topic="held")
        world.producer(FOREVER, topic="held")
        world.producer(0, topic="gone")
        held = world.send(topic="held", ttl=None)
        world.clock.settle()

        def cost() -> int:
            lines.clear()
            for _ in range(20):
                world.send(topic="fast")
                world.clock.settle()
            return lines["fast"]

        cost()
        usual = cost()
        wait(world, held)
        assert cost() == usual
    finally:
        threading.settrace(before)
    held.cancel()
    world.close()


@STRIKES
def test_a_wait_that_is_struck_leaves_no_waiter_behind_the_end() -> None:
    """The ender removes: at whatever moment a wait was cut short, nobody is listed afterwards."""
    dispatcher = Dispatcher()
    dispatcher.start()
    producer = Gated()
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    moment, struck = 0, True
    while struck:
        moment += 1
        try:
            struck = strike(lambda: handle.wait(0), moment, ctrl_c)
        except KeyboardInterrupt:
            pass
    assert moment > 10
    producer.gate.set()
    ended(handle)
    assert soon(lambda: not inside.waiting(dispatcher))
    dispatcher.stop()
    over(dispatcher, producer)


def test_nobody_who_serves_looks_at_the_class_of_a_listener() -> None:
    """What a class says of its attributes may be users' code: it is asked at the registration."""
    seen: List[Any] = []

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            if name.startswith("process_"):
                seen.append(threading.current_thread())
            return super().__getattribute__(name)

    class Ear(Recorder, metaclass=Meta):
        def process_dispatcher_error(self, topic: Any, reply: Any) -> None:
            self.process_dispatcher_result(topic, reply.error)

    def answers(topic: Any, *error: BaseException) -> int:
        for each in error:
            raise each
        return 1

    with Dispatcher() as dispatcher:
        ear = Ear()
        dispatcher.register_result_producer(Answer(answers), "t", start=True)
        dispatcher.register_result_listener(ear, "t", start=True)
        assert seen
        del seen[:]
        for error in ((), (KeyError("x"),)):
            assert dispatcher.send_request("t", *error, ttl=None).wait(PATIENCE)
        assert len(ear.after(2)) == 2
    assert seen == []
