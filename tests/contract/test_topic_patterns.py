"""Registered by a pattern: who is asked, who hears, in which order, until when; on virtual time."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from typing import Any, Iterator, List

import pytest
from rig import PATIENCE, Answer, Recorder, over, pace, settle
from virtual import Attentive, World, world

from ate_dispatcher import Completion, Dispatcher, Producer, TopicPattern, Verdict
from ate_dispatcher.errors import BadType, DispatcherStopped

__all__ = ["pace", "world"]

VOLTAGES = TopicPattern("site.*.voltage")
SITES = TopicPattern("site.>")


def asked(handle: Any) -> List[str]:
    """The names of those who were."""
    return [member.producer for member in handle.report().members]


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """On real time; stopped at the end."""
    with Dispatcher() as made:
        yield made


# -- requests ----------------------------------------------------------------------------------


def test_who_is_registered_by_a_pattern_is_asked_on_every_topic_that_matches(world: World) -> None:
    """With the topic that was sent."""
    world.producer(answer=lambda topic: topic, topic=VOLTAGES)
    for topic in ("site.1.voltage", "site.rack.voltage", "site.*.voltage"):
        assert world.send(topic=topic).results() == [topic]
    for topic in ("site.voltage", "site.1.2.voltage", "site..voltage", "Site.1.voltage", ""):
        assert world.send(topic=topic).completion is Completion.NO_PRODUCERS


@pytest.mark.parametrize("topic", [("site", "1"), b"site.1", 1, None, frozenset(["site.1"])])
def test_only_text_is_matched(world: World, topic: Any) -> None:
    """Other topics are for those who are registered for them."""
    world.producer(answer="pattern", topic=TopicPattern(">"))
    assert world.send(topic=topic).completion is Completion.NO_PRODUCERS
    world.producer(answer="name", topic=topic)
    assert world.send(topic=topic).results() == ["name"]


def test_names_and_patterns_are_in_one_order_of_registration(world: World) -> None:
    """Whoever is registered more than once is asked once, in the place of the first."""
    topic = "site.1.voltage"
    places: List[Any] = [SITES, topic, VOLTAGES, topic]
    made = [world.producer(name=f"p{n}", topic=place) for n, place in enumerate(places)]
    for place in (topic, VOLTAGES):
        world.dispatcher.register_result_producer(made[0], place)
    assert asked(world.send(topic=topic)) == ["p0", "p1", "p2", "p3"]
    assert asked(world.send(topic="site.2.voltage")) == ["p0", "p2"]
    # Without the first of its registrations it has the place of the second.
    world.dispatcher.deregister_result_producer(made[0], SITES)
    assert asked(world.send(topic=topic)) == ["p1", "p2", "p3", "p0"]
    assert asked(world.send(topic="site.2.current")) == []


def test_a_pattern_is_deregistered_by_an_equal_one(world: World) -> None:
    """By no other, nor by a topic that it matches; without a topic from all."""
    producer = world.producer(topic=VOLTAGES)
    for other in (SITES, "site.1.voltage", "site.*.voltage"):
        world.dispatcher.deregister_result_producer(producer, other)
        assert world.send(topic="site.1.voltage").results() == ["value"]
    world.dispatcher.deregister_result_producer(producer, TopicPattern("site.*.voltage"))
    assert world.dispatcher.producers() == []
    assert world.send(topic="site.1.voltage").completion is Completion.NO_PRODUCERS
    world.dispatcher.register_result_producer(producer, VOLTAGES, "t", SITES)
    assert world.dispatcher.producers() == [producer]
    world.dispatcher.deregister_result_producer(producer)
    for topic in ("t", "site.1.voltage", "site.2"):
        assert world.send(topic=topic).completion is Completion.NO_PRODUCERS
    assert world.dispatcher.producers() == []


def test_a_deregistered_one_still_answers_what_it_was_asked(world: World) -> None:
    """As one by name."""
    producer = world.producer(10, topic=VOLTAGES)
    handles = [world.send(topic="site.1.voltage") for _ in range(2)]
    world.dispatcher.deregister_result_producer(producer, VOLTAGES)
    assert [handle.results() for handle in handles] == [["value"], ["value"]]


def test_a_disabled_one_is_not_asked_on_any_topic(world: World) -> None:
    """Reports name it; what it has not begun is withdrawn."""
    one = world.producer([100, 0], name="one", topic=VOLTAGES)
    world.producer(name="two", topic=SITES)
    world.producer(name="named", topic="site.2.voltage")
    busy, waits = world.send(topic="site.1.voltage"), world.send(topic="site.2.voltage")
    world.clock.settle()
    world.dispatcher.disable("one")
    assert waits.wait()
    assert waits.report().count(Verdict.WITHDRAWN) == 1
    for topic in ("site.1.voltage", "site.2.voltage", "site.3.voltage"):
        report = world.send(topic=topic).report()
        assert "one" not in [member.producer for member in report.members]
        assert report.off == ("one",)
    assert len(busy.results()) == 2
    world.dispatcher.enable(one)
    for topic in ("site.1.voltage", "site.2.voltage", "site.3.voltage"):
        assert "one" in asked(world.send(topic=topic))


def test_all_disabled_is_not_nobody_registered(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has nothing to say of it."""
    world.dispatcher.disable(world.producer(topic=VOLTAGES, name="one"))
    handle = world.send(topic="site.1.voltage")
    assert handle.completion is Completion.NO_PRODUCERS
    assert handle.report().off == ("one",)
    world.clock.settle()
    assert "nobody is registered" not in caplog.text


