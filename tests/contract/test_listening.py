"""Listeners with several workers, and those whose callbacks are called where the user wants."""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, List, Tuple

import pytest
from rig import PATIENCE, Recorder, each_moment, over
from virtual import World, world

from ate_dispatcher import Dispatcher, DispatcherError, Overflow, ResultListener, Verdict
from ate_dispatcher.errors import BadType, BadValue

__all__ = ["world"]


class Steps(ResultListener):
    """Remembers when it began and ended what; takes *ms* of virtual time, by the value."""

    def __init__(self, world: World, ms: Callable[[Any], float], **options: Any) -> None:
        super().__init__(**options)
        self.world = world
        self.ms = ms
        self.steps: List[Tuple[float, str, Any]] = []

    def step(self, what: str, value: Any) -> None:
        self.steps.append((round(self.world.clock.now() * 1000, 3), what, value))

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.step("begin", response)
        self.world.clock.sleep(self.ms(response) / 1000)
        self.step("end", response)

    def process_dispatcher_error(self, topic: Any, reply: Any) -> None:
        self.step("error", reply.producer.name)

    def process_dispatcher_completion(self, topic: Any, report: Any) -> None:
        self.step("over", report.id)


def steps(world: World, ms: Callable[[Any], float], **options: Any) -> Steps:
    """A registered and started one."""
    made = world.cast(Steps(world, ms, **options))
    world.dispatcher.register_result_listener(made, "t", start=True)
    world.clock.settle()
    return made  # type: ignore[no-any-return]


def begun(listener: Steps) -> List[Any]:
    return [value for _, what, value in listener.steps if what == "begin"]


# -- workers -----------------------------------------------------------------------------------


def test_workers_hear_side_by_side(world: World) -> None:
    """So many at a time, begun in order."""
    listener = steps(world, lambda _: 100, workers=3)
    deliveries = [world.dispatcher.publish("t", number) for number in range(6)]
    world.clock.advance(99)
    assert begun(listener) == [0, 1, 2]
    world.clock.advance(201)
    assert [when for when, what, _ in listener.steps if what == "end"] == [100] * 3 + [200] * 3
    assert all(each.report().complete for each in deliveries)
    counts = world.dispatcher.statistics().deliveries
    assert counts[Verdict.OK] == 6


def test_values_of_one_key_are_heard_one_after_the_other(world: World) -> None:
    """Others meanwhile."""
    listener = steps(world, lambda value: 10, workers=4)
    for number in range(3):
        for key in ("a", "b"):
            world.dispatcher.publish("t", (key, number), ordering_key=key)
    world.clock.advance(100)
    for key in ("a", "b"):
        mine = [step for step in listener.steps if step[2][0] == key]
        assert [(what, value[1]) for _, what, value in mine] == [
            ("begin", 0),
            ("end", 0),
            ("begin", 1),
            ("end", 1),
            ("begin", 2),
            ("end", 2),
        ]
    assert listener.steps[-1][0] == 30


def test_the_end_of_a_request_is_heard_after_its_results(world: World) -> None:
    """However long they take; and so is an error after the results before it."""
    listener = steps(world, lambda value: 50, workers=4)
    world.producer(0, "one")
    world.producer(1, "two")
    world.producer(2, ValueError("no"), name="bad")
    handle = world.send()
    world.clock.advance(200)
    assert listener.steps == [
        (0.0, "begin", "one"),
        (1.0, "begin", "two"),
        (50.0, "end", "one"),
        (51.0, "end", "two"),
        (51.0, "error", "bad"),
        (51.0, "over", handle.id),
    ]


def test_results_of_other_requests_do_not_wait_for_that(world: World) -> None:
    """Only those of one request have an order with its end."""
    listener = steps(world, lambda value: 50 if value == 1 else 0, workers=2)
    world.producer(0, lambda topic, number: number)
    world.send(1)
    second = world.send(2)
    world.clock.advance(10)
    assert (0.0, "over", second.id) in listener.steps


