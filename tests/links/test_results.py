"""What listeners, streams and patterns hear of other parts; on virtual time."""

from __future__ import annotations

import threading
from typing import Any, List

import pytest
from parts import Parts, parts

from ate_dispatcher import Overflow, ResultListener, TopicPattern, Verdict

__all__ = ["parts"]


def test_listeners_of_every_part_hear_results_once(parts: Parts) -> None:
    """Wherever was asked, and wherever it was answered."""
    parts.part("a")
    parts.part("b")
    parts.part("c")
    heard = [parts.listener(name).heard for name in ("a", "b", "c")]
    parts.producer("b", 1, lambda topic, value: value)
    for number, asker in enumerate("abcab"):
        parts.ask(asker, number).wait()
    parts.clock.advance(5)
    assert heard == [[0, 1, 2, 3, 4]] * 3


def test_published_values_are_heard_everywhere(parts: Parts) -> None:
    """In the order of each publisher; the delivery has a verdict on those elsewhere."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("b").heard
    deliveries = [parts.dispatchers["a"].publish("volts", number) for number in range(100)]
    parts.clock.advance(5)
    assert heard == list(range(100))
    assert {each.verdict for one in deliveries for each in one.report().listeners} == {Verdict.OK}
    assert parts.dispatchers["a"].publish("ohms", 1).listeners == ()


def test_patterns_hear_over_parts(parts: Parts) -> None:
    """Registered there, published here; and streams with whose request it was."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("b", TopicPattern("site.*.volts")).heard
    producer = parts.producer("a", 0, "answer", "site.1.volts")
    with parts.dispatchers["b"].subscribe(TopicPattern("site.>")) as stream:
        parts.clock.advance(1)
        parts.dispatchers["a"].publish("site.1.volts", "x")
        handle = parts.dispatchers["a"].send_request("site.1.volts", ttl=100)
        handle.wait()
        parts.dispatchers["a"].publish("site.1", "y")
        parts.clock.advance(5)
        items = [stream.get(0) for _ in range(3)]
    assert [(each.topic, each.value, each.request) for each in items if each] == [
        ("site.1.volts", "x", None),
        ("site.1.volts", "answer", handle.id),
        ("site.1", "y", None),
    ]
    assert heard == ["x", "answer"]
    assert producer.is_alive()


def test_nothing_travels_that_nobody_hears(parts: Parts) -> None:
    """A value without listeners elsewhere is not even encoded."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("a").heard
    before = parts.counted("a", "frames_out")
    thing = object()
    parts.dispatchers["a"].publish("volts", thing)
    parts.clock.advance(5)
    assert heard == [thing]
    assert parts.counted("a", "frames_out") == before


def test_a_value_that_cannot_travel_is_an_error_of_its_delivery(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who listen here hear it; it is logged, and what comes behind is heard."""
    parts.part("a")
    parts.part("b")
    here, there = parts.listener("a").heard, parts.listener("b").heard
    thing = object()
    delivery = parts.dispatchers["a"].publish("volts", thing)
    large = parts.dispatchers["a"].publish("volts", "x" * 2_000_000)
    parts.dispatchers["a"].publish("volts", 2)
    parts.clock.advance(5)
    assert (here, there) == ([thing, "x" * 2_000_000, 2], [2])
    for each in (delivery, large):
        assert [line.verdict for line in each.report().listeners] == [Verdict.OK, Verdict.ERROR]
    assert caplog.text.count("nothing is said to other machines") == 2


