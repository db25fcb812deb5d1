"""What is lost on the way between two parts is said again; on virtual time."""

from __future__ import annotations

from typing import Any, Iterator, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from parts import Parts, parts

from ate_dispatcher import Completion, Handle, Producer, Verdict

__all__ = ["parts"]


def verdicts(handle: Handle) -> List[Verdict]:
    return [each.verdict for each in handle.report().members]


class Far:
    """A producer on another part that counts what it begins."""

    def __init__(self, parts: Parts, ms: float = 20) -> None:
        self.begun: List[Any] = []
        parts.part("a")
        parts.part("b")
        parts.producer("b", ms, self._answers)

    def _answers(self, topic: Any, number: Any) -> Any:
        self.begun.append(number)
        return number


@pytest.fixture
def far(parts: Parts) -> Far:
    return Far(parts)


def test_an_answer_that_is_lost_is_said_again(parts: Parts, far: Far) -> None:
    """Nobody has noticed that: who waits says from time to time how much it has heard."""
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(10)
    parts.wire.lose(1, "b", "a")
    parts.clock.advance(450)
    assert handle.done()
    assert (verdicts(handle), handle.results()) == ([Verdict.OK], [1])
    assert far.begun == [1]


def test_a_request_that_is_lost_is_said_again(parts: Parts, far: Far) -> None:
    parts.wire.lose(1, "a", "b")
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(450)
    assert (verdicts(handle), far.begun) == ([Verdict.OK], [1])


@pytest.mark.parametrize(
    ("who", "at"), [("a", 0), ("a", 3), ("a", 10), ("a", 28), ("b", 10), ("b", 22), ("b", 28)]
)
def test_what_was_on_its_way_in_a_cut_arrives_after_it(
    parts: Parts, far: Far, who: str, at: float
) -> None:
    """Whoever of the two was cut off, and whatever was lost by that; it is executed once."""
    parts.wire.delay(5)
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(at)
    parts.wire.cut(who)
    parts.clock.advance(3)
    parts.wire.heal(who)
    parts.clock.advance(60)
    assert (verdicts(handle), handle.results()) == ([Verdict.OK], [1])
    assert far.begun == [1]


class Sweeps(Producer):
    """Five values, one in 10 ms."""

    def __init__(self, clock: Any) -> None:
        super().__init__(stream=True)
        self._clock = clock

    def produce_dispatcher_output(self, topic: Any) -> Iterator[int]:
        for number in range(5):
            self._clock.sleep(0.01)
            yield number


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("at", [15, 35])
def test_no_value_of_a_stream_is_lost(parts: Parts, number: int, at: float) -> None:
    """Nor doubled, nor does one come before another."""
    parts.part("a")
    parts.part("b")
    parts.dispatchers["b"].register_result_producer(Sweeps(parts.clock), "volts", start=True)
    parts.clock.advance(1)
    handle = parts.ask("a", ttl=None)
    parts.clock.advance(at)
    parts.wire.lose(number, "b", "a")
    parts.clock.advance(1000)
    assert handle.results() == [0, 1, 2, 3, 4]
    assert handle.completion is Completion.ALL_REPLIED


def test_what_has_ended_meanwhile_is_not_said_again(parts: Parts, far: Far) -> None:
    parts.wire.lose(1, "a", "b")
    first = parts.ask("a", 1, ttl=None)
    parts.clock.advance(10)
    first.cancel()
    second = parts.ask("a", 2, ttl=None)
    parts.clock.advance(450)
    assert (verdicts(first), verdicts(second)) == ([Verdict.CANCELLED], [Verdict.OK])
    assert far.begun == [2]


def test_what_is_lost_beyond_what_is_kept_is_given_up(
    parts: Parts, far: Far, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for what will not come, and what follows is answered as ever."""
    parts.wire.lose(100_000, "b", "a")
    handles = [parts.ask("a", "x" * 1_000_000, ttl=None) for _ in range(20)]
    parts.clock.advance(450)
    parts.wire.lose(0, "b", "a")
    parts.clock.advance(1000)
    assert [verdicts(each) for each in handles] == [[Verdict.GONE]] * 20
    assert "20 answers are given up" in caplog.text
    handle = parts.ask("a", 2, ttl=None)
    parts.clock.advance(100)
    assert (verdicts(handle), handle.results()) == ([Verdict.OK], [2])


def test_a_request_beyond_what_is_kept_is_given_up(parts: Parts, far: Far) -> None:
    parts.wire.lose(100_000, "a", "b")
    handles = [parts.ask("a", "x" * 1_000_000, ttl=None) for _ in range(20)]
    parts.clock.advance(150)
    parts.wire.lose(0, "a", "b")
    parts.clock.advance(1000)
    assert [verdicts(each) for each in handles] == [[Verdict.GONE]] * 20
    assert far.begun == []
    handle = parts.ask("a", 2, ttl=None)
    parts.clock.advance(100)
    assert (verdicts(handle), handle.results()) == ([Verdict.OK], [2])


TROUBLES = some.lists(
    some.tuples(
        some.sampled_from(["ask", "lose", "repeat", "cut", "heal", "delay"]),
        some.sampled_from([("a", "b"), ("b", "a")]),
        some.integers(0, 40),
    ),
    max_size=25,
)


@given(TROUBLES)
@settings(deadline=None, max_examples=40)
def test_whatever_is_lost_for_a_while_every_request_is_answered_once(troubles: Any) -> None:
    """As long as nobody is gone; and no request is executed twice."""
    made = Parts()
    try:
        far = Far(made)
        handles: List[Handle] = []
        for what, (sender, to), ms in troubles:
            if what == "ask":
                handles.append(made.ask("a", len(handles), ttl=None))
            elif what == "lose":
                made.wire.lose(ms // 10, sender, to)
            elif what == "repeat":
                made.wire.repeat(ms // 10, sender, to)
            elif what == "delay":
                made.wire.delay(ms, sender, to)
            elif what == "cut" and sender == "a":
                # Who is asked of one that is cut off hears that nobody is there.
                made.wire.cut(sender)
            else:
                made.wire.heal("a")
            made.clock.advance(ms)
        made.wire.heal("a")
        for sender, to in (("a", "b"), ("b", "a")):
            made.wire.lose(0, sender, to)
        made.clock.advance(3000)
        assert [each.done() for each in handles] == [True] * len(handles)
        assert [each.results() for each in handles] == [[n] for n in range(len(handles))]
        assert sorted(far.begun) == list(range(len(handles)))
    finally:
        made.tidy()
