"""No more is on the way to a part than it takes: the rest waits; on virtual time."""

from __future__ import annotations

import json
from typing import Any, Iterator, List, Optional

import pytest
from parts import Parts, parts
from test_hostile import Stranger, here

from ate_dispatcher import (
    Completion,
    Handle,
    Producer,
    Quorum,
    Verdict,
    current_request,
)
from ate_dispatcher.links import sequence
from ate_dispatcher.links.sequence import Sequences, Taken
from ate_dispatcher.testing import Wire, WireTransport

__all__ = ["parts"]

LARGE = "x" * 1_000_000
WINDOW = 8 * 1024 * 1024


class ScaledWire(Wire):
    """It counts what is carried to one part."""

    def __init__(self) -> None:
        super().__init__()
        self.carried = 0
        self.to = "b"

    def carry(
        self, sender: WireTransport, to: Optional[str], payload: bytes, hears: bool = False
    ) -> None:
        if to == self.to:
            self.carried += len(payload)
        super().carry(sender, to, payload, hears)


class Slow:
    """Part a and part b, whose producer answers at once; what b has taken a does not hear."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.wire = parts.wire = ScaledWire()
        self.begun: List[Any] = []
        parts.part("a")
        parts.part("b")
        parts.producer("b", 0, self._answers, name="far")
        parts.clock.advance(10)
        self.is_not_heard()

    def _answers(self, topic: Any, number: Any, *_: Any) -> Any:
        self.begun.append(number)
        return number

    def ask(self, *numbers: int, ttl: Optional[float] = None) -> List[Handle]:
        handles = []
        for number in numbers:
            handles.append(self.parts.ask("a", number, LARGE, ttl=ttl))
            self.parts.clock.settle()
        return handles

    def is_not_heard(self) -> None:
        self.wire.lose(100_000, "b", "a")

    def is_heard(self) -> None:
        self.wire.lose(0, "b", "a")


@pytest.fixture
def slow(parts: Parts) -> Slow:
    return Slow(parts)


def verdicts(handles: List[Handle]) -> List[Verdict]:
    return [each.verdict for handle in handles for each in handle.report().members]


def says_taken(stranger: Stranger, word: bytes = b"took", number: int = 0) -> None:
    """In that word: all that it has heard, or up to that number."""
    _, series, last, _ = [frame for frame in stranger.heard if frame[0] == "seq"][-1]
    stranger.wire.send("a", b'["%s",%d,%d]' % (word, series, number or last))


def begins_to_take(stranger: Stranger) -> None:
    """It says so, and is held to a window from now on."""
    says_taken(stranger, number=1)


def listened_to(parts: Parts) -> Stranger:
    """Part a, and one that listens to it, and begins to take; four large values were published."""
    a = parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(listened=["volts"]))
    parts.clock.advance(5)
    begins_to_take(stranger)
    for _ in range(4):
        a.publish("volts", LARGE)
    return stranger


def test_no_more_is_on_its_way_than_a_window_and_all_is_answered_in_its_order(
    parts: Parts, slow: Slow
) -> None:
    handles = slow.ask(*range(30))
    parts.clock.advance(300)
    assert WINDOW - 2_000_000 < slow.wire.carried <= WINDOW
    assert slow.begun == list(range(8))
    slow.is_heard()
    parts.clock.advance(1_000)
    assert slow.begun == list(range(30))
    assert [each.results(timeout=0) for each in handles] == [[each] for each in range(30)]


def test_nobody_who_reads_quickly_waits_for_who_does_not(parts: Parts, slow: Slow) -> None:
    parts.part("c")
    parts.producer("c", 0, "quick", name="quick")
    slow.ask(*range(20))
    assert parts.ask("a", 1, only=["c/quick"]).results() == ["quick"]
    assert parts.counted("a", "gone") == 0


def test_what_has_ended_before_there_was_room_is_not_begun(parts: Parts, slow: Slow) -> None:
    """By its time, or cancelled; the report says what came of it."""
    handles = slow.ask(*range(20), ttl=100)
    cancelled = slow.ask(20, 21)
    for each in cancelled:
        each.cancel()
    parts.clock.advance(200)
    slow.is_heard()
    parts.clock.advance(1_000)
    assert slow.begun == list(range(8))
    assert verdicts(handles[8:]) == [Verdict.SKIPPED] * 12
    assert verdicts(cancelled) == [Verdict.CANCELLED] * 2


def test_those_that_waited_keep_their_order_however_long_that_was(parts: Parts, slow: Slow) -> None:
    """What is a second late is not taken for that of somebody who has given it up."""
    slow.ask(*range(20))
    parts.clock.advance(1_100)
    slow.ask(*range(20, 30))
    slow.is_heard()
    parts.clock.advance(240)
    assert slow.begun == list(range(30))


def test_no_more_time_is_left_for_having_waited_for_room(parts: Parts, slow: Slow) -> None:
    slow.is_heard()

    def tells(*_: Any) -> Any:
        return current_request().remaining_ms

    parts.producer("b", 0, tells, topic="left", name="tells")
    slow.is_not_heard()
    slow.ask(*range(20))
    asked = parts.dispatchers["a"].send_request("left", ttl=2_000)
    parts.clock.advance(1_500)
    slow.is_heard()
    parts.clock.advance(300)
    (left,) = asked.results(timeout=0)
    assert 200 <= left <= 500


def test_whoever_is_killed_is_gone_for_those_who_wait_for_room(parts: Parts, slow: Slow) -> None:
    """Soon: it is looked for past what waits."""
    handles = slow.ask(*range(20))
    parts.wire.cut("b")
    parts.clock.advance(450)
    assert verdicts(handles) == [Verdict.GONE] * 20
    parts.wire.heal("b")
    slow.is_heard()
    parts.clock.advance(1_000)
    # Of those that waited, nothing leaves.
    assert slow.begun == list(range(8))
    assert parts.ask("a", 99).results() == [99]


def test_what_was_lost_on_the_way_is_said_again_before_what_waits(parts: Parts, slow: Slow) -> None:
    slow.wire.lose(3, "a", "b")
    handles = slow.ask(*range(20))
    slow.is_heard()
    parts.clock.advance(1_500)
    assert slow.begun == list(range(20))
    assert verdicts(handles) == [Verdict.OK] * 20


def test_requests_that_wait_for_room_are_bounded(
    parts: Parts, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has too much to take is not asked; others are, and so is that one when it has room."""
    parts.part("c")
    parts.producer("c", 0, lambda topic, number, _: number, name="quick")
    parts.clock.advance(10)
    slow.wire.lose(0, "b", "c")
    handles = slow.ask(*range(100))
    parts.clock.advance(10)
    first, far = [[each.report().members[index].verdict for each in handles] for index in (0, 1)]
    far, quick = (first, far) if None in first else (far, first)
    assert quick == [Verdict.OK] * 100
    declined = far.count(Verdict.DECLINED)
    assert 20 <= declined <= 30
    assert far[-declined:] == [Verdict.DECLINED] * declined
    assert parts.counted("a", "declined") == declined
    assert caplog.text.count("part b has too much to take") == 1
    waiting = parts.connections["a"]._link._shared.sequences.waiting_for("b")
    assert 64_000_000 < waiting < 70_000_000
    slow.is_heard()
    parts.clock.advance(2_000)
    assert verdicts(handles[:-declined]) == [Verdict.OK] * 2 * (100 - declined)
    assert slow.begun == list(range(100 - declined))
    assert verdicts(slow.ask(1)) == [Verdict.OK] * 2