@pytest.mark.parametrize("overflow", list(Overflow)[:3])
def test_workers_have_one_bound(world: World, overflow: Overflow) -> None:
    """For what waits, in lanes too."""
    listener = steps(world, lambda _: 100, workers=2, maxsize=3, overflow=overflow)
    deliveries = []
    for number in range(8):
        deliveries.append(world.dispatcher.publish("t", number, ordering_key="k"))
        world.clock.settle()
    waiting = [each for each in deliveries if not each.done()]
    assert len(waiting) == 4
    world.clock.advance(1000)
    expected = [0, 5, 6, 7] if overflow is Overflow.DROP_OLDEST else [0, 1, 2, 3]
    assert begun(listener) == expected
    assert world.dispatcher.statistics().lost == 4
    # All places are free again.
    for number in range(4):
        world.dispatcher.publish("t", number)
        world.clock.settle()
    world.clock.advance(1000)
    assert begun(listener) == [*expected, 0, 1, 2, 3]


def test_a_stop_lets_all_workers_finish() -> None:
    """Thousands of values, eight workers: all are heard, when the drain allows it."""
    heard: List[int] = []
    dispatcher = Dispatcher()
    dispatcher.start()
    listener = dispatcher.register_result_listener(
        ResultListener(lambda topic, value: heard.append(value), workers=8), "t", start=True
    )
    deliveries = [dispatcher.publish("t", number) for number in range(2_000)]
    dispatcher.stop(drain=None)
    over(dispatcher, listener)
    assert sorted(heard) == list(range(2_000))
    assert all(each.report().complete for each in deliveries)


def test_a_worker_that_raises_goes_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Logged, with a verdict."""

    def ms(value: Any) -> float:
        if value == "bad":
            raise ValueError("no")
        return 0

    listener = steps(world, ms, workers=2)
    deliveries = [world.dispatcher.publish("t", value) for value in ("bad", "good")]
    world.clock.advance(1)
    assert [each.report().listeners[0].word for each in deliveries] == ["ERROR", "OK"]
    assert caplog.text.count("raised while it processed") == 1
    assert begun(listener) == ["bad", "good"]


def test_workers_find_what_was_posted(world: World) -> None:
    """One order with other listeners, also when nobody else is there to distribute."""
    listener, other = steps(world, lambda _: 0, workers=2), world.listener()
    for number in range(50):
        world.dispatcher.publish("t", number)
    world.clock.settle()
    assert begun(listener) == other.heard == list(range(50))


# -- deliver -----------------------------------------------------------------------------------


def test_callbacks_are_called_where_the_user_wants() -> None:
    """One on its way at a time; the delivery is done when it was called."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    heard: List[Tuple[Any, int]] = []
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(
            ResultListener(
                lambda topic, value: heard.append((value, threading.get_ident())),
                deliver=calls.put,
            ),
            "t",
            start=True,
        )
        deliveries = [dispatcher.publish("t", number) for number in range(3)]
        for number in range(3):
            call = calls.get(timeout=PATIENCE)
            assert calls.empty()
            assert not deliveries[number].done()
            call()
            # Twice is once.
            call()
            assert deliveries[number].wait(PATIENCE)
    assert heard == [(number, threading.get_ident()) for number in range(3)]


