"""Published values: who hears them, in which order with results, and what becomes of each."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from rig import (
    PATIENCE,
    Answer,
    GatedListener,
    Recorder,
    Struck,
    all_told,
    gone,
    over,
    python,
    settle,
    strike,
    struck,
)
from virtual import Hearing, Payload, World, world

from ate_dispatcher import Dispatcher, DispatcherStopped, ResultListener, Verdict, events
from ate_dispatcher.errors import BadType, BadValue

__all__ = ["world"]


def words(delivery: Any) -> List[str]:
    """What its report says of each listener."""
    return [line.word for line in delivery.report().listeners]


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """On real time; stopped at the end."""
    with Dispatcher() as made:
        yield made


# -- hearing -----------------------------------------------------------------------------------


def test_every_listener_hears_a_value(world: World) -> None:
    """Those of its topic, by reference, each once; and says that it has."""
    one, two, other = world.listener(), world.listener(), world.listener(topic="u")
    payload = Payload()
    delivery = world.dispatcher.publish("t", payload)
    assert delivery.wait(1)
    assert [len(each.heard) for each in (one, two, other)] == [1, 1, 0]
    assert all(each.heard[0] is payload for each in (one, two))
    assert words(delivery) == ["OK", "OK"]
    assert delivery.listeners == (one, two)
    assert delivery.missing == ()
    assert delivery.done()
    assert delivery.report().complete
    assert (delivery.topic, delivery.report().id) == ("t", delivery.id)


def test_values_and_results_come_in_one_order(world: World) -> None:
    """What a thread publishes before its request, or its answer, is heard before that."""
    ears = [world.listener(ms=ms) for ms in (0, 3)]

    def answer(topic: str, number: int) -> Any:
        world.dispatcher.publish("t", (number, "within"))
        return number, "answer"

    world.producer(1, answer)
    for number in range(20):
        world.dispatcher.publish("t", (number, "before"))
        world.send(number, ttl=None).wait()
        world.dispatcher.publish("t", (number, "after"))
    world.clock.advance(1000)
    steps = ("before", "within", "answer", "after")
    assert ears[0].heard == [(number, step) for number in range(20) for step in steps]
    assert ears[1].heard == ears[0].heard


def test_who_is_registered_later_does_not_hear(world: World) -> None:
    """Who hears it is fixed at the call."""
    slow = world.listener(ms=100)
    first = world.dispatcher.publish("t", 1)
    late = world.listener()
    second = world.dispatcher.publish("t", 2)
    second.wait()
    assert (slow.heard, late.heard) == ([1, 2], [2])
    assert first.listeners == (slow,)
    assert second.listeners == (slow, late)


def test_nobody_listens(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is done at once, and says so once, with the topic that reads most like it."""
    world.listener(topic="volts")
    for _ in range(2):
        delivery = world.dispatcher.publish("vlots", 1)
        assert delivery.done()
        assert delivery.wait(0)
    assert str(delivery.report()).endswith("on 'vlots': nobody listened")
    assert not delivery.report().complete
    world.clock.settle()
    (record,) = caplog.records
    assert record.getMessage() == "nobody listens on topic 'vlots', but for 'volts'; said once"


