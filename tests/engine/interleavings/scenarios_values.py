"""Scenarios of published values: one order with results, and nobody who does not hear."""

from __future__ import annotations

from typing import Any, List, Optional

from ate_dispatcher import DispatcherStopped, ResultListener

from .adapter import asleep, posts_in_parts
from .entries import scenario
from .lab import Lab, claim
from .stage import Stage


class _Ear(ResultListener):
    """Keeps what it hears, as it is; it may answer a value by another."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.heard: List[Any] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard.append(response)


class _Bus:
    """A dispatcher with a producer, and listeners on topics: "t" of all, "u" of the last.

    All but *plain* of them, the first, have a bound.
    """

    def __init__(
        self, stage: Stage, listeners: int = 2, producers: int = 0, plain: Optional[int] = None
    ) -> None:
        self.lab = Lab(stage, producers=producers)
        self.stage = stage
        bounds = [
            {} if plain is None or number < plain else {"maxsize": 100}
            for number in range(listeners)
        ]
        self.ears = [_Ear(f"l{number}", **bound) for number, bound in enumerate(bounds, 1)]
        for ear in self.ears:
            self.lab.dispatcher.register_result_listener(ear, "t", start=True)
        self.lab.dispatcher.register_result_listener(self.ears[-1], "u")
        self.deliveries: List[Any] = []
        stage.settle()

    def says(self, *values: Any, topic: str = "t") -> None:
        for value in values:
            self.deliveries.append(self.lab.dispatcher.publish(topic, value))

    def says_if_it_may(self) -> None:
        """Two values, unless the dispatcher was stopped."""
        try:
            self.says(1, 2)
        except DispatcherStopped:
            pass

    def says_and_waits(self, *values: Any) -> None:
        self.says(*values)
        claim(self.deliveries[-1].wait(), "not over")

    def agree(self, but: int = 0) -> None:
        """In the end; all but *but* listeners live and have heard the same of what is for all."""
        claim(self.stage.time == 0.0, f"that took until {self.stage.time}: a wake-up was lost")
        for ear in self.ears:
            trouble = asleep(ear)
            claim(not trouble, trouble)
        for delivery in self.deliveries:
            claim(delivery.done(), f"not over: {delivery.report()}")
            verdicts = [line.verdict for line in delivery.report().listeners]
            claim(None not in verdicts, delivery.report())
        heard = [[each for each in ear.heard if each != "u"] for ear in self.ears[but:]]
        for each in heard:
            claim(len(each) == len(set(each)), f"twice: {each}")
            claim(each == heard[0], f"{each}, but another {heard[0]}")
        sums = self.lab.dispatcher.statistics()
        asked = sum(len(each.listeners) for each in self.deliveries)
        claim(sum(sums.deliveries.values()) >= asked, sums)


@scenario()
def publish_and_publish(stage: Stage) -> None:
    """Two threads at once, to two who listen: both hear the same, each thread's in its order."""
    bus = _Bus(stage)
    stage.play(one=lambda: bus.says(1, 2), two=lambda: bus.says(11, 12))
    bus.agree()
    heard = bus.ears[0].heard
    claim(sorted(heard) == [1, 2, 11, 12], heard)
    claim(heard.index(1) < heard.index(2), heard)
    claim(heard.index(11) < heard.index(12), heard)
    bus.lab.end()


@scenario()
def publish_and_wait(stage: Stage) -> None:
    """Who waits for a delivery goes on when the last has heard it."""
    bus = _Bus(stage)
    stage.play(one=lambda: bus.says_and_waits(1), two=lambda: bus.says_and_waits(2))
    bus.agree()
    bus.lab.end()


@scenario()
def publish_to_one_and_to_all(stage: Stage) -> None:
    """What is for one listener does not overtake what the same thread has published before."""
    bus = _Bus(stage)

    def says() -> None:
        bus.says(1)
        bus.says("u", topic="u")

    stage.play(says=says, other=lambda: bus.says(2))
    bus.agree()
    heard = bus.ears[-1].heard
    claim(heard.index(1) < heard.index("u"), heard)
    bus.lab.end()


@scenario()
def publish_to_all_then_to_one(stage: Stage) -> None:
    """The same from one thread, while what it has posted is on its way."""
    bus = _Bus(stage)

    def says() -> None:
        bus.says(1)
        stage.step_aside()
        bus.says("u", topic="u")

    stage.play(says=says)
    bus.agree()
    claim(bus.ears[-1].heard == [1, "u"], bus.ears[-1].heard)
    bus.lab.end()


@scenario()
def publish_in_parts(stage: Stage) -> None:
    """So many values that nobody distributes them in one pass."""
    with posts_in_parts():
        bus = _Bus(stage)
        stage.play(one=lambda: bus.says(1, 2), two=lambda: bus.says(11))
        bus.agree()
        bus.lab.end()


@scenario()
def publish_in_parts_and_results(stage: Stage) -> None:
    """And results come in between, behind what was published before."""
    with posts_in_parts():
        bus = _Bus(stage, producers=1)

        def asks() -> None:
            bus.says(1, 3)
            claim(bus.lab.ask(2).wait(), "no end")

        stage.play(asks=asks)
        bus.agree()
        claim(bus.ears[0].heard == [1, 3, (2,)], bus.ears[0].heard)
        bus.lab.end()


@scenario()
def publish_and_results(stage: Stage) -> None:
    """A result crosses a value; what a thread publishes before it asks is heard before."""
    bus = _Bus(stage, producers=1)

    def asks() -> None:
        bus.says(1)
        claim(bus.lab.ask(2).wait(), "no end")

    stage.play(asks=asks, says=lambda: bus.says(3))
    bus.agree()
    heard = bus.ears[0].heard
    claim(sorted(heard, key=str) == [(2,), 1, 3], heard)
    claim(heard.index(1) < heard.index((2,)), heard)
    bus.lab.end()


