"""A fact that cannot be, such as a second answer, is refused and told, and changes nothing."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import inside
import pytest
from rig import PATIENCE, Answer, came, ended, only, over, settle, sums_add_up
from virtual import FOREVER, World, logged, verdicts, world

from ate_dispatcher import Completion, Dispatcher, Standing, Verdict
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._engine.gather import tell
from ate_dispatcher._engine.process import SECTION
from ate_dispatcher._time.clock import RealClock

__all__ = ["world"]

# -- the inside --------------------------------------------------------------------------------


def told(dispatcher: Dispatcher, fact: str, handle: Any, producer: Any, *data: Any) -> None:
    """Tell the ledger a *fact* about *handle* and *producer*, as a thread of ours would."""

    def again(ledger: Ledger, request: Any, member: Any, now: float) -> int:
        effects: int = getattr(ledger, fact)(request, member, *data, now)
        return effects

    tell(inside.engine_of(dispatcher), again, handle, inside.member_of(producer))


class AtTheDoor:
    """Holds a producer's thread that has an answer, in front of the section."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.whose: Any = None
        self.held, self.gate = threading.Event(), threading.Event()
        enter = SECTION.enter

        def enters() -> None:
            if self.whose is threading.current_thread():
                self.whose = None
                self.held.set()
                assert self.gate.wait(2 * PATIENCE), "nobody let it in"
            enter()

        patch.setattr(SECTION, "enter", enters)


# -- a fact that cannot be is refused (11) -----------------------------------------------------

FACTS = [
    ("replied", "a copy", None),
    ("replied", None, ValueError("a copy")),
    ("streamed", "a copy"),
    ("finished",),
    ("declined",),
    ("withdrawn",),
    ("died",),
]
ALL_FACTS = pytest.mark.parametrize("fact", FACTS, ids=lambda fact: "-".join(map(str, fact))[:18])


@ALL_FACTS
def test_a_second_verdict_of_one_is_not_the_verdict_of_another(
    world: World, caplog: pytest.LogCaptureFixture, fact: Any
) -> None:
    """Two copies of one reply do not end a request of two; somebody is told."""
    first = world.producer(0, "value", name="first")
    world.producer(100, "value", name="second")
    handle = world.send()
    world.clock.settle()
    before = handle.report().members[0]
    told(world.dispatcher, fact[0], handle, first, *fact[1:])
    assert handle.completion is None
    assert handle.report().members[0] == before
    assert verdicts(handle) == ["OK", "open(RUNNING)"]
    world.clock.settle()
    (record,) = logged(caplog, logging.WARNING)
    assert f"request {handle.id}" in record.getMessage()
    handle.wait()
    assert handle.completion is Completion.ALL_REPLIED
    assert handle.report().count(Verdict.OK) == 2
    assert handle.results() == ["value", "value"]


@ALL_FACTS
@pytest.mark.parametrize("verdict", ["DECLINED", "WITHDRAWN"])
def test_a_verdict_without_a_reply_is_the_last_one_too(
    world: World, verdict: str, fact: Any
) -> None:
    """Whatever is said later about a member that was declined or withdrawn changes nothing."""
    first = world.producer(FOREVER, name="first", start=False)
    world.producer(100, name="second")
    handle = world.send()
    world.clock.settle()
    told(world.dispatcher, verdict.lower(), handle, first)
    assert verdicts(handle) == [verdict, "open(RUNNING)"]
    told(world.dispatcher, fact[0], handle, first, *fact[1:])
    assert verdicts(handle) == [verdict, "open(RUNNING)"]
    handle.wait()
    assert verdicts(handle) == [verdict, "OK"]


@ALL_FACTS
def test_a_late_answer_is_judged_once(world: World, fact: Any) -> None:
    """After the end, too, a copy changes nothing."""
    producer = world.producer(200)
    handle = world.send(ttl=100)
    world.clock.advance(300)
    assert verdicts(handle) == ["LATE"]
    before = world.dispatcher.statistics()
    told(world.dispatcher, fact[0], handle, producer, *fact[1:])
    assert verdicts(handle) == ["LATE"]
    assert world.dispatcher.statistics() == before


# -- and one that can be is not ----------------------------------------------------------------


class Jumping(RealClock):
    """Real time, which may jump."""

    offset = 0.0

    def now(self) -> float:  # type: ignore[override]
        return time.perf_counter() + self.offset


def value(topic: Any) -> str:
    """A plain answer."""
    return "value"


def error(topic: Any) -> str:
    """An error."""
    raise ValueError("an answer too")


def stream(topic: Any) -> Any:
    """A generator that comes to its end."""
    return iter_of_nothing()


def iter_of_nothing() -> Any:
    """Nothing, bit by bit."""
    yield from ()


@pytest.mark.parametrize("answer", [value, error, stream])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("end", [Completion.CANCELLED, Completion.DEADLINE, Completion.STOPPED])
def test_an_answer_that_the_end_has_overtaken_is_judged(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: Any,
    workers: int,
    end: Completion,
) -> None:
    """The method has returned, and before its thread is in the section the request ends: the
    answer is late, or surplus, and nobody is told of anything else.
    """
    door, clock = AtTheDoor(monkeypatch), Jumping()
    dispatcher = Dispatcher(clock=clock)

    def produce(topic: Any) -> Any:
        door.whose = threading.current_thread()
        return answer(topic)

    producer = Answer(produce, workers=workers, stream=True)
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.start()
    handle = dispatcher.send_request("t", ttl=600_000)
    came(door.held)
    if end is Completion.DEADLINE:
        clock.offset = 1000
        settle(dispatcher)
    elif end is Completion.CANCELLED:
        handle.cancel()
    elif end is Completion.STOPPED:
        dispatcher.stop(immediate=True)
    ended(handle)
    assert handle.completion is end
    assert only(handle).standing is Standing.RUNNING
    door.gate.set()
    dispatcher.stop()
    over(dispatcher, producer)
    late = end is Completion.DEADLINE
    assert only(handle).verdict is (Verdict.LATE if late else Verdict.SURPLUS)
    told = [each.getMessage() for each in logged(caplog, logging.WARNING)]
    # Of what `settle` sends.
    assert [text for text in told if "nobody is registered" not in text] == []
    sums_add_up(dispatcher)