def test_a_bound_holds_before_the_users_queue() -> None:
    """What waits, waits in the mailbox."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    heard: List[Any] = []
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(
            ResultListener(
                lambda topic, value: heard.append(value),
                deliver=calls.put,
                maxsize=2,
            ),
            "t",
            start=True,
        )
        first = dispatcher.publish("t", 0)
        call = calls.get(timeout=PATIENCE)
        rest = [dispatcher.publish("t", number) for number in range(1, 5)]
        assert [each.done() for each in rest] == [False, False, True, True]
        call()
        for _ in range(2):
            calls.get(timeout=PATIENCE)()
        assert all(each.wait(PATIENCE) for each in (first, *rest))
    assert heard == [0, 1, 2]


@pytest.mark.parametrize("what", ["value", "result"])
def test_no_callback_is_begun_after_a_deregistration(what: str) -> None:
    """Although it was on its way: values are withdrawn, results pass by."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    heard: List[Any] = []
    with Dispatcher() as dispatcher:
        listener = dispatcher.register_result_listener(
            ResultListener(lambda topic, value: heard.append(value), deliver=calls.put),
            "t",
            start=True,
        )
        dispatcher.register_result_producer(lambda topic: "value", "t", start=True)
        if what == "value":
            delivery = dispatcher.publish("t", "value")
        else:
            dispatcher.send_request("t").results(PATIENCE)
        call = calls.get(timeout=PATIENCE)
        dispatcher.deregister_result_listener(listener)
        call()
        if what == "value":
            assert delivery.wait(PATIENCE)
            assert delivery.report().listeners[0].verdict is Verdict.WITHDRAWN
        listener.stop()
        over(listener)
    assert heard == []


def test_a_join_that_would_wait_for_itself_says_so() -> None:
    """On the thread that has to make the call."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    with Dispatcher() as dispatcher:
        listener = dispatcher.register_result_listener(
            ResultListener(lambda topic, value: None, deliver=calls.put), "t", start=True
        )
        dispatcher.publish("t", 1)
        calls.get(timeout=PATIENCE)()
        dispatcher.publish("t", 2)
        call = calls.get(timeout=PATIENCE)
        listener.stop()
        with pytest.raises(DispatcherError, match="waits for a callback"):
            listener.join()
        call()
        listener.join(PATIENCE)
        assert not listener.is_alive()


def test_what_deliver_raises_is_an_error_of_the_listener(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And it goes on with the next."""
    full = [True]
    calls: queue.Queue[Callable[[], None]] = queue.Queue()

    def deliver(call: Callable[[], None]) -> None:
        if full.pop() if full else False:
            raise queue.Full
        calls.put(call)

    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(
            ResultListener(lambda topic, value: None, deliver=deliver), "t", start=True
        )
        lost, heard = dispatcher.publish("t", 1), dispatcher.publish("t", 2)
        assert lost.wait(PATIENCE)
        calls.get(timeout=PATIENCE)()
        assert heard.wait(PATIENCE)
    assert [each.report().listeners[0].word for each in (lost, heard)] == ["ERROR", "OK"]
    assert "raised while it processed a result" in caplog.text


def test_a_stop_waits_for_what_is_on_its_way_and_then_withdraws_it() -> None:
    """As for what is still in the mailbox."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    heard: List[Any] = []
    dispatcher = Dispatcher()
    dispatcher.start()
    listener = dispatcher.register_result_listener(
        ResultListener(lambda topic, value: heard.append(value), deliver=calls.put),
        "t",
        start=True,
    )
    delivery = dispatcher.publish("t", 1)
    call = calls.get(timeout=PATIENCE)
    dispatcher.stop(drain=30)
    over(dispatcher)
    assert delivery.report().listeners[0].verdict is Verdict.WITHDRAWN
    call()
    over(listener)
    assert heard == []


def test_a_call_that_is_cut_short_keeps_no_listener() -> None:
    """At whatever moment a signal handler raises there: the value has a verdict, the next comes."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    heard: List[Any] = []
    deliveries: List[Any] = []
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(
            ResultListener(lambda topic, value: heard.append(value), deliver=calls.put),
            "t",
            start=True,
        )

        ready: List[Callable[[], None]] = []

        def prepare() -> None:
            deliveries.append(dispatcher.publish("t", len(deliveries)))
            ready.append(calls.get(timeout=PATIENCE))

        prepare()
        moments = each_moment(lambda: ready.pop()(), prepare)
        assert all(each.wait(PATIENCE) for each in deliveries)
    assert moments > 20
    found = [each.report().listeners[0].verdict for each in deliveries]
    assert set(found) == {Verdict.OK, Verdict.ERROR}
    # What was cut short behind its callback is an error although it was heard.
    assert {number for number, each in enumerate(found) if each is Verdict.OK} <= set(heard)
    assert len(set(heard)) == len(heard)


