"""Whatever arrives: nothing crashes, each is counted, and what is right goes on."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts import NAMESPACE, Parts, parts

from ate_dispatcher import Standing, Verdict
from ate_dispatcher.links import guests
from ate_dispatcher.links.frame_reader import KINDS
from ate_dispatcher.testing import WireTransport

__all__ = ["parts"]


class Stranger:
    """Speaks on the wire without this package's manners; remembers what it hears."""

    namespace = NAMESPACE

    def __init__(self, parts: Parts, name: str = "stranger") -> None:
        self.part = name
        self.heard: List[Any] = []
        self.says: List[bytes] = []
        self.wire: WireTransport = parts.wire.transport()
        self.wire.open(self, parts.clock, True)
        parts.clock.settle()

    def say(self, *payloads: bytes) -> None:
        self.says += payloads
        self.wire.unpark()

    def key_of(self, name: str) -> int:
        """What the producer of that name is called by its part, which has said so."""
        names = [frame[6] for frame in self.heard if frame[0] == "here"]
        return next(int(key) for each in names for key, its in each.items() if its == name)

    def connected(self) -> None:
        pass

    def disconnected(self, why: str) -> None:
        pass

    def received(self, sender: str, payload: bytes) -> None:
        self.heard += [json.loads(line) for line in payload.split(b"\n")]

    def unreachable(self, part: str) -> None:
        pass

    def asked(self, topic: str, payload: bytes, reply: str) -> None:
        pass

    def malformed(self) -> None:
        pass

    def answered(self, number: int, payload: bytes) -> None:
        pass

    def hand_in(self) -> None:
        pass

    def step(self) -> float:
        says, self.says = self.says, []
        for payload in says:
            self.wire.send("a", payload)
            self.wire.send_all(payload)
            self.wire.send_on("volts", payload)
        return float("inf")


def here(instance: str = "i", epoch: int = 1, **fields: Any) -> bytes:
    topics = fields.get("topics", {})
    names = fields.get("names", {})
    listened = fields.get("listened", [])
    about = {"codecs": ["json"], "version": "1", **fields.get("about", {})}
    frame = ["here", fields.get("why", "changed"), instance, epoch, fields.get("seq", 0)]
    return json.dumps([*frame, topics, names, listened, about]).encode()


@pytest.fixture
def stranger(parts: Parts) -> Stranger:
    """Beside parts a and b, which has a producer; a has one, too."""
    parts.part("a")
    parts.part("b")
    parts.producer("a", 0, "here", name="here")
    parts.producer("b", 0, "far", name="far")
    return Stranger(parts)


def works(parts: Parts) -> None:
    parts.clock.advance(20)
    assert sorted(parts.ask("a", only=["b/far", "here"]).results()) == ["far", "here"]


@contextmanager
def takes_little(most: float = 3.0) -> Iterator[None]:
    """Seconds of processors that what is done in it may take, on whatever thread."""
    before = time.process_time()
    yield
    assert time.process_time() - before < most