@pytest.mark.parametrize("trouble", ["lost", "twice", "both", "cut", "silent"])
def test_no_listener_loses_or_doubles_anything(parts: Parts, trouble: str) -> None:
    """While the sender has it: a gap is asked for again, what comes twice is dropped."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("b").heard
    parts.clock.advance(3000)
    for number in range(200):
        if number % 20 == 10:
            if trouble in ("lost", "both"):
                parts.wire.lose(7, "a", "b")
            if trouble in ("twice", "both"):
                parts.wire.repeat(5, "a", "b")
            if trouble == "cut" and number == 30:
                parts.wire.cut("b")
            if trouble == "silent" and number == 30:
                parts.wire.silence("b")
            if number == 70:
                parts.wire.heal("b")
        parts.dispatchers["a"].publish("volts", number)
        parts.clock.advance(1)
    parts.clock.advance(5000)
    assert heard == list(range(200))
    if trouble in ("lost", "both", "silent"):
        assert parts.counted("b", "gaps") > 0
        assert parts.counted("a", "sent_again") > 0
    if trouble in ("twice", "both"):
        assert parts.counted("b", "duplicates") > 0
    assert parts.counted("b", "lost") == 0


@pytest.mark.parametrize(("number", "size", "kept"), [(6_000, 1, 5_000), (20, 1_000_000, 17)])
def test_what_the_sender_has_no_more_is_told(
    parts: Parts, caplog: pytest.LogCaptureFixture, number: int, size: int, kept: int
) -> None:
    """How many were lost; what comes behind is heard."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("b").heard
    parts.clock.advance(3000)
    parts.wire.silence("b")
    for each in range(number):
        parts.dispatchers["a"].publish("volts", [each, "x" * size])
    parts.clock.settle()
    parts.wire.heal("b")
    parts.dispatchers["a"].publish("volts", ["last", ""])
    parts.clock.advance(3000)
    assert [each for each, _ in heard] == [*range(number - kept + 1, number), "last"]
    lost = number + 1 - kept
    assert parts.counted("b", "lost") == lost
    assert f"{lost} results and values of part a were lost" in caplog.text


def test_each_senders_order_is_kept_over_topics(parts: Parts) -> None:
    """Delays differ between senders and grow; one sender's order does not change."""
    parts.part("a")
    parts.part("b")
    parts.part("c")
    heard: List[Any] = []

    class Both(ResultListener):
        def process_dispatcher_result(self, topic: Any, response: Any) -> None:
            heard.append((topic, response))

    parts.dispatchers["c"].register_result_listener(Both(), "one", "two", start=True)
    parts.clock.advance(5)
    for number in range(60):
        parts.wire.delay(number % 7, "a", "c")
        parts.wire.delay(number % 5, "b", "c")
        for part in ("a", "b"):
            topic = "one" if number % 3 else "two"
            parts.dispatchers[part].publish(topic, (part, number))
        parts.clock.advance(1)
    parts.clock.advance(100)
    for part in ("a", "b"):
        assert [value[1] for _, value in heard if value[0] == part] == list(range(60))


def test_a_listener_that_comes_later_hears_what_comes_later(parts: Parts) -> None:
    """Nothing of before; and nothing once it is deregistered."""
    parts.part("a")
    parts.part("b")
    parts.dispatchers["a"].publish("volts", "before")
    listener = parts.listener("b")
    parts.dispatchers["a"].publish("volts", "while")
    parts.clock.advance(1)
    parts.dispatchers["b"].deregister_result_listener(listener)
    parts.clock.advance(1)
    assert parts.dispatchers["a"].publish("volts", "after").listeners == ()
    parts.clock.advance(1)
    assert listener.heard == ["while"]