def test_what_a_callback_raises_is_a_verdict(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """ERROR; logged once, told to hooks, and nobody else's business."""
    told: List[Any] = []
    world.dispatcher.add_hook(told.append)
    bad, good = world.listener(error=KeyError("mine"), name="bad"), world.listener(name="good")
    delivery = world.dispatcher.publish("t", 1)
    assert delivery.wait(1)
    assert words(delivery) == ["ERROR", "OK"]
    assert delivery.report().failed == ("bad",)
    assert "KeyError" in str(delivery.report())
    assert bad.heard == good.heard == [1]
    world.clock.settle()
    assert len([each for each in caplog.records if each.exc_info]) == 1
    published, failed = told
    assert isinstance(published, events.ValuePublished)
    assert isinstance(failed, events.ListenerFailed)
    assert (published.listeners, published.request) == (("bad", "good"), delivery.id)
    assert (failed.listener, type(failed.error)) == ("bad", KeyError)
    bad.error = None
    assert world.dispatcher.publish("t", 2).wait(1)
    assert bad.heard == [1, 2]


def test_a_value_that_is_too_old_is_not_heard(world: World) -> None:
    """SKIPPED; exactly at its end it still is."""
    busy = world.listener(ms=100)
    fresh = [world.dispatcher.publish("t", number, ttl=ttl) for number, ttl in ((1, 0), (2, 100))]
    old = world.dispatcher.publish("t", 3, ttl=199)
    for each in (*fresh, old):
        each.wait()
    assert busy.heard == [1, 2]
    assert [words(each) for each in (*fresh, old)] == [["OK"], ["OK"], ["SKIPPED"]]
    assert old.missing == (busy,)


def test_who_is_deregistered_begins_no_more(world: World) -> None:
    """WITHDRAWN; what it has begun it ends."""
    leaver, stays = world.listener(ms=100), world.listener()
    deliveries = [world.dispatcher.publish("t", number) for number in range(3)]
    world.clock.settle()
    world.dispatcher.deregister_result_listener(leaver, "t")
    for each in deliveries:
        each.wait()
    assert leaver.heard == [0]
    assert stays.heard == [0, 1, 2]
    assert [words(each)[0] for each in deliveries] == ["OK", "WITHDRAWN", "WITHDRAWN"]


def test_where_one_stands_that_has_not_heard(world: World) -> None:
    """Running, in its mailbox, not started; the value is on its way to all the same."""
    world.listener(ms=1000, name="slow")
    late = Hearing(world.clock, 0, None, "late")
    world.dispatcher.register_result_listener(world.cast(late), "t")
    first, second = world.dispatcher.publish("t", 1), world.dispatcher.publish("t", 2)
    world.clock.settle()
    assert words(first) == ["open (running)", "open (not started)"]
    assert words(second) == ["open (queued)", "open (not started)"]
    assert not second.done()
    late.start()
    assert second.wait(5)
    assert late.heard == [1, 2]


def test_a_listener_that_has_ended_is_not_waited_for(world: World) -> None:
    """Whether it ends before the value comes, or while it waits."""
    ended, other = world.listener(), world.listener()
    ended.stop()
    ended.join()
    delivery = world.dispatcher.publish("t", 1)
    assert delivery.wait(1)
    assert words(delivery) == ["DECLINED", "OK"]
    world.dispatcher.deregister_result_listener(other, "t")
    assert words(world.dispatcher.publish("t", 2)) == ["DECLINED"]
    slow = world.listener(topic="u", ms=100)
    world.dispatcher.publish("u", 1)
    slow.stop()
    behind = world.dispatcher.publish("u", 2)
    assert behind.wait(1)
    assert slow.heard == [1]
    assert words(behind) == ["MISSING (dead)"]


def test_a_slow_listener_keeps_nobody(world: World) -> None:
    """The others hear while it is busy, and its own order stays."""
    slow, quick = world.listener(ms=50), world.listener()
    for number in range(5):
        world.dispatcher.publish("t", number)
        world.clock.settle()
        assert quick.heard == list(range(number + 1))
    world.clock.advance(1000)
    assert slow.heard == quick.heard


def test_a_listener_may_publish(world: World) -> None:
    """To others and to itself; it comes behind what was published before."""
    ears = [world.listener(), world.listener()]

    def answers(topic: str, value: int) -> None:
        if value < 3:
            world.dispatcher.publish("t", value + 10)

    echo = ResultListener(answers, name="echo")
    world.dispatcher.register_result_listener(world.cast(echo), "t", start=True)
    for number in range(3):
        world.dispatcher.publish("t", number)
    world.clock.settle()
    assert sorted(ears[0].heard) == [0, 1, 2, 10, 11, 12]
    assert ears[0].heard == ears[1].heard
    assert [each for each in ears[0].heard if each >= 10] == [10, 11, 12]


def test_who_wants_to_know_whose_a_value_is_hears_it(world: World) -> None:
    """As a reply of nobody; also where that is all that a listener has."""
    heard: List[Any] = []

    class BySite(ResultListener):
        def process_dispatcher_reply(self, topic: Any, reply: Any) -> None:
            heard.append((topic, reply.producer, reply.value, reply.ok, reply.elapsed_ms))

    world.dispatcher.register_result_listener(world.cast(BySite()), "t", start=True)
    assert world.dispatcher.publish("t", 5).wait(1)
    assert heard == [("t", None, 5, True, 0.0)]


# -- waiting -----------------------------------------------------------------------------------


def test_waiting_ends_with_the_last_listener(world: World) -> None:
    """Or at its timeout, and then one may wait again."""
    world.listener(ms=100)
    world.listener(ms=300)
    delivery = world.dispatcher.publish("t", 1)
    assert not delivery.wait(0.2)
    assert delivery.wait(0.2)
    assert world.clock.now() == 0.3


def test_done_callbacks_come_once(world: World) -> None:
    """Also if it is done already; in the order in which they were added."""
    world.listener(ms=100)
    delivery = world.dispatcher.publish("t", 1)
    called: List[Any] = []
    for number in range(2):
        delivery.add_done_callback(lambda each, number=number: called.append((number, each)))
    world.clock.advance(50)
    assert called == []
    delivery.wait()
    world.clock.settle()
    delivery.add_done_callback(lambda each: called.append((2, each)))
    world.clock.settle()
    assert called == [(number, delivery) for number in range(3)]


def test_it_can_be_awaited(dispatcher: Dispatcher) -> None:
    """The report comes out, and the event loop goes on meanwhile."""
    gated = GatedListener()
    dispatcher.register_result_listener(gated, "t", start=True)

    async def main() -> Any:
        delivery = dispatcher.publish("t", 1)
        waiting = asyncio.ensure_future(_report_of(delivery))
        await asyncio.sleep(0)
        assert not waiting.done()
        gated.gate.set()
        return await waiting

    report = asyncio.run(main())
    assert report.done
    assert report.complete


async def _report_of(delivery: Any) -> Any:
    return await delivery


# -- before the start, and at the end ------------------------------------------------------------


def test_before_the_start_values_are_kept() -> None:
    """In one order with requests; none is heard before."""
    world = World(start=False)
    ear = world.listener()
    world.producer(0, lambda topic, value: value)
    kept = []
    for number in range(4):
        kept.append(world.dispatcher.publish("t", number))
        world.send(number + 10, ttl=None)
    world.clock.settle()
    assert ear.heard == []
    assert not kept[0].done()
    world.dispatcher.start()
    world.clock.settle()
    assert [each for each in ear.heard if each < 10] == [0, 1, 2, 3]
    assert sorted(ear.heard) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert all(each.done() for each in kept)
    world.close()


@pytest.mark.parametrize("drain", [2000, None])
def test_after_a_stop_what_was_published_is_heard(world: World, drain: Any) -> None:
    """As far as the drain allows; here it does."""
    slow, quick = world.listener(ms=10), world.listener()
    deliveries = [world.dispatcher.publish("t", number) for number in range(100)]
    world.dispatcher.stop(drain=drain)
    with pytest.raises(DispatcherStopped):
        world.dispatcher.publish("t", 100)
    world.dispatcher.join()
    assert all(each.done() and each.report().complete for each in deliveries)
    assert slow.heard == quick.heard == list(range(100))


def test_what_the_drain_does_not_allow_is_withdrawn(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is in the middle is given up; the others' numbers stand in the log."""
    world.listener(ms=100, name="slow")
    deliveries = [world.dispatcher.publish("t", number) for number in range(10)]
    world.dispatcher.stop(drain=250)
    world.dispatcher.join()
    assert [words(each) for each in deliveries[:4]] == [
        ["OK"],
        ["OK"],
        ["MISSING (running)"],
        ["WITHDRAWN"],
    ]
    assert {word for each in deliveries[3:] for word in words(each)} == {"WITHDRAWN"}
    assert all(each.done() for each in deliveries)
    world.clock.settle()
    assert "listener slow has not heard 7 of the published values" in caplog.text
    heard = world.dispatcher.statistics().deliveries
    assert heard[Verdict.OK] + heard[Verdict.MISSING] + heard[Verdict.WITHDRAWN] == 10


def test_who_comes_to_its_end_after_all_has_heard(world: World) -> None:
    """The verdict of one that was given up is not the last word."""
    slow = world.listener(ms=100)
    delivery = world.dispatcher.publish("t", 1)
    world.clock.settle()
    world.dispatcher.stop(drain=50)
    world.dispatcher.join()
    assert words(delivery) == ["MISSING (running)"]
    slow.join()
    assert words(delivery) == ["OK"]
    deliveries = world.dispatcher.statistics().deliveries
    assert {verdict: n for verdict, n in deliveries.items() if n} == {Verdict.OK: 1}


def test_participants_may_publish_while_it_stops(world: World) -> None:
    """What an open request, and a value, bring with them is heard; others are refused."""
    ear = world.listener(topic="log")

    def measure(topic: str) -> float:
        world.dispatcher.publish("log", "begin")
        world.clock.sleep(0.2)
        world.dispatcher.publish("log", "end")
        return 3.3

    def derives(topic: str, value: int) -> None:
        world.clock.sleep(0.1)
        if value:
            world.dispatcher.publish("t", value - 1)
        world.dispatcher.publish("log", value)

    site = world.cast(Answer(measure))
    world.dispatcher.register_result_producer(site, "measure", start=True)
    chain = world.cast(ResultListener(derives, name="derives"))
    world.dispatcher.register_result_listener(chain, "t", start=True)
    handle = world.send(topic="measure", ttl=None)
    world.dispatcher.publish("t", 3)
    world.clock.settle()
    world.dispatcher.stop()
    with pytest.raises(DispatcherStopped):
        world.dispatcher.publish("log", "too late")
    world.dispatcher.join()
    assert handle.results() == [3.3]
    ear.join()
    assert sorted(ear.heard, key=str) == [0, 1, 2, 3, "begin", "end"]


def test_at_once_nothing_more_is_begun(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """WITHDRAWN, but for who is in the middle; the number stands in the log."""
    listener = world.listener(ms=100, name="slow")
    deliveries = [world.dispatcher.publish("t", number) for number in range(10)]
    world.clock.settle()
    world.dispatcher.stop(immediate=True)
    world.dispatcher.join()
    assert all(each.done() for each in deliveries)
    assert {word for each in deliveries[1:] for word in words(each)} == {"WITHDRAWN"}
    world.clock.advance(1000)
    assert listener.heard == [0]
    assert "listener slow has not heard 9 of the published values" in caplog.text


def test_a_hung_listener_keeps_no_stop(world: World) -> None:
    """Beyond the drain; the others have heard all."""
    world.listener(ms=1e8)
    quick = world.listener()
    deliveries = [world.dispatcher.publish("t", number) for number in range(3)]
    world.dispatcher.stop(drain=500)
    world.dispatcher.join()
    assert world.clock.now() < 1
    assert [words(each)[0] for each in deliveries] == ["MISSING (running)", *["WITHDRAWN"] * 2]
    assert quick.heard == [0, 1, 2]


def test_a_listener_that_was_never_started_keeps_no_stop(world: World) -> None:
    """Nor does who waits for the delivery hang."""
    listener = Hearing(world.clock, 0, None, "never")
    world.dispatcher.register_result_listener(listener, "t")
    delivery = world.dispatcher.publish("t", 1)
    world.dispatcher.stop(drain=100)
    world.dispatcher.join()
    assert delivery.wait(1)
    assert words(delivery) == ["WITHDRAWN"]


def test_what_was_never_started_withdraws_its_values(caplog: pytest.LogCaptureFixture) -> None:
    """A dispatcher that is stopped before its start; it says so."""
    world = World(start=False)
    ear = world.listener()
    delivery = world.dispatcher.publish("t", 1)
    world.dispatcher.stop()
    assert delivery.wait(1)
    assert words(delivery) == ["WITHDRAWN"]
    assert ear.heard == []
    world.clock.settle()
    assert "1 published values were not handed out: the stop came before" in caplog.text


def test_who_waits_for_what_was_never_started_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The dispatcher, or a listener: after a second, once."""
    world = World(start=False)
    world.listener()
    assert not world.dispatcher.publish("t", 1).wait(5)
    never = Hearing(world.clock, 0, None, "never")
    world.dispatcher.register_result_listener(world.cast(never), "t")
    world.dispatcher.start()
    for _ in range(2):
        assert not world.dispatcher.publish("t", 2).wait(5)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "value 1 waits for its dispatcher to be started",
        "listener never is waited for and was never started",
    ]
    world.close()


# -- sums, memory --------------------------------------------------------------------------------


def test_the_sums_add_up(world: World) -> None:
    """Listeners asked are the verdicts, over the life of the dispatcher."""
    world.listener(ms=1)
    world.listener(error=ValueError())
    for number in range(10):
        world.dispatcher.publish("t", number, ttl=5)
    world.dispatcher.publish("nobody", 1)
    world.clock.advance(1000)
    statistics = world.dispatcher.statistics()
    assert statistics.published == 11
    assert statistics.deliveries[Verdict.ERROR] == 10
    assert statistics.deliveries[Verdict.OK] == 6
    assert statistics.deliveries[Verdict.SKIPPED] == 4
    assert sum(statistics.deliveries.values()) == 20
    assert "11 values published: 6 OK, 10 ERROR, 4 SKIPPED" in str(statistics)


def test_nothing_of_a_value_is_kept(dispatcher: Dispatcher) -> None:
    """By a dispatcher and listeners that are idle, or by its delivery."""
    for _ in range(2):
        dispatcher.register_result_listener(Recorder(), "t", start=True)
    ears: List[Any] = dispatcher.listeners()
    payload = Answer()
    reference = weakref.ref(payload)
    delivery = dispatcher.publish("t", payload)
    assert delivery.wait(PATIENCE)
    settle(dispatcher)
    for each in ears:
        each.heard.clear()
    del payload
    assert gone(reference)


# -- real threads --------------------------------------------------------------------------------


class Several:
    """Publishers and producers at once, and listeners that note what they hear."""

    def __init__(self, publishers: int, listeners: int, rounds: int) -> None:
        self.rounds = rounds
        self.dispatcher = Dispatcher()
        self.dispatcher.start()
        self.heard: List[List[Tuple[Any, Any]]] = [[] for _ in range(listeners)]
        for number, heard in enumerate(self.heard):
            topics = ["t", "u"] if number % 2 else ["t"]
            ear = ResultListener(lambda topic, value, heard=heard: heard.append((topic, value)))
            self.dispatcher.register_result_listener(ear, *topics, start=True)
        self.ears = self.dispatcher.listeners()
        self.dispatcher.register_result_producer(
            lambda topic, value: ("result", value), "t", start=True
        )
        self.deliveries: List[Any] = []
        self.threads = [
            threading.Thread(target=self._publish, args=(number,)) for number in range(publishers)
        ]

    def _publish(self, number: int) -> None:
        for step in range(self.rounds):
            topic = "u" if step % 3 == 2 else "t"
            self.deliveries.append(self.dispatcher.publish(topic, (number, step)))
            if step % 5 == 0:
                self.dispatcher.send_request("t", (number, step), ttl=None)

    def play(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        self.dispatcher.stop(drain=None)
        self.dispatcher.join(PATIENCE)
        # They finish the results that they have got.
        over(*self.ears)
        all_told(self.dispatcher)


def test_one_order_for_all_with_real_threads() -> None:
    """All agree on what two of them hear, each publisher's order is kept, nothing is lost, doubled
    or heard before what its thread has published earlier.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        several = Several(publishers=4, listeners=4, rounds=250)
        several.play()
    finally:
        sys.setswitchinterval(before)
    assert all(each.report().complete for each in several.deliveries)
    on_t = [[item for item in heard if item[0] == "t"] for heard in several.heard]
    assert all(heard == on_t[0] for heard in on_t)
    assert several.heard[1] == several.heard[3]
    assert len(several.heard[1]) == len(set(several.heard[1])) == 4 * (250 + 50)
    seen: Dict[int, int] = {}
    for _, value in several.heard[1]:
        if value[0] == "result":
            number, step = value[1]
            assert seen[number] >= step
        else:
            number, step = value
            assert seen.get(number, -1) == step - 1
            seen[number] = step


@pytest.mark.parametrize("count", [1, 3])
def test_an_exception_at_any_moment_of_a_publish(dispatcher: Dispatcher, count: int) -> None:
    """All listeners hear it or none does; what comes later is heard, in order, by all."""
    ears = [Recorder() for _ in range(count)]
    for ear in ears:
        dispatcher.register_result_listener(ear, "t", start=True)
    at, more = 0, True
    while more:
        at += 1
        try:
            more = strike(lambda: dispatcher.publish("t", ("struck", at)), at, struck)  # noqa: B023
        except Struck:
            pass
        assert dispatcher.publish("t", ("after", at)).wait(PATIENCE)
    assert at > 8
    heard = [ear.heard for ear in ears]
    assert all(each == heard[0] for each in heard)
    assert [step for _, (what, step) in heard[0] if what == "after"] == list(range(1, at + 1))
    struck_ones = [step for _, (what, step) in heard[0] if what == "struck"]
    assert len(struck_ones) == len(set(struck_ones))


@pytest.mark.parametrize("count", [1, 3])
def test_a_handler_may_publish_at_any_moment_of_another(dispatcher: Dispatcher, count: int) -> None:
    """Both are heard by everybody, each once."""
    ears = [Recorder() for _ in range(count)]
    for ear in ears:
        dispatcher.register_result_listener(ear, "t", start=True)
    inner: List[Any] = []
    at = 1
    while strike(
        lambda: inner.append(dispatcher.publish("t", ("outer", at))),  # noqa: B023
        at,
        lambda: inner.append(dispatcher.publish("t", ("inner", at))),  # noqa: B023
    ):
        at += 1
    assert all(each.wait(PATIENCE) for each in inner)
    for ear in ears:
        assert ear.heard == ears[0].heard
        assert len(ear.heard) == len(set(ear.heard)) == 2 * at - 1


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="there what a thread has made is let go of by that thread, whenever it comes to it",
)
def test_a_finalizer_may_publish(dispatcher: Dispatcher) -> None:
    """From wherever it comes to run."""
    ear = Recorder()
    dispatcher.register_result_listener(ear, "t", start=True)

    class Last:
        def __del__(self) -> None:
            dispatcher.publish("t", "last words")

    for _ in range(3):
        assert dispatcher.publish("t", Last()).wait(PATIENCE)
        ear.heard.clear()
    ear.after(1)
    assert dispatcher.publish("t", "end").wait(PATIENCE)


class Hung(ResultListener):
    """Begins the first value, and no other before its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.gate.wait(PATIENCE)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["idle", "never started", "hung"])
def test_a_stop_meets_a_publish(kind: str, count: int) -> None:
    """At each moment of the call: it is refused, or heard, or its delivery says why not."""
    at, more = 0, True
    while more:
        at += 1
        made = Dispatcher()
        made.start()
        ears = [Hung() if kind == "hung" else Recorder() for _ in range(count)]
        for ear in ears:
            made.register_result_listener(ear, "t", start=kind != "never started")
        returned: List[Any] = []
        if kind == "hung":
            returned.append(made.publish("t", 0))

        def stop(made: Any = made) -> None:
            made.stop(immediate=True)
            over(made)

        def publish(made: Any = made, returned: Any = returned) -> None:
            returned.append(made.publish("t", 1))

        try:
            more = strike(publish, at, stop)
        except DispatcherStopped:
            pass
        if not more:
            made.stop(immediate=True)
        for delivery in returned:
            assert delivery.wait(PATIENCE), f"stopped at moment {at}: {delivery.report()}"
        for ear in ears:
            if isinstance(ear, Hung):
                ear.gate.set()
            ear.stop()
            if ear.ident is not None:
                over(ear)


def test_a_gate_that_is_struck_is_opened(dispatcher: Dispatcher) -> None:
    """An exception at any moment of a call that is held at the gate keeps nobody who comes later:
    the barrier request before it is handed out meanwhile.
    """
    dispatcher.register_result_producer(Answer(lambda *_: "value"), "t", start=True)
    ear = Recorder()
    dispatcher.register_result_listener(ear, "u", start=True)
    barrier = dispatcher.options(barrier=True, ttl=None)

    def calls() -> None:
        barrier.send_request("t")
        dispatcher.publish("u", 1)
        dispatcher.send_request("t", ttl=None)

    at, more = 0, True
    while more:
        at += 1
        try:
            more = strike(calls, at, struck)
        except Struck:
            pass
        assert dispatcher.publish("u", 2).wait(PATIENCE), at
        assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["value"]
    assert at > 20


@pytest.mark.parametrize("started", [False, True])
def test_who_was_deregistered_keeps_no_delivery_open(started: bool) -> None:
    """One that was never started, or hangs: it is over when the dispatcher has ended."""
    hung = Hung()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(hung, "t", start=started)
        deliveries = [dispatcher.publish("t", number) for number in range(2)]
        dispatcher.deregister_result_listener(hung, "t")
        dispatcher.stop(immediate=True)
        dispatcher.join()
        called: List[Any] = []
        for each in deliveries:
            each.add_done_callback(called.append)
            assert each.wait(PATIENCE)
            assert each.done()
        all_told(dispatcher)
        assert called == deliveries
    hung.gate.set()
    hung.stop()
    if started:
        over(hung)


def test_many_that_cannot_hear_keep_nobody_who_can(dispatcher: Dispatcher) -> None:
    """A slow one is first, and wakes for all of them: the others hear while it is busy."""
    hung, quick = Hung(), Recorder()
    dispatcher.register_result_listener(hung, "t", start=True)
    for _ in range(200):
        dispatcher.register_result_listener(Recorder(), "t")
    dispatcher.register_result_listener(quick, "t", start=True)
    dispatcher.publish("t", 1)
    quick.after(1)
    hung.gate.set()


def test_a_virtual_clock_keeps_no_dispatcher_of_another(dispatcher: Dispatcher) -> None:
    """What it does not let run is not waited for elsewhere."""
    world = World()
    for _ in range(2):
        world.listener()
        dispatcher.register_result_listener(Recorder(), "t", start=True)
    frozen = world.dispatcher.publish("t", 1)
    assert dispatcher.publish("t", 2).wait(PATIENCE)
    assert not frozen.report().done
    assert frozen.wait(1)
    world.close()


@pytest.mark.parametrize("why", ["nobody", "ended", "withdrawn"])
def test_what_nobody_hears_is_not_kept(dispatcher: Dispatcher, why: str) -> None:
    """By its delivery, or by a mailbox."""
    ear: Any = Hung() if why == "withdrawn" else Recorder()
    if why != "nobody":
        dispatcher.register_result_listener(ear, "t", start=True)
    if why == "ended":
        ear.stop()
        over(ear)
    first = dispatcher.publish("t", 1)
    payload = Answer()
    reference = weakref.ref(payload)
    delivery = dispatcher.publish("t", payload)
    if why == "withdrawn":
        dispatcher.stop(immediate=True)
        dispatcher.join()
        all_told(dispatcher)
    else:
        settle(dispatcher)
    assert delivery.wait(PATIENCE)
    del payload
    assert gone(reference)
    if isinstance(ear, Hung):
        ear.gate.set()
        ear.stop()
        over(ear)
    assert first.done()


def test_a_finalizer_keeps_no_deadline(dispatcher: Dispatcher) -> None:
    """A value that nobody hears is let go of where nothing waits."""

    class Slow:
        def __del__(self) -> None:
            went.wait(PATIENCE)

    went = threading.Event()
    for _ in range(2):
        ear = Recorder()
        dispatcher.register_result_listener(ear, "t", start=True)
        ear.stop()
        over(ear)
    gated = Answer(lambda *_: went.wait(PATIENCE))
    dispatcher.register_result_producer(gated, "slow", start=True)
    handle = dispatcher.send_request("slow", ttl=20)
    dispatcher.publish("t", Slow())
    assert handle.wait(PATIENCE)
    assert handle.report().elapsed_ms < 5000
    went.set()


def test_after_a_fork_the_child_hears_nothing_of_the_parent() -> None:
    """Nor does its own first value wait behind the parent's."""
    done = python(
        """
        import os, sys, threading
        from ate_dispatcher import Dispatcher
        if not hasattr(os, "fork"):
            print("ok"); sys.exit()
        entered, gate = threading.Event(), threading.Event()
        heard = []
        dispatcher = Dispatcher()
        dispatcher.start()
        @dispatcher.listener("t")
        def slow(topic, value):
            entered.set()
            gate.wait(20)
            heard.append(value)
        @dispatcher.listener("t")
        def other(topic, value):
            gate.wait(20)
        called = []
        first, second = dispatcher.publish("t", 1), dispatcher.publish("t", 2)
        second.add_done_callback(called.append)
        entered.wait(20)
        child = os.fork()
        if not child:
            if not (first.wait(5) and second.wait(5) and not called):
                os._exit(2)
            mine = Dispatcher()
            mine.start()
            said = []
            mine.register_result_listener(lambda topic, value: said.append(value), "t", start=True)
            mine.register_result_listener(lambda topic, value: None, "t", start=True)
            ok = mine.publish("t", 3).wait(10) and said == [3] and heard == []
            os._exit(0 if ok else 1)
        gate.set()
        assert second.wait(20)
        assert heard == [1, 2]
        assert os.waitpid(child, 0)[1] == 0
        dispatcher.stop()
        print("ok")
        """
    )
    assert done.stdout.strip() == "ok", done.stderr


# -- errors --------------------------------------------------------------------------------------


def test_bad_input_is_refused(dispatcher: Dispatcher) -> None:
    """At the call, with the parameter and the value."""
    with pytest.raises(BadType, match="topic must be hashable"):
        dispatcher.publish(["t"], 1)  # type: ignore[arg-type]
    with pytest.raises(BadType, match="ttl must be a number of milliseconds"):
        dispatcher.publish("t", 1, ttl="soon")  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="ttl must be at least 0 ms"):
        dispatcher.publish("t", 1, ttl=-1)
    with pytest.raises(BadType, match="callback must be callable"):
        dispatcher.publish("t", 1).add_done_callback(5)  # type: ignore[arg-type]


def test_a_delivery_says_what_it_is(world: World) -> None:
    """On one line, without the payload; and as a dict for JSON."""
    world.listener(ms=100, name="log")
    delivery = world.dispatcher.publish("t", Payload())
    world.clock.settle()
    assert repr(delivery) == f"<Delivery {delivery.id} on 't': open, 1 to hear it>"
    assert delivery.report().missing == ("log",)
    delivery.wait()
    assert repr(delivery) == f"<Delivery {delivery.id} on 't': done>"
    assert delivery.report().to_dict() == {
        "id": delivery.id,
        "topic": "t",
        "done": True,
        "complete": True,
        "listeners": [{"listener": "log", "verdict": "ok", "standing": None, "error": None}],
    }
    assert delivery._repr_html_().count("<td>log</td>") == 1
