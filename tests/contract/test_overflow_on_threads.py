"""Bounds and streams on real threads that take turns all the time, with an oracle for both ways.

One listener without a bound hears everything: that is the order. Whoever has a bound has heard each
thing in that order or has counted it as lost, never both, never neither.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from rig import PATIENCE, Recorder, over, sums_add_up

from ate_dispatcher import Dispatcher, Item, Overflow, SlowConsumer, Verdict

BLOCK, OLDEST, NEWEST, DISCONNECT = Overflow

FINE = 1e-5
"""The switch interval, in seconds."""


@pytest.fixture(autouse=True)
def turns() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(FINE)
    yield
    sys.setswitchinterval(before)


class Unsteady(Recorder):
    """Now and then takes a moment longer."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.random = random.Random(seed)

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        super().process_dispatcher_result(topic, response)
        pause(self.random)


def pause(chance: random.Random) -> None:
    """None, a switch, or a moment."""
    much = chance.random()
    if much < 0.02:
        time.sleep(0.0005)
    elif much < 0.3:
        time.sleep(0)


class Reading:
    """A stream with a number of threads that read it to its end."""

    def __init__(self, stream: Any, threads: int, seed: int) -> None:
        self.stream = stream.__enter__()
        self.read: List[Item] = []
        self.was_disconnected = 0
        self.threads = [
            threading.Thread(target=self._look, args=(random.Random(seed + number),))
            for number in range(threads)
        ]
        for thread in self.threads:
            thread.start()

    def _look(self, chance: random.Random) -> None:
        try:
            for item in self.stream:
                self.read.append(item)
                pause(chance)
        except SlowConsumer:
            self.was_disconnected += 1


class Rig:
    """Two publishers, two producers that are asked by one thread, and everybody who hears."""

    def __init__(self, seed: int, overflow: Overflow, size: int, much: int, workers: int) -> None:
        self.overflow, self.much, self.workers = overflow, much, workers
        self.dispatcher = dispatcher = Dispatcher()
        self.everything = Recorder()
        bounded = OLDEST if overflow is DISCONNECT else overflow
        self.bounded = Unsteady(seed, maxsize=size, overflow=bounded, workers=workers)
        for listener in (self.everything, self.bounded):
            dispatcher.register_result_listener(listener, "t", start=True)
        for number in range(2):
            dispatcher.register_result_producer(
                lambda topic, count, number=number: ("result", number, count), "t", start=True
            )
        dispatcher.start()
        self.readings = [
            Reading(dispatcher.subscribe("t", maxsize=size, overflow=overflow), threads, seed)
            for threads in (1, 3)
        ]
        self.deliveries: Dict[Any, Any] = {}
        work = [threading.Thread(target=self._publish, args=(seed, each)) for each in range(2)]
        work.append(threading.Thread(target=self._ask, args=(random.Random(seed),)))
        for thread in work:
            thread.start()
        over(*work)
        assert all(each.wait(PATIENCE) for each in self.deliveries.values())
        dispatcher.stop(drain=1000 * PATIENCE)
        over(dispatcher, self.everything, self.bounded)
        for reading in self.readings:
            over(*reading.threads)

    def _publish(self, seed: int, name: int) -> None:
        chance = random.Random(f"{seed} {name}")
        for number in range(self.much):
            value = "value", name, number
            room = chance.choice([0, 0, 0.2])
            self.deliveries[value] = self.dispatcher.publish("t", value, room_ms=room)
            pause(chance)

    def _ask(self, chance: random.Random) -> None:
        for number in range(self.much // 4):
            self.dispatcher.send_request("t", number, ttl=None)
            pause(chance)

    # -- the oracle ----------------------------------------------------------------------------

    def check(self) -> None:
        order = [value for _, value in self.everything.heard]
        places = {value: place for place, value in enumerate(order)}
        # All there is, each once, and each publisher's in its own order.
        assert len(places) == len(order) == 2 * self.much + 2 * (self.much // 4)
        for kind in ("value", "result"):
            for name in range(2):
                mine = [count for what, who, count in order if (what, who) == (kind, name)]
                assert mine == list(range(len(mine)))
        lost = self._check_bounded(places)
        for reading in self.readings:
            self._check_stream(reading, places)
            lost += reading.stream.lost
        statistics = self.dispatcher.statistics()
        assert statistics.lost == lost
        self._check_verdicts(statistics)
        sums_add_up(self.dispatcher)

    def _check_bounded(self, places: Dict[Any, int]) -> int:
        heard = [value for _, value in self.bounded.heard]
        assert len(set(heard)) == len(heard)
        if self.workers == 1:
            assert [places[value] for value in heard] == sorted(map(places.__getitem__, heard))
        missing = set(places) - set(heard)
        if self.overflow is BLOCK:
            assert {value[0] for value in missing} <= {"value"}
        for value, delivery in self.deliveries.items():
            expected = Verdict.DECLINED if value in missing else Verdict.OK
            assert verdict_of(delivery, self.bounded) is expected, value
        return len(missing)

    def _check_stream(self, reading: Reading, places: Dict[Any, int]) -> None:
        if self.overflow is DISCONNECT and reading.stream.lost:
            # What it has is what came first, without a gap; and somebody was told.
            assert sorted(places[item.value] for item in reading.read) == list(
                range(len(reading.read))
            )
            assert reading.was_disconnected
            assert not any(item.lost for item in reading.read)
            return
        if len(reading.threads) > 1:
            reading.read.sort(key=lambda item: places[item.value])
        before, told = -1, 0
        for item in reading.read:
            place = places[item.value]
            assert item.lost == place - before - 1
            before, told = place, told + item.lost
        assert told + len(places) - 1 - before == reading.stream.lost
        assert len(reading.read) + reading.stream.lost == len(places)
        read = {item.value for item in reading.read}
        assert len(read) == len(reading.read)
        for value, delivery in self.deliveries.items():
            expected = Verdict.OK if value in read else Verdict.DECLINED
            assert verdict_of(delivery, reading.stream) is expected, value

    def _check_verdicts(self, statistics: Any) -> None:
        counts: Dict[Any, int] = {}
        asked = 0
        for delivery in self.deliveries.values():
            lines = delivery.report().listeners
            asked += len(lines)
            for line in lines:
                counts[line.verdict] = counts.get(line.verdict, 0) + 1
        assert statistics.published == len(self.deliveries)
        assert {what: count for what, count in statistics.deliveries.items() if count} == counts
        assert sum(counts.values()) == asked


def verdict_of(delivery: Any, who: Any) -> Optional[Verdict]:
    """What *who* made of it."""
    number = [each is who for each in delivery.listeners].index(True)
    verdict: Optional[Verdict] = delivery.report().listeners[number].verdict
    return verdict


_CASES: List[Tuple[Overflow, int, int]] = [
    (BLOCK, 1, 1),
    (BLOCK, 7, 2),
    (OLDEST, 1, 2),
    (OLDEST, 3, 1),
    (NEWEST, 1, 1),
    (NEWEST, 5, 2),
    (DISCONNECT, 20, 1),
]


@pytest.mark.parametrize(("overflow", "size", "workers"), _CASES)
def test_everything_is_heard_in_order_or_counted(
    overflow: Overflow, size: int, workers: int
) -> None:
    """Values, results, streams with one reader and with three."""
    Rig(size, overflow, size, 60, workers).check()


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("overflow", "size", "workers"), _CASES)
def test_everything_is_heard_in_order_or_counted_whatever_meets(
    overflow: Overflow, size: int, workers: int, seed: int
) -> None:
    """More of it."""
    Rig(seed, overflow, size, 300, workers).check()