@scenario()
def publish_and_results_within_bounds(stage: Stage) -> None:
    """The same where some have a bound, and so get results by messages of their own."""
    bus = _Bus(stage, producers=1, plain=1)

    def asks() -> None:
        bus.says(1)
        claim(bus.lab.ask(2).wait(), "no end")

    stage.play(asks=asks, says=lambda: bus.says(3))
    bus.agree()
    heard = bus.ears[0].heard
    claim(sorted(heard, key=str) == [(2,), 1, 3], heard)
    claim(heard.index(1) < heard.index((2,)), heard)
    bus.lab.end()


@scenario()
def publish_and_publish_within_bounds(stage: Stage) -> None:
    """As `publish_and_publish`; places are taken by those who publish, the order is made inside."""
    bus = _Bus(stage, plain=1)
    stage.play(one=lambda: bus.says(1, 2), two=lambda: bus.says(11, 12))
    bus.agree()
    heard = bus.ears[1].heard
    claim(sorted(heard) == [1, 2, 11, 12], heard)
    claim(heard.index(1) < heard.index(2), heard)
    claim(heard.index(11) < heard.index(12), heard)
    bus.lab.end()


@scenario()
def publish_in_parts_within_bounds(stage: Stage) -> None:
    """A post leaves the queue only when it is in all mailboxes, and results go behind it."""
    with posts_in_parts():
        bus = _Bus(stage, producers=1, plain=1)

        def asks() -> None:
            bus.says(1, 3)
            claim(bus.lab.ask(2).wait(), "no end")

        stage.play(asks=asks)
        bus.agree()
        claim(bus.ears[0].heard == [1, 3, (2,)], bus.ears[0].heard)
        bus.lab.end()


@scenario()
def publish_and_stop_a_listener_within_bounds(stage: Stage) -> None:
    """The one that was woken may be at its STOP: the other hears, both have a verdict."""
    bus = _Bus(stage, plain=0)
    stage.play(says=lambda: bus.says(1, 2), stops=bus.ears[0].stop)
    claim(bus.ears[1].heard == [1, 2], bus.ears[1].heard)
    bus.agree(but=1)
    bus.lab.end()


@scenario(focus="turn", pairs=400)
def publish_by_turns(stage: Stage) -> None:
    """While one distributes another publishes and wakes a second, who leaves it to the first."""
    bus = _Bus(stage, listeners=3)
    stage.play(one=lambda: bus.says(1), two=lambda: bus.says(2))
    bus.agree()
    bus.lab.end()


@scenario(focus="chain", singles=600)
def publish_to_each_and_a_result(stage: Stage) -> None:
    """What one thread says to each of two comes on the same side of a result for both."""
    bus = _Bus(stage, producers=1)
    bus.lab.dispatcher.register_result_listener(bus.ears[0], "v")

    def says() -> None:
        bus.says("v", topic="v")
        bus.says("u", topic="u")

    stage.play(asks=lambda: claim(bus.lab.ask(2).wait(), "no end"), says=says)
    first, last = bus.ears[0].heard, bus.ears[1].heard
    claim(sorted(map(str, first + last)) == ["(2,)", "(2,)", "u", "v"], (first, last))
    between = first.index((2,)) < first.index("v") and last.index("u") < last.index((2,))
    claim(not between, f"v before u, but {first} and {last}")
    bus.lab.end()


@scenario()
def publish_and_stop_a_listener(stage: Stage) -> None:
    """One of two ends: the other hears, and both have a verdict."""
    bus = _Bus(stage)
    stage.play(says=lambda: bus.says(1, 2), stops=bus.ears[0].stop)
    claim(bus.ears[1].heard == [1, 2], bus.ears[1].heard)
    bus.agree(but=1)
    bus.lab.end()


@scenario()
def publish_and_deregister(stage: Stage) -> None:
    """The same of one that is deregistered: it is over, for both."""
    bus = _Bus(stage)
    leaves = bus.ears[0]

    def deregisters() -> None:
        bus.lab.dispatcher.deregister_result_listener(leaves, "t")

    stage.play(says=lambda: bus.says(1, 2), deregisters=deregisters)
    claim(bus.ears[1].heard == [1, 2], bus.ears[1].heard)
    bus.agree(but=1)
    claim(leaves.heard == sorted(leaves.heard), leaves.heard)
    leaves.stop()
    stage.settle()
    bus.lab.end()


@scenario()
def publish_and_stop(stage: Stage) -> None:
    """Refused, or heard, or withdrawn: in any case over."""
    bus = _Bus(stage)

    stage.play(says=bus.says_if_it_may, stops=bus.lab.dispatcher.stop)
    stage.settle()
    bus.agree(but=len(bus.ears))


@scenario()
def publish_and_stop_at_once(stage: Stage) -> None:
    """The same while it withdraws what nobody has begun."""
    bus = _Bus(stage)

    stage.play(says=bus.says_if_it_may, stops=lambda: bus.lab.dispatcher.stop(immediate=True))
    stage.settle()
    bus.agree(but=len(bus.ears))


@scenario()
def callback_on_a_delivery(stage: Stage) -> None:
    """Added while it comes to its end: called, once."""
    bus = _Bus(stage, listeners=1)
    called: List[Any] = []

    def says() -> None:
        bus.says(1)
        bus.deliveries[0].add_done_callback(called.append)

    stage.play(says=says)
    bus.agree()
    claim(called == bus.deliveries, f"called {len(called)} times")
    bus.lab.end()