def test_options_know_who_is_registered_by_a_pattern(world: World) -> None:
    """As one of the topic's producers."""
    for name in ("one", "two"):
        world.producer(answer=name, name=name, topic=VOLTAGES)
    only = world.dispatcher.options(only="two")
    assert only.send_request("site.1.voltage").results() == ["two"]
    without = world.dispatcher.options(without=["one", "two"])
    assert without.send_request("site.1.voltage").completion is Completion.NO_PRODUCERS


def test_instruments_of_a_topic_are_kept_apart_where_only_a_pattern_is_registered(
    world: World,
) -> None:
    """A mapping may name the topic, or a pattern."""
    needs = [{"site.1.voltage": "psu"}, {VOLTAGES: "psu"}, {SITES: ["psu", "scope"], "x": "y"}]
    busy: List[str] = []

    class Site(Producer):
        def produce_dispatcher_output(self, topic: Any) -> int:
            busy.append(topic)
            world.clock.sleep(0.1)
            busy.remove(topic)
            return len(busy)

    for need in needs:
        site = world.cast(Site(exclusive=need))
        world.dispatcher.register_result_producer(site, SITES, start=True)
    for _ in range(2):
        start = world.clock.now()
        assert world.send(topic="site.1.voltage").results() == [0, 0, 0]
        assert world.clock.now() - start == pytest.approx(0.3)
        start = world.clock.now()
        assert sorted(world.send(topic="site.2.current").results()) == [0, 1, 2]
        assert world.clock.now() - start == pytest.approx(0.1)


# -- listeners ---------------------------------------------------------------------------------


def test_listeners_by_patterns_hear_results_and_values(world: World) -> None:
    """All in the same order, each once, whoever was registered how."""
    world.producer(topic=VOLTAGES)
    places: List[Any] = ["site.1.voltage", VOLTAGES, SITES]
    ears = [world.listener(topic=place) for place in places]
    world.dispatcher.register_result_listener(ears[0], SITES)
    delivery = world.dispatcher.publish("site.1.voltage", "before")
    assert delivery.listeners == tuple(ears)
    assert world.send(topic="site.1.voltage").results() == ["value"]
    other = world.dispatcher.publish("site.2.current", "other")
    assert other.listeners == (ears[2], ears[0])
    assert other.wait(1)
    world.clock.settle()
    assert [each.heard for each in ears] == [
        ["before", "value", "other"],
        ["before", "value"],
        ["before", "value", "other"],
    ]
    assert world.dispatcher.listeners() == ears
    assert delivery.report().complete


