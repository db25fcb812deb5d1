"""Producers with several workers, and ordering keys; on virtual time and on real threads."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from typing import Any, Dict, List

import inside
import pytest
import rig
import seams
from rig import pace
from virtual import FOREVER, World, logged, verdicts, world

from ate_dispatcher import Dispatcher, Producer, Standing, Until, current_request
from ate_dispatcher.testing import ScriptedProducer, answers, computes, dies

__all__ = ["pace", "world"]


def crew(world: World, workers: int, *script: Any, topic: Any = "t", **options: Any) -> Any:
    """A producer with several workers that answers in 100 ms unless the script says otherwise."""
    script = script or (answers("done", after_ms=100),)
    made = ScriptedProducer(*script, name="crew", workers=workers, **options)
    world.dispatcher.register_result_producer(made, topic, start=True)
    return world.cast(made)


def keyed(world: World, key: Any, *args: Any, ttl: Any = None) -> Any:
    """A request with an ordering key."""
    return world.dispatcher.options(ordering_key=key, ttl=ttl).send_request("t", *args)


def begun(producer: Any) -> Dict[Any, float]:
    """When each request was begun, in ms, by its argument."""
    return {asked.args[0]: round(asked.at * 1000, 6) for asked in producer.asked}


def test_so_many_requests_run_at_a_time(world: World) -> None:
    """And the next when one of them is done, in the order in which they were sent."""
    producer = crew(world, 3)
    handles = [world.send(n) for n in range(7)]
    for handle in handles:
        assert handle.results() == ["done"]
    assert list(begun(producer).items()) == [
        *((0, 0), (1, 0), (2, 0)),
        *((3, 100), (4, 100), (5, 100)),
        (6, 200),
    ]
    assert handles[6].report().members[0].waited_ms == pytest.approx(200)


def test_what_has_no_key_does_not_wait_for_one_that_has(world: World) -> None:
    """One of them slow, the others go past it."""
    producer = crew(world, 2, answers(0, after_ms=1000), answers(1, after_ms=100))
    handles = [world.send(n, ttl=None) for n in range(4)]
    for handle in handles:
        handle.wait()
    assert begun(producer) == {0: 0, 1: 0, 2: 100, 3: 200}


def test_requests_of_one_key_stay_in_order_and_do_not_overlap(world: World) -> None:
    """Those of others run meanwhile, although they were sent later."""
    producer = crew(world, 4)
    handles = [keyed(world, key, f"{key}{n}") for key in "ab" for n in range(3)]
    handles.append(world.send("free"))
    for handle in handles:
        handle.wait()
    assert begun(producer) == {
        "a0": 0,
        "a1": 100,
        "a2": 200,
        "b0": 0,
        "b1": 100,
        "b2": 200,
        "free": 0,
    }


def test_different_keys_run_at_once_although_their_hashes_are_equal(world: World) -> None:
    """Equal ones are one key, whatever they are: -1 and -2 are not, 1 and 1.0 are."""
    assert hash(-1) == hash(-2)
    producer = crew(world, 4)
    for key, name in ((-1, "a"), (-2, "b"), (1, "c"), (1.0, "d"), (("x", 1), "e"), (("x", 1), "f")):
        keyed(world, key, name)
    world.clock.advance(1000)
    assert begun(producer) == {"a": 0, "b": 0, "c": 0, "e": 0, "d": 100, "f": 100}


def test_the_oldest_that_may_begin_is_begun(world: World) -> None:
    """One that had to wait for its key is older than whatever came later."""
    producer = crew(world, 2, answers(1, after_ms=100), answers(1, after_ms=150))
    for key, name in (("a", "a0"), ("b", "b0"), ("a", "a1"), ("b", "b1"), (None, "free")):
        keyed(world, key, name)
    world.clock.advance(1000)
    assert list(begun(producer)) == ["a0", "b0", "a1", "b1", "free"]
    assert begun(producer)["free"] == 250


def test_a_key_means_nothing_to_who_has_one_worker(world: World) -> None:
    """All is in order there."""
    producer = world.producer(100)
    for n, key in enumerate("aba"):
        keyed(world, key, n)
    world.clock.advance(1000)
    assert [asked.args[0] for asked in producer.asked] == [0, 1, 2]


def test_what_waits_for_its_key_has_deadlines_and_may_be_called_off(world: World) -> None:
    """Like everything else; what is behind it goes on, and nothing of it is kept."""
    producer = crew(world, 2)
    first = keyed(world, "a", "first")
    late = keyed(world, "a", "late", ttl=50)
    cancelled = keyed(world, "a", "cancelled")
    last = keyed(world, "a", "last")
    world.clock.advance(10)
    cancelled.cancel()
    world.clock.advance(60)
    assert verdicts(late) == ["SKIPPED(QUEUED)"]
    assert verdicts(cancelled) == ["CANCELLED(QUEUED)"]
    assert inside.backlog(producer) == 1
    assert last.results() == first.results() == ["done"]
    assert begun(producer) == {"first": 0, "last": 100}


def test_what_waits_for_its_key_is_withdrawn_when_the_producer_is_disabled(world: World) -> None:
    """From the shelf as from the mailbox."""
    producer = crew(world, 2)
    handles = [keyed(world, "a", n) for n in range(3)]
    world.clock.advance(10)
    world.dispatcher.disable(producer)
    world.clock.settle()
    assert [verdicts(handle) for handle in handles] == [["open(RUNNING)"], *[["WITHDRAWN"]] * 2]
    world.dispatcher.enable(producer)
    assert handles[0].results() == ["done"]
    assert keyed(world, "a", 4).results() == ["done"]


def test_each_worker_knows_its_own_request(world: World) -> None:
    """``current_request()`` and its progress are those of the thread."""
    seen: List[Any] = []

    def work(topic: Any, n: int) -> None:
        request = current_request()
        assert request is not None
        seen.append((n, request.id, threading.current_thread().name))
        request.progress(n / 10, f"at {n}")
        world.clock.sleep(1)
        again = current_request()
        assert again is not None
        assert again.id == request.id

    crew(world, 3, computes(work))
    handles = [world.send(n, ttl=None) for n in (1, 2, 3)]
    world.clock.advance(500)
    assert [handle.progress for handle in handles] == [
        (("crew", n / 10, f"at {n}"),) for n in (1, 2, 3)
    ]
    assert [handle.report().members[0].ran_ms for handle in handles] == [500] * 3
    for handle in handles:
        handle.wait()
        assert handle.report().complete
    assert [(n, number) for n, number, _ in seen] == [(n, handles[n - 1].id) for n in (1, 2, 3)]
    assert sorted(name for _, _, name in seen) == ["crew", "crew/2", "crew/3"]
    assert current_request() is None


def test_late_ones_and_those_that_run_are_told_apart(world: World) -> None:
    """Each with its own times."""
    crew(world, 2, answers(1, after_ms=300), answers(2, after_ms=500), answers(3))
    handles = [world.send(n, ttl=ttl) for n, ttl in ((0, 100), (1, 400), (2, 1000))]
    world.clock.advance(1000)
    assert [verdicts(handle) for handle in handles] == [["LATE"], ["LATE"], ["OK"]]
    lates = [handle.report().members[0].late_ms for handle in handles[:2]]
    assert lates == pytest.approx([200, 100])
    assert [h.report().members[0].ran_ms for h in handles] == pytest.approx([300, 500, 0])


def test_stop_finishes_what_is_queued_and_what_runs(world: World) -> None:
    """Then all the workers' threads end, and the producer's own last of all."""
    world.clock.settle()
    before = threading.active_count()
    producer = crew(world, 3)
    world.clock.settle()
    assert threading.active_count() == before + 3
    handles = [keyed(world, key, n) for n, key in enumerate("aabbc")]
    producer.stop()
    for handle in handles:
        assert handle.results() == ["done"]
    producer.join()
    assert threading.active_count() == before
    handle = world.send("too late")
    handle.wait()
    assert verdicts(handle) == ["DECLINED"]


def test_a_worker_that_dies_takes_its_request_with_it_and_nothing_else(world: World) -> None:
    """The others serve on; if the first dies, the producer is dead, and who runs still answers."""
    producer = crew(world, 2, answers(0, after_ms=100), dies(after_ms=50), answers(1, after_ms=10))
    handles = [keyed(world, "b" if n % 2 else "a", n) for n in range(4)]
    world.clock.advance(1000)
    words = [verdicts(handle) for handle in handles]
    assert words[1] == ["MISSING(DEAD)"]
    assert producer.is_alive()
    assert [words[n] for n in (0, 2, 3)] == [["OK"]] * 3


def test_the_first_worker_may_die(world: World) -> None:
    """What waits is judged as dead; who runs answers."""
    script = [dies(after_ms=50), answers("other", after_ms=200), answers("never")]
    before = threading.active_count()
    producer = crew(world, 2, *script)
    handles = [world.send(n, ttl=None) for n in range(3)]
    world.clock.advance(1000)
    assert [verdicts(handle) for handle in handles] == [
        ["MISSING(DEAD)"],
        ["OK"],
        ["MISSING(DEAD)"],
    ]
    assert not producer.is_alive()
    assert threading.active_count() <= before


def test_workers_of_a_guest_serve_both_dispatchers(world: World) -> None:
    """Keys are those of one dispatcher."""
    second = world.second()
    producer = crew(world, 3)
    second.register_result_producer(producer, "t")
    handles = [keyed(world, "a", 0), keyed(world, "a", 1)]
    handles += [second.options(ordering_key="a", ttl=None).send_request("t", n) for n in (2, 3)]
    for handle in handles:
        assert handle.results() == ["done"]
    assert begun(producer) == {0: 0, 1: 100, 2: 0, 3: 100}


def test_workers_may_stream(world: World) -> None:
    """Each its own request."""

    class Stream(Producer):
        def produce_dispatcher_output(self, topic: Any, n: int) -> Any:
            for part in range(3):
                world.clock.sleep(0.1)
                yield (n, part)

    producer = world.cast(Stream(stream=True, workers=2))
    world.dispatcher.register_result_producer(producer, "t", start=True)
    handles = [world.send(n) for n in range(2)]
    assert [handle.results() for handle in handles] == [
        [(n, part) for part in range(3)] for n in range(2)
    ]
    assert world.clock.now() == pytest.approx(0.3)


def test_a_predicate_is_asked_before_its_worker_goes_on(world: World) -> None:
    """The others do not wait for it."""
    producer = crew(world, 2, answers(1, after_ms=10))

    def slow(replies: Any) -> bool:
        world.clock.sleep(1)
        return True

    handle = world.dispatcher.options(need=Until(slow), ttl=None).send_request("t", 0)
    others = [world.send(n, ttl=None) for n in (1, 2, 3)]
    for other in others:
        other.wait()
    assert not handle.done()
    assert handle.results() == [1]
    assert begun(producer) == {0: 0, 1: 0, 2: 10, 3: 20}


def test_started_before_it_is_registered(world: World) -> None:
    """It has no home before that, and one worker."""
    producer = world.cast(ScriptedProducer(answers(1, after_ms=100), workers=2))
    producer.start()
    world.dispatcher.register_result_producer(producer, "t")
    handles = [world.send(n) for n in range(2)]
    assert [handle.results() for handle in handles] == [[1], [1]]
    assert world.clock.now() == pytest.approx(0.1)


def test_it_may_be_stopped_before_it_is_registered_or_started(world: World) -> None:
    """As every producer."""
    for start in (True, False):
        producer = ScriptedProducer(workers=3)
        if start:
            producer.start()
        producer.stop()
        if start:
            producer.join(rig.PATIENCE)
        assert not producer.is_alive()


@pytest.mark.parametrize("bad", [0, -1, True, 2.0, "2", None], ids=repr)
def test_workers_is_a_number_from_one_on(bad: Any) -> None:
    """A mistake at the constructor."""
    with pytest.raises((TypeError, ValueError), match="workers must be"):
        Producer(workers=bad)


def test_a_key_must_be_hashable(world: World) -> None:
    """A mistake at the call."""
    with pytest.raises(TypeError, match="ordering_key must be hashable, not list"):
        world.dispatcher.options(ordering_key=[])


def test_nothing_is_kept_of_a_key(world: World) -> None:
    """When nobody uses it any more; it is compared on the thread of the call alone."""

    class Key:
        def __eq__(self, other: object) -> bool:
            assert threading.current_thread() is main
            return isinstance(other, Key)

        def __hash__(self) -> int:
            assert threading.current_thread() is main
            return 1

    main = threading.current_thread()
    producer = crew(world, 2)
    keys = [Key(), Key()]
    references = [weakref.ref(key) for key in keys]
    for n, key in enumerate(keys):
        keyed(world, key, n)
    del keys, key
    world.clock.advance(1000)
    assert begun(producer) == {0: 0, 1: 100}
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    keyed(world, "other", 2)
    assert inside.known_keys(world.dispatcher) == 1


def test_a_hung_worker_is_shown_where_it_is() -> None:
    """With ``diagnose=True``, also if it is not the first."""
    world = World(diagnose=True)
    producer = world.cast(rig.Answer(lambda topic: world.clock.sleep(1), workers=2))
    world.dispatcher.register_result_producer(producer, "t", start=True)
    handles = [world.send(ttl=100) for n in range(2)]
    for handle in handles:
        handle.wait()
        assert "in produce_dispatcher_output" in (handle.report().members[0].stack or "")
        assert "in <lambda>" in (handle.report().members[0].place or "")
    world.close()


# -- real threads ------------------------------------------------------------------------------


class Checked(Producer):
    """Notices when two requests of one key are in it at once, or in the wrong order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.guard = threading.Lock()
        self.inside: Dict[Any, int] = {}
        self.order: Dict[Any, List[int]] = {}
        self.most = 0
        self.wrong: List[Any] = []

    def produce_dispatcher_output(self, topic: Any, key: Any, n: int) -> Any:
        with self.guard:
            if key is not None and self.inside.get(key):
                self.wrong.append(key)
            self.inside[key] = self.inside.get(key, 0) + 1
            self.order.setdefault(key, []).append(n)
            self.most = max(self.most, sum(self.inside.values()))
        time.sleep(0)
        with self.guard:
            self.inside[key] -= 1
        return key


