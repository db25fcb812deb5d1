"""What is lost on the way between two parts is said again; on virtual time."""

from __future__ import annotations

import json
import random
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from parts import NAMESPACE, Parts, parts
from test_hostile import Stranger, here

from ate_dispatcher import Completion, Handle, Producer, ResultListener, Verdict
from ate_dispatcher.links import frames, sequence
from ate_dispatcher.links.sequence import Sequences, Taken
from ate_dispatcher.testing import Wire, WireTransport

__all__ = ["parts"]


def verdicts(handle: Handle) -> List[Verdict]:
    return [each.verdict for each in handle.report().members]


class Far:
    """A producer on another part that counts what it begins."""

    def __init__(self, parts: Parts, ms: float = 20) -> None:
        self.begun: List[Any] = []
        parts.part("a")
        parts.part("b")
        parts.producer("b", ms, self._answers, name="far")

    def _answers(self, topic: Any, number: Any) -> Any:
        self.begun.append(number)
        return number


class Recorder(ResultListener):
    """What it hears, and that there was an end."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: List[Any] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard.append(response)

    def process_dispatcher_completion(self, topic: Any, report: Any) -> None:
        self.heard.append("the end")


class DeafeningWire(Wire):
    """On which a part may hear what is said to all, and not what another says to it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf: Set[Tuple[str, str]] = set()

    def carry(
        self, sender: WireTransport, to: Optional[str], payload: bytes, hears: bool = False
    ) -> None:
        if to is None or (sender.part, to) not in self.deaf:
            super().carry(sender, to, payload, hears)


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


def test_what_was_asked_for_twice_is_begun_if_the_first_time_was_before_the_end(
    parts: Parts,
) -> None:
    """Behind the end nobody knows from that whether it was taken meanwhile: who was asked does."""
    far = Far(parts, 5_000)
    parts.wire.delay(250)
    parts.clock.advance(3_000)
    parts.wire.lose(1, "a", "b")
    handle = parts.ask("a", 1, ttl=1_000)
    parts.clock.advance(4_000)
    assert parts.counted("a", "sent_again") > 5
    assert verdicts(handle) == [Verdict.MISSING]
    parts.clock.advance(5_000)
    assert (verdicts(handle), far.begun) == ([Verdict.LATE], [1])


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_what_is_missed_until_it_has_ended_is_known_to_be_skipped(
    parts: Parts, far: Far, how: str
) -> None:
    parts.wire.lose(1, "a", "b")
    handle = parts.ask("a", 1, ttl=10)
    parts.clock.advance(5)
    if how == "cancel":
        handle.cancel()
    parts.clock.advance(10)
    assert verdicts(handle) == [Verdict.CANCELLED if how == "cancel" else Verdict.MISSING]
    parts.ask("a", 2)
    parts.clock.advance(50)
    assert verdicts(handle) == [Verdict.CANCELLED if how == "cancel" else Verdict.SKIPPED]
    assert far.begun == [2]


def test_what_has_ended_is_not_begun_when_it_is_said_again_to_who_heard_all_late(
    parts: Parts,
) -> None:
    """It has nothing in it; of the clock of who asks that one knows no more than a late word."""
    parts.part("b")
    begun: List[Any] = []
    parts.producer("b", 0, lambda topic, *values: begun.append(values))
    parts.wire.delay(3_000, "a", "b")
    parts.part("a")
    parts.wire.lose(100_000, "a", "b")
    parts.clock.advance(3_300)
    assert parts.connections["b"].parts == ("a",)
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(1)
    handle.cancel()
    parts.clock.advance(1)
    parts.wire.lose(0, "a", "b")
    parts.wire.delay(0, "a", "b")
    parts.ask("a", 2, ttl=None)
    parts.clock.advance(600)
    assert begun == [(2,)]
    assert verdicts(handle) == [Verdict.CANCELLED]


@pytest.mark.parametrize("way", ["ab", "ba"], ids=["requests", "answers"])
def test_however_much_is_lost_on_the_way_is_said_again(parts: Parts, far: Far, way: str) -> None:
    parts.clock.advance(10)
    parts.wire.lose(100_000, *way)
    handles = [parts.ask("a", [each, "x" * 1_000_000], ttl=None) for each in range(40)]
    parts.clock.advance(850)
    parts.wire.lose(0, *way)
    parts.clock.advance(2_500)
    assert [verdicts(each) for each in handles] == [[Verdict.OK]] * 40
    assert [number for number, _ in far.begun] == list(range(40))