@pytest.mark.parametrize("what", ["value", "result"])
def test_a_call_that_is_dropped_keeps_no_listener(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A window that was closed, with what its event loop had still to do: that is said."""
    calls: List[Callable[[], None]] = []
    came_in = threading.Semaphore(0)

    def deliver(call: Callable[[], None]) -> None:
        calls.append(call)
        came_in.release()

    with Dispatcher() as dispatcher:
        listener = ResultListener(lambda topic, value: None, deliver=deliver, name="window")
        dispatcher.register_result_listener(listener, "t", start=True)
        dispatcher.register_result_producer(lambda topic: "value", "t", start=True)
        if what == "value":
            lost = dispatcher.publish("t", 1)
        else:
            dispatcher.send_request("t")
        assert came_in.acquire(timeout=PATIENCE)
        heard = dispatcher.publish("t", 2)
        calls.clear()
        assert came_in.acquire(timeout=PATIENCE)
        calls.pop()()
        assert heard.wait(PATIENCE)
        assert heard.report().complete
        if what == "value":
            assert lost.report().listeners[0].verdict is Verdict.ERROR
    assert caplog.text.count("listener window: what deliver was to have called was dropped") == 1


def test_what_ends_a_program_is_not_kept_from_the_users_thread() -> None:
    """``sys.exit()`` in a callback that is called there; the listener goes on all the same."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()

    def hear(topic: Any, value: Any) -> None:
        if value == "exit":
            raise SystemExit

    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(
            ResultListener(hear, deliver=calls.put), "t", start=True
        )
        deliveries = [dispatcher.publish("t", value) for value in ("exit", "more")]
        with pytest.raises(SystemExit):
            calls.get(timeout=PATIENCE)()
        calls.get(timeout=PATIENCE)()
        assert all(each.wait(PATIENCE) for each in deliveries)
    assert [each.report().listeners[0].word for each in deliveries] == ["ERROR", "OK"]


def test_workers_may_deliver_too() -> None:
    """As many on their way as there are workers."""
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    heard: List[Any] = []
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(
            ResultListener(lambda topic, value: heard.append(value), deliver=calls.put, workers=2),
            "t",
            start=True,
        )
        deliveries = [dispatcher.publish("t", number) for number in range(3)]
        two = [calls.get(timeout=PATIENCE) for _ in range(2)]
        assert calls.empty()
        for call in reversed(two):
            call()
        calls.get(timeout=PATIENCE)()
        assert all(each.wait(PATIENCE) for each in deliveries)
    assert sorted(heard) == [0, 1, 2]


def test_what_cannot_be_is_refused_at_the_call() -> None:
    """Naming the parameter and the value."""
    with pytest.raises(BadValue, match="workers must be at least 1, not 0"):
        Recorder(workers=0)
    with pytest.raises(BadType, match="deliver must be callable, not 3"):
        Recorder(deliver=3)
    with Dispatcher() as dispatcher, pytest.raises(BadType, match="ordering_key must be hashable"):
        dispatcher.publish("t", 1, ordering_key=[])  # type: ignore[arg-type]


def test_a_listener_with_workers_may_be_stopped_before_it_is_registered() -> None:
    """And started before it is."""
    early = Recorder(workers=3)
    early.start()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(early, "t")
        assert dispatcher.publish("t", 1).wait(PATIENCE)
        stopped = Recorder(workers=3)
        stopped.start()
        stopped.stop()
        over(stopped)
    over(early)
    assert early.heard == [("t", 1)]