@pytest.mark.usefixtures("pace")
def test_keys_on_real_threads() -> None:
    """In order and apart, whoever sends; nobody is forgotten."""
    with Dispatcher() as dispatcher:
        producer = Checked(workers=4)
        dispatcher.register_result_producer(producer, "t", start=True)
        handles: List[Any] = []

        def send(key: Any) -> None:
            sender = dispatcher.options(ordering_key=key, ttl=None)
            handles.extend([sender.send_request("t", key, n) for n in range(150)])

        threads = [threading.Thread(target=send, args=(key,)) for key in ("a", "b", "c", None)]
        for thread in threads:
            thread.start()
        rig.over(*threads)
        rig.ended(*handles)
        assert len(handles) == 600
        rig.sums_add_up(dispatcher)
        assert producer.wrong == []
        assert [producer.order[key] for key in "abc"] == [list(range(150))] * 3
    assert not producer.is_alive()


def test_no_wake_up_is_lost_among_workers() -> None:
    """One request at a time, or two, to workers that have all parked."""
    with Dispatcher() as dispatcher:
        producer = Checked(workers=3)
        dispatcher.register_result_producer(producer, "t", start=True)
        for n in range(1500):
            pair = [dispatcher.send_request("t", None, n, ttl=None) for _ in range(1 + n % 3)]
            rig.ended(*pair)
        rig.sums_add_up(dispatcher)


