"""Of each request of another part a part says one last word for each producer, however it drops it.

Whoever asks counts on that: without one a member is MISSING for ever, and kept.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List

import pytest
from parts import Parts, parts
from test_hostile import Stranger, here

from ate_dispatcher import Dispatcher, Producer
from ate_dispatcher.testing import Outcome, ScriptedProducer, VirtualClock, answers, dies

__all__ = ["parts"]

LAST = ("ans", "err", "fin", "not", "skip", "late")


def works(clock: VirtualClock, first: Outcome, **options: Any) -> Producer:
    """On threads, each of which does *first* that."""
    script = [first] * options.get("workers", 1)
    return ScriptedProducer(*script, answers(0), **options)


class Awaits(Producer):
    """In an event loop, likewise."""

    def __init__(self, clock: VirtualClock, first: Outcome, **options: Any) -> None:
        super().__init__(**options)
        self.clock = clock
        self.script = [first] * options.get("workers", 1)

    async def produce_dispatcher_output(self, topic: Any) -> Any:
        if self.script:
            first = self.script.pop()
            await self.clock.asleep(first.after_ms / 1e3)
            return first.act(topic)
        return 0


class Asker(Stranger):
    """Asks all producers of part a at once, several times."""

    numbers = range(1, 5)

    def tell(self, *frame: Any) -> None:
        self.wire.send("a", json.dumps(frame).encode())

    def keys(self) -> List[int]:
        offers = [each[5] for each in self.heard if each[0] == "here" and each[5]]
        return list(offers[-1]["volts"])

    def last_words(self) -> List[int]:
        """How many were said, for each request and producer."""
        found: Dict[Any, int] = {(n, key): 0 for n in self.numbers for key in self.keys()}
        for each in self.heard:
            if each[0] in LAST:
                found[each[1], each[2]] += 1
            elif each[0] == "end":
                for key, verdict, _ in each[2]:
                    # Then no more may come of it than where it stood.
                    found[each[1], key] += verdict != "missing"
        return list(found.values())


Kind = Callable[..., Producer]

Way = Callable[[Dispatcher, Asker, List[Producer]], None]


def disable(a: Dispatcher, asker: Asker, producers: List[Producer]) -> None:
    for each in producers:
        a.disable(each)


def switch(a: Dispatcher, asker: Asker, producers: List[Producer]) -> None:
    for each in producers:
        a.disable(each)
        a.enable(each)


def deregister(a: Dispatcher, asker: Asker, producers: List[Producer]) -> None:
    for each in producers:
        a.deregister_result_producer(each, "volts")


def stop(a: Dispatcher, asker: Asker, producers: List[Producer]) -> None:
    for each in producers:
        each.stop()


def take_back(a: Dispatcher, asker: Asker, producers: List[Producer]) -> None:
    for number in asker.numbers:
        asker.tell("can", number, None)


def take_back_from_each(a: Dispatcher, asker: Asker, producers: List[Producer]) -> None:
    keys = asker.keys()
    for number in asker.numbers:
        for key in keys:
            asker.tell("can", number, [key])


def nothing(a: Dispatcher, asker: Asker, producers: List[Producer]) -> None:
    """Its turn comes, or its thread ends."""


WAYS: List[Way] = [
    *(nothing, disable, switch, deregister, stop, take_back, take_back_from_each),
    # One after the other.
    *(
        lambda *cast: (disable(*cast), deregister(*cast), stop(*cast)),
        lambda *cast: (take_back(*cast), disable(*cast), take_back_from_each(*cast)),
    ),
]


def often(value: Any) -> Any:
    return pytest.param(value, marks=pytest.mark.thorough)


@pytest.mark.parametrize("when", [5, often(20), often(20.1), 30])
@pytest.mark.parametrize("many", [1, 12])
@pytest.mark.parametrize("options", [{}, often({"workers": 2}), often({"exclusive": "psu"})])
@pytest.mark.parametrize("kind", [works, Awaits])
@pytest.mark.parametrize("way", WAYS)
def test_of_what_is_dropped_one_last_word_is_said(
    parts: Parts, way: Way, kind: Kind, options: Any, many: int, when: float
) -> None:
    """Before the deadline, in its instant and behind it, by whatever takes it from its queue."""
    for first in (answers(0, after_ms=100), dies(after_ms=100)):
        found = dropped(parts, way, kind, options, many, when, first)
        assert found == [1] * many * len(Asker.numbers), first


def dropped(
    parts: Parts,
    way: Way,
    kind: Kind,
    options: Any,
    many: int,
    when: float,
    first: Outcome,
) -> List[int]:
    """All are at something else, that *first*, when they are asked."""
    a = parts.part("a")
    asker = Asker(parts, "asker")
    asker.say(here())
    producers: List[Producer] = [kind(parts.clock, first, **options) for _ in range(many)]
    for each in producers:
        a.register_result_producer(each, "volts", start=True)
    parts.clock.advance(5)
    for _ in range(options.get("workers", 1)):
        a.send_request("volts", ttl=None)
    parts.clock.settle()
    for number in asker.numbers:
        asker.tell("ask", number, 20, parts.clock.now(), "volts", asker.keys(), [], {}, {})
    parts.clock.settle()
    parts.clock.advance(when)
    keys = asker.keys()
    asker.keys = lambda: keys  # type: ignore[method-assign]
    way(a, asker, producers)
    parts.clock.settle()
    parts.clock.advance(5_000)
    found = asker.last_words()
    parts.connections["a"].disconnect()
    a.stop(immediate=True)
    for each in producers:
        # Who is not registered any more is not stopped with its dispatcher.
        each.stop()
    parts.clock.advance(100)
    return found


@pytest.mark.parametrize("polite", [True, False])
def test_who_is_started_anew_hears_nothing_of_what_was_asked_under_its_name_before(
    parts: Parts, polite: bool
) -> None:
    """It counts its requests from 1 again: of its own nothing is said but what becomes of them."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 5_000, name="far", workers=2)
    before = parts.ask("a", "before", ttl=None)
    parts.clock.advance(10)
    if polite:
        parts.dispatchers["a"].stop(immediate=True)
    else:
        parts.wire.silence("a")
    parts.clock.advance(4_000)
    parts.part("a")
    handle = parts.ask("a", "now", ttl=100)
    assert handle.id == before.id
    parts.clock.advance(1_500)
    assert [each.args for each in far.asked] == [("before",), ("now",)]
    assert [each.word for each in handle.report().members] == ["MISSING (running)"]
    parts.clock.advance(5_000)
    assert [each.word for each in handle.report().members] == ["LATE"]