def test_who_takes_nothing_more_is_given_up(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """It has said what it takes, and is there; others do not wait for ever."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(topics={"volts": [1]}, names={"1": "far"}, about={"clock": 100.0}))
    parts.clock.advance(5)
    begins_to_take(stranger)
    parts.clock.advance(5)
    handles = []
    for _ in range(20):
        handles.append(parts.ask("a", LARGE, ttl=None))
        parts.clock.settle()
    for second in range(45):
        stranger.say(b'["beat","i",1,0,%d]' % (100 + second))
        parts.clock.advance(1_000)
        if second == 10:
            # It does go on.
            says_taken(stranger, number=2)
        if second == 39:
            assert set(verdicts(handles)) == {None}
    assert verdicts(handles) == [Verdict.GONE] * 20
    assert "20 answers are given up" in caplog.text
    assert parts.connections["a"].parts == ("stranger",)


def test_who_reads_very_slowly_has_no_more_on_its_way(parts: Parts) -> None:
    """However long ago the first of that was said, it is kept, and counts."""
    ours = sequences(parts)
    series = series_of(ours.say("a", [b"here"], 4))
    ours.says_taken("a", series, 1)
    while ours.say("a", [b"x" * 1_000_000], 1_000_000) is not None:
        pass
    for _ in range(100):
        ours.forget_old(lambda said: True)
    assert list(ours.next_for("a", bytes, False)) == []
    assert ours.say_again("a", series, 2, 7, 1.0, bytes) == 8


def test_what_is_short_and_not_said_to_be_taken_keeps_nobody_waiting(parts: Parts) -> None:
    """Nobody says each of them, and probes are among them."""
    ours = sequences(parts)
    series = series_of(ours.say("a", [b"here"], 4))
    ours.says_taken("a", series, 1)
    assert ours.say("a", [b"short" * 10_000], 50_000) is not None
    assert ours.say("a", [b"x" * 2 * WINDOW], 2 * WINDOW) is not None


@pytest.mark.parametrize("word", [b'["probe"]', b'["seen",1,1]'])
def test_nobody_is_answered_more_often_than_it_sends_a_message(parts: Parts, word: bytes) -> None:
    parts.part("a")
    stranger = Stranger(parts)
    stranger.wire.send("a", here())
    stranger.wire.send("a", b'["seq",5,1,0]')
    parts.clock.advance(5)
    stranger.heard.clear()
    stranger.wire.send("a", b"\n".join([word] * 10_000))
    parts.clock.advance(5)
    assert 1 <= len(stranger.heard) <= 3


def test_answers_wait_for_room_too_and_who_leaves_has_said_all(parts: Parts) -> None:
    """It leaves when they have left; and says them anyway, if there is no more time for that."""
    wire = parts.wire = ScaledWire()
    wire.to = "a"
    for name in "ab":
        parts.part(name)
    parts.producer("b", 5, LARGE, name="far")
    parts.clock.advance(10)
    for drain in (None, 500):
        wire.carried = 0
        handles = [parts.ask("a", number, ttl=None) for number in range(20)]
        parts.clock.settle()
        wire.lose(100_000, "a", "b")
        parts.clock.advance(150)
        assert WINDOW - 2_000_000 < wire.carried <= WINDOW
        parts.connections["b"].disconnect(drain=2_000 if drain is None else drain)
        parts.clock.advance(400)
        assert wire.carried <= WINDOW
        if drain is None:
            wire.lose(0, "a", "b")
        parts.clock.advance(400)
        assert verdicts(handles) == [Verdict.OK] * 20
        parts.clock.advance(4_000)
        assert parts.connections["a"].parts == ()
        wire.lose(0, "a", "b")
        parts.connect("b")
        parts.clock.advance(1_000)


def test_who_takes_no_answers_is_declined(parts: Parts) -> None:
    """While too many of them wait for it; others are answered as ever."""
    parts.part("a")
    parts.producer("a", 0, LARGE, name="large")
    stranger = Stranger(parts)
    stranger.wire.send("a", here(why="new", about={"clock": 100.0}))
    parts.clock.advance(5)
    key = stranger.key_of("large")
    begins_to_take(stranger)
    for number in range(1, 101):
        ask = ["ask", number, None, 100.0, "volts", [key], [], {}, {}]
        stranger.wire.send("a", json.dumps(ask).encode())
        parts.clock.advance(1)
    assert sum(frame[0] == "ans" for frame in stranger.heard) <= 8
    assert 20 <= parts.counted("a", "declined") <= 30
    part = parts.part("b")
    assert part.send_request("volts", ttl=100).results() == [LARGE]
    # It takes them after all, and says so in one way or the other.
    for word in (b"took", b"seen") * 8:
        says_taken(stranger, word)
        parts.clock.advance(1)
    answers = sum(frame[0] == "ans" for frame in stranger.heard)
    refused = sum(frame[0] == "not" for frame in stranger.heard)
    assert (answers + refused, refused) == (100, parts.counted("a", "declined"))
    stranger.wire.send("a", json.dumps(["ask", 101, *ask[2:]]).encode())
    parts.clock.advance(1)
    assert parts.counted("a", "declined") == refused


def test_who_takes_no_values_is_not_sent_them_again_and_again(parts: Parts) -> None:
    """While some wait for it; when it has taken them, others may have been lost."""
    stranger = listened_to(parts)
    for _ in range(60):
        stranger.wire.send("a", b'["again",1,4]')
        parts.clock.advance(1)
    assert parts.counted("a", "sent_again") == 12
    for _ in range(2):
        says_taken(stranger)
        parts.clock.advance(1)
    stranger.wire.send("a", b'["again",1,4]')
    parts.clock.advance(1)
    assert parts.counted("a", "sent_again") == 16


def test_a_stream_that_is_far_too_quick_for_who_asks_is_given_up(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would fill the memory, however slowly that one takes it. Here 20 MB may wait."""
    monkeypatch.setattr(sequence, "_WAITING", 20_000_000)
    parts.part("a")
    yielded: List[int] = []

    class Sweeps(Producer):
        def produce_dispatcher_output(self, *_: Any) -> Iterator[str]:
            for number in range(400):
                yielded.append(number)
                yield LARGE
                parts.clock.sleep(0.001)

    sweeps = Sweeps(name="sweep", stream=True)
    parts.dispatchers["a"].register_result_producer(sweeps, "volts", start=True)
    stranger = Stranger(parts)
    stranger.wire.send("a", here(why="new", about={"clock": 100.0}))
    parts.clock.advance(5)
    key = stranger.key_of("sweep")
    series = {frame[1] for frame in stranger.heard if frame[0] == "seq"}
    stranger.wire.send("a", b'["took",%d,1]' % max(series))
    ask = ["ask", 1, None, 100.0, "volts", [key], [], {}, {}]
    stranger.wire.send("a", json.dumps(ask).encode())
    parts.clock.advance(1_000)
    assert 28 <= len(yielded) <= 40
    assert "part stranger takes too little" in caplog.text
    assert {frame[1] for frame in stranger.heard if frame[0] == "seq"} > series
    assert parts.connections["a"].statistics()["guests"] == 0


@pytest.mark.parametrize("others", [0, 1])
def test_who_is_disabled_while_it_waits_to_be_asked_is_not_asked(
    parts: Parts, slow: Slow, others: int
) -> None:
    """Others of its part are, and those who were asked before have begun."""
    slow.is_heard()
    for number in range(others):
        parts.producer("b", 0, lambda topic, number, _: number, name=f"other{number}")
    parts.clock.advance(10)
    slow.is_not_heard()
    handles = slow.ask(*range(30))
    parts.dispatchers["a"].disable("b/far")
    parts.clock.advance(10)
    parts.wire.delay(1)
    slow.is_heard()
    parts.clock.advance(1_000)
    assert slow.begun == list(range(8))
    told = [sorted(each.verdict.name for each in handle.report().members) for handle in handles]
    assert told == [["OK"] * (1 + others)] * 8 + [["OK"] * others + ["WITHDRAWN"]] * 22
    assert parts.counted("b", "malformed") == 0


def test_who_leaves_has_nothing_begun_any_more(parts: Parts, slow: Slow) -> None:
    """What it has asked, and what waits, nobody would hear of."""
    handles = slow.ask(*range(20))
    parts.connections["a"].disconnect(drain=100)
    parts.clock.advance(300)
    assert slow.begun == list(range(8))
    assert verdicts(handles) == [Verdict.GONE] * 20


def test_what_has_failed_for_want_of_room_is_not_begun_by_others(parts: Parts, slow: Slow) -> None:
    parts.part("c")
    begun: List[Any] = []
    parts.producer("c", 0, lambda topic, what: begun.append(what), name="quick")
    parts.clock.advance(10)
    sender = parts.dispatchers["a"].options(ttl=None, only=["b/far"])
    for number in range(90):
        sender.send_request("volts", number, LARGE)
        parts.clock.settle()
    assert parts.counted("a", "declined") > 0
    handle = parts.ask("a", "both", ttl=None, need=Quorum(2))
    parts.clock.advance(50)
    assert handle.completion is Completion.IMPOSSIBLE
    assert begun == []


def test_many_that_have_waited_all_leave_in_their_order(parts: Parts, slow: Slow) -> None:
    """However short: some at a time, so that they keep nobody waiting."""
    slow.ask(*range(9))
    slow.begun.clear()
    handles = [parts.ask("a", number, ttl=None) for number in range(5_000)]
    parts.clock.advance(10)
    slow.is_heard()
    parts.clock.advance(1_000)
    assert slow.begun == [8, *range(5_000)]
    assert {handle.completion for handle in handles} == {Completion.ALL_REPLIED}


def test_who_listens_and_was_started_anew_is_sent_again_what_it_has_missed(parts: Parts) -> None:
    """Though to the one of that name before, something was that it has not taken."""
    stranger = listened_to(parts)
    for _ in range(6):
        stranger.wire.send("a", b'["again",1,4]')
        parts.clock.advance(1)
    stranger.wire.send("a", here(instance="j", listened=["volts"]))
    parts.clock.advance(200)
    parts.dispatchers["a"].publish("volts", "new")
    parts.clock.advance(5)
    before = parts.counted("a", "sent_again")
    stranger.wire.send("a", b'["again",5,5]')
    parts.clock.advance(5)
    assert parts.counted("a", "sent_again") == before + 1


def test_who_leaves_without_a_connection_lets_out_nothing(parts: Parts, slow: Slow) -> None:
    slow.ask(*range(12))
    parts.wire.cut("a")
    parts.clock.advance(1)
    before = parts.counted("a", "messages_out")
    parts.connections["a"].disconnect(drain=0)
    parts.clock.advance(10)
    assert parts.counted("a", "messages_out") == before


def sequences(parts: Parts) -> Sequences:
    """Those of a part that has met part a, and nobody else."""
    parts.part("a")
    made = Sequences(Stranger(parts).wire)
    made.begin("a")
    return made


def series_of(message: Optional[bytes]) -> int:
    assert message is not None
    found: int = json.loads(message.split(b"\n")[0])[1]
    return found


def test_whoever_never_says_what_it_takes_is_told_all_at_once(parts: Parts) -> None:
    """A program that is no part of this package. What there is no room to keep is lost then."""
    ours = sequences(parts)
    said = [ours.say("a", [b"x" * 1_000_000], 1_000_000) for _ in range(30)]
    assert None not in said
    series = series_of(said[0])
    assert ours.say_again("a", series, 1, 7, 1.0, bytes) is None
    assert ours.say_again("a", series, 30, 7, 1.0, bytes) == 1


def test_of_what_is_told_to_all_who_never_say_so_no_more_is_kept_than_to_a_few(
    parts: Parts,
) -> None:
    """64 MB, in equal shares."""
    ours = sequences(parts)
    names = ["a", *(f"part{number}" for number in range(15))]
    for name in names[1:]:
        ours.begin(name)
    for name in names:
        for _ in range(10):
            said = ours.say(name, [b"x" * 1_000_000], 1_000_000)
        series = series_of(said)
        again = [ours.say_again(name, series, first, 7, 1.0, bytes) for first in (6, 7)]
        assert again == [None, 4]


def test_who_does_not_say_by_itself_what_it_takes_is_told_all_at_once(parts: Parts) -> None:
    """It says how much it has seen while it waits for an answer, and may never say it else."""
    ours = sequences(parts)
    series = series_of(ours.say("a", [b"here"], 4))
    assert ours.has_taken("a", series, 1)
    for _ in range(30):
        assert ours.say("a", [b"x" * 1_000_000], 1_000_000) is not None


def test_what_is_larger_than_a_window_goes_alone(parts: Parts) -> None:
    ours = sequences(parts)
    series = series_of(ours.say("a", [b"here"], 4))
    ours.says_taken("a", series, 1)
    large = [b"x" * (2 * WINDOW)]
    assert ours.say("a", large, 2 * WINDOW) is not None
    assert ours.say("a", large, 2 * WINDOW) is None
    assert list(ours.next_for("a", bytes, False)) == []
    ours.has_taken("a", series, 2)
    assert [number for _, number in ours.next_for("a", bytes, False)] == [1]
    assert ours.say("a", [b"short"], 5) is None


def test_who_takes_what_was_said_after_a_long_silence_is_not_given_up(parts: Parts) -> None:
    """Until then there was nothing to take."""
    ours = sequences(parts)
    ours.says_taken("a", series_of(ours.say("a", [b"here"], 4)), 1)
    for _ in range(100):
        ours.forget_old(lambda said: True)
    while ours.say("a", [b"x" * 1_000_000], 1_000_000) is not None:
        pass
    assert ours.overrun() == []
    for _ in range(31):
        ours.forget_old(lambda said: True)
    assert ours.overrun() == ["a"]


def test_nothing_short_overtakes_what_waits(parts: Parts) -> None:
    ours = sequences(parts)
    ours.says_taken("a", series_of(ours.say("a", [b"here"], 4)), 1)
    half = [b"x" * 5_000_000]
    assert [ours.say("a", each, len(each[0])) is None for each in (half, half, [b"short"])] == [
        *(False, True, True)
    ]


def test_however_short_they_are_no_more_messages_are_on_their_way_than_are_kept(
    parts: Parts,
) -> None:
    """None of those that may be asked for is forgotten for others."""
    ours = sequences(parts)
    series = series_of(ours.say("a", [b"here"], 4))
    ours.says_taken("a", series, 1)
    said = [ours.say("a", [b"short"], 5) for _ in range(6_000)]
    for _ in range(500):
        ours.say_at_once("a", [b"probe"], 5)
    on_their_way = sum(each is not None for each in said) + 500
    assert ours.say_again("a", series, 2, 7, 1.0, bytes) == on_their_way


def test_what_waits_for_who_begins_anew_or_has_taken_it_is_not_there_any_more(
    parts: Parts,
) -> None:
    ours = sequences(parts)
    for begins_anew in (True, False):
        series = series_of(ours.say_at_once("a", [b"here"], 4))
        ours.says_taken("a", series, 1)
        while ours.say("a", [b"x", b"x" * 1_000_000], 1_000_000) is not None:
            pass
        assert (list(ours.crowded), ours.waiting_for("a")) == (["a"], 1_000_000)
        all_of_it = ours.all_for("a")
        assert not ours.has_let_out("a", all_of_it)
        if begins_anew:
            ours.begin_anew("a")
        else:
            ours.has_taken("a", series, 9)
            assert [number for _, number in ours.next_for("a", bytes, False)] == [2]
        assert (list(ours.crowded), ours.waiting_for("a")) == ([], 0)
        assert ours.has_let_out("a", all_of_it)


def test_to_many_parts_no_more_is_on_its_way_than_to_a_few(parts: Parts) -> None:
    """Whoever all of them speak to is sent as much. But for a little to each."""
    ours = sequences(parts)
    names = ["a", *(f"part{number}" for number in range(999))]
    for name in names[1:]:
        ours.begin(name)
    sizes = {}
    for name in (*names[:2], names[-1]):
        ours.says_taken(name, series_of(ours.say_at_once(name, [b"here"], 4)), 1)
        sizes[name] = 0
        while ours.say(name, [b"x" * 10_000], 10_000) is not None:
            sizes[name] += 10_000
    assert set(sizes.values()) == {130_000}


def test_a_part_says_what_it_has_taken_before_anybody_waits_for_that(parts: Parts) -> None:
    """The first message, and then some; however short they are."""
    parts.part("a")
    ours, other = Sequences(Stranger(parts).wire), Stranger(parts, "other")
    ours.begin("other")
    for number in range(1, 2_001):
        assert ours.take("other", 5, number, 0, 1.0, 100) is Taken.YES
    parts.clock.advance(1)
    told = [number for kind, _, number in other.heard if kind == "took"]
    assert told[0] == 1
    gaps = [after - before for before, after in zip(told, [*told[1:], 2_000])]
    assert 300 < max(gaps) < 700
    assert len(told) < 6