def test_workers_run_at_the_same_time_on_real_threads() -> None:
    """All of them are in the method at once."""
    barrier = threading.Barrier(3)
    with Dispatcher() as dispatcher:
        producer = rig.Answer(lambda topic: barrier.wait(rig.PATIENCE), workers=3)
        dispatcher.register_result_producer(producer, "t", start=True)
        handles = [dispatcher.send_request("t", ttl=None) for _ in range(3)]
        assert sorted(value for handle in handles for value in handle.results()) == [0, 1, 2]


@pytest.mark.thorough
def test_a_thousand_keys_wait_and_are_called_off_quickly() -> None:
    """What has ended on the shelves is cleared away, not looked for again and again."""
    with Dispatcher() as dispatcher:
        producer = rig.Gated(workers=2)
        dispatcher.register_result_producer(producer, "t", start=True)
        sender = dispatcher.options(ordering_key="k", ttl=None)
        first = sender.send_request("t", "first")
        rig.came(producer.entered)
        handles = [sender.send_request("t", n) for n in range(20_000)]
        began = time.perf_counter()
        for handle in handles:
            handle.cancel()
        rig.ended(*handles)
        while inside.backlog(producer) >= 100:
            # Bit by bit, behind other orders.
            rig.settle(dispatcher)
            assert time.perf_counter() - began < 10
        producer.gate.set()
        rig.ended(first)