def asker_of(parts: Parts) -> Asker:
    """One that is known to part a, and its clock there."""
    asker = Asker(parts, "asker")
    asker.say(here(), json.dumps(["beat", "i", 1, 0, parts.clock.now()]).encode())
    parts.clock.advance(5)
    return asker


def test_who_is_taken_back_from_one_is_begun_by_the_other_in_its_time(parts: Parts) -> None:
    """It was long on its way, so a word to stop may follow; one of only some holds nobody up."""
    parts.part("a")
    asker = asker_of(parts)
    one, other = parts.producer("a", name="one"), parts.producer("a", name="other")
    keys = asker.keys()
    for number in (1, 2):
        asker.tell("ask", number, 10_000, parts.clock.now() - 2, "volts", keys, [number], {}, {})
        parts.clock.advance(100)
    asker.tell("can", 1, keys[:1])
    parts.clock.advance(100)
    assert [each.args for each in other.asked] == [(1,)]
    parts.clock.advance(100)
    assert [each.args for each in other.asked] == [(1,), (2,)]
    assert [each.args for each in one.asked] == [(2,)]


def test_who_is_not_registered_any_more_begins_nothing_that_is_taken_back_from_it(
    parts: Parts,
) -> None:
    """Its asker did not know that yet."""
    a = parts.part("a")
    asker = asker_of(parts)
    busy, other = parts.producer("a", 100), parts.producer("a", 100)
    keys = asker.keys()
    a.send_request("volts", ttl=None)
    parts.clock.settle()
    asker.tell("ask", 1, None, parts.clock.now(), "volts", keys, [1], {}, {})
    parts.clock.advance(5)
    a.deregister_result_producer(busy, "volts")
    parts.clock.advance(5)
    asker.tell("can", 1, keys[:1])
    parts.clock.advance(1_000)
    assert [each.args for each in busy.asked] == [()]
    assert [each.args for each in other.asked] == [(), (1,)]
    assert ["not", 1, keys[0], "withdrawn"] in asker.heard


@pytest.mark.parametrize("ttl", [None, 60_000])
def test_who_is_disabled_while_what_it_was_asked_is_held_up_is_withdrawn(
    parts: Parts, ttl: Any
) -> None:
    """The request goes on: its part does not say that it was over."""
    a = parts.part("a")
    parts.part("b")
    far = parts.producer("b", 0, name="far")
    parts.clock.advance(100)
    parts.connections["b"]._link._shared.do(parts.clock.sleep, 2.0)
    handle = parts.ask("a", ttl=ttl)
    parts.clock.advance(10)
    a.disable("b/far")
    parts.clock.advance(3_000)
    assert handle.done()
    assert [each.word for each in handle.report().members] == ["WITHDRAWN"]
    assert far.asked == []
