"""Programs that were written for other event buses, as somebody would write them for this one."""

from __future__ import annotations

import asyncio
import queue
import statistics
import threading
import time
from collections import Counter
from typing import Any, Callable, Dict, List, Tuple

import pytest
from rig import PATIENCE, came, over

from ate_dispatcher import Dispatcher, ResultListener, Verdict
from ate_dispatcher.testing import VirtualClock

# -- an aggregator of counters -----------------------------------------------------------------


class Aggregator(ResultListener):
    """Adds up what is counted anywhere in the program. Its lock is for those who read."""

    def __init__(self) -> None:
        super().__init__(name="aggregator")
        self.totals: Counter[str] = Counter()
        self.lock = threading.Lock()

    def process_dispatcher_result(self, topic: str, response: int) -> None:
        with self.lock:
            self.totals[topic] += response

    def snapshot(self) -> Counter[str]:
        with self.lock:
            return Counter(self.totals)


def test_thirty_threads_count_on_four_topics_while_one_reports() -> None:
    """Every count arrives, once; no report shows less than the one before."""
    counters = ("started", "passed", "failed", "retried")
    aggregator = Aggregator()
    reports: List[Counter[str]] = []
    finished = threading.Event()

    def post(dispatcher: Dispatcher) -> None:
        for number in range(20):
            for counter in counters:
                dispatcher.publish(counter, number)

    def report() -> None:
        while True:
            last = finished.wait(0.002)
            reports.append(aggregator.snapshot())
            if last:
                break

    reporter = threading.Thread(target=report, name="reporter")
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(aggregator, *counters, start=True)
        reporter.start()
        posting = [threading.Thread(target=post, args=(dispatcher,)) for _ in range(30)]
        for thread in posting:
            thread.start()
        over(*posting)
        dispatcher.stop(drain=PATIENCE * 1000)
        over(dispatcher, aggregator)
    finished.set()
    over(reporter)
    assert reports[-1] == {counter: 30 * sum(range(20)) for counter in counters}
    for before, after in zip(reports, reports[1:]):
        assert all(after[counter] >= before[counter] for counter in counters)


# -- events that are posted, and then the bus is shut down -------------------------------------

EVENTS = 25_600
LISTENERS = 8


class Handler(ResultListener):
    """Keeps what it has handled; begins when it is told to."""

    def __init__(self, name: str, begin: threading.Event) -> None:
        super().__init__(name=name)
        self.begin = begin
        self.handled: List[int] = []

    def on_start(self) -> None:
        came(self.begin)

    def process_dispatcher_result(self, topic: str, response: int) -> None:
        self.handled.append(response)


def test_what_was_published_is_handled_although_the_bus_is_stopped_at_once() -> None:
    """25,600 events, dealt out to eight: in order, none lost, each with its verdict."""
    begin = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.start()
    handlers = [Handler(f"line {number}", begin) for number in range(LISTENERS)]
    for handler in handlers:
        dispatcher.register_result_listener(handler, handler.name, start=True)
    deliveries = [
        dispatcher.publish(handlers[event % LISTENERS].name, event) for event in range(EVENTS)
    ]
    dispatcher.stop(drain=PATIENCE * 1000)
    begin.set()
    over(dispatcher, *handlers)
    for number, handler in enumerate(handlers):
        assert handler.handled == list(range(number, EVENTS, LISTENERS))
    assert all(delivery.report().complete for delivery in deliveries)
    counted = dispatcher.statistics()
    assert counted.published == counted.deliveries[Verdict.OK] == EVENTS


