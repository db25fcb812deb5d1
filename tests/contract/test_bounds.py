"""Mailboxes with a ``maxsize``: what waits, what is declined, and what is told of it."""

from __future__ import annotations

import threading
import weakref
from typing import Any, Dict, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import (
    PATIENCE,
    Answer,
    Gated,
    GatedListener,
    Recorder,
    Struck,
    came,
    gone,
    over,
    settle,
    strike,
    struck,
)
from virtual import Hearing, World, world

from ate_dispatcher import (
    Dispatcher,
    DispatcherStopped,
    Overflow,
    Producer,
    ResultListener,
    Verdict,
    events,
)
from ate_dispatcher.errors import BadType, BadValue

__all__ = ["world"]

DROPS = (Overflow.DROP_OLDEST, Overflow.DROP_NEWEST)


class Slow(ResultListener):
    """Takes *ms* of virtual time for each."""

    def __init__(self, world: World, ms: float = 100, **options: Any) -> None:
        super().__init__(**options)
        self.world = world
        self.ms = ms
        self.heard: List[Any] = []
        self.at: List[float] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard.append(response)
        self.at.append(self.world.clock.now())
        self.world.clock.sleep(self.ms / 1000)


class SlowAttentive(Slow):
    """Also hears of errors and ends."""

    def process_dispatcher_error(self, topic: Any, reply: Any) -> None:
        self.heard.append("error")

    def process_dispatcher_completion(self, topic: Any, report: Any) -> None:
        self.heard.append("end")


def slow(world: World, maxsize: int, overflow: Overflow = Overflow.BLOCK, **options: Any) -> Slow:
    """A registered and started one."""
    kind = options.pop("kind", Slow)
    made = world.cast(kind(world, maxsize=maxsize, overflow=overflow, **options))
    world.dispatcher.register_result_listener(made, "t", start=True)
    return made  # type: ignore[no-any-return]


def publish(world: World, *values: Any, **options: Any) -> List[Any]:
    """Each of them, with time for what follows at once."""
    deliveries = []
    for value in values:
        deliveries.append(world.dispatcher.publish("t", value, **options))
        world.clock.settle()
    return deliveries


def words(deliveries: List[Any], listener: int = 0) -> List[str]:
    return [each.report().listeners[listener].word for each in deliveries]


# -- published values --------------------------------------------------------------------------


def test_a_full_listener_is_declined_and_the_others_hear(world: World) -> None:
    """BLOCK, without ``room_ms``: publish does not wait."""
    full, other = slow(world, 2), world.listener()
    deliveries = publish(world, 1, 2, 3, 4)
    assert world.clock.now() == 0
    assert words(deliveries) == ["open (running)", "open (queued)", "open (queued)", "DECLINED"]
    assert words(deliveries, 1) == ["OK"] * 4
    assert "its mailbox was full" in str(deliveries[3].report())
    world.clock.advance(1000)
    assert (full.heard, other.heard) == ([1, 2, 3], [1, 2, 3, 4])
    assert deliveries[3].done()
    assert world.dispatcher.statistics().lost == 1


def test_publish_waits_for_room_as_long_as_it_says(world: World) -> None:
    """And no longer; what finds room is heard in its place."""
    full = slow(world, 1)
    publish(world, 1, 2)
    (late,) = publish(world, 3, room_ms=50)
    assert world.clock.now() == pytest.approx(0.05)
    (heard,) = publish(world, 4, room_ms=100)
    assert world.clock.now() == pytest.approx(0.1)
    (endless,) = publish(world, 5, room_ms=None)
    assert world.clock.now() == pytest.approx(0.2)
    world.clock.advance(1000)
    assert words([late, heard, endless]) == ["DECLINED", "OK", "OK"]
    assert full.heard == [1, 2, 4, 5]


def test_the_newest_are_heard_where_the_oldest_are_dropped(world: World) -> None:
    """And what was lost is declined."""
    full = slow(world, 2, Overflow.DROP_OLDEST)
    deliveries = publish(world, *range(6))
    assert words(deliveries)[1:4] == ["DECLINED"] * 3
    assert all(each.done() for each in deliveries[1:4])
    world.clock.advance(1000)
    assert full.heard == [0, 4, 5]
    assert world.dispatcher.statistics().lost == 3


