"""What is a user's is let go of where it keeps nobody: never inside the section, never by the
dispatcher's own thread.

Seen from outside: the finalizer of a thing does not come back, and meanwhile others are answered,
and deadlines end what is due. Each case is a way in which the package comes to hold a thing last.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
import weakref
from typing import Any, Callable, Iterator, List

import inside
import pytest
from rig import PATIENCE, Answer, Gated, all_told, came, ended, over, settle
from virtual import bare_logger

from ate_dispatcher import Dispatcher, Producer, Until

__all__ = ["bare_logger"]

# -- the thing, and who holds it ---------------------------------------------------------------

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="there what a thread has made is let go of by that thread, whenever it comes to it",
)


class Grave:
    """Where the finalizers of clinging things stay until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.by: List[threading.Thread] = []

    def here(self) -> None:
        self.by.append(threading.current_thread())
        self.entered.set()
        if self.by[-1] is not threading.main_thread():
            assert self.gate.wait(2 * PATIENCE), "nobody opened it"


class Clinging:
    """A thing whose finalizer does not come back."""

    def __init__(self, grave: Grave) -> None:
        self.grave = grave

    def __del__(self) -> None:
        self.grave.here()


class ClingingError(Exception):
    """The same, to be raised."""

    grave: Grave

    def __del__(self) -> None:
        self.grave.here()


class Forgetful(Producer):
    """Says that it is in its method, waits for its gate, and makes its answer then."""

    def __init__(self, make: Callable[[], Any] = lambda: None, **options: Any) -> None:
        super().__init__(**options)
        self.make = make
        self.entered = threading.Event()
        self.gate = threading.Event()

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        self.entered.set()
        assert self.gate.wait(2 * PATIENCE), "nobody opened the gate"
        return self.make()


class Scene:
    """A started dispatcher, one who hangs on topic "t", and the grave."""

    def __init__(self) -> None:
        self.grave = Grave()
        self.dispatcher = Dispatcher()
        self.dispatcher.start()
        self.gates: List[threading.Event] = []
        self.cast: List[Any] = []
        self.hung = self.add(Forgetful())

    def add(self, producer: Any, topic: Any = "t", start: bool = True) -> Any:
        self.dispatcher.register_result_producer(producer, topic, start=start)
        self.cast.append(producer)
        self.gates += [producer.gate] if hasattr(producer, "gate") else []
        return producer

    def thing(self) -> Clinging:
        return Clinging(self.grave)

    def error(self) -> ClingingError:
        error = ClingingError()
        error.grave = self.grave
        return error

    def hang(self) -> None:
        """Have the one who hangs begin."""
        self.dispatcher.options(ttl=None, only=self.hung).send_request("t")
        came(self.hung.entered)

    def close(self) -> None:
        self.grave.gate.set()
        for gate in self.gates:
            gate.set()
        self.dispatcher.stop(immediate=True)
        for each in self.cast:
            each.stop()
        over(self.dispatcher, *[each for each in self.cast if each.ident is not None])


@pytest.fixture
def scene() -> Iterator[Scene]:
    """One; at the end everybody is let go and stopped."""
    made = Scene()
    yield made
    made.close()


def nobody_is_kept(scene: Scene) -> None:
    """The thing is in its grave: meanwhile others are answered, and deadlines pass."""
    came(scene.grave.entered)
    assert scene.grave.by[0] is not threading.main_thread(), "the test was the last to hold it"
    answering = scene.add(Answer(lambda *_: "value"), "other")
    answered = scene.dispatcher.send_request("other", ttl=None)
    assert answered.wait(PATIENCE / 6), "a reply waits for a finalizer"
    silent = scene.add(Forgetful(), "silent")
    due = scene.dispatcher.send_request("silent", ttl=1)
    assert due.wait(PATIENCE / 6), "a deadline waits for a finalizer"
    cancelled = scene.dispatcher.send_request("silent", ttl=None)
    cancelled.cancel()
    assert cancelled.wait(PATIENCE / 6), "an order waits for a finalizer"
    del answering, silent


# -- the ways ----------------------------------------------------------------------------------


class Held:
    """The dispatcher's own thread, kept in front of its orders from now on until it is let go."""

    def __init__(self, scene: Scene) -> None:
        settle(scene.dispatcher)
        gate = self._gate = threading.Event()
        scene.gates.append(gate)
        inside.before_each_round(scene.dispatcher, lambda: gate.wait(2 * PATIENCE))

    def let_go(self) -> None:
        self._gate.set()


