"""Promises about time that broke once: deadlines come first, whatever else there is to do."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, List

import inside
import pytest
from rig import PATIENCE, Answer, Gated, came, ended, over, settle
from virtual import FOREVER, World, bare_logger, logged, world

from ate_dispatcher import Completion, Dispatcher, Producer, current_request
from ate_dispatcher._engine import waiting
from ate_dispatcher._time.clock import QueueParker, RealClock
from ate_dispatcher.events import RequestCompleted

__all__ = ["bare_logger", "world"]

# -- the inside --------------------------------------------------------------------------------

LOOKS_FOR_CIRCLES = (waiting, "circle_of")
"""Called whenever it is looked for producers that wait for each other."""
MOST_LOOKS = 3
"""In one wait, however long it is."""
ORDERS = 32
"""How many a round of the dispatcher's thread carries out."""


# -- time first (4, 9) -------------------------------------------------------------------------


class HeldClock(RealClock):
    """Real time, which jumps while the dispatcher's own thread is held as it reads the clock."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.held, self.gate = threading.Event(), threading.Event()
        self.armed = False

    def now(self) -> float:  # type: ignore[override]
        if self.armed and threading.current_thread().name == "dispatcher":
            self.armed = False
            self.held.set()
            assert self.gate.wait(2 * PATIENCE), "nobody let it go"
        return time.perf_counter() + self.offset

    def hold(self, deed: Callable[[], Any]) -> None:
        """Hold it at the next reading, which *deed* brings about."""
        self.armed = True
        deed()
        came(self.held)

    def let_go_after(self, seconds: float) -> None:
        self.offset += seconds
        self.gate.set()


class Held:
    """A dispatcher of such a clock, with one producer that was never started, and what ended."""

    def __init__(self) -> None:
        self.clock = HeldClock()
        self.over: List[int] = []
        self.dispatcher = Dispatcher(name="dispatcher", clock=self.clock, hooks=[self.note])
        self.producer = Answer()
        self.dispatcher.register_result_producer(self.producer, "t")
        self.dispatcher.start()
        settle(self.dispatcher)

    def note(self, event: Any) -> None:
        if isinstance(event, RequestCompleted):
            self.over.append(event.request)

    def send(self, ttl: Any = None) -> Any:
        return self.dispatcher.send_request("t", ttl=ttl)

    def close(self) -> None:
        self.clock.gate.set()
        self.dispatcher.stop(immediate=True)
        over(self.dispatcher)


def test_what_is_due_ends_before_a_long_row_of_orders() -> None:
    """A deadline passes while thousands of cancels wait: it does not wait for them."""
    held = Held()
    due = held.send(ttl=100_000)
    unwanted = [held.send() for _ in range(2000)]
    settle(held.dispatcher)
    held.clock.hold(unwanted[0].cancel)
    for each in unwanted[1:]:
        each.cancel()
    held.clock.let_go_after(200)
    ended(due, *unwanted)
    held.close()
    over(*[t for t in threading.enumerate() if t.name == "dispatcher-observers"])
    assert due.completion is Completion.DEADLINE
    assert held.over.index(due.id) <= 2 * ORDERS


@pytest.mark.parametrize("order", ["add_done_callback", "send and cancel", "disable"])
def test_what_is_due_ends_before_a_row_of_other_orders(order: str) -> None:
    """However much of them is given meanwhile, whatever they are."""
    held = Held()
    due = held.send(ttl=100_000)
    first = held.send()
    settle(held.dispatcher)
    held.clock.hold(first.cancel)
    left: List[bool] = []
    for _ in range(2000):
        if order == "add_done_callback":
            due.add_done_callback(lambda _: left.append(True))
        elif order == "disable":
            held.dispatcher.disable(held.producer)
            held.dispatcher.enable(held.producer)
        else:
            held.send().cancel()
    backlog: List[int] = []
    engine = inside.engine_of(held.dispatcher)
    usual = due.engine.observers.tell

    def tell(make: Any, *data: Any) -> None:
        if data and data[0] is due and due.completion is not None:
            backlog.append(len(engine.orders.items))
        usual(make, *data)

    due.engine.observers.tell = tell
    held.clock.let_go_after(200)
    ended(due)
    held.close()
    assert due.completion is Completion.DEADLINE
    assert backlog
    assert backlog[0] >= 2000 - 2 * ORDERS


@pytest.mark.thorough
def test_what_is_due_ends_before_all_arrivals_are_taken_in() -> None:
    """Thousands without a ttl were sent before; the newest has one, and it has passed."""
    held = Held()
    first = held.send()
    settle(held.dispatcher)
    held.clock.hold(first.cancel)
    for _ in range(20_000):
        held.send()
    due = held.send(ttl=100_000)
    arrivals = inside.engine_of(held.dispatcher).describe
    left: List[int] = []
    usual = due.engine.observers.tell

    def tell(make: Any, *data: Any) -> None:
        if data and data[0] is due and due.completion is not None:
            left.append(arrivals().arrivals)
        usual(make, *data)

    due.engine.observers.tell = tell
    held.clock.let_go_after(200)
    ended(due)
    held.close()
    assert due.completion is Completion.DEADLINE
    assert left
    assert left[0] > 19_000


def test_nobody_looks_for_circles_at_every_reply(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer asks many and waits for all: that is looked at when it has lasted, not before."""
    looks: List[float] = []
    where, name = LOOKS_FOR_CIRCLES
    usual = getattr(where, name)

    def look(*about: Any) -> Any:
        looks.append(world.clock.now())
        return usual(*about)

    monkeypatch.setattr(where, name, look)
    for number in range(50):
        world.producer(1 + number, topic="sites")

    def ask(*_: Any) -> int:
        return len(world.send(topic="sites", ttl=None).results())

    world.producer(0, ask)
    assert world.send().results() == [50]
    assert looks == []


