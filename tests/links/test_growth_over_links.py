"""Nothing that a link does costs more the more of it there is: lines counted, on virtual time."""

from __future__ import annotations

import gc
from typing import Any, Callable

import pytest
from counting import Watch, grows_linearly, watch
from parts import Parts, parts
from test_hostile import Stranger, here

__all__ = ["parts", "watch"]

Prepared = Callable[[Parts, int], Callable[[], Any]]
"""Makes ready with so many, and returns what is to be counted."""

CostOf = Callable[[Prepared], Callable[[int], int]]


@pytest.fixture
def cost_of(watch: Watch) -> CostOf:
    """The lines of that, by how many there are."""

    def made(prepared: Prepared) -> Callable[[int], int]:
        def cost(n: int) -> int:
            parts = Parts()
            try:
                return watch.counts(prepared(parts, n))
            finally:
                parts.tidy()

        return cost

    return made


def test_what_reaches_nobody_beside_requests_that_are_open(cost_of: CostOf) -> None:
    """Each word of the server that nobody was there is seen to in the same time."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        a = parts.part("a")
        for name, topic in (("b", "slow"), ("c", "amps")):
            parts.part(name)
            parts.producer(name, 10_000, topic=topic)
        parts.clock.advance(3000)
        for _ in range(n):
            a.send_request("slow", ttl=None)
        parts.clock.settle()
        parts.wire.cut("c")

        def deed() -> None:
            for _ in range(n):
                a.send_request("amps", ttl=100)
                parts.clock.settle()

        return deed

    grows_linearly(cost_of(prepared), 15)


def test_requests_to_one_who_is_not_there(cost_of: CostOf) -> None:
    """Likewise beside those to the same part, which are open until it is given up."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        parts.part("a")
        parts.part("b")
        parts.producer("b", 1)
        parts.clock.advance(3000)
        parts.wire.cut("b")

        def deed() -> None:
            for _ in range(n):
                parts.ask("a", ttl=None)
                parts.clock.settle()

        return deed

    grows_linearly(cost_of(prepared), 100)


def test_leaving_when_all_is_answered(cost_of: CostOf) -> None:
    """Whoever waits for one answer after the other does not look at all that is open each time."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        parts.part("a")
        parts.part("b")
        parts.producer("b", 1)
        handles = [parts.ask("a", ttl=None) for _ in range(n)]
        parts.connections["a"].disconnect(drain=1e7)

        def deed() -> None:
            parts.clock.advance(n + 10)
            assert all(each.done() for each in handles)

        return deed

    grows_linearly(cost_of(prepared), 150)


def test_ends_of_requests_beside_others_that_stay_open(cost_of: CostOf) -> None:
    """Answered, cancelled, or at their deadline."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        a = parts.part("a")
        parts.part("b")
        parts.producer("b", 100_000, topic="slow")
        parts.producer("b", 0)
        for _ in range(n):
            a.send_request("slow", ttl=None)
        parts.clock.settle()

        def deed() -> None:
            for number in range(n):
                handle = a.send_request(["slow", "volts"][number % 2], ttl=10)
                if number % 4 == 0:
                    handle.cancel()
                parts.clock.advance(1)

        return deed

    grows_linearly(cost_of(prepared), 15)


def test_parts_that_come_one_by_one(cost_of: CostOf) -> None:
    """Each with a producer and a listener on topics of its own."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        parts.part("a")
        strangers = [Stranger(parts, f"s{number}") for number in range(n)]

        def deed() -> None:
            for each in strangers:
                topic = each.part
                says = here(topics={topic: [1]}, names={"1": "one"}, listened=[topic])
                each.wire.send("a", says)
                parts.clock.settle()

        return deed

    grows_linearly(cost_of(prepared), 15)


def test_what_others_change_beside_what_one_has(cost_of: CostOf) -> None:
    """It takes the same, however many topics there are here."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        a = parts.part("a")
        parts.part("b")
        producer = parts.producer("a", 0)
        a.register_result_producer(producer, *[f"t{number}" for number in range(n)])
        parts.clock.advance(1000)
        return lambda: parts.producer("b", 0, topic="theirs")

    cost = cost_of(prepared)
    cost(8)
    assert cost(400) < 2 * cost(10)


def test_requests_beside_parts_that_have_nothing_to_do_with_them(cost_of: CostOf) -> None:
    """It takes the same, however many parts there are."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        a = parts.part("a")
        parts.part("b")
        parts.producer("b", 0)
        for number in range(n):
            Stranger(parts, f"s{number}").wire.send("a", here())
        parts.clock.settle()
        return lambda: [a.send_request("volts", ttl=100).results() for _ in range(20)]

    cost = cost_of(prepared)
    cost(8)
    assert cost(80) < 1.5 * cost(2)


def test_what_waits_for_a_connection(cost_of: CostOf) -> None:
    """It leaves when there is one again."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        a = parts.part("a")
        parts.part("b")
        parts.producer("b", 0)
        parts.wire.cut("a")

        def deed() -> None:
            for _ in range(n):
                a.send_request("volts", ttl=None)
                parts.clock.settle()
            parts.wire.heal("a")
            parts.clock.advance(1000)

        return deed

    grows_linearly(cost_of(prepared), 30)


def test_values_behind_a_gap(cost_of: CostOf) -> None:
    """However many are to be handed on when what is missing has come."""

    def prepared(parts: Parts, n: int) -> Callable[[], Any]:
        a = parts.part("a")
        parts.part("b")
        parts.listener("b", "amps")

        def deed() -> None:
            parts.wire.lose(1, "a", "b")
            for number in range(n):
                a.publish("amps", number)
                parts.clock.advance(1)
            parts.clock.advance(1000)

        return deed

    grows_linearly(cost_of(prepared), 30)


def test_an_open_request_keeps_few_objects_for_the_collector_of_cycles(parts: Parts) -> None:
    """On both sides together: it comes when there are many, and stops all threads meanwhile."""
    a = parts.part("a")
    parts.part("b")
    parts.producer("b", 10_000)

    def kept(n: int) -> int:
        for _ in range(n):
            a.send_request("volts", {"site": 7, "volts": 3.3}, ttl=None)
        parts.clock.advance(5)
        gc.collect()
        return len(gc.get_objects())

    kept(10)
    before = kept(1)
    assert kept(200) - before <= 17 * 200