@pytest.mark.parametrize("place", ["site.1.voltage", VOLTAGES, SITES], ids=str)
@pytest.mark.parametrize("first", ["site.1.voltage", VOLTAGES, None], ids=str)
def test_who_hears_a_result_is_fixed_when_it_is_accepted(
    world: World, place: Any, first: Any
) -> None:
    """A registration after the send counts, by name or by a pattern, whatever there was before."""
    world.producer(10, topic=SITES)
    there = [] if first is None else [world.listener(topic=first)]
    handles = [world.send(topic="site.1.voltage") for _ in range(2)]
    comes = world.listener(topic=place)
    goes = world.listener(topic=place)
    world.dispatcher.deregister_result_listener(goes, place)
    assert [handle.results() for handle in handles] == [["value"], ["value"]]
    world.dispatcher.deregister_result_listener(comes, place)
    world.clock.settle()
    assert comes.heard == ["value"] * 2
    assert goes.heard == []
    assert [each.heard for each in there] == [["value"] * 2] * len(there)


def test_a_topic_that_has_lost_its_name_is_heard_of_still(world: World) -> None:
    """By name, then by a pattern, then by name again, while one request is open."""
    stream = ScriptedStream(world)
    world.dispatcher.register_result_producer(world.cast(stream), SITES, start=True)
    handle = world.send(topic="site.1", ttl=None)
    heard = []
    for place in ("site.1", SITES, "site.1"):
        ear = world.listener(topic=place)
        world.clock.advance(1000)
        world.dispatcher.deregister_result_listener(ear, place)
        heard.append(ear.heard)
    handle.cancel()
    assert heard == [[0], [1], [2]]


class ScriptedStream(Producer):
    """Counts, half a second after each second begins."""

    def __init__(self, world: World) -> None:
        super().__init__(stream=True)
        self.world = world

    def produce_dispatcher_output(self, topic: Any) -> Iterator[int]:
        for number in range(3):
            self.world.clock.sleep(0.5)
            yield number
            self.world.clock.sleep(0.5)


def test_completions_and_errors_are_told_by_patterns(world: World) -> None:
    """To those who want to know, of requests that nobody is asked, too."""
    ear = world.listener(Attentive, SITES)
    world.send(topic="site.1")
    world.producer(answer=KeyError("mine"), topic=VOLTAGES)
    world.send(topic="site.1.voltage").wait()
    world.clock.settle()
    empty, reply, report = ear.heard
    assert empty.completion is Completion.NO_PRODUCERS
    assert isinstance(reply.error, KeyError)
    assert report.completion is Completion.ALL_REPLIED


def test_what_was_published_to_one_that_is_deregistered_is_withdrawn(world: World) -> None:
    """What it has not begun; unless it is registered in another way as well."""
    goes, stays = world.listener(topic=SITES, ms=100), world.listener(topic=SITES, ms=100)
    deliveries = [world.dispatcher.publish("site.1", number) for number in range(3)]
    world.clock.settle()
    world.dispatcher.register_result_listener(stays, "site.1")
    for each in (goes, stays):
        world.dispatcher.deregister_result_listener(each, SITES)
    world.clock.advance(1000)
    assert (goes.heard, stays.heard) == ([0], [0, 1, 2])
    words = [[line.word for line in delivery.report().listeners] for delivery in deliveries]
    assert words == [["OK", "OK"], ["WITHDRAWN", "OK"], ["WITHDRAWN", "OK"]]


def test_a_stream_takes_in_what_a_pattern_matches(dispatcher: Dispatcher) -> None:
    """From its ``with`` to the end of that; beside topics."""
    stream = dispatcher.subscribe(VOLTAGES, "t", count=3)
    dispatcher.publish("site.1.voltage", 0)
    with stream:
        for number, topic in enumerate(("site.2.voltage", "site.2.current", "t", "site.*.voltage")):
            dispatcher.publish(topic, number)
        assert [(item.topic, item.value) for item in stream] == [
            ("site.2.voltage", 0),
            ("t", 2),
            ("site.*.voltage", 3),
        ]
    assert dispatcher.publish("site.2.voltage", 4).listeners == ()