def test_a_long_wait_is_looked_at_a_few_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it lasts, and however many replies come meanwhile."""
    looks: List[float] = []
    where, name = LOOKS_FOR_CIRCLES
    usual = getattr(where, name)
    monkeypatch.setattr(
        where, name, lambda *about: (looks.append(world.clock.now()), usual(*about))[1]
    )
    for number in range(50):
        world.producer(1000 * (1 + number), topic="sites")
    world.producer(0, lambda *_: len(world.send(topic="sites", ttl=None).results()))
    assert world.send(ttl=None).results() == [50]
    assert len(looks) <= MOST_LOOKS


class Stuck(logging.Handler):
    """A log handler that does not come back before its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()
        self.records: List[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.entered.set()
        assert self.gate.wait(2 * PATIENCE), "nobody opened the gate"


def test_a_slow_log_handler_keeps_no_deadline(bare_logger: Callable[..., None]) -> None:
    """Producers that were asked and never started are logged; others' deadlines pass meanwhile."""
    handler = Stuck()
    bare_logger(handler)
    dispatcher, hung = Dispatcher(), Gated()
    dispatcher.start()
    for _ in range(20):
        dispatcher.register_result_producer(Answer(), "never")
    dispatcher.register_result_producer(hung, "hung", start=True)
    try:
        ended(dispatcher.send_request("never", ttl=1))
        came(handler.entered)
        assert dispatcher.send_request("hung", ttl=1).wait(PATIENCE / 6)
    finally:
        handler.gate.set()
        hung.gate.set()
        dispatcher.stop(immediate=True)
        over(dispatcher, hung)


def test_a_slow_log_handler_of_an_error_keeps_no_deadline(
    bare_logger: Callable[..., None],
) -> None:
    """What users' code raises is logged on the thread where it happened."""
    handler = Stuck()
    bare_logger(handler)

    def fail(*_: Any) -> None:
        raise ValueError

    dispatcher, hung, failing = Dispatcher(), Gated(), Answer(fail)
    dispatcher.start()
    dispatcher.register_result_producer(failing, "fails", start=True)
    dispatcher.register_result_producer(hung, "hung", start=True)
    try:
        ended(dispatcher.send_request("fails"))
        came(handler.entered)
        assert dispatcher.send_request("hung", ttl=1).wait(PATIENCE / 6)
    finally:
        handler.gate.set()
        hung.gate.set()
        dispatcher.stop(immediate=True)
        over(dispatcher, hung, failing)


def test_a_producer_that_is_slow_to_tell_its_name_keeps_no_deadline() -> None:
    """``name`` may be the user's code: whoever logs it asks for it where nobody waits."""
    asked, gate = threading.Event(), threading.Event()
    test = threading.current_thread()

    class Shy(Answer):
        @property
        def name(self) -> str:
            if threading.current_thread() is not test:
                asked.set()
                assert gate.wait(2 * PATIENCE), "nobody opened the gate"
            return "shy"

        @name.setter
        def name(self, name: str) -> None:
            pass

    dispatcher, hung = Dispatcher(), Gated()
    dispatcher.start()
    dispatcher.register_result_producer(Shy(), "never")
    dispatcher.register_result_producer(hung, "hung", start=True)
    try:
        ended(dispatcher.send_request("never", ttl=1))
        came(asked)
        assert dispatcher.send_request("hung", ttl=1).wait(PATIENCE / 6)
    finally:
        gate.set()
        hung.gate.set()
        dispatcher.stop(immediate=True)
        over(dispatcher, hung)


# -- a coarse clock (12) -----------------------------------------------------------------------


class CountedParker:
    """What the dispatcher's thread parks on, among others; counts its waits."""

    def __init__(self, clock: CoarseClock) -> None:
        self._clock = clock
        self._parker = QueueParker()
        self.park = self._parker.park
        self.unpark = self._parker.unpark

    def park_until(self, deadline: float) -> bool:
        if threading.current_thread().name == "dispatcher":
            self._clock.waits += 1
        return bool(self._parker.park_until(deadline))


class CoarseClock(RealClock):
    """One that ticks every 15.6 ms, as Windows' does."""

    TICK = 1 / 64
    waits = 0

    def now(self) -> float:  # type: ignore[override]
        return time.perf_counter() // self.TICK * self.TICK

    def parker(self) -> Any:  # type: ignore[override]
        return CountedParker(self)

    def adopt(self, parker: Any, thread: Any, parked: Any) -> Any:
        return CountedParker(self) if threading.current_thread() is not thread else parker


@pytest.mark.parametrize("ttl", [5, 20, 50])
def test_a_coarse_clock_makes_nobody_spin(ttl: float) -> None:
    """Two or three waits for each deadline, however long the clock stands still at it."""
    clock = CoarseClock()
    dispatcher, producer = Dispatcher(name="dispatcher", clock=clock), Answer()
    dispatcher.register_result_producer(producer, "never")
    dispatcher.start()
    ended(dispatcher.send_request("never", ttl=1))
    before = clock.waits
    for _ in range(10):
        handle = dispatcher.send_request("never", ttl=ttl)
        ended(handle)
        assert handle.completion is Completion.DEADLINE
    assert clock.waits - before <= 10 * 4
    dispatcher.stop()
    over(dispatcher)


# -- a stop before the start (12) --------------------------------------------------------------


@pytest.mark.parametrize("round_", range(3))
def test_a_stop_before_the_start_leaves_no_dummy_thread(round_: int) -> None:
    """`threading` knows of no thread that it did not start."""
    known = set(threading.enumerate())
    dispatchers = [Dispatcher() for _ in range(5)]
    for dispatcher in dispatchers:
        dispatcher.register_result_producer(Answer(), "t")
        dispatcher.send_request("t")
        dispatcher.stop()
    for dispatcher in dispatchers:
        inside.to_its_end(dispatcher)
    left = [t for t in threading.enumerate() if isinstance(t, threading._DummyThread)]
    assert set(left) - known == set()


# -- observers that do not keep up (12) --------------------------------------------------------


class Slow:
    """A hook, or a done callback, that stays in its first call until its gate is opened."""

    def __init__(self) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()

    def __call__(self, _: Any) -> None:
        self.entered.set()
        assert self.gate.wait(2 * PATIENCE), "nobody opened the gate"


def plain_requests(dispatcher: Dispatcher, hook: Slow) -> None:
    """Three events each, and a fourth."""
    dispatcher.add_hook(hook)
    dispatcher.register_result_producer(Answer(lambda *_: None), "t", start=True)
    for _ in range(40):
        ended(*[dispatcher.send_request("t") for _ in range(100)])


def requests_to_nobody(dispatcher: Dispatcher, hook: Slow) -> None:
    """They end at once."""
    dispatcher.add_hook(hook)
    for _ in range(6000):
        dispatcher.send_request("nobody")
    settle_without_observers(dispatcher)


def a_long_stream(dispatcher: Dispatcher, hook: Slow) -> None:
    """One request, many replies."""
    dispatcher.add_hook(hook)
    stream = Answer(lambda *_: iter_of(range(12_000)), stream=True)
    dispatcher.register_result_producer(stream, "t", start=True)
    ended(dispatcher.send_request("t", ttl=None))


def iter_of(values: Any) -> Any:
    """A generator of *values*."""
    yield from values


class Talkative(Producer):
    """Says how far it is, over and over."""

    def produce_dispatcher_output(self, topic: Any) -> None:
        request = current_request()
        for number in range(12_000):
            request.progress(number / 12_000)


def much_progress(dispatcher: Dispatcher, hook: Slow) -> None:
    """One request, whose producer says how far it is all the time."""
    dispatcher.add_hook(hook)
    dispatcher.register_result_producer(Talkative(), "t", start=True)
    ended(dispatcher.send_request("t", ttl=None))


def done_callbacks_without_hooks(dispatcher: Dispatcher, hook: Slow) -> None:
    """Done callbacks alone."""
    dispatcher.register_result_producer(Answer(lambda *_: None), "t", start=True)
    for _ in range(110):
        handles = [dispatcher.send_request("t") for _ in range(100)]
        for handle in handles:
            handle.add_done_callback(hook)
        ended(*handles)
    settle_without_observers(dispatcher)
    ended(dispatcher.send_request("t"))


def settle_without_observers(dispatcher: Dispatcher) -> None:
    """Wait until its orders are carried out; the observers are held."""
    until = time.monotonic() + PATIENCE
    while inside.engine_of(dispatcher).describe().orders:
        assert time.monotonic() < until
        time.sleep(0.001)


def _said(caplog: pytest.LogCaptureFixture, words: str, times: int = 1) -> List[str]:
    """The warnings with those words, once there are so many: another thread says it."""
    until = time.perf_counter() + PATIENCE
    while time.perf_counter() < until:
        warnings = [r.getMessage() for r in logged(caplog, logging.WARNING)]
        told = [text for text in warnings if words in text]
        if len(told) >= times:
            return told
        threading.Event().wait(0.01)
    return []


@pytest.mark.parametrize(
    "load",
    [
        plain_requests,
        requests_to_nobody,
        a_long_stream,
        much_progress,
        done_callbacks_without_hooks,
    ],
)
def test_observers_that_do_not_keep_up_are_told_of(
    load: Callable[[Dispatcher, Slow], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A WARNING with the number, once at 10,000; the same whatever it is that they are told."""
    hook = Slow()
    dispatcher = Dispatcher()
    dispatcher.start()
    try:
        load(dispatcher, hook)
        came(hook.entered)
        told = _said(caplog, "keep up")
        numbers = [int(word) for text in told for word in text.split() if word.isdigit()]
        assert 10_000 <= numbers[0] < 10_500
        # What is only let go of there counts, too: it may be that there is a doubling.
        assert len(numbers) == 1 or (len(numbers) == 2 and numbers[1] >= 2 * numbers[0])
    finally:
        hook.gate.set()
        dispatcher.stop(immediate=True)
        over(dispatcher, *dispatcher.producers())


def test_the_backlog_of_observers_is_told_of_at_each_doubling(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not at each event: few words however long it lasts."""
    hook = Slow()
    dispatcher = Dispatcher(hooks=[hook])
    dispatcher.start()
    dispatcher.register_result_producer(Answer(lambda *_: None), "t", start=True)
    try:
        for _ in range(150):
            ended(*[dispatcher.send_request("t") for _ in range(100)])
        warnings = _said(caplog, "keep up", times=3)
        told = [int(w) for text in warnings for w in text.split() if w.isdigit()]
        assert len(told) == 3
        assert told[0] >= 10_000
        assert told[1] >= 2 * told[0]
        assert told[2] >= 2 * told[1]
    finally:
        hook.gate.set()
        dispatcher.stop(immediate=True)
        over(dispatcher, *dispatcher.producers())


# -- what is due at one instant (2) ------------------------------------------------------------


def test_a_timely_reply_is_not_made_late_by_a_long_row_of_deadlines(world: World) -> None:
    """Thousands end at one instant, and replies that come at it are in time: each of them is."""
    hung = [world.producer(FOREVER, topic="hung") for _ in range(4)]
    world.producer(100, topic="quick")
    for _ in range(500):
        world.send(topic="hung", ttl=100)
    quick = world.send(topic="quick", ttl=100)
    world.clock.advance(200)
    assert quick.completion is Completion.ALL_REPLIED
    assert len(hung) == 4
