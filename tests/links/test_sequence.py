"""What is lost on the way between two parts is said again; on virtual time."""

from __future__ import annotations

from typing import Any, Iterator, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from parts import Parts, parts
from test_hostile import Stranger, here

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
    assert parts.counted("b", "dropped") == 0


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


def test_what_is_asked_for_in_vain_is_asked_for_again_after_a_cut(parts: Parts, far: Far) -> None:
    """At once, not when it would have been anyway."""
    parts.wire.delay(5)
    parts.wire.lose(1, "b", "a")
    handles = [parts.ask("a", number, ttl=None) for number in (1, 2)]
    parts.clock.advance(12)
    parts.wire.lose(1, "a", "b")
    # The second answer has come, and what is missing before it is asked for.
    parts.clock.advance(40)
    assert parts.counted("a", "gaps") == 1
    parts.wire.cut("a")
    parts.clock.advance(3)
    parts.wire.heal("a")
    parts.clock.advance(30)
    assert [each.results(timeout=0) for each in handles] == [[1], [2]]


def test_what_comes_twice_is_taken_once_and_nothing_is_asked_for(parts: Parts, far: Far) -> None:
    parts.wire.repeat(50)
    handles = [parts.ask("a", number) for number in range(3)]
    parts.clock.advance(500)
    assert [each.results() for each in handles] == [[0], [1], [2]]
    assert far.begun == [0, 1, 2]
    for part in "ab":
        assert parts.counted(part, "duplicates") > 0
        assert (parts.counted(part, "gaps"), parts.counted(part, "sent_again")) == (0, 0)


def messages(stranger: Stranger) -> List[List[Any]]:
    """The series and the number of each that it has heard since it was asked last."""
    heard, stranger.heard = stranger.heard, []
    return [frame[1:] for frame in heard if frame[0] == "seq"]


@pytest.mark.parametrize("series", [1, (1 << 53) - 1], ids=["old", "forged"])
def test_a_series_that_nobody_continues_keeps_nobody_from_being_heard(
    parts: Parts, far: Far, series: int
) -> None:
    """What a frozen server lets out late is passed over; for something forged we ask for more."""
    assert parts.ask("a", 1).results() == [1]
    Stranger(parts, "b").wire.send("a", b'["seq",%d,1]\n["bye","nobody"]' % series)
    parts.clock.advance(5)
    handles = [parts.ask("a", number, ttl=None) for number in (2, 3)]
    parts.clock.advance(600)
    done = [each.done() for each in handles]
    assert done == [True, True]
    if series == 1:
        assert [each.results() for each in handles] == [[2], [3]]
    parts.clock.advance(400)
    assert parts.ask("a", 4).results() == [4]


def test_who_asks_again_and_again_is_served_a_few_times(parts: Parts, far: Far) -> None:
    """Nobody has a part say so much that it has no time, and no memory, for others."""
    stranger = Stranger(parts)
    stranger.say(here())
    parts.clock.advance(5)
    ((series, _), *_) = messages(stranger)
    for _ in range(100):
        stranger.wire.send("a", b'["resend",%d,1]' % series)
    parts.clock.advance(5)
    assert 1 <= len(messages(stranger)) <= 3


def test_what_was_said_long_ago_is_not_kept(parts: Parts, far: Far) -> None:
    """Who asks for it hears something new instead."""
    stranger = Stranger(parts)
    stranger.say(here())
    parts.clock.advance(5)
    ((series, _), *_) = messages(stranger)
    for second in range(13):
        stranger.say(b'["beat","i",1,0,%d.5]' % second)
        parts.clock.advance(1000)
    messages(stranger)
    stranger.wire.send("a", b'["resend",%d,1]' % series)
    parts.clock.advance(5)
    assert messages(stranger) == [[series + 1, 1]]


def test_what_is_said_to_who_has_left_is_not_kept(parts: Parts, far: Far) -> None:
    stranger = Stranger(parts)
    stranger.say(here(), b'["bye","i"]')
    parts.clock.advance(5)
    messages(stranger)
    stranger.say(b'["ask",1,null,1.5,"volts",[1],[],{},{}]')
    parts.clock.advance(5)
    assert ["not", 1, 1, "declined"] in stranger.heard
    assert messages(stranger) == []


def test_who_was_gone_for_one_side_alone_begins_nothing_of_what_that_has_asked(
    parts: Parts,
) -> None:
    """Though the word to stop was lost as well: that it begins anew says so."""
    far = Far(parts, ms=6000)
    parts.ask("a", 1, ttl=None)
    handle = parts.ask("a", 2, ttl=None)
    parts.clock.advance(500)
    parts.wire.lose(100_000, "b", "a")
    parts.clock.advance(2500)
    parts.wire.lose(100_000, "a", "b")
    parts.clock.advance(1500)
    assert verdicts(handle) == [Verdict.GONE]
    parts.wire.lose(0, "b", "a")
    parts.wire.lose(0, "a", "b")
    parts.clock.advance(10_000)
    assert "b" in parts.connections["a"].parts
    assert parts.counted("b", "gone") == 0
    assert far.begun == [1]


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