def test_room_is_waited_for_where_only_a_pattern_matches(dispatcher: Dispatcher) -> None:
    """And a value that finds none is declined."""
    goes = threading.Event()

    @dispatcher.listener(SITES, maxsize=1)
    def slow(topic: str, value: int) -> None:
        goes.wait(PATIENCE)

    deliveries = [dispatcher.publish(f"site.{number}", number) for number in range(3)]
    refused = [each for each in deliveries if each.report().count(Verdict.DECLINED)]
    assert refused
    threading.Timer(0.05, goes.set).start()
    late = dispatcher.publish("site.9", 9, room_ms=PATIENCE * 1000)
    assert late.wait(PATIENCE)
    assert late.report().complete


def test_patterns_in_inline_mode() -> None:
    """They mean the same where everything is on the thread of the call."""
    heard = []
    with Dispatcher(inline=True) as dispatcher:
        dispatcher.register_result_listener(
            lambda topic, value: heard.append(value), SITES, start=True
        )
        dispatcher.register_result_producer(lambda topic: topic, VOLTAGES, start=True)
        assert dispatcher.send_request("site.1.voltage").results() == ["site.1.voltage"]
        assert dispatcher.publish("site.1", "news").done()
        with pytest.raises(BadType, match="by a pattern one registers"):
            dispatcher.publish(SITES, 1)
    assert heard == ["site.1.voltage", "news"]


def test_coroutines_are_registered_by_patterns(dispatcher: Dispatcher) -> None:
    """As functions are."""

    @dispatcher.producer(VOLTAGES)
    async def measure(topic: str) -> str:
        return topic

    handle = dispatcher.send_request("site.1.voltage", ttl=None)
    assert handle.results(PATIENCE) == ["site.1.voltage"]


# -- life --------------------------------------------------------------------------------------


@pytest.mark.parametrize("staying", ["site.1.voltage", VOLTAGES], ids=str)
def test_in_a_storm_of_registrations_nobody_who_stays_is_missed(
    dispatcher: Dispatcher, pace: str, staying: Any
) -> None:
    """Others come and go, by the topic and by patterns that match it and do not."""
    storming = threading.Event()
    places: List[Any] = ["site.1.voltage", VOLTAGES, SITES, TopicPattern("rack.>")]

    def comes_and_goes(first: int) -> None:
        passing, ear = Answer(lambda *_: "passing"), Recorder()
        while not storming.is_set():
            for place in (*places[first:], *places[:first]):
                dispatcher.register_result_producer(passing, place)
                dispatcher.register_result_listener(ear, place)
                dispatcher.deregister_result_producer(passing, place)
                dispatcher.deregister_result_listener(ear, place)

    storm = [threading.Thread(target=comes_and_goes, args=(first,)) for first in range(2)]
    for thread in storm:
        thread.start()
    try:
        for number in range(5):
            stays, hears = Answer(lambda *_: "stays", name="stays"), Recorder()
            dispatcher.register_result_producer(stays, staying, start=True)
            handle = dispatcher.send_request("site.1.voltage", ttl=None)
            dispatcher.register_result_listener(hears, staying, start=True)
            later = dispatcher.send_request("site.1.voltage", ttl=None)
            delivery = dispatcher.publish("site.1.voltage", number)
            for each in (handle, later):
                assert "stays" in asked(each)
                assert next(iter(each)).value == "stays"
                each.cancel()
            assert hears in delivery.listeners
            hears.after(2)
            assert ("site.1.voltage", "stays") in hears.heard
            dispatcher.deregister_result_producer(stays)
            dispatcher.deregister_result_listener(hears)
            stays.stop()
            hears.stop()
            over(stays, hears)
    finally:
        storming.set()
        over(*storm)


def test_a_stop_stops_those_who_are_registered_by_patterns() -> None:
    """And nobody is registered afterwards."""
    producer, listener = Answer(), Recorder()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, SITES, start=True)
        dispatcher.register_result_listener(listener, SITES, start=True)
        dispatcher.send_request("site.1").results(PATIENCE)
    assert not producer.is_alive()
    assert not listener.is_alive()
    assert len(listener.heard) == 1
    assert dispatcher.producers() == dispatcher.listeners() == []
    with pytest.raises(DispatcherStopped):
        dispatcher.register_result_producer(Answer(), SITES)
    with pytest.raises(DispatcherStopped):
        dispatcher.send_request("site.1")