def test_a_producer_that_gets_no_more_threads_works_with_fewer(
    world: World, caplog: Any, monkeypatch: Any
) -> None:
    """And says so."""

    def refuses(*_: Any) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr(*seams.SPAWN, refuses)
    crew(world, 3)
    handles = [world.send(n, ttl=FOREVER) for n in range(2)]
    assert [handle.results() for handle in handles] == [["done"], ["done"]]
    assert world.clock.now() == pytest.approx(0.2)
    assert ["with fewer threads" in r.getMessage() for r in logged(caplog, logging.WARNING)] == [
        True
    ]


# -- what a worker sees to before it sleeps ----------------------------------------------------


class Slow(logging.Handler):
    """Keeps who logs an error until its gate is opened."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.entered = threading.Event()
        self.gate = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        assert self.gate.wait(2 * rig.PATIENCE)


@pytest.mark.parametrize("workers", [2, 4])
def test_a_worker_that_is_kept_by_a_log_handler_keeps_no_other(workers: int) -> None:
    """It has raised, and is not parked yet: whoever sleeps is woken for what comes."""

    def produce(topic: Any, what: str = "") -> str:
        if what == "raises":
            raise ValueError(what)
        return what

    handler, logger = Slow(), logging.getLogger("ate_dispatcher")
    logger.addHandler(handler)
    try:
        with Dispatcher() as dispatcher:
            producer = rig.Answer(produce, workers=workers)
            dispatcher.register_result_producer(producer, "t", start=True)
            rig.settle(dispatcher)
            dispatcher.send_request("t", "raises", ttl=None)
            rig.came(handler.entered)
            for _ in range(3):
                handle = dispatcher.send_request("t", "quick", ttl=None)
                assert handle.results(timeout=rig.PATIENCE / 6) == ["quick"]
            handler.gate.set()
    finally:
        handler.gate.set()
        logger.removeHandler(handler)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_waits_behind_an_error_is_not_begun_while_that_is_logged(workers: int) -> None:
    """It is in the mailbox, and says so."""
    handler, logger = Slow(), logging.getLogger("ate_dispatcher")
    logger.addHandler(handler)
    gate = threading.Event()

    def produce(topic: Any, what: str) -> None:
        assert gate.wait(2 * rig.PATIENCE)
        if what == "raises":
            raise ValueError(what)
        assert last.wait(2 * rig.PATIENCE)

    last = threading.Event()
    try:
        with Dispatcher() as dispatcher:
            producer = rig.Answer(produce, workers=workers)
            dispatcher.register_result_producer(producer, "t", start=True)
            # The others are at something else, so the one that raises would take it.
            first = dispatcher.send_request("t", "raises", ttl=None)
            others = [dispatcher.send_request("t", "hangs", ttl=None) for _ in range(workers - 1)]
            behind = dispatcher.send_request("t", "hangs", ttl=None)
            gate.set()
            rig.came(handler.entered)
            assert first.done()
            line = rig.only(behind)
            assert line.standing is Standing.QUEUED
            last.set()
            handler.gate.set()
            rig.ended(behind, *others)
    finally:
        gate.set()
        last.set()
        handler.gate.set()
        logger.removeHandler(handler)