class Ways:
    """In which a thing comes to be held by the package alone, and is let go of."""

    @staticmethod
    def argument_of_what_was_answered(scene: Scene) -> None:
        """The next request is in the mailbox already when the answer is handed in."""
        producer = scene.add(Forgetful(), "a")
        scene.dispatcher.send_request("a", scene.thing(), ttl=None)
        scene.dispatcher.send_request("a", ttl=None)
        producer.gate.set()

    @staticmethod
    def keyword_of_what_was_answered(scene: Scene) -> None:
        producer = scene.add(Forgetful(), "a")
        scene.dispatcher.send_request("a", ttl=None, thing=scene.thing())
        scene.dispatcher.send_request("a", ttl=None)
        producer.gate.set()

    @staticmethod
    def value_that_nobody_wants(scene: Scene) -> None:
        scene.add(Answer(lambda *_: scene.thing()), "a")
        for _ in range(3):
            scene.dispatcher.send_request("a", ttl=None)

    @staticmethod
    def value_that_is_late(scene: Scene) -> None:
        producer = scene.add(Forgetful(scene.thing), "a")
        handle = scene.dispatcher.send_request("a", ttl=None)
        came(producer.entered)
        scene.dispatcher.send_request("a", ttl=None)
        handle.cancel()
        ended(handle)
        producer.gate.set()

    @staticmethod
    def values_of_those_who_came(scene: Scene) -> None:
        """One has answered, the other hangs: the deadline drops the answer."""
        began = threading.Event()
        scene.add(Answer(lambda *_: began.set() or scene.thing()))
        scene.hang()
        # Again, as who does not come to it in that time is skipped.
        scene.dispatcher.send_request("t", ttl=20)
        while not began.wait(0.1):
            scene.dispatcher.send_request("t", ttl=20)

    @staticmethod
    def error_that_nobody_wants(scene: Scene) -> None:
        def fail(*_: Any) -> None:
            raise scene.error()

        scene.add(Answer(fail), "a")
        for _ in range(3):
            scene.dispatcher.send_request("a", ttl=None)

    @staticmethod
    def argument_of_what_expired_in_a_mailbox(scene: Scene) -> None:
        scene.hang()
        scene.dispatcher.send_request("t", scene.thing(), ttl=5)

    @staticmethod
    def argument_of_what_expired_behind_another(scene: Scene) -> None:
        scene.hang()
        scene.dispatcher.send_request("t", ttl=None)
        scene.dispatcher.send_request("t", scene.thing(), ttl=5)

    @staticmethod
    def argument_of_what_was_cancelled(scene: Scene) -> None:
        scene.hang()
        scene.dispatcher.send_request("t", scene.thing(), ttl=None).cancel()

    @staticmethod
    def argument_of_what_was_withdrawn(scene: Scene) -> None:
        scene.hang()
        scene.dispatcher.send_request("t", scene.thing(), ttl=None)
        scene.dispatcher.disable(scene.hung)

    @staticmethod
    def argument_of_what_had_its_quorum(scene: Scene) -> None:
        scene.hang()
        scene.add(Answer(lambda *_: "value"))
        scene.dispatcher.options(ttl=None, need=1).send_request("t", scene.thing())

    @staticmethod
    def argument_of_what_a_producer_left_behind(scene: Scene) -> None:
        producer = scene.add(Forgetful(), "a", start=False)
        producer.stop()
        scene.dispatcher.send_request("a", scene.thing(), ttl=None)
        producer.start()

    @staticmethod
    def argument_sent_to_one_that_has_ended(scene: Scene) -> None:
        producer = scene.add(Answer(), "a")
        producer.stop()
        over(producer)
        scene.dispatcher.send_request("a", scene.thing(), ttl=None)

    @staticmethod
    def argument_of_a_barrier_that_nobody_reaches(scene: Scene) -> None:
        scene.hang()
        scene.add(Answer(lambda *_: None))
        scene.dispatcher.options(ttl=20, barrier=True).send_request("t", scene.thing())

    @staticmethod
    def value_of_a_stream(scene: Scene) -> None:
        def produce(*_: Any) -> Iterator[Any]:
            yield scene.thing()
            yield None

        scene.add(Answer(produce, stream=True), "a")
        scene.dispatcher.send_request("a", ttl=None)

    @staticmethod
    def predicate_of_a_policy(scene: Scene) -> None:
        thing = scene.thing()
        need = Until(lambda replies, thing=thing: False)
        del thing
        scene.hang()
        scene.dispatcher.options(ttl=5, need=need).send_request("t")

    @staticmethod
    def done_callback(scene: Scene) -> None:
        """It goes where callbacks are called; and is called."""
        thing = scene.thing()
        called = threading.Event()
        scene.hang()
        handle = scene.dispatcher.send_request("t", ttl=5)
        handle.add_done_callback(lambda _, thing=thing: called.set())
        del thing
        came(called)

    @staticmethod
    def topic_that_nobody_is_on_any_more(scene: Scene) -> None:
        topic = scene.thing()
        producer = scene.add(Forgetful(), topic)
        handle = scene.dispatcher.send_request(topic, ttl=None)
        scene.dispatcher.deregister_result_producer(producer, topic)
        # Only then: with a short ttl it may come too late to its method.
        came(producer.entered)
        handle.cancel()
        ended(handle)
        scene.cast.remove(producer)
        producer.gate.set()

    @staticmethod
    def topic_of_a_request_to_nobody(scene: Scene) -> None:
        handle = scene.dispatcher.send_request(scene.thing())
        ended(handle)
        held = Held(scene)
        handle.cancel()
        handle.add_done_callback(lambda _: None)
        del handle
        held.let_go()

    @staticmethod
    def ordering_key(scene: Scene) -> None:
        scene.hang()
        scene.dispatcher.options(ttl=5, ordering_key=scene.thing()).send_request("t")

    @staticmethod
    def value_that_an_order_was_the_last_to_know(scene: Scene) -> None:
        """Answered, and dropped, before the dispatcher's thread came to hear of its deadline."""
        scene.add(Answer(lambda *_: scene.thing()), "a")
        held = Held(scene)
        handle = scene.dispatcher.send_request("a", ttl=60_000)
        while not handle.done():
            time.sleep(0.001)
        del handle
        held.let_go()

    @staticmethod
    def value_that_a_cancel_was_the_last_to_know(scene: Scene) -> None:
        """Cancelled, but it was answered before."""
        producer = scene.add(Forgetful(scene.thing), "a")
        held = Held(scene)
        handle = scene.dispatcher.send_request("a", ttl=None)
        came(producer.entered)
        handle.cancel()
        producer.gate.set()
        while not handle.done():
            time.sleep(0.001)
        del handle
        held.let_go()

    @staticmethod
    def value_of_one_that_others_overtook(scene: Scene) -> None:
        """It waits among the arrivals, behind one that is open, until another one ends."""
        scene.add(Answer(lambda *_: scene.thing()), "a")
        scene.add(Answer(lambda *_: None), "b")
        held = Held(scene)
        # More than two looks at them take in.
        for _ in range(200):
            scene.dispatcher.send_request("t", ttl=None)
        handle = scene.dispatcher.send_request("a", ttl=None)
        while not handle.done():
            time.sleep(0.001)
        del handle
        for _ in range(2):
            ended(scene.dispatcher.send_request("b", ttl=None))
        held.let_go()