def test_a_dispatcher_that_was_never_started_stops_them_too() -> None:
    """Those whose only registration is by a pattern."""
    producer = Answer()
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(producer, SITES, start=True)
    dispatcher.stop()
    producer.join(PATIENCE)
    assert not producer.is_alive()


def test_decorators_take_patterns(dispatcher: Dispatcher) -> None:
    """As registrations do, beside names."""
    heard = []

    @dispatcher.producer(VOLTAGES, "t")
    def measure(topic: str) -> str:
        return f"of {topic}"

    @dispatcher.listener(SITES)
    def log(topic: str, value: str) -> None:
        heard.append((topic, value))

    assert dispatcher.send_request("t").results(PATIENCE) == ["of t"]
    handle = dispatcher.send_request("site.7.voltage")
    assert handle.results(PATIENCE) == ["of site.7.voltage"]
    assert dispatcher.publish("site.7", "news").wait(PATIENCE)
    assert heard == [("site.7.voltage", "of site.7.voltage"), ("site.7", "news")]


def test_nobody_who_has_left_is_kept(world: World) -> None:
    """Though a handle of what was sent before is, and others are registered by the same pattern."""
    world.producer(topic=SITES)
    world.listener(topic=SITES)
    producer, listener = Answer(), Recorder()
    world.dispatcher.register_result_listener(listener, SITES, VOLTAGES)
    handles = [world.send(topic=f"site.{number}.voltage") for number in range(3)]
    world.dispatcher.register_result_producer(producer, SITES, VOLTAGES)
    for handle in handles:
        handle.wait()
    world.clock.settle()
    world.dispatcher.deregister_result_producer(producer)
    world.dispatcher.deregister_result_listener(listener)
    references = [weakref.ref(producer), weakref.ref(listener)]
    del producer, listener
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert len(handles) == 3


def test_topics_that_only_patterns_match_leave_nothing_behind(dispatcher: Dispatcher) -> None:
    """However many are sent to."""
    dispatcher.register_result_producer(lambda topic: None, VOLTAGES, start=True)
    dispatcher.register_result_listener(lambda topic, value: None, SITES, start=True)

    def some(first: int) -> int:
        for number in range(first, first + 150):
            dispatcher.send_request(f"site.{number}.voltage").wait(PATIENCE)
            dispatcher.publish(f"site.{number}", None).wait(PATIENCE)
        settle(dispatcher)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    some(0)
    tracemalloc.start()
    try:
        sizes = [some(first) for first in range(1000, 5000, 1000)]
    finally:
        tracemalloc.stop()
    assert sizes[3] - sizes[1] < 10_000, sizes


# -- what is refused, and what is said ---------------------------------------------------------


def test_a_pattern_is_nowhere_sent_to(dispatcher: Dispatcher) -> None:
    """At the call, whoever is registered by it."""
    dispatcher.register_result_producer(Answer(), SITES)
    said = r"topic must not be TopicPattern\('site.>'\): by a pattern one registers"
    sender = dispatcher.options(ttl=10)
    for send in (dispatcher.send_request, sender.send_request):
        with pytest.raises(BadType, match=said):
            send(SITES, 1)
    with pytest.raises(BadType, match=said):
        dispatcher.publish(SITES, 1)
    assert dispatcher.statistics().requests == 0
    assert dispatcher.statistics().published == 0


def test_the_log_names_patterns_where_nobody_is(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """That reads most like it; and what was meant as one and is a topic."""
    dispatcher.register_result_producer(Answer(), VOLTAGES, "rack.*")
    for topic in ("site.1.voltag", "rack.1"):
        dispatcher.send_request(topic)
    settle(dispatcher)
    assert "for topic 'site.1.voltag', but for TopicPattern('site.*.voltage'); said" in caplog.text
    said = "for topic 'rack.1', but for 'rack.*', which is a topic; a pattern is TopicPattern("
    assert said in caplog.text
