"""What a verdict costs a listener for each published value, when nobody looks at the delivery.

    python tests/benchmarks/verdicts.py [--values 2000] [--rounds 40]

The CPU time of a listener's thread for hearing one value with its verdict, less that of the same
callback called with what a plain pair holds, as results come; in microseconds. Nobody waits, there
are no hooks, and the deliveries were dropped by who has published. The ways take turns, and of all
rounds the least and the median count. MUST: at most 0.3 us for each value and listener.
"""

from __future__ import annotations

import argparse
import gc
import logging
import statistics
import sys
import time
from typing import Any, Dict, List

from ate_dispatcher import Dispatcher, ResultListener

MUST = 0.3


class Rig:
    """A dispatcher with listeners that were not started: this thread hears in their place."""

    def __init__(self, listeners: int) -> None:
        self.dispatcher = Dispatcher()
        self.listeners = [ResultListener(lambda topic, value: None) for _ in range(listeners)]
        for listener in self.listeners:
            self.dispatcher.register_result_listener(listener, "t")
        self.dispatcher.start()

    def with_verdicts(self, values: int) -> float:
        for number in range(values):
            self.dispatcher.publish("t", number)
        while any(len(each._ate_mailbox.items) < values for each in self.listeners):
            time.sleep(0.001)
        spent = 0
        for listener in self.listeners:
            items = listener._ate_mailbox.items
            popleft = items.popleft
            before = time.thread_time_ns()
            while items:
                item: Any = popleft()
                if item.__class__ is not tuple:
                    item.hear(listener)
            spent += time.thread_time_ns() - before
        return spent / values / len(self.listeners) / 1000

    def without(self, values: int) -> float:
        spent = 0
        for listener in self.listeners:
            items = listener._ate_mailbox.items
            items.extend([("t", number) for number in range(values)])
            popleft = items.popleft
            before = time.thread_time_ns()
            while items:
                item: Any = popleft()
                if item.__class__ is tuple:
                    topic, value = item
                    listener.process_dispatcher_result(topic, value)
            spent += time.thread_time_ns() - before
        return spent / values / len(self.listeners) / 1000


def main() -> int:
    """Print the table; 1 if the must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rigs = {1: Rig(1), 4: Rig(4)}
    found: Dict[int, List[float]] = {}
    for _ in range(given.rounds):
        for listeners, rig in rigs.items():
            gc.collect(0)
            more = rig.with_verdicts(given.values) - rig.without(given.values)
            found.setdefault(listeners, []).append(more)
    missed = False
    for listeners, figures in found.items():
        least, median = min(figures), statistics.median(figures)
        missed |= median > MUST
        print(f"{listeners} listeners: {least:.3f} us at least, {median:.3f} us median")
    for rig in rigs.values():
        rig.dispatcher.stop(immediate=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