def test_what_a_stranger_has_missed_beyond_what_is_kept_is_given_up(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """One that does not say what it takes. What follows is answered as ever."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(topics={"volts": [1]}, names={"1": "far"}))
    parts.clock.advance(5)
    ((series, _), *_) = messages(stranger)
    handles = []
    for _ in range(20):
        handles.append(parts.ask("a", "x" * 1_000_000, ttl=None))
        parts.clock.settle()
    parts.clock.advance(5)
    assert len(messages(stranger)) == 20
    stranger.wire.send("a", b'["resend",%d,2,7]' % series)
    parts.clock.advance(5)
    assert [verdicts(each) for each in handles] == [[Verdict.GONE]] * 20
    assert "20 answers are given up" in caplog.text
    handle = parts.ask("a", 2, ttl=None)
    parts.clock.advance(5)
    number = next(frame[1] for frame in stranger.heard if frame[0] == "ask")
    stranger.wire.send("a", b'["ans",%d,1,0,0,2]' % number)
    parts.clock.advance(5)
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
    return [frame[1:3] for frame in heard if frame[0] == "seq"]


def introduced(parts: Parts) -> Tuple[Stranger, int]:
    """One that is known to the parts, and the series in which it is spoken to."""
    stranger = Stranger(parts)
    stranger.say(here())
    parts.clock.advance(5)
    ((series, _), *_) = messages(stranger)
    return stranger, series


@pytest.mark.parametrize("series", [1, (1 << 53) - 1], ids=["old", "forged"])
def test_a_series_that_nobody_continues_keeps_nobody_from_being_heard(
    parts: Parts, far: Far, series: int
) -> None:
    """What a frozen server lets out late is passed over; for something forged we ask for more."""
    assert parts.ask("a", 1).results() == [1]
    Stranger(parts, "b").wire.send("a", b'["seq",%d,1,0]\n["bye","nobody"]' % series)
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
    stranger, series = introduced(parts)
    for _ in range(100):
        stranger.wire.send("a", b'["resend",%d,1,7]' % series)
    parts.clock.advance(5)
    assert 1 <= len(messages(stranger)) <= 3


def test_nothing_is_said_again_before_what_was_has_left(parts: Parts) -> None:
    """However long that takes: else it fills the memory of who says it. Then as long again."""
    parts.part("a")
    sequences = Sequences(Stranger(parts).wire)
    sequences.begin("a")
    series = json.loads(sequences.say_at_once("a", [b'["probe"]'], 9).split(b"\n")[0])[1]

    def asks(now: float) -> Any:
        return sequences.say_again("a", series, 1, 7, now, bytes)

    assert (asks(1.0), asks(5.0)) == (1, 0)
    sequences.look(6.0)
    assert (asks(6.01), asks(10.9), asks(11.0)) == (0, 0, 1)
    sequences.look(11.0)
    assert (asks(11.04), asks(11.05)) == (0, 1)


def test_nobody_begins_one_series_after_the_other(parts: Parts) -> None:
    """Each time all that was asked is looked through: a few times in a second, and no more."""
    parts.part("a")
    sequences = Sequences(Stranger(parts).wire)
    sequences.begin("a")
    ways = [partial(sequences.take, "a", ours=0), partial(sequences.pass_over, "a")]
    assert sequences.take("a", 1, 1, 0, 1.0) is Taken.YES
    for number, way in enumerate(ways, 1):
        first, later, latest = (number * 10 + each for each in range(3))
        assert sequences.take("a", first, 1, 0, now=10.0 * number) is Taken.ANEW
        assert sequences.take("a", later, 2, 0, now=10.0 * number) is Taken.TOO_SOON
        assert way(later, 1, now=10.0 * number + 0.04) is Taken.TOO_SOON
        assert sequences.take("a", latest, 2, 0, now=10.0 * number + 0.06) is Taken.TOO_SOON
        assert way(latest, 1, now=10.0 * number + 0.06) is Taken.ANEW


def test_what_was_said_long_ago_is_not_kept(parts: Parts, far: Far) -> None:
    """Who asks for it hears that it is to be passed over."""
    stranger, series = introduced(parts)
    for second in range(13):
        stranger.say(b'["beat","i",1,0,%d.5]' % second)
        parts.clock.advance(1000)
    messages(stranger)
    stranger.wire.send("a", b'["resend",%d,1,7]' % series)
    parts.clock.advance(5)
    assert [each for each in stranger.heard if each[0] != "beat"] == [["passed", series, 1]]


def test_nobody_waits_for_an_answer_that_may_have_been_passed_over(parts: Parts) -> None:
    """Whoever was asked before that is GONE; who was asked since then may answer."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(topics={"volts": [1]}, names={"1": "far"}))
    parts.clock.advance(5)
    stranger.wire.send("a", b'["seq",7,1,0]')
    first = parts.ask("a", 1, ttl=None)
    for second in range(13):
        stranger.say(b'["beat","i",1,0,%d.5]' % second)
        parts.clock.advance(1000)
    later = parts.ask("a", 2, ttl=None)
    # What has come between is lost, and too old to be said again.
    stranger.wire.send("a", b'["seq",7,4,0]')
    parts.clock.advance(5)
    assert verdicts(first) == [None]
    stranger.wire.send("a", b'["passed",7,3]')
    stranger.wire.send("a", b'["seq",7,4,0]\n["ans",%d,1,0.0,0.0,"late"]' % later.id)
    parts.clock.advance(5)
    assert (verdicts(first), later.results(timeout=0)) == ([Verdict.GONE], ["late"])


def test_what_is_said_to_who_has_left_is_not_kept(parts: Parts, far: Far) -> None:
    stranger = Stranger(parts)
    stranger.say(here(), b'["bye","i"]')
    parts.clock.advance(5)
    messages(stranger)
    stranger.say(b'["ask",1,null,1.5,"volts",[1],[],{},{}]')
    parts.clock.advance(5)
    assert ["not", 1, 1, "declined"] in stranger.heard
    assert messages(stranger) == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_first_words_to_a_newcomer_may_be_lost(parts: Parts, number: int) -> None:
    """It asks for them by number, as it begins with the first."""
    parts.part("b")
    newcomer = parts.part("a", connect=False)
    begun: List[Any] = []
    parts.producer("a", 0, lambda topic, value: begun.append(value) or value)
    parts.clock.advance(3000)
    parts.wire.lose(number, "b", "a")
    transport = parts.wire.transport()
    newcomer.connect(transport, namespace=NAMESPACE, name="a", wait=False)
    parts.clock.advance(505)
    handle = parts.ask("b", 1, ttl=None)
    parts.clock.advance(3000)
    assert (verdicts(handle), begun) == ([Verdict.OK], [1])


@pytest.mark.parametrize("quiet", [5_000, 15_000])
@pytest.mark.parametrize("sender", ["a", "b"])
def test_what_nobody_waited_for_may_be_lost(
    parts: Parts, far: Far, sender: str, quiet: float
) -> None:
    """Also if that is seen long after, when nobody can say it again."""
    first = parts.ask("a", 1, ttl=None)
    parts.clock.advance(5)
    parts.wire.lose(1, "a" if sender == "a" else "b")
    first.cancel()
    parts.clock.advance(quiet)
    handle = parts.ask("a", 2, ttl=None)
    parts.clock.advance(1000)
    assert (verdicts(handle), handle.results()) == ([Verdict.OK], [2])


def test_an_answer_of_who_was_not_heard_until_then_may_be_lost(parts: Parts) -> None:
    """With all that was said before it: who waits says that it has heard nothing at all."""
    parts.part("a")
    parts.part("b", connect=False)
    begun: List[Any] = []
    parts.producer("b", 0, lambda topic, value: begun.append(value) or value)
    parts.wire.delay(10)
    parts.connect("b", wait=False)
    parts.clock.advance(5)
    # Who there is has been said to all; what is said to it alone is not heard.
    parts.wire.lose(100_000, "b", "a")
    parts.clock.advance(50)
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(1_500)
    assert begun == [1]
    parts.wire.lose(0, "b", "a")
    parts.clock.advance(1_000)
    assert (verdicts(handle), begun) == ([Verdict.OK], [1])


@pytest.mark.parametrize("begins", [True, False])
def test_nobody_waits_for_what_was_said_in_a_series_of_which_nothing_was_heard(
    begins: bool,
) -> None:
    """But that there was one: what was answered in it is GONE, what was not is answered.

    Whether the answer was one, or that it was not begun.
    """
    wire = DeafeningWire()
    parts = Parts(wire)
    try:
        parts.part("a")
        begun: List[Any] = []
        parts.producer("a", 0, "here", name="here")
        wire.deaf.add(("b", "a"))
        parts.part("b")
        far = parts.producer("b", 0, lambda topic, value: begun.append(value) or value, name="far")
        parts.producer("b", 20_000, "slow", name="slow", topic="slow")
        wire.delay(10)
        parts.clock.advance(50)
        # It is kept as long as it is waited for, but for what is too old.
        own = parts.ask("b", 0, ttl=None, only=["a/here"])
        handle = parts.ask("a", 1, ttl=None, only=["b/far"])
        if not begins:
            parts.dispatchers["b"].deregister_result_producer(far, "volts")
        parts.clock.advance(100)
        wire.deaf.clear()
        while not parts.counted("a", "gaps"):
            parts.clock.advance(1)
        wire.deaf.add(("b", "a"))
        parts.clock.advance(14_000)
        wire.deaf.clear()
        while not own.done():
            parts.clock.advance(1)
        # It has begun anew, which is not known yet.
        assert (verdicts(own), verdicts(handle)) == ([Verdict.GONE], [None])
        slow = parts.dispatchers["a"].send_request("slow", ttl=None)
        parts.clock.advance(25_000)
        assert (verdicts(handle), begun) == ([Verdict.GONE], [1] if begins else [])
        assert verdicts(slow) == [Verdict.OK]
    finally:
        parts.tidy()


def test_what_came_before_a_new_series_is_heard_before_the_ends_that_this_brings(
    parts: Parts,
) -> None:
    """Also if it was read with it in one go."""
    listener = Recorder()
    parts.part("a").register_result_listener(listener, "volts", start=True)
    parts.clock.advance(10)
    stranger = Stranger(parts)
    stranger.wire.send("a", b'["seq",9,1,0]\n' + here(topics={"volts": [1]}, names={"1": "x"}))
    parts.clock.advance(20)
    parts.dispatchers["a"].send_request("volts", ttl=None)
    parts.clock.advance(60)
    stranger.wire.send("a", b'["seq",9,2,0]\n["res",1,"volts",42,null]')
    stranger.wire.send("a", b'["seq",10,1,0]\n["probe"]')
    parts.clock.advance(50)
    assert listener.heard == [42, "the end"]


@pytest.mark.parametrize("name", ["x", "late"])
def test_who_introduces_itself_in_a_numbered_message_is_met_once(parts: Parts, name: str) -> None:
    """Whatever it is called."""
    parts.part("a")
    stranger = Stranger(parts, name)
    stranger.wire.send("a", b'["seq",9,1,0]\n' + here())
    parts.clock.advance(10)
    assert (parts.counted("a", "frames_in"), parts.counted("a", "malformed")) == (1, 0)


def test_what_is_malformed_hides_no_number(parts: Parts) -> None:
    """What is behind it is as missing as without it."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here())
    parts.clock.advance(10)
    stranger.wire.send("a", b'x\n["seq",9,2,0]\n["probe"]')
    parts.clock.advance(10)
    assert (parts.counted("a", "malformed"), parts.counted("a", "gaps")) == (1, 1)


@pytest.mark.parametrize("message", [b"", b"\n", b'["probe"]', b'["of a later version",1]'])
def test_what_says_nothing_is_not_malformed(parts: Parts, message: bytes) -> None:
    """To ask whether somebody is there is one such."""
    parts.part("a")
    Stranger(parts).wire.send("a", message)
    parts.clock.advance(10)
    assert parts.counted("a", "malformed") == 0
    assert parts.counted("a", "messages_in") == 1


def test_who_hears_of_no_new_series_is_told(parts: Parts) -> None:
    """The first words of it were lost, and nobody would say more."""
    far = Far(parts, 100)
    parts.producer("a", 0, "here", name="here")
    handle = parts.ask("a", 1, ttl=None, only=["b/far"])
    parts.clock.advance(10)
    parts.wire.cut("a")
    parts.clock.advance(5)
    parts.ask("b", 9, ttl=400, only=["a/here"])
    parts.clock.advance(300)
    assert parts.connections["b"].parts == ()
    parts.wire.lose(2, "b", "a")
    parts.wire.heal("a")
    parts.clock.advance(3_000)
    assert verdicts(handle) == [Verdict.GONE]
    assert far.begun == [1]
    again = parts.ask("a", 2, only=["b/far"])
    parts.clock.advance(500)
    assert verdicts(again) == [Verdict.OK]


@pytest.mark.parametrize(("who", "ms"), [("b", 100), ("a", 2000)])
def test_who_is_cut_off_for_a_moment_is_not_gone(parts: Parts, who: str, ms: float) -> None:
    """One that answers for a tenth of a second; one that asks for longer, as it owes nothing."""
    far = Far(parts, 300)
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(250)
    parts.wire.cut(who)
    parts.clock.advance(ms)
    parts.wire.heal(who)
    parts.clock.advance(600)
    assert (verdicts(handle), far.begun) == ([Verdict.OK], [1])
    assert parts.counted("a", "gone") == parts.counted("b", "gone") == 0


def test_what_is_long_on_its_way_is_not_asked_for_again_and_again(parts: Parts, far: Far) -> None:
    """Each time all behind it is said again."""
    parts.wire.delay(1000)
    parts.wire.lose(1, "b", "a")
    handles = [parts.ask("a", number, ttl=None) for number in range(100)]
    parts.clock.advance(20_000)
    assert [each.results(timeout=0) for each in handles] == [[n] for n in range(100)]
    assert parts.counted("b", "sent_again") < 500


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


@pytest.mark.parametrize("lost", ["ask", "answer"])
@pytest.mark.parametrize("first", ["a", "b"])
def test_what_was_lost_before_a_long_time_without_a_server_is_said_again_after_it(
    parts: Parts, far: Far, lost: str, first: str
) -> None:
    """Nobody was gone for anybody; who is connected first waits for the other a moment."""
    parts.clock.advance(3_000)
    parts.wire.lose(lost == "ask", "a", "b")
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(10)
    parts.wire.lose(lost == "answer", "b", "a")
    parts.clock.advance(15)
    for name in "ab":
        parts.wire.cut(name)
    parts.clock.advance(20_000)
    parts.wire.heal(first)
    parts.clock.advance(1_500)
    for name in "ab":
        parts.wire.heal(name)
    parts.clock.advance(3_000)
    assert (verdicts(handle), far.begun) == ([Verdict.OK], [1])


def test_nobody_waits_for_who_has_not_heard_of_it_for_long(parts: Parts) -> None:
    """It is heard all the time, so it is not gone; what it was asked is not kept so long."""
    parts.part("a")
    newcomer = parts.part("b", connect=False)
    begun: List[Any] = []
    parts.producer("b", 0, lambda topic, value: begun.append(value) or value)
    parts.wire.lose(100_000, "a", "b")
    transport = parts.wire.transport()
    newcomer.connect(transport, namespace=NAMESPACE, name="b", wait=False)
    parts.clock.advance(1_000)
    handle = parts.ask("a", 1, ttl=None)
    parts.clock.advance(15_000)
    assert (parts.connections["a"].parts, handle.done()) == (("b",), False)
    parts.wire.lose(0, "a", "b")
    parts.clock.advance(5_000)
    assert (verdicts(handle), begun) == ([Verdict.GONE], [])
    assert parts.ask("a", 2).results() == [2]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_who_was_given_up_by_one_it_never_heard_has_nothing_executed_twice(
    parts: Parts, times: int
) -> None:
    """To it that one is as new as when they met; it has begun what it was asked, all the same."""
    parts.part("a")
    parts.producer("a", 10_000, name="near", topic="other")
    parts.part("b", connect=False)
    begun: List[Any] = []
    parts.producer("b", 0, lambda topic, value: begun.append(value) or value)
    parts.wire.delay(10)
    parts.connect("b", wait=False)
    parts.clock.advance(5)
    # It knows of b, but hears nothing that is said to it alone.
    parts.wire.lose(100_000, "b", "a")
    parts.clock.advance(50)
    handle = parts.ask("a", 1, ttl=None)
    for _ in range(times):
        parts.wire.heal("a")
        parts.clock.advance(100)
        parts.dispatchers["b"].send_request("other", ttl=None)
        parts.clock.advance(50)
        assert begun == [1]
        parts.wire.cut("a")
        parts.clock.advance(500)
        assert parts.connections["b"].parts == ()
    parts.wire.lose(0, "b", "a")
    parts.wire.heal("a")
    parts.clock.advance(5_000)
    assert (verdicts(handle), begun) == ([Verdict.GONE], [1])
    assert parts.ask("a", 2).results() == [2]


@pytest.mark.parametrize("later", [0, 15])
def test_what_is_asked_of_who_is_back_and_has_heard_nothing_before_is_executed_once(
    parts: Parts, later: float
) -> None:
    """It does not know that it was given up, and has taken that before it hears so."""
    parts.part("a")
    parts.part("b", connect=False)
    begun: List[Any] = []
    parts.producer("b", 0, lambda topic, value: begun.append(value) or value)
    parts.wire.delay(10)
    parts.wire.lose(100_000, "a", "b")
    parts.connect("b", wait=False)
    parts.clock.advance(600)
    parts.wire.lose(0, "a", "b")
    while not parts.connections["b"].parts:
        parts.clock.advance(1)
    # It knows who there is, and asks for what it has missed.
    parts.wire.lose(100_000, "a", "b")
    first = parts.ask("a", 1, ttl=None)
    parts.clock.advance(100)
    parts.wire.cut("b")
    parts.clock.advance(500)
    assert (parts.connections["a"].parts, verdicts(first)) == ((), [Verdict.GONE])
    parts.wire.lose(0, "a", "b")
    parts.wire.heal("b")
    parts.clock.advance(11 + later)
    assert parts.connections["a"].parts == ("b",)
    second = parts.ask("a", 2, ttl=None)
    parts.clock.advance(5_000)
    assert (verdicts(second), begun) == ([Verdict.OK], [2])
    assert parts.ask("a", 3).results() == [3]


@pytest.mark.parametrize("at_once", [True, False])
def test_no_stream_has_a_hole_though_its_asker_is_given_up_while_it_goes_on(
    parts: Parts, at_once: bool
) -> None:
    """By who does not hear it any more, and is heard: what is said before and after that is not
    taken before what was lost of it.
    """
    parts.part("a")
    b = parts.part("b")
    b.register_result_producer(Sweeps(parts.clock), "volts", start=True)
    parts.clock.advance(1)
    handle = parts.ask("a", ttl=None)
    parts.clock.advance(15)
    parts.wire.lose(100_000, "a", "b")
    parts.wire.lose(1, "b", "a")
    parts.clock.advance(10)
    session = parts.connections["b"]._link._session
    (key,) = session.guests.members
    last = frames.part(handle.id, key, 0.0, 30.0, "3"), frames.fin(handle.id, key, 0.0, 50.0)

    def gives_up() -> None:
        if at_once:
            for frame in last:
                session._shared.to(frame, "a")
        else:
            # The rest of it waits behind this.
            parts.clock.sleep(0.05)
        session.membership.gone("a", "nothing is heard of it")

    session._shared.do(gives_up)
    parts.clock.advance(100)
    assert [each.value for each in handle.replies] == [0]
    parts.wire.lose(0, "a", "b")
    parts.clock.advance(3_000)
    assert (verdicts(handle), handle.results()) == ([Verdict.GONE], [0])


class Three:
    """Parts that all ask, answer and stream, while it goes badly; afterwards all is quiet."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.wire = DeafeningWire()
        self.parts = Parts(self.wire)
        self.begun: Dict[Any, int] = {}
        self.asked: List[Any] = []
        self.cancelled: List[Handle] = []
        for name in "abc":
            self.parts.part(name)
            answers = partial(self._answers, name)
            self.parts.producer(name, self.dice.choice([0, 5, 20]), answers, name=f"p{name}")
            sweeps = Sweeps(self.parts.clock)
            self.parts.dispatchers[name].register_result_producer(sweeps, "sweep", start=True)
        self.parts.clock.advance(self.dice.choice([1, 100, 3000]))

    def _answers(self, name: str, topic: Any, number: int) -> Any:
        self.begun[name, number] = self.begun.get((name, number), 0) + 1
        return [name, number]

    def trouble(self, worst: str) -> None:
        dice, wire = self.dice, self.wire
        kinds = ["ask"] * 5 + ["sweep"] * 2 + ["lose"] * 3 + ["repeat", "delay", "cut", "cancel"]
        for _ in range(dice.randrange(3, 30)):
            what = dice.choice([*kinds, "heal", "heal", worst])
            x, y = dice.sample("abc", 2)
            if what == "ask":
                self.asked.append((what, self.parts.ask(x, len(self.asked), ttl=None)))
            elif what == "sweep":
                asks = self.parts.dispatchers[x].send_request
                self.asked.append((what, asks("sweep", ttl=None)))
            elif what == "cancel" and self.asked:
                self.cancelled.append(dice.choice(self.asked)[1])
                self.cancelled[-1].cancel()
            elif what == "lose":
                wire.lose(dice.choice([1, 1, 2, 3, 8]), x, y)
            elif what == "repeat":
                wire.repeat(dice.choice([1, 3]), x, y)
            elif what == "delay":
                wire.delay(dice.choice([0, 0, 1, 5, 30, 200]), x, y)
            elif what == "deafness":
                wire.deaf ^= {(x, y)}
            elif what in ("cut", "silence", "heal"):
                getattr(wire, what)(x)
            is_long = worst != "cut" and dice.random() < 0.15
            longest = [1200, 2900, 3500, 11_000] if is_long else []
            self.parts.clock.advance(dice.choice(longest or [0, 1, 3, 7, 20, 60, 260]))
        wire.deaf.clear()
        for x in "abc":
            wire.heal(x)
            for y in "abc":
                for quiet in (wire.lose, wire.repeat, wire.delay):
                    quiet(0, x, y)
        self.parts.clock.advance(8000)


def fifties(first: int, last: int) -> List[Any]:
    """Ranges of seeds, for who has time."""
    starts = range(first, last, 50)
    return [pytest.param(range(each, each + 50), marks=pytest.mark.thorough) for each in starts]


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is hardly any room on the way from one part to another: most of it waits."""
    for limit, size in {"_WINDOW": 300, "_WINDOWS": 300, "_LEAST": 200, "_SAYS": 100}.items():
        monkeypatch.setattr(sequence, limit, size)


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("seeds", [range(12), *fifties(12, 112)], ids=lambda seeds: seeds[0])
@pytest.mark.parametrize("worst", ["cut", "silence", "deafness"])
def test_three_in_trouble_where_much_waits_lose_and_double_nothing(
    seeds: range, worst: str
) -> None:
    test_three_in_trouble_lose_and_double_nothing(seeds, worst)


@pytest.mark.parametrize("seeds", [range(12), *fifties(12, 412)], ids=lambda seeds: seeds[0])
@pytest.mark.parametrize("worst", ["cut", "silence", "deafness"])
def test_three_in_trouble_lose_and_double_nothing(seeds: range, worst: str) -> None:
    """Nobody waits for ever, nothing is begun twice, no stream has a hole, and all is well after.

    Though some may have been gone for others: then what they were asked is GONE.
    """
    for seed in seeds:
        three = Three(seed)
        try:
            three.trouble(worst)
            for what, handle in three.asked:
                assert handle.done(), (seed, str(handle.report()))
                by: Dict[Any, List[Any]] = {}
                for reply in handle.replies:
                    by.setdefault(id(reply.producer), []).append(reply.value)
                if what == "sweep":
                    assert all(each == list(range(len(each))) for each in by.values()), seed
                assert handle in three.cancelled or None not in verdicts(handle), seed
            assert set(three.begun.values()) <= {1}, seed
            for name, connection in three.parts.connections.items():
                found = connection.statistics()
                assert (found["asked"], found["guests"]) == (0, 0), seed
                assert len(connection.parts) == 2, (seed, name)
            for name in "abc":
                # What nobody knew to be lost may be found by this one.
                three.parts.ask(name, -1, ttl=2000)
                three.parts.clock.advance(1000)
            for name in "abc":
                handle = three.parts.ask(name, -2, ttl=2000)
                three.parts.clock.advance(1000)
                assert verdicts(handle) == [Verdict.OK] * 3, seed
        finally:
            three.parts.tidy()