def test_the_oldest_are_heard_where_the_newest_are_dropped(world: World) -> None:
    """Likewise."""
    full = slow(world, 2, Overflow.DROP_NEWEST)
    deliveries = publish(world, *range(6))
    assert words(deliveries)[3:] == ["DECLINED"] * 3
    world.clock.advance(1000)
    assert full.heard == [0, 1, 2]
    assert world.dispatcher.statistics().lost == 3


@pytest.mark.parametrize("overflow", [Overflow.BLOCK, *DROPS])
def test_a_bound_is_met_however_many_publish_at_once(overflow: Overflow) -> None:
    """Exactly as many have a place as there are places; the rest is declined."""
    with Dispatcher() as dispatcher:
        listener = GatedListener(maxsize=10, overflow=overflow)
        dispatcher.register_result_listener(listener, "t", start=True)
        first = dispatcher.publish("t", "first")
        came(listener.entered)
        deliveries: List[Any] = []
        go = threading.Barrier(8)

        def post() -> None:
            go.wait()
            deliveries.extend([dispatcher.publish("t", number) for number in range(50)])

        threads = [threading.Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        over(*threads)
        while sum(not each.done() for each in deliveries) > 10:
            # What was lost is told when it has come to the mailbox.
            settle(dispatcher)
        assert sum(not each.done() for each in deliveries) == 10
        listener.gate.set()
        assert all(each.wait(PATIENCE) for each in (first, *deliveries))
        assert len(listener.heard) == 11
        counts = dispatcher.statistics().deliveries
        assert (counts[Verdict.OK], counts[Verdict.DECLINED]) == (11, 390)
        if overflow is not Overflow.BLOCK:
            return
        # The places are free again, all of them.
        listener.gate.clear()
        listener.entered.clear()
        again = [dispatcher.publish("t", number, room_ms=1000) for number in range(11)]
        listener.gate.set()
        assert all(each.wait(PATIENCE) for each in again)
        assert words(again) == ["OK"] * 11


@pytest.mark.parametrize("ends_by", ["deregistration", "a stop of the listener", "a stop"])
def test_a_wait_for_room_ends_when_there_is_nothing_to_wait_for(ends_by: str) -> None:
    """Long before its time."""
    with Dispatcher() as dispatcher:
        listener = GatedListener(maxsize=1)
        dispatcher.register_result_listener(listener, "t", start=True)
        dispatcher.publish("t", 1)
        came(listener.entered)
        dispatcher.publish("t", 2)
        found: List[Any] = []

        def post() -> None:
            try:
                found.append(dispatcher.publish("t", 3, room_ms=None))
            except DispatcherStopped as error:
                found.append(error)

        publisher = threading.Thread(target=post)
        publisher.start()
        while dispatcher.statistics().published < 3:
            pass
        if ends_by == "deregistration":
            dispatcher.deregister_result_listener(listener)
        elif ends_by == "a stop":
            dispatcher.stop(drain=5000)
        else:
            listener.stop()
            listener.gate.set()
        over(publisher)
        listener.gate.set()
        if ends_by == "a stop":
            assert isinstance(found[0], DispatcherStopped)
        else:
            assert found[0].wait(PATIENCE)
            assert words(found) == ["DECLINED"]


def test_what_was_published_before_the_start_is_bounded_too() -> None:
    """The places are taken by whoever publishes."""
    world = World(start=False)
    full = slow(world, 2)
    deliveries = [world.dispatcher.publish("t", number) for number in range(4)]
    assert words(deliveries)[2:] == ["DECLINED"] * 2
    world.dispatcher.start()
    world.clock.advance(1000)
    assert full.heard == [0, 1]
    world.close()


@pytest.mark.parametrize("kept", [False, True], ids=["with its deliveries", "without them"])
def test_a_dispatcher_that_is_dropped_before_its_start_keeps_no_place(kept: bool) -> None:
    """Of a listener that others have as well; who waits for one there is woken."""
    with Dispatcher() as dispatcher:
        shared = Recorder(maxsize=2)
        dispatcher.register_result_listener(shared, "t", start=True)
        never_started = Dispatcher()
        never_started.register_result_listener(shared, "t")
        deliveries = [never_started.publish("t", number) for number in range(3)]
        assert words(deliveries)[2] == "DECLINED"
        assert words([dispatcher.publish("t", "refused")]) == ["DECLINED"]
        found: List[Any] = []
        publisher = threading.Thread(
            target=lambda: found.append(dispatcher.publish("t", "heard", room_ms=None))
        )
        publisher.start()
        while dispatcher.statistics().published < 2:
            pass
        dropped = weakref.ref(never_started)
        if not kept:
            del deliveries
        del never_started
        assert gone(dropped)
        over(publisher)
        assert found[0].wait(PATIENCE)
        again = [dispatcher.publish("t", number, room_ms=1000 * PATIENCE) for number in range(5)]
        assert all(each.wait(PATIENCE) for each in again)
        assert [value for _, value in shared.heard] == ["heard", *range(5)]


# -- results -----------------------------------------------------------------------------------


def test_a_producer_waits_until_its_result_has_room(world: World) -> None:
    """Before its next request; the result itself is taken, and the request ends with it."""
    full = slow(world, 1)
    world.producer(0, lambda topic, number: number)
    handles = [world.send(number) for number in range(4)]
    world.clock.settle()
    # One is heard, one waits, and one was taken beyond the bound.
    assert [each.done() for each in handles] == [True, True, True, False]
    world.clock.advance(100)
    assert handles[3].done()
    world.clock.advance(1000)
    assert full.heard == [0, 1, 2, 3]
    assert world.dispatcher.statistics().lost == 0


def test_a_producer_waits_no_longer_than_its_request(world: World) -> None:
    """Then it goes on, however full the listener is."""
    full = slow(world, 1, ms=10_000)
    world.producer(0, lambda topic, number: number)
    handles = [world.send(number, ttl=50) for number in range(3)]
    later = world.send(3, ttl=1000)
    world.clock.advance(60)
    assert [each.done() for each in (*handles, later)] == [True] * 4
    world.clock.advance(100_000)
    assert full.heard == [0, 1, 2, 3]


def test_a_request_waits_for_no_listener(world: World) -> None:
    """Its results are there, and so is the next request to another producer."""
    slow(world, 1, ms=10_000)
    for _ in range(3):
        world.producer(0, "value")
    handles = [world.send() for _ in range(2)]
    world.clock.settle()
    assert handles[0].report().complete
    assert handles[0].results() == ["value"] * 3


@pytest.mark.parametrize("overflow", DROPS)
def test_results_are_dropped_without_making_anybody_wait(world: World, overflow: Overflow) -> None:
    """Requests do not know."""
    full = slow(world, 2, overflow)
    world.producer(0, lambda topic, number: number)
    handles = []
    for number in range(6):
        handles.append(world.send(number))
        world.clock.settle()
    assert all(each.report().complete for each in handles)
    world.clock.advance(1000)
    assert full.heard == ([0, 4, 5] if overflow is Overflow.DROP_OLDEST else [0, 1, 2])
    assert world.dispatcher.statistics().lost == 3


def test_a_streams_parts_wait_for_room_as_well(world: World) -> None:
    """Each before the next is asked for."""
    full = slow(world, 1, ms=50)
    asked: List[float] = []

    class Parts(Producer):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            for number in range(5):
                asked.append(world.clock.now())
                yield number

    world.dispatcher.register_result_producer(world.cast(Parts(stream=True)), "t", start=True)
    handle = world.send(ttl=1000)
    world.clock.advance(1000)
    assert handle.report().complete
    assert full.heard == [0, 1, 2, 3, 4]
    assert asked == pytest.approx([0, 0, 0, 0.05, 0.1])


def test_errors_and_ends_have_places_as_well(world: World) -> None:
    """One bound for all that waits; all producers together exceed it by one each at most."""
    full = slow(world, 2, Overflow.DROP_NEWEST, kind=SlowAttentive)
    world.producer(0, ValueError("no"))
    handles = [world.send(ttl=None) for _ in range(3)]
    world.clock.advance(1000)
    assert all(each.done() for each in handles)
    lost = world.dispatcher.statistics().lost
    assert lost > 0
    assert len(full.heard) + lost == 6


def test_who_overrides_reply_has_bounds_too(world: World) -> None:
    """One place for both calls."""

    class Named(Slow):
        def process_dispatcher_reply(self, topic: Any, reply: Any) -> None:
            self.heard.append((reply.value, reply.producer.name))

    full = slow(world, 1, Overflow.DROP_OLDEST, kind=Named)
    world.producer(0, lambda topic, number: number, name="p")
    for number in range(4):
        world.send(number)
        world.clock.settle()
    world.clock.advance(1000)
    assert full.heard == [0, (0, "p"), 3, (3, "p")]


@pytest.mark.parametrize("overflow", DROPS)
def test_only_who_blocks_makes_anybody_wait(world: World, overflow: Overflow) -> None:
    """Also when it was told to stop while it was full."""
    full = slow(world, 1, overflow, ms=10_000)
    world.producer(0, lambda topic, number: number)
    for number in range(6):
        if number == 3:
            full.stop()
        handle = world.send(number, ttl=1000)
        world.clock.settle()
        assert handle.done()
    assert world.clock.now() == 0


def test_what_is_owed_is_nobodys_room(world: World) -> None:
    """Results that were taken beyond the bound have the places that come back."""
    full = slow(world, 1)
    for _ in range(4):
        world.producer(0, "result")
    world.send()
    world.clock.settle()
    # One is heard, one has the place, two are beyond it.
    world.clock.advance(200)
    (refused,) = publish(world, "value")
    assert refused.report().listeners[0].verdict is Verdict.DECLINED
    world.clock.advance(1000)
    assert full.heard == ["result"] * 4


def test_a_producers_stop_ends_its_wait_for_room() -> None:
    """It finishes what is queued, and ends."""
    with Dispatcher() as dispatcher:
        listener = GatedListener(maxsize=1)
        dispatcher.register_result_listener(listener, "t", start=True)
        producer = dispatcher.register_result_producer(Answer(), "t", start=True)
        handles = [dispatcher.send_request("t", ttl=None) for _ in range(6)]
        assert handles[2].wait(PATIENCE)
        assert not handles[3].done()
        producer.stop()
        over(producer)
        assert all(each.done() for each in handles)
        listener.gate.set()


def test_in_a_drain_nobody_waits_for_room(world: World) -> None:
    """What was asked before the stop comes to its end, and all of it is heard, however slowly."""
    full = slow(world, 1)
    world.producer(0, lambda topic, number: number)
    handles = [world.send(number, ttl=None) for number in range(6)]
    world.clock.settle()
    assert [each.done() for each in handles] == [True] * 3 + [False] * 3
    world.dispatcher.stop(drain=50)
    world.clock.settle()
    assert all(each.report().complete for each in handles)
    assert world.clock.now() == 0
    world.dispatcher.join()
    full.join()
    assert full.heard == list(range(6))
    assert world.dispatcher.statistics().lost == 0


def test_a_value_that_is_published_in_a_drain_finds_room_or_does_not(world: World) -> None:
    """A participant may publish then, but does not wait: its own stop would."""
    full = slow(world, 1)
    found: List[Any] = []

    def answer(topic: Any) -> None:
        world.clock.sleep(0.01)
        found.extend(publish_two())

    def publish_two() -> List[Any]:
        return [world.dispatcher.publish("t", number, room_ms=1000) for number in range(2)]

    world.dispatcher.register_result_producer(answer, "u", start=True)
    publish(world, "first")
    world.send(topic="u")
    world.clock.settle()
    world.dispatcher.stop()
    world.clock.advance(20)
    assert words(found) == ["open (queued)", "DECLINED"]
    assert world.clock.now() == pytest.approx(0.02)
    world.dispatcher.join()
    full.join()
    assert full.heard == ["first", 0]


def test_a_publish_that_is_cut_short_keeps_no_place() -> None:
    """At whatever moment a signal handler raises: afterwards there is as much room as before."""
    at, more = 0, True
    with Dispatcher() as dispatcher:
        ears = [
            dispatcher.register_result_listener(Recorder(maxsize=1), "t", start=True)
            for _ in range(2)
        ]
        while more:
            at += 1
            try:
                more = strike(lambda: dispatcher.publish("t", at, room_ms=100), at, struck)  # noqa: B023
            except Struck:
                pass
            after = dispatcher.publish("t", "after", room_ms=1000 * PATIENCE)
            assert after.wait(PATIENCE)
            assert after.report().complete, f"struck at {at}: {after.report()}"
    assert at > 20
    for ear in ears:
        assert [value for _, value in ear.heard].count("after") == at


def test_a_stop_learns_that_all_was_heard_also_from_who_was_stopped_before(world: World) -> None:
    """Whose word about that comes behind its own STOP: nobody waits for the rest of the drain."""
    listener = slow(world, 100)
    publish(world, *range(5))
    listener.stop()
    world.dispatcher.stop(drain=None)
    world.dispatcher.join()
    assert world.clock.now() <= 0.6
    assert listener.heard == list(range(5))


# -- what is told ------------------------------------------------------------------------------


def test_each_episode_of_losses_is_one_event(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first loss until the mailbox was empty, with the line at which the listener is."""
    told: List[Any] = []
    world.dispatcher.add_hook(told.append)
    full = slow(world, 1, Overflow.DROP_OLDEST, name="slow one")
    for _ in range(2):
        publish(world, *range(5))
        world.clock.advance(1000)
    lost = [each for each in told if isinstance(each, events.ValuesLost)]
    assert [(each.listener, each.lost) for each in lost] == [("slow one", 1), ("slow one", 4)]
    assert [each.at for each in lost] == pytest.approx([0, 1])
    assert full.heard == [0, 4, 0, 4]
    assert caplog.text.count("slow one does not keep up") == 1


def test_the_event_says_where_the_listener_is() -> None:
    """The line of its callback."""
    told: List[Any] = []
    with Dispatcher(hooks=[told.append]) as dispatcher:
        listener = GatedListener(maxsize=1)
        dispatcher.register_result_listener(listener, "t", start=True)
        dispatcher.publish("t", 1)
        came(listener.entered)
        for _ in range(3):
            dispatcher.publish("t", 2)
        settle(dispatcher)
        seen = threading.Event()
        dispatcher.publish("nobody", 1).add_done_callback(lambda _: seen.set())
        came(seen)
        listener.gate.set()
    (lost,) = [each for each in told if isinstance(each, events.ValuesLost)]
    assert "wait" in lost.where or lost.where.startswith("<no GIL>")


def test_a_mailbox_that_grows_is_told_of_at_each_doubling(world: World) -> None:
    """From 10,000 on; and again when it had become small."""
    told: List[Any] = []
    world.dispatcher.add_hook(told.append)
    hung = world.listener(ms=1_000_000, name="hung")
    world.dispatcher.publish("t", "first")
    world.clock.settle()

    def look() -> List[int]:
        world.send(topic="nobody", ttl=1)
        world.clock.advance(1001)
        return [each.waiting for each in told if isinstance(each, events.MailboxHigh)]

    for number in range(9_999):
        world.dispatcher.publish("t", number)
    assert look() == []
    world.dispatcher.publish("t", "more")
    assert look() == [10_000]
    assert look() == [10_000]
    for number in range(10_000):
        world.dispatcher.publish("t", number)
    assert look() == [10_000, 20_000]
    assert {each.participant for each in told if isinstance(each, events.MailboxHigh)} == {"hung"}
    hung.ms = 0


# -- producers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_producer_declines(world: World, workers: int) -> None:
    """At once, whatever is more than may wait; later it is asked again."""

    class Busy(Producer):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            world.clock.sleep(0.1)

    busy = world.cast(Busy(maxsize=2, workers=workers))
    world.dispatcher.register_result_producer(busy, "t", start=True)
    world.clock.settle()
    begun = []
    for _ in range(workers):
        begun.append(world.send())
        world.clock.settle()
    handles = [world.send() for _ in range(4)]
    world.clock.settle()
    found = [each.report().members[0].word for each in handles]
    assert found == ["open (queued)", "open (queued)", "DECLINED", "DECLINED"]
    assert handles[3].done()
    world.clock.advance(1000)
    assert [each.report().members[0].word for each in (*begun, *handles[:2])] == ["OK"] * (
        workers + 2
    )
    again = [world.send() for _ in range(2)]
    world.clock.advance(1000)
    assert all(each.report().complete for each in again)


def test_what_has_ended_gives_its_place_back() -> None:
    """A hung producer takes new requests when the old ones are over."""
    world = World()
    gate = threading.Event()

    class Hung(Producer):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            world.clock.sleep(1000)

    hung = world.cast(Hung(maxsize=3))
    world.dispatcher.register_result_producer(hung, "t", start=True)
    world.send(ttl=None)
    world.clock.settle()
    for _ in range(5):
        handles = [world.send(ttl=10) for _ in range(4)]
        world.clock.settle()
        assert [each.report().members[0].word for each in handles] == [
            *["open (queued)"] * 3,
            "DECLINED",
        ]
        world.clock.advance(20)
    gate.set()
    world.close()


def test_the_bound_of_a_producer_is_met_however_many_send_at_once() -> None:
    """Exactly as many wait as may."""
    with Dispatcher() as dispatcher:
        gated = Gated(maxsize=10)
        dispatcher.register_result_producer(gated, "t", start=True)
        handles = [dispatcher.send_request("t", ttl=None)]
        came(gated.entered)
        go = threading.Barrier(8)

        def send() -> None:
            go.wait()
            handles.extend([dispatcher.send_request("t", ttl=None) for _ in range(50)])

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        over(*threads)
        settle(dispatcher)
        assert sum(not each.done() for each in handles) == 11
        gated.gate.set()
        assert all(each.wait(PATIENCE) for each in handles)
        counts = dispatcher.statistics().verdicts
        assert (counts[Verdict.OK], counts[Verdict.DECLINED]) == (11, 390)


# -- at the door -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Gated, Recorder])
@pytest.mark.parametrize("maxsize", [0, -1, True, 1.5, "3"])
def test_a_bound_is_a_number_of_at_least_one(kind: Any, maxsize: Any) -> None:
    """Naming the parameter and the value."""
    with pytest.raises((BadType, BadValue), match=f"maxsize must be .*{maxsize!r}"):
        kind(maxsize=maxsize)


def test_policies_that_are_none_are_refused() -> None:
    """And the one that only streams have."""
    with pytest.raises(BadType, match="overflow must be an Overflow, not 'block'"):
        Recorder(maxsize=1, overflow="block")
    with pytest.raises(BadValue, match="DISCONNECT"):
        Recorder(maxsize=1, overflow=Overflow.DISCONNECT)


@pytest.mark.parametrize("room_ms", [-1, float("nan"), "1"])
def test_room_is_waited_for_in_milliseconds(world: World, room_ms: Any) -> None:
    """Nothing else."""
    with pytest.raises((BadType, BadValue), match="room_ms"):
        world.dispatcher.publish("t", 1, room_ms=room_ms)


# -- whatever happens --------------------------------------------------------------------------

_STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from([0, 30, 120])),
    st.tuples(st.just("send"), st.sampled_from([20, 1000])),
    st.tuples(st.just("advance"), st.sampled_from([10, 50, 100])),
)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(_STEPS, max_size=25),
    st.sampled_from([Overflow.BLOCK, *DROPS]),
    st.integers(1, 4),
)
def test_nothing_is_lost_without_a_word(steps: List[Any], overflow: Overflow, size: int) -> None:
    """Heard, or counted as lost; in one order with one who loses nothing; each at most once."""
    world = World()
    try:
        full, other = slow(world, size, overflow, ms=40), world.listener(Hearing)
        world.producer(0, lambda topic, number: number)
        deliveries: Dict[int, Any] = {}
        handles = []
        for number, (what, much) in enumerate(steps):
            if what == "publish":
                deliveries[number] = world.dispatcher.publish("t", number, room_ms=much)
            elif what == "send":
                handles.append(world.send(number, ttl=much))
            else:
                world.clock.advance(much)
        world.clock.advance(10_000)
        found = world.dispatcher.statistics()
        # What must not happen: twice, out of order, or made up.
        everything = other.heard
        assert len(set(full.heard)) == len(full.heard)
        order = {value: place for place, value in enumerate(everything)}
        places = [order[value] for value in full.heard]
        assert places == sorted(places)
        # What must: each value and result is heard, or counted.
        assert len(full.heard) + found.lost == len(everything)
        for number, delivery in deliveries.items():
            line = delivery.report().listeners[0]
            assert delivery.done()
            assert (line.verdict is Verdict.OK) == (number in full.heard)
            assert line.verdict in (Verdict.OK, Verdict.DECLINED)
        if overflow is Overflow.BLOCK:
            results = [value for value in everything if value not in deliveries]
            assert set(results) <= set(full.heard)
        assert sum(found.deliveries.values()) == 2 * len(deliveries)
    finally:
        world.close()