WAYS = [each for each in vars(Ways) if not each.startswith("_")]


@pytest.mark.parametrize("way", WAYS)
def test_a_finalizer_that_does_not_come_back_keeps_nobody(
    scene: Scene, way: str, bare_logger: Callable[..., None]
) -> None:
    """Neither a reply, nor a deadline, nor an order of somebody else."""
    # Pytest's own handlers keep what is logged.
    bare_logger(logging.NullHandler())
    getattr(Ways, way)(scene)
    nobody_is_kept(scene)


def test_a_finalizer_that_does_not_come_back_does_not_keep_a_stop(scene: Scene) -> None:
    """What a stop at once withdraws has one."""
    producer = scene.add(Gated(), "a")
    scene.dispatcher.send_request("a", ttl=None)
    came(producer.entered)
    scene.dispatcher.send_request("a", scene.thing(), ttl=None)
    other = scene.dispatcher.send_request("a", ttl=None)
    scene.dispatcher.stop(immediate=True)
    came(scene.grave.entered)
    ended(other)
    over(scene.dispatcher)


def test_a_producer_that_never_comes_back_keeps_no_dispatcher(scene: Scene) -> None:
    """Nor does one that was never started, although it owes an answer to each."""
    cast = [scene.hung, Forgetful()]
    scene.hang()
    engines = []
    for _ in range(5):
        dispatcher = Dispatcher()
        for each in cast:
            dispatcher.register_result_producer(each, "t")
        dispatcher.start()
        ended(*[dispatcher.send_request("t", ttl=1) for _ in range(2)])
        for each in cast:
            dispatcher.deregister_result_producer(each, "t")
        Dispatcher.stop(dispatcher)
        over(dispatcher)
        all_told(dispatcher)
        engines.append(weakref.ref(inside.engine_of(dispatcher)))
        del dispatcher
    gc.collect()
    assert [each for each in engines if each() is not None] == []