def test_a_stop_waits_for_those_who_hear_elsewhere(parts: Parts) -> None:
    """What was published before it is heard there."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("b").heard
    for number in range(1_000):
        parts.dispatchers["a"].publish("volts", number)
    parts.dispatchers["a"].stop()
    parts.dispatchers["a"].join()
    parts.clock.advance(5)
    assert heard == list(range(1_000))
    assert parts.connections["b"].parts == ()


def test_what_comes_from_elsewhere_is_taken_beyond_the_bound_of_who_blocks(parts: Parts) -> None:
    """No thread of a producer is here that could wait, and that of the link never does."""
    parts.part("a")
    parts.part("b")
    parts.producer("a", 0)
    slow, heard = threading.Event(), []

    def hear(topic: Any, value: Any) -> None:
        slow.wait(30)
        heard.append(value)

    full = ResultListener(hear, maxsize=2, overflow=Overflow.BLOCK)
    parts.dispatchers["b"].register_result_listener(full, "volts")
    parts.clock.advance(5)
    for number in range(10):
        assert parts.ask("a", number).results() == [number]
        parts.dispatchers["a"].publish("volts", -number)
    parts.clock.advance(5)
    assert parts.counted("b", "lost") == 0
    assert parts.dispatchers["b"].statistics().lost == 0
    slow.set()
    full.start()
    parts.clock.advance(5)
    assert sorted(heard) == sorted([*range(10), *[-each for each in range(10)]])


def test_of_what_is_asked_elsewhere_listeners_hear_the_results_alone(parts: Parts) -> None:
    """Neither errors nor reports; whose a result is they cannot know."""
    told: List[Any] = []

    class Hears(ResultListener):
        def process_dispatcher_result(self, topic: Any, response: Any) -> None:
            told.append(("result", response))

        def process_dispatcher_reply(self, topic: Any, reply: Any) -> None:
            told.append(("reply", reply.value, reply.producer))

        def process_dispatcher_error(self, topic: Any, reply: Any) -> None:
            told.append(("error",))

        def process_dispatcher_completion(self, topic: Any, report: Any) -> None:
            told.append(("completion",))

    parts.part("a")
    parts.part("b")
    parts.producer("a", 0, "fine")
    parts.producer("a", 0, RuntimeError("no"))
    parts.dispatchers["b"].register_result_listener(Hears(), "volts", start=True)
    parts.clock.advance(5)
    parts.ask("a").wait()
    parts.clock.advance(5)
    assert told == [("result", "fine"), ("reply", "fine", None)]


def test_a_topic_that_is_too_long_to_travel_leaves_no_gap(parts: Parts) -> None:
    """It was refused, and so it does not come after all, when what is behind it was heard."""
    a, _ = parts.part("a"), parts.part("b")
    far, heard = parts.listener("b", "x" * 1025).heard, parts.listener("b").heard
    a.publish("x" * 1025, "long")
    a.publish("volts", "short")
    parts.clock.advance(2000)
    assert (far, heard) == ([], ["short"])
    assert parts.counted("b", "gaps") == 0


def test_who_is_cut_off_while_a_value_is_missing_waits_for_the_connection(parts: Parts) -> None:
    """It looks for nothing meanwhile, and misses nothing afterwards."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("b").heard
    parts.clock.advance(1_000)
    for number, lost in enumerate([("a", "b"), ("b", "a")]):
        parts.wire.lose(1 + number, *lost)
        parts.dispatchers["a"].publish("volts", number)
        parts.clock.advance(5)
    parts.wire.cut("b")
    # It would not, if somebody were busy all the time.
    parts.clock.advance(2_000)
    parts.wire.lose(0, "b", "a")
    parts.wire.heal("b")
    parts.clock.advance(100)
    assert heard == [0, 1]


def test_who_begins_to_listen_misses_nothing_though_the_word_of_that_is_lost_in_a_cut(
    parts: Parts,
) -> None:
    """Who publishes knows of it; what it publishes while it is cut off is heard after that."""
    for name in ("a", "b", "c"):
        parts.part(name)
    parts.listener("c", "news")
    parts.dispatchers["a"].publish("news", "before")
    parts.clock.advance(3_000)
    # What says from where on is on its way as the connection breaks.
    parts.wire.lose(1, "a", "b")
    heard = parts.listener("b", "news").heard
    parts.wire.cut("a")
    parts.clock.advance(50)
    for number in range(3):
        parts.dispatchers["a"].publish("news", number)
    parts.clock.advance(50)
    parts.wire.heal("a")
    parts.clock.settle()
    parts.dispatchers["a"].publish("news", 3)
    parts.clock.advance(3_000)
    assert heard == [0, 1, 2, 3]