def test_all_who_listen_to_one_topic_handle_all_of_it_before_the_stop_is_over() -> None:
    """As many events are handled, each of them eight times; everybody has the same order."""
    begin = threading.Event()
    handlers = [Handler(f"copy {number}", begin) for number in range(LISTENERS)]
    with Dispatcher() as dispatcher:
        for handler in handlers:
            dispatcher.register_result_listener(handler, "events", start=True)
        for event in range(EVENTS // LISTENERS):
            dispatcher.publish("events", event)
        dispatcher.stop(drain=PATIENCE * 1000)
        begin.set()
        over(dispatcher, *handlers)
    for handler in handlers:
        assert handler.handled == list(range(EVENTS // LISTENERS))


# -- round trips -------------------------------------------------------------------------------


def test_an_emitter_is_not_held_by_the_receiver_that_it_makes_ten_round_trips_with() -> None:
    """The receiver takes 10 ms; the emitter is back from its publish long before."""
    pongs: queue.Queue[int] = queue.Queue()
    blocked: List[float] = []
    with Dispatcher() as dispatcher:

        @dispatcher.listener("ping")
        def receiver(topic: str, number: int) -> None:
            time.sleep(0.01)
            dispatcher.publish("pong", number)

        @dispatcher.listener("pong")
        def back(topic: str, number: int) -> None:
            pongs.put(number)

        def emit() -> None:
            for number in range(10):
                begin = time.perf_counter()
                dispatcher.publish("ping", number)
                blocked.append(time.perf_counter() - begin)
                assert pongs.get(timeout=PATIENCE) == number

        emitter = threading.Thread(target=emit, name="emitter")
        emitter.start()
        over(emitter)
    assert len(blocked) == 10
    # A busy machine may take the thread off its processor now and then, not half of the time.
    assert statistics.median(blocked) < 0.005


# -- a handler that is called so many times ----------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_a_decorated_handler_leaves_after_it_was_called_so_many_times(count: int) -> None:
    """What is still in its mailbox then it does not hear, nor what is published later."""
    heard: List[int] = []
    with Dispatcher() as dispatcher:

        @dispatcher.listener("tick")
        def handler(topic: str, number: int) -> None:
            heard.append(number)
            if len(heard) == count:
                dispatcher.deregister_result_listener(handler)
                handler.stop()

        deliveries = [dispatcher.publish("tick", number) for number in range(5)]
        over(handler)
        assert heard == list(range(count))
        assert handler not in dispatcher.listeners()
        for delivery in deliveries[count:]:
            # It was on its way, or came when nobody was there any more.
            assert delivery.wait(PATIENCE)
            assert {line.word for line in delivery.report().listeners} <= {"WITHDRAWN"}
        assert dispatcher.publish("tick", 5).listeners == ()
        # The name is a function as well.
        handler("tick", 6)
    assert heard == [*range(count), 6]


# -- asyncio -----------------------------------------------------------------------------------


def test_a_coroutine_publishes_and_awaits_what_became_of_it() -> None:
    """The loop goes on meanwhile: only it opens the gate that the listener stands before."""
    gate = threading.Event()
    written: List[Tuple[str, float]] = []

    async def program() -> List[bool]:
        async with Dispatcher() as dispatcher:

            @dispatcher.listener("volts", "amps")
            def write(topic: str, value: float) -> None:
                came(gate)
                written.append((topic, value))

            volts = dispatcher.publish("volts", 3.3)
            amps = dispatcher.publish("amps", 0.2)
            asyncio.get_running_loop().call_soon(gate.set)
            reports = await asyncio.gather(volts, amps)
            last = await asyncio.wait_for(dispatcher.publish("volts", 5.0), PATIENCE)
            return [report.complete for report in (*reports, last)]

    assert asyncio.run(program()) == [True, True, True]
    assert written == [("volts", 3.3), ("amps", 0.2), ("volts", 5.0)]


# -- a queue that the main thread reads --------------------------------------------------------


class Label:
    """A widget that only the thread which made it may touch."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.texts: List[str] = []

    def show(self, text: str) -> None:
        assert threading.current_thread() is self.thread
        self.texts.append(text)


def test_a_window_shows_what_a_listener_puts_into_the_queue_of_its_thread() -> None:
    """Values and answers, in one order, whichever thread they come from."""
    label = Label()
    inbox: queue.Queue[Tuple[str, Any]] = queue.Queue()
    with Dispatcher() as dispatcher:

        @dispatcher.listener("lot", "volts", "over")
        def to_window(topic: str, value: Any) -> None:
            inbox.put((topic, value))

        @dispatcher.producer("volts")
        def measure(topic: str, channel: int) -> float:
            return channel / 2

        def work() -> None:
            dispatcher.publish("lot", "A-17")
            for channel in range(3):
                dispatcher.send_request("volts", channel, ttl=None).wait(PATIENCE)
            dispatcher.publish("over", None)

        worker = threading.Thread(target=work, name="worker")
        worker.start()
        while True:
            topic, value = inbox.get(timeout=PATIENCE)
            if topic == "over":
                break
            label.show(f"{topic}: {value}")
        over(worker)
    assert label.texts == ["lot: A-17", "volts: 0.0", "volts: 0.5", "volts: 1.0"]


# -- subscribers of a stream -------------------------------------------------------------------


def test_a_subscriber_that_is_slow_has_the_newest_and_knows_what_it_has_missed() -> None:
    """42 places, a thousand values: it misses no more than it is told of, and keeps nobody."""
    received: List[Any] = []
    started, go_on = threading.Event(), threading.Event()

    def subscriber() -> None:
        with dispatcher.subscribe("ticks", maxsize=42) as stream:
            started.set()
            for item in stream:
                received.append(item)
                assert go_on.wait(PATIENCE)
                if item.value == 999:
                    break

    with Dispatcher() as dispatcher:
        thread = threading.Thread(target=subscriber)
        thread.start()
        came(started)
        ticks = [dispatcher.publish("ticks", number) for number in range(1000)]
        # All but what it has, and what waits for it, is known to be lost.
        while sum(not tick.done() for tick in ticks) > 43:
            time.sleep(0.001)
        go_on.set()
        over(thread)
        assert dispatcher.publish("ticks", 1000).listeners == ()
    assert [item.value for item in received][-42:] == list(range(958, 1000))
    before = -1
    for item in received:
        assert item.lost == item.value - before - 1
        before = item.value


def test_a_subscriber_that_leaves_is_registered_nowhere() -> None:
    """The others hear on."""
    with Dispatcher() as dispatcher, dispatcher.subscribe("ticks", count=20) as stays:
        with dispatcher.subscribe("ticks") as leaves:
            for number in range(10):
                dispatcher.publish("ticks", number)
            assert [next(leaves).value for _ in range(3)] == [0, 1, 2]
        later = [dispatcher.publish("ticks", number) for number in range(10, 20)]
        assert [item.value for item in stays] == list(range(20))
        assert all(tick.listeners == (stays,) for tick in later)


# -- half an hour ------------------------------------------------------------------------------


class Oven:
    """A bus program: a sensor speaks each second, a watchdog raises alarms, a log writes all.

    Whoever has to wait waits with *sleep*; *now* tells the time.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> None:
        self.dispatcher = dispatcher
        self.sleep = sleep
        self.now = now
        self.log: Dict[str, List[Tuple[float, Any]]] = {"degrees": [], "alarm": []}
        self.too_hot = 0
        dispatcher.producer("heat up", name="sensor")(self.heat_up)
        dispatcher.listener("degrees", name="watchdog")(self.watch)
        dispatcher.listener("degrees", "alarm", name="log")(self.write)

    def heat_up(self, topic: str, seconds: int) -> int:
        for second in range(seconds):
            self.dispatcher.publish("degrees", 20 + second * 0.1)
            self.sleep(1)
        return seconds

    def watch(self, topic: str, degrees: float) -> None:
        self.too_hot = self.too_hot + 1 if degrees >= 120 else 0
        if self.too_hot and self.too_hot % 60 == 0:
            self.dispatcher.publish("alarm", degrees)
        self.sleep(0.25)

    def write(self, topic: str, value: float) -> None:
        self.log[topic].append((self.now(), value))


def test_half_an_hour_on_the_bus_takes_no_time_and_is_exact() -> None:
    """1,800 values and an alarm a minute: each is heard at the instant at which it is published."""
    clock = VirtualClock()
    begin = time.perf_counter()
    with Dispatcher(clock=clock) as dispatcher:
        oven = Oven(dispatcher, clock.sleep, clock.now)
        assert dispatcher.send_request("heat up", 1800, ttl=None).results() == [1800]
        assert clock.now() == 1800
    assert oven.log["degrees"] == [(second, 20 + second * 0.1) for second in range(1800)]
    assert [at for at, _ in oven.log["alarm"]] == [*range(1059, 1800, 60)]
    # A hundredth, for a busy machine.
    assert time.perf_counter() - begin < 18