numbers = st.integers(min_value=-1, max_value=2**53) | st.integers(1, 4)
scalars = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
frames = st.tuples(st.sampled_from(sorted(KINDS)), st.lists(anything, max_size=9)).map(
    lambda it: json.dumps([it[0], *it[1]]).encode()
)
well_shaped = st.one_of(
    st.tuples(st.just("ans"), numbers, numbers, st.just(0), st.just(1), anything),
    st.tuples(st.just("part"), numbers, numbers, st.just(0), st.just(1), anything),
    st.tuples(st.just("fin"), numbers, numbers, st.just(0), st.just(1)),
    st.tuples(st.just("late"), numbers, numbers, st.just(0), st.just(1)),
    st.tuples(st.just("skip"), numbers, numbers),
    st.tuples(st.just("not"), numbers, numbers, st.sampled_from(["declined", "died", "withdrawn"])),
    st.tuples(st.just("end"), numbers, st.lists(st.tuples(numbers, st.text(), st.text()))),
    st.tuples(st.just("can"), numbers, st.none() | st.lists(numbers, min_size=1, unique=True)),
    st.tuples(
        *(
            st.just("ask"),
            numbers,
            st.none() | st.floats(0, 9),
            st.floats(-9, 9),
            st.text(max_size=5),
        ),
        *(st.lists(numbers, min_size=1, unique=True), st.lists(anything, max_size=2)),
        *(st.dictionaries(st.text(max_size=3), anything, max_size=2), st.just({"key": {}})),
    ),
    st.tuples(
        *(st.just("here"), st.text(max_size=4), st.text(max_size=2), numbers, numbers),
        st.dictionaries(st.text(max_size=5), st.lists(numbers, min_size=1, unique=True)),
        st.dictionaries(numbers.map(str), st.text(max_size=4)),
        st.lists(st.text(max_size=5), max_size=3),
        st.fixed_dictionaries(
            {"codecs": st.just([]), "version": st.just("")},
            optional={
                "patterns": st.dictionaries(st.text("a.*>"), st.lists(numbers, min_size=1)),
                "hears": st.lists(st.text("a.*>")),
            },
        ),
    ),
    st.tuples(st.just("beat"), st.text(max_size=2), numbers, numbers, st.floats(-9, 9)),
    st.tuples(st.just("res"), numbers, st.text(max_size=4), anything, st.none() | numbers),
    st.tuples(
        st.sampled_from(["again", "lost", "seq", "resend", "seen", "passed"]), numbers, numbers
    ),
    st.tuples(st.just("bye"), st.text(max_size=2)),
).map(lambda it: json.dumps(it).encode())


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.binary(max_size=40) | frames | well_shaped, min_size=1, max_size=8))
def test_nothing_that_arrives_stops_a_part(
    parts: Parts, stranger: Stranger, payloads: List[bytes]
) -> None:
    """Whatever it is: who is there is still asked and heard, and no request hangs."""
    stranger.say(*payloads)
    works(parts)
    assert parts.connections["a"].is_connected
    assert "b" in parts.connections["a"].parts


def test_what_is_malformed_is_counted(parts: Parts, stranger: Stranger) -> None:
    """Each frame; well-formed ones in the same message are taken."""
    stranger.say(b'["ans",1]\nnonsense\n\xff\n["beat","i",0,0,1.5]')
    parts.clock.advance(5)
    # It comes three ways.
    assert parts.counted("a", "malformed") >= 2 * 3
    assert any(frame[0] == "here" for frame in stranger.heard)


def test_parts_that_call_theirs_alike_are_all_asked(parts: Parts) -> None:
    """What a producer is called counts in its part alone."""
    parts.part("a")
    twins = [Stranger(parts, name) for name in ("one", "other")]
    for each in twins:
        each.wire.send("a", here(topics={"twins": [7]}, names={"7": "it"}))
    parts.clock.advance(5)
    handle = parts.dispatchers["a"].send_request("twins", ttl=1000)
    parts.clock.advance(5)
    for each in twins:
        assert [frame[5] for frame in each.heard if frame[0] == "ask"] == [[7]]
        each.wire.send("a", json.dumps(["ans", handle.id, 7, 0, 0, each.part]).encode())
    assert sorted(handle.results()) == ["one", "other"]


def test_who_has_left_as_it_was_asked_is_not_asked(parts: Parts) -> None:
    """The others are; nothing is begun by who counts as gone."""
    parts.part("a")
    leaves, stays = (Stranger(parts, name) for name in ("leaves", "stays"))
    for each in (leaves, stays):
        each.wire.send("a", here(topics={"both": [7]}, names={"7": each.part}))
    parts.clock.advance(5)
    # It comes before what is asked meanwhile leaves.
    leaves.wire.send("a", b'["bye","i"]')
    handle = parts.dispatchers["a"].send_request("both", ttl=1000)
    parts.clock.advance(5)
    assert not [frame for frame in leaves.heard if frame[0] == "ask"]
    stays.wire.send("a", json.dumps(["ans", handle.id, 7, 0, 0, "here"]).encode())
    assert handle.results() == ["here"]
    assert [each.verdict for each in handle.report().members] == [Verdict.GONE, Verdict.OK]


