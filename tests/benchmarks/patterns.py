"""What patterns cost those who send and publish.

    python tests/benchmarks/patterns.py [--topics 10000] [--patterns 1000] [--rounds 40]

The CPU time of the caller for one send, and for one publish, in microseconds: on topics of their
own without any patterns and with a thousand of them, and on topics that one, two or three of the
thousand match and nobody has by name. Nobody serves meanwhile; the ways take turns, 500 sends each
time, and of all rounds the least counts. MUST: with patterns at most 5 us more than without.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from typing import Any, Callable, Dict, List

from ate_dispatcher import Dispatcher, Producer, ResultListener, TopicPattern

BURST = 500
MUST = 5.0
OTHERS = ("site.{}x.*", "site.*.{}y.>", "rack{}.*.*", "*.{}.*.amps", "rig.{}.>")
"""Patterns that share what they can with the topics, and match none."""
MATCHING = {
    "one pattern": ["one.*.voltage"],
    "two patterns": ["two.*.voltage", "two.>"],
    "three patterns": ["three.*.voltage", "three.>", "three.*.*"],
}


class Rig:
    """A dispatcher with one producer and one listener on all that is measured."""

    def __init__(self, topics: int, patterns: int) -> None:
        self.dispatcher = Dispatcher()
        self.producer: Producer = Producer(lambda topic: None)
        self.listener: ResultListener = ResultListener(lambda topic, value: None)
        self.add(*[f"site.{number}.voltage" for number in range(topics)])
        if patterns:
            matching = [TopicPattern(text) for texts in MATCHING.values() for text in texts]
            self.add(*matching)
            for number in range(patterns - len(matching)):
                text = OTHERS[number % len(OTHERS)].format(number)
                self.dispatcher.register_result_producer(lambda topic: None, TopicPattern(text))
        self.dispatcher.start()

    def add(self, *topics: Any) -> None:
        self.dispatcher.register_result_producer(self.producer, *topics)
        self.dispatcher.register_result_listener(self.listener, *topics)

    def send(self, topics: List[str]) -> float:
        send = self.dispatcher.send_request
        handles = []
        keep = handles.append
        before = time.thread_time_ns()
        for topic in topics:
            keep(send(topic, 1, ttl=None))
        spent = time.thread_time_ns() - before
        for handle in handles:
            handle.cancel()
        for handle in handles:
            handle.wait()
        self.producer._ate_mailbox.items.clear()
        return spent / len(topics) / 1000

    def publish(self, topics: List[str]) -> float:
        publish = self.dispatcher.publish
        deliveries = []
        keep = deliveries.append
        before = time.thread_time_ns()
        for topic in topics:
            keep(publish(topic, 1))
        spent = time.thread_time_ns() - before
        for delivery in deliveries:
            delivery.withdraw()
        self.listener._ate_mailbox.items.clear()
        return spent / len(topics) / 1000


def main() -> int:
    """Print the table; 1 if a must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, default=10_000)
    parser.add_argument("--patterns", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    without, within = Rig(given.topics, 0), Rig(given.topics, given.patterns)
    named = [f"site.{number}.voltage" for number in range(BURST)]
    ways: Dict[str, List[Any]] = {
        "without patterns": [without, named],
        "topics of their own": [within, named],
    }
    for way, texts in MATCHING.items():
        first = texts[0].split(".")[0]
        ways[way] = [within, [f"{first}.{number}.voltage" for number in range(BURST)]]
    missed = False
    for deed in ("send", "publish"):
        least: Dict[str, float] = {}
        for _ in range(given.rounds):
            for way, (rig, topics) in ways.items():
                gc.collect(0)
                measure: Callable[[List[str]], float] = getattr(rig, deed)
                least[way] = min(measure(topics), least.get(way, 1e9))
        for way, figure in least.items():
            more = figure - least["without patterns"]
            missed |= more > MUST
            print(f"{deed:8} {way:20} {figure:6.2f} us {more:+6.2f}")
    for rig in (without, within):
        rig.dispatcher.stop(immediate=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