def test_nobody_answers_for_another(parts: Parts, stranger: Stranger) -> None:
    """Only who was asked can answer, whatever number and member it names."""
    parts.producer("b", 50, "true", topic="ohms", name="slow")
    handle = parts.dispatchers["a"].send_request("ohms", ttl=1000)
    parts.clock.advance(5)
    key = handle.roster[0].key  # type: ignore[attr-defined]
    for kind in ("ans", "part"):
        stranger.say(json.dumps([kind, handle.id, key, 0, 0, "forged"]).encode())
    stranger.say(json.dumps(["err", handle.id, key, 0, 0, "E", "forged", ""]).encode())
    stranger.say(json.dumps(["skip", handle.id, key]).encode())
    assert handle.results() == ["true"]
    assert parts.counted("a", "duplicates") >= 4


TOO_MANY = 10_001
OFFERS: Dict[str, Dict[str, Any]] = {
    "topics": {"topics": {f"t{number}": [1] for number in range(TOO_MANY)}, "names": {"1": "x"}},
    "producers": {
        "topics": {"t1": list(range(1, TOO_MANY + 1))},
        "names": {str(number): "x" for number in range(1, TOO_MANY + 1)},
    },
    "topics listened to": {
        "topics": {"t1": [1]},
        "names": {"1": "x"},
        "listened": [f"t{number}" for number in range(TOO_MANY)],
    },
    "patterns": {
        "topics": {"t1": [1]},
        "names": {"1": "x"},
        "about": {"patterns": {f"a{number}.*": [1] for number in range(TOO_MANY)}},
    },
    "patterns listened to": {
        "topics": {"t1": [1]},
        "names": {"1": "x"},
        "about": {"hears": [f"a{number}.*" for number in range(TOO_MANY)]},
    },
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
def test_a_part_has_no_more_than_it_may(
    parts: Parts, stranger: Stranger, offer: Dict[str, Any]
) -> None:
    """Of whatever it offers: nothing of it is taken, and it is counted."""
    stranger.wire.send("a", here(**offer))
    parts.clock.advance(5)
    assert parts.counted("a", "malformed") == 1
    assert parts.dispatchers["a"].send_request("t1", ttl=10).results() == []
    stranger.wire.send("a", here(epoch=2, topics={"t1": [1]}, names={}))
    parts.clock.advance(5)
    assert parts.counted("a", "malformed") == 2
    stranger.wire.send("a", here(epoch=3, topics={"t1": [1]}, names={"1": "x"}))
    parts.clock.advance(5)
    assert len(parts.dispatchers["a"].send_request("t1", ttl=10).roster) == 1


def test_many_patterns_and_topics_come_in_a_moment(parts: Parts, stranger: Stranger) -> None:
    """Not each pattern has all topics looked at; nor when they are gone."""
    numbers = range(3_000)
    topics = {f"t{number}": [1] for number in numbers}
    about = {"patterns": {f"*.{number}.>": [1] for number in numbers}}
    about["hears"] = [f"t{number}.*" for number in numbers]  # type: ignore[assignment]
    with takes_little(5):
        stranger.say(here(topics=topics, names={"1": "x"}, about=about))
        parts.clock.advance(5)
        assert len(parts.dispatchers["a"].send_request("y.7.z", ttl=10).roster) == 1
        stranger.say(here(epoch=2))
        parts.clock.advance(5)
    assert len(parts.dispatchers["a"].send_request("y.7.z", ttl=10).roster) == 0
    works(parts)


def test_a_flood_of_results_holds_up_nobody(parts: Parts, stranger: Stranger) -> None:
    """Of numbers that never come, and of some far ahead."""
    stranger.say(here(seq=0, listened=["volts"]))
    listener = parts.listener("a")
    for number in range(2, 40):
        stranger.say(json.dumps(["res", number * 1_000_000_000, "volts", 1, None]).encode())
    works(parts)
    stranger.say(json.dumps(["lost", 1, 2**53 - 1]).encode())
    works(parts)
    stranger.say(json.dumps(["again", 1, 2**53 - 1]).encode())
    works(parts)
    assert len(listener.heard) >= 2


def test_malformed_tags_are_refused(parts: Parts, stranger: Stranger) -> None:
    """In arguments, answers and values: counted, and nobody is called."""
    heard = parts.listener("a").heard
    stranger.say(here(topics={"mine": [7]}, names={"7": "x"}))
    parts.clock.advance(5)
    handle = parts.dispatchers["a"].send_request("mine", ttl=100)
    parts.clock.advance(1)
    stranger.say(json.dumps(["ans", handle.id, 7, 0, 0, {"$bytes": 7}]).encode())
    stranger.say(json.dumps(["res", 1, "volts", {"$tuple": 1}, None]).encode())
    handle.wait()
    assert handle.replies[0].error is not None
    assert heard == []
    assert parts.counted("a", "malformed") >= 2


def results(first: int, number: int, value: Any = 1) -> bytes:
    """So many, with a gap before each."""
    text = json.dumps(value)
    seqs = range(first, first + 2 * number, 2)
    return "\n".join([f'["res",{seq},"volts",{text},null]' for seq in seqs]).encode()


@pytest.mark.parametrize("what", ["lost", "res"])
def test_each_frame_behind_many_gaps_takes_no_longer(
    parts: Parts, stranger: Stranger, what: str
) -> None:
    """With as many held as may be: those that pass over one number, and those that are too many."""
    stranger.say(here(listened=["volts"]))
    parts.listener("a")
    with takes_little():
        stranger.say(results(1_000_000, 10_000))
        parts.clock.advance(5)
        if what == "lost":
            frames = [json.dumps(["lost", number, number]) for number in range(1, 20_000)]
            stranger.say("\n".join(frames).encode())
        else:
            stranger.say(results(2_000_000, 20_000))
        parts.clock.advance(5)
    works(parts)


def test_no_more_are_held_behind_gaps_than_there_is_room_for(
    parts: Parts, stranger: Stranger
) -> None:
    """What is missing before the first of them is given up then."""
    stranger.say(here(listened=["volts"]))
    heard = parts.listener("a").heard
    # Before the first of all it has missed nothing that was for it.
    stranger.say(results(10, 10_001))
    parts.clock.advance(5)
    assert len(heard) == 1
    stranger.say(results(20_012, 3))
    parts.clock.advance(5)
    assert len(heard) == 4
    works(parts)


@pytest.mark.parametrize(
    "value",
    ["x" * 4_000_000, pytest.param([[]] * 60_000, marks=pytest.mark.thorough)],
    ids=["long", "lists"],
)
def test_what_is_held_behind_gaps_is_bounded_in_size(
    parts: Parts, stranger: Stranger, value: Any
) -> None:
    """Beyond what any part keeps to say again, the gap is given up: so it is not to be filled.

    Lists take much more than their text.
    """
    stranger.say(here(listened=["volts"]))
    heard = parts.listener("a").heard
    for number in range(10):
        stranger.say(results(10 + 2 * number, 1, value))
        parts.clock.advance(5)
    assert 10 - len(heard) == 4
    works(parts)


def test_who_takes_back_much_of_a_late_request_holds_up_nobody(
    parts: Parts, stranger: Stranger
) -> None:
    """It is over for those, and not for the others; however many there are of both."""
    stranger.say(here(about={"clock": 100.0}))
    parts.clock.advance(5)
    members = list(range(1_000, 31_000))
    with takes_little():
        stranger.say(json.dumps(["ask", 1, None, 90.0, "volts", members, [], {}, {}]).encode())
        stranger.say(json.dumps(["can", 1, [each + 30_000 for each in members]]).encode())
        parts.clock.advance(5)
    works(parts)


def test_a_topic_that_nobody_can_have_is_not_kept(parts: Parts, stranger: Stranger) -> None:
    """Nor does anybody work on it: it is malformed, in requests as in results."""
    asked: List[Any] = []
    parts.producer("a", 0, lambda *called: asked.append(called), name="counts")
    stranger.say(here())
    parts.clock.advance(5)
    parts.listener("a")
    members = list(range(1, 10))
    before = parts.counted("a", "malformed")
    stranger.say(json.dumps(["ask", 1, None, 0, "x" * 1025, members, [], {}, {}]).encode())
    stranger.say(json.dumps(["res", 1, "x" * 1025, 1, None]).encode())
    parts.clock.advance(5)
    assert parts.counted("a", "malformed") == before + 2 * 3
    assert not asked
    works(parts)


@pytest.mark.parametrize("word", [here(why="new"), b'["beat","other",9,0,1.5]'])
def test_nobody_has_a_part_say_all_it_has_again_and_again(
    parts: Parts, stranger: Stranger, word: bytes
) -> None:
    """That may be long, and the word for it is short: a few times in a second; then again."""
    for _ in range(2):
        stranger.heard.clear()
        stranger.wire.send("a", b"\n".join([word] * 1_000))
        parts.clock.advance(100)
        assert 1 <= sum(frame[0] == "here" for frame in stranger.heard) <= 20
        parts.clock.advance(1_000)


@pytest.mark.parametrize("late", [0, 5])
def test_a_request_that_comes_twice_is_one(parts: Parts, stranger: Stranger, late: float) -> None:
    """While it is open, or may be over: it is executed once, and its asker can take it back."""
    begun: List[Any] = []

    def begins(topic: Any, *args: Any) -> Any:
        begun.append(topic)

    parts.producer("a", 300, begins, topic="slow", name="slow")
    stranger.wire.send("a", here(why="new", about={"clock": 100.0}))
    parts.clock.advance(5)
    key = stranger.key_of("slow")
    ask = json.dumps(["ask", 1, None, 100.0 - late, "slow", [key], [], {}, {}]).encode()
    stranger.wire.send("a", ask)
    stranger.wire.send("a", ask)
    parts.clock.advance(2_000)
    assert begun == ["slow"]
    assert parts.counted("a", "duplicates") == 1


def test_who_was_started_anew_gets_no_answer_to_what_it_had_asked_before(
    parts: Parts, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers begin anew; nor if the answer was there as soon as it was asked for."""
    open_guest = guests.open_guest

    def quick(*asked: Any) -> Any:
        handle = open_guest(*asked)
        # The producer runs until it has answered.
        parts.clock.sleep(1e-6)
        assert handle is not None
        assert handle.completion is not None
        return handle

    monkeypatch.setattr(guests, "open_guest", quick)
    parts.producer("a", 0, "done", topic="quick", name="quick")
    stranger.wire.send("a", here("first", why="new", about={"clock": 100.0}))
    parts.clock.advance(5)
    key = stranger.key_of("quick")
    ask = ["ask", 1, None, 100.0, "quick", [key], [], {}, {}]
    stranger.wire.send("a", json.dumps(ask).encode())
    stranger.wire.send("a", here("second", why="new", about={"clock": 100.0}))
    parts.clock.advance(2_000)
    assert not [frame for frame in stranger.heard if frame[1:2] == [1]]


def test_no_part_fills_the_memory_with_what_it_asks(
    parts: Parts, stranger: Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a ttl, of a producer that is busy: what there is no room for is declined."""
    parts.producer("a", 10_000, "done", topic="slow", name="slow")
    stranger.wire.send("a", here(why="new", about={"clock": 100.0}))
    parts.clock.advance(5)
    key = stranger.key_of("slow")
    large = "x" * 1_000_000
    for number in range(1, 101):
        ask = ["ask", number, None, 100.0, "slow", [key], [large], {}, {}]
        stranger.wire.send("a", json.dumps(ask).encode())
        parts.clock.settle()
    parts.clock.advance(5)
    declined = [frame[1] for frame in stranger.heard if frame[0] == "not"]
    assert declined == list(range(101 - len(declined), 101))
    assert 30 <= len(declined) <= 40
    assert parts.counted("a", "declined") == len(declined)
    assert caplog.text.count("part stranger has more open here than there is room for") == 1
    # What is short has room, and others have theirs.
    ask = ["ask", 101, None, 100.0, "slow", [key], [], {}, {}]
    stranger.wire.send("a", json.dumps(ask).encode())
    parts.clock.advance(5)
    assert parts.counted("a", "declined") == len(declined)
    works(parts)


def test_nobody_fills_the_memory_by_not_answering(parts: Parts) -> None:
    """Of requests that have ended the last 10,000 wait to hear who was late."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(topics={"volts": [1]}, names={"1": "far"}))
    parts.clock.advance(5)
    handles = [parts.ask("a", ttl=1) for _ in range(10_500)]
    parts.clock.advance(2_000)
    asked = [frame[1] for frame in stranger.heard if frame[0] == "ask"]
    late = [json.dumps(["late", each, 1, 0, 5_000]) for each in asked]
    stranger.wire.send("a", "\n".join(late).encode())
    parts.clock.advance(5)
    told = [handle.report().members[0].verdict for handle in handles]
    assert told == [Verdict.MISSING] * 500 + [Verdict.LATE] * 10_000


def test_nobody_fills_the_memory_with_open_questions(parts: Parts, stranger: Stranger) -> None:
    """Likewise; they get no answer."""
    parts.producer("a", 10_000, "done", topic="slow", name="slow")
    question = json.dumps({"args": ["x" * 1_000_000]}).encode()
    for number in range(1, 101):
        stranger.wire.ask("slow", question, number)
        parts.clock.settle()
    parts.clock.advance(5)
    assert 30 <= parts.counted("a", "declined") <= 40
    works(parts)


@pytest.mark.parametrize("between", [1, 5_000, 40_000])
def test_what_was_begun_is_not_begun_again(parts: Parts, stranger: Stranger, between: int) -> None:
    """Its asker was taken for gone, say, and says again what it has asked: it is told so, at once.

    However much it has asked meanwhile; another instance may use the same numbers.
    """
    begun: List[Any] = []
    parts.producer("a", 0, lambda topic, *args: begun.append(args), topic="quick", name="quick")
    stranger.wire.send("a", here(why="new", about={"clock": 100.0}))
    parts.clock.advance(5)
    key = stranger.key_of("quick")

    def asks(number: int) -> None:
        ask = ["ask", number, None, 100.0, "quick", [key], [number], {}, {}]
        stranger.wire.send("a", json.dumps(ask).encode())
        parts.clock.advance(1)

    for number in (1, 1 + between, 1, 2 + between, 1 + between):
        asks(number)
    assert begun == [(1,), (1 + between,), (2 + between,)]
    said = [frame for frame in stranger.heard if frame[0] == "not"]
    assert said == [["not", number, key, "gone"] for number in (1, 1 + between)]
    stranger.wire.send("a", here("another", why="new", about={"clock": 100.0}))
    asks(1)
    assert begun[3:] == [(1,)]


def test_who_was_told_that_it_is_gone_waits_no_more(parts: Parts, stranger: Stranger) -> None:
    """Whoever has asked that again without knowing: without ttl it would wait for ever."""
    stranger.wire.send("a", here(topics={"theirs": [1]}, names={"1": "one"}))
    parts.clock.advance(5)
    handle = parts.dispatchers["a"].send_request("theirs", ttl=None)
    late = parts.dispatchers["a"].send_request("theirs", ttl=10)
    parts.clock.advance(5)
    stranger.wire.send("a", json.dumps(["not", handle.id, 1, "gone"]).encode())
    parts.clock.advance(20)
    stranger.wire.send("a", json.dumps(["not", late.id, 1, "gone"]).encode())
    parts.clock.advance(5)
    found = [each.report().members[0] for each in (handle, late)]
    assert [each.verdict for each in found] == [Verdict.GONE, Verdict.MISSING]
    assert found[1].standing is Standing.AWAY


@pytest.mark.parametrize("ttl_ms", ["1e999", "1" + "0" * 400, "-1", "true", "NaN", "[]"])
def test_a_question_for_no_time_is_malformed(parts: Parts, stranger: Stranger, ttl_ms: str) -> None:
    """As all else of it that cannot be."""
    stranger.wire.ask("volts", b'{"ttl_ms": %s}' % ttl_ms.encode(), 1)
    parts.clock.advance(5)
    assert parts.counted("a", "malformed") == parts.counted("b", "malformed") == 1
    works(parts)
