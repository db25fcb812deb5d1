"""Frames are read as they were written; nothing else comes in, and nothing is raised."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ate_dispatcher.links import frames
from ate_dispatcher.links.frame_reader import KINDS, Coded, frames_of
from ate_dispatcher.links.frames import payload_of
from ate_dispatcher.links.values import Codec

LARGEST = 2**53 - 1

WRITTEN: Dict[str, Tuple[str, List[Any]]] = {
    "ask": (
        frames.ask(7, 500.0, 12.5, "rail 3.\u00fc", [1, 3], '[1,"a"]', '{"x":null}'),
        ["ask", 7, 500.0, 12.5, "rail 3.\u00fc", [1, 3], [1, "a"], {"x": None}, {}],
    ),
    "ask for ever": (
        frames.ask(LARGEST, None, -0.0000004, "", (LARGEST,), "[]", "{}", '{"key":"a"}'),
        ["ask", LARGEST, None, 0.0, "", [LARGEST], [], {}, {"key": "a"}],
    ),
    "ans": (frames.ans(7, 3, 0.25, 15, '{"v":1.5}'), ["ans", 7, 3, 0.25, 15.0, {"v": 1.5}]),
    "err": (
        frames.err(7, 3, 0.25, 1e9, "ValueError", 'no "such"\nthing \ud800', "x" * 5000 + "end"),
        ["err", 7, 3, 0.25, 1e9, "ValueError", 'no "such"\nthing ?', "x" * 4093 + "end"],
    ),
    "part": (frames.part(7, 3, 0.25, 15.5, "[]"), ["part", 7, 3, 0.25, 15.5, []]),
    "fin": (frames.fin(7, 3, 0.25, 15.5), ["fin", 7, 3, 0.25, 15.5]),
    "not": (frames.not_(7, 3, "withdrawn"), ["not", 7, 3, "withdrawn"]),
    "skip": (frames.skip(7, 3), ["skip", 7, 3]),
    "late": (frames.late(7, 3, 0.25, 1e6), ["late", 7, 3, 0.25, 1e6]),
    "prog": (frames.prog(7, 3, 0.5, "half \ud83d"), ["prog", 7, 3, 0.5, "half ?"]),
    "end": (
        frames.end(7, [(3, "ok", None), (4, "missing", "running")]),
        ["end", 7, [[3, "ok", None], [4, "missing", "running"]]],
    ),
    "can": (frames.can(7), ["can", 7, None]),
    "can some": (frames.can(7, iter([3, 4])), ["can", 7, [3, 4]]),
    "here": (
        frames.here(
            *("new", "i-1", 1, 0, {"a.b": [3, 4], '"': (5,)}, {3: "PSU", 4: "\u00fc", 5: ""}),
            *(["a.*"], ["json"], "1.0.0"),
        ),
        [
            *("here", "new", "i-1", 1, 0, {"a.b": [3, 4], '"': [5]}),
            {"3": "PSU", "4": "\u00fc", "5": ""},
            *(["a.*"], {"codecs": ["json"], "version": "1.0.0"}),
        ],
    ),
    "here without anything": (
        frames.here("", "", 0, 0, {}, {}, (), (), ""),
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [], "version": ""}],
    ),
    "beat": (frames.beat("i-1", 1, 5, 12.25), ["beat", "i-1", 1, 5, 12.25]),
    "bye": (frames.bye("i"), ["bye", "i"]),
    "res": (frames.res(9, "a.b", "null", 7), ["res", 9, "a.b", None, 7]),
    "res of no request": (frames.res(9, "a.b", '"\u00fc"'), ["res", 9, "a.b", "\u00fc", None]),
    "again": (frames.again(1, 9), ["again", 1, 9]),
    "lost": (frames.lost(1, 9), ["lost", 1, 9]),
    "seq": (frames.seq(4, 9, 0), ["seq", 4, 9, 0]),
    "resend": (frames.resend(4, 9, 7), ["resend", 4, 9, 7]),
    "passed": (frames.passed(4, 9), ["passed", 4, 9]),
    "seen": (frames.seen(4, 9), ["seen", 4, 9]),
    "took": (frames.took(4, 9), ["took", 4, 9]),
    "probe": (frames.PROBE, ["probe"]),
}
"""What is written of each kind, and what is to be read of it."""


def text_of(frame: Any) -> bytes:
    """As somebody else would write it."""
    return json.dumps(frame).encode()


# -- what is written is read -----------------------------------------------------------------------


def read_of(payload: bytes) -> Tuple[List[List[Any]], int]:
    """The frames of it, with values as they were found, and how many were malformed."""
    found = list(frames_of(payload))
    lengths = {len(line.decode(errors="replace")) for line in payload.split(b"\n")}
    for each in found:
        if each is not None and each[0] == "ask":
            # What follows the fields of a request is how long it is.
            assert each.pop() in lengths
    read = [
        [field.found if isinstance(field, Coded) else field for field in each]
        for each in found
        if each is not None
    ]
    return read, found.count(None)


def test_every_kind_is_here() -> None:
    """What follows says something about all of them."""
    assert {frame[0] for _, frame in WRITTEN.values()} == KINDS


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_is_read(name: str) -> None:
    """And so is what somebody else writes."""
    text, frame = WRITTEN[name]
    assert "\n" not in text
    read, malformed = read_of(payload_of([text]))
    assert (read, malformed) == ([frame], 0)
    assert read_of(text_of(frame)) == ([frame], 0)


def test_frames_of_one_message_keep_their_order() -> None:
    """The last line may end as the others do."""
    texts = [text for text, _ in WRITTEN.values()]
    read = [frame for _, frame in WRITTEN.values()]
    assert read_of(payload_of(texts)) == (read, 0)
    assert read_of(payload_of(texts) + b"\n") == (read, 0)
    assert read_of(b"") == ([], 0)


numbers = st.integers(1, LARGEST)
times = st.floats(0, 1e12)
texts = st.text(st.sampled_from('ab"\\\n\r\t\x00/\u2028\u00fc\U0001f600\ud800\udfff'), max_size=8)


@settings(max_examples=40)
@given(numbers, numbers, times, times, texts, st.floats(-1e9, 1e9), st.sets(numbers, min_size=1))
def test_whatever_is_written_is_read(
    number: int, member: int, waited: float, ran: float, text: str, clock: float, some: Any
) -> None:
    """To the microsecond, and any text that can be UTF-8."""
    told = text.encode("utf-8", "replace").decode()
    written = [
        frames.ask(number, waited, clock, text, sorted(some), "[]", "{}"),
        frames.ans(number, member, waited, ran, "0"),
        frames.err(number, member, waited, ran, text, text, text),
        frames.prog(number, member, 1 / (1 + ran), text),
        frames.here(
            text, text, number, member, {text: sorted(some)}, {member: text}, [text], [text], text
        ),
        frames.res(number, text, "0", member),
    ]
    read, malformed = read_of(payload_of(written))
    assert malformed == 0
    ask, ans, err, prog, here, res = read
    assert ask[1] == number
    assert abs(ask[2] - waited) <= 0.0006 + abs(waited) * 1e-15
    assert abs(ask[3] - clock) <= 0.0000006 + abs(clock) * 1e-15
    assert (ask[4], set(ask[5])) == (told, some)
    assert ans[1:3] == [number, member]
    assert err[5:] == [told, told, told]
    assert 0 <= prog[3] <= 1
    assert here[5:8] == [{told: ask[5]}, {str(member): told}, [told]]
    assert res == ["res", number, told, 0, member]


@given(st.none() | st.floats(0, 1e12), st.floats(-1e6, 1e6), st.floats(0, 1e4), st.text(max_size=5))
def test_a_request_that_has_waited_is_asked_with_the_time_that_is_left(
    ttl: Optional[float], clock: float, waited: float, topic: str
) -> None:
    """Whatever is in it; of those who are still to be asked, and all else stays."""
    frame = frames.ask(7, ttl, clock, topic, [3, 4], '["a,b",[1]]', '{"c":","}').encode()
    later = frames.asked_now(frame, clock + waited, topic, [4])
    if ttl is not None and ttl - waited * 1e3 < 0.01:
        assert later == frame or ttl > waited * 1e3 - 0.01
        return
    ((_, number, left, then, *rest),), _ = read_of(later)
    assert (number, rest) == (7, [topic, [4], ["a,b", [1]], {"c": ","}, {}])
    assert abs(then - clock - waited) < 1e-5
    if ttl is None:
        assert left is None
    else:
        assert abs(left - (ttl - waited * 1e3)) <= 0.01 + ttl * 1e-12


def test_what_had_no_time_left_is_not_asked_as_if_it_were_said_now() -> None:
    """By its clock it is over, however long it takes: nobody begins it."""
    frame = frames.ask(7, 0.0, 12.5, "volts", [3], "[]", "{}").encode()
    assert frames.asked_now(frame, 3_612.5, "volts", [3]) == frame
    assert frames.is_over(frame)
    for ttl in (0.001, None):
        assert not frames.is_over(frames.ask(7, ttl, 12.5, "volts", [3], "[]", "{}").encode())


# -- what is malformed -----------------------------------------------------------------------------

GOOD: Dict[str, List[Any]] = {frame[0]: frame for _, frame in WRITTEN.values()}
GOOD["res"] = ["res", 9, "a.b", None, 7]

ANYTHING: List[Any] = [None, True, -1, 0, 1, 1.5, 2**53, math.inf, "", "x", [], [0], {}, {"a": 1}]


def accepts(kind: str, index: int) -> List[Any]:
    """Which of `ANYTHING` may stand there, by the table in the module's docstring."""
    members = {"ask": 5, "can": 2}
    values = {("ans", 5), ("part", 5), ("res", 3)}
    if (kind, index) in values:
        return ANYTHING
    if kind == "res" and index == 4:
        return [None, 1]
    if members.get(kind) == index:
        return [None] if kind == "can" else []
    if (kind, index) in {("ask", 6)}:
        return [[], [0]]
    if (kind, index) in {("ask", 7), ("ask", 8)}:
        return [{}, {"a": 1}]
    if kind == "ask" and index == 2:
        return [None, 0, 1, 1.5, 2**53]
    if (kind, index) in {("ask", 3), ("beat", 4)}:
        return [-1, 0, 1, 1.5, 2**53]
    if kind == "prog" and index == 3:
        return [0, 1]
    if (kind, index) in {("here", 3), ("here", 4), ("beat", 2), ("beat", 3), ("seq", 3)}:
        return [0, 1]
    if (kind, index) in {("here", 5), ("here", 6)}:
        return [{}]
    if (kind, index) in {("here", 7), ("end", 2)}:
        return [[]]
    if (kind, index) in {("here", 8), ("not", 3)}:
        return []
    string = {
        "ask": (4,),
        "err": (5, 6, 7),
        "prog": (4,),
        "here": (1, 2),
        "beat": (1,),
        "bye": (1,),
        "res": (2,),
    }
    if index in string.get(kind, ()):
        return ["", "x"]
    if kind in {"ans", "err", "part", "fin", "late"} and index in (3, 4):
        return [0, 1, 1.5, 2**53]
    return [1]


@pytest.mark.parametrize(
    ("kind", "index"), [(kind, index) for kind in sorted(KINDS) for index in range(1, 9)]
)
def test_each_field_is_what_it_must_be_or_the_frame_is_malformed(kind: str, index: int) -> None:
    """Also if it is not there at all; each is looked at."""
    good = GOOD[kind]
    if index >= len(good):
        return
    for each in ANYTHING:
        frame = [*good[:index], each, *good[index + 1 :]]
        text = json.dumps(frame).replace("Infinity", "1e999").encode()
        fine = any(each == some and type(each) is type(some) for some in accepts(kind, index))
        assert read_of(text) == (([frame], 0) if fine else ([], 1)), text
    assert read_of(text_of(good[:index])) == ([], 1)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_later_version_may_say_more(kind: str) -> None:
    """Fields that are not known are cut off; kinds that are not are nobody's fault."""
    assert read_of(text_of([*GOOD[kind], None, [1]])) == ([GOOD[kind]], 0)
    assert read_of(text_of([kind + "x", 1])) == ([], 0)


@pytest.mark.parametrize(
    "frame",
    [
        ["ask", 7, 500.0, 12.5, "a", [1, 1], [], {}, {}],
        ["ask", 7, 500.0, 12.5, "a", [1, True], [], {}, {}],
        ["can", 7, [2, "3"]],
        ["can", 7, [2, 2**53]],
        ["can", 7, [0, 2]],
        ["not", 7, 3, "away"],
        ["not", 7, 3, ["declined"]],
        ["err", 7, 3, 0, 0, "E", "m", "x" * 4097],
        ["prog", 7, 3, 1.01, ""],
        ["end", 7, [[3, "ok"]]],
        ["end", 7, [["3", "ok", None]]],
        ["end", 7, [[3, None, None]]],
        ["end", 7, [[3, "ok", 1]]],
        ["end", 7, ["abc"]],
        ["here", "", "", 0, 0, {"a": []}, {}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {"a": None}, {}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [], "version": "", "patterns": {"a": 1}}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [], "version": "", "patterns": [[1]]}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [], "version": "", "hears": "ab"}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [], "version": "", "clock": "1"}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [], "version": "", "clock": 10**400}],
        ["here", "", "", 0, 0, {"a": [0]}, {}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {"03": "a"}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {"0": "a"}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {"\u0663": "a"}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {"": "a"}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {"9" * 16: "a"}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {"3": 1}, [], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {}, ["a", 1], {"codecs": [], "version": ""}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": "json", "version": ""}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [None], "version": ""}],
        ["here", "", "", 0, 0, {}, {}, [], {"codecs": [], "version": 1}],
        ["here", "", "", 0, 0, {}, {}, [], {"version": ""}],
        [],
        [1],
        [None],
        [["bye", "i"]],
        [{}],
    ],
    ids=repr,
)
def test_what_is_inside_of_fields_is_looked_at(frame: List[Any]) -> None:
    """All the way down, but for values."""
    assert read_of(text_of(frame)) == ([], 1)


def test_what_later_versions_say_within_fields_is_let_be() -> None:
    """A verdict may have more, and so may what is told about a part."""
    about = {"codecs": [], "version": "", "more": 1}
    for frame in (
        ["end", 7, [[3, "ok", None, 1.5]]],
        ["here", "", "", 0, 0, {}, {}, [], about],
    ):
        assert read_of(text_of(frame)) == ([frame], 0)


@pytest.mark.parametrize(
    "line",
    [
        *(b"x", b'"bye"', b"{}", b'{"bye":1}', b"1", b"null", b"bye", b'\xef\xbb\xbf["bye","i"]'),
        *(
            b'["bye"',
            b'["bye","i"]]',
            b'["bye","i"],',
            b'["bye","i"] ',
            b' ["bye","i"]',
            b'["bye","i"]\r',
            b"['bye']",
        ),
        *(
            b'["bye","i"]["bye","i"]',
            b'["bye","i"],["bye","i"]',
            b"[",
            b"]",
            b'["bye",]',
            b'["b\tye"]',
            b'["b\x00"]',
        ),
        *(b'["res",1,"a",NaN,1]', b'["res",1,"a",Infinity,1]', b'["res",1,"a",[-Infinity],1]'),
        *(b'["beat","",0,0,1e999]', b'["beat","",0,0,-1e999]', b'["beat","",0,0,1e999,1]'),
        *(b'["prog",1,1,NaN,""]', b'["ans",1,1,1e999,0,0]', b'["res",01,"a",1,1]'),
        *(b'["res",1,"\\ud800",1,1]', b'["res",1,"a",{"\\uDFFF":1},1]', b'["x","\\ud83d\\ud83d"]'),
        *(
            b'["res",1,"\xff",1,1]',
            b'["res",1,"\xed\xa0\x80",1,1]',
            b'["bye","i"]\xc3',
            b"\xff" * 9,
        ),
        b'["res",1,"a",' + b"1" * 641 + b",1]",
        b'["res",1,"a",-' + b"1" * 5000 + b",1]",
        b'["here","","",0,0,{},{"' + b"1" * 5000 + b'":""},[],{"codecs":[],"version":""}]',
        b'["res",' + b"1" * 700 + b',"a",1,1]',
        b"[" * 100_000,
        b'["res",1,"a",' + b"[" * 100_000 + b"]" * 100_000 + b",1]",
        b'["res",1,"a",' + b'{"":' * 100_000 + b"1" + b"}" * 100_000 + b",1]",
        b'["res",1,"a","\\ud83d\\ude00",' + b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:24]),
)
def test_what_is_no_frame_is_counted_and_harms_no_other(line: bytes) -> None:
    """Wherever in a message it is, and however often."""
    before, after = b'["bye","i"]', '["res",1,"\u00fc",[1,2],null]'.encode()
    bye, res = ["bye", "i"], ["res", 1, "\u00fc", [1, 2], None]
    assert read_of(line) == ([], 1)
    assert read_of(b"\n".join([before, line, after])) == ([bye, res], 1)
    assert read_of(b"\n".join([line, before, line])) == ([bye], 2)


def test_a_frame_that_is_broken_in_two_is_two_malformed_ones() -> None:
    """Though together they would be one."""
    assert read_of(b'["can",1\n,null]') == ([], 2)
    assert read_of(b'["can",1\nnull]') == ([], 2)
    assert read_of(b'["bye","i"],["bye","i"]\n["can",1\nnull]') == ([], 3)


def test_what_json_allows_is_allowed() -> None:
    """Others write it in other ways; the last of two keys is the one."""
    frame = ["res", 1, "a", {"x": 2}, None]
    for text in (
        b'["res", 1, "a", {"x": 1, "x": 2}, null]',
        b'[\t"r\\u0065s",1,"a",{"x":2},null ]',
    ):
        assert read_of(text) == ([frame], 0)
    assert read_of(b'["res",1,"\\ud83d\\ude00",1e999,null]') == (
        [["res", 1, "\U0001f600", math.inf, None]],
        0,
    )
    digits = b"1" * 640
    assert read_of(b'["res",1,"a",' + digits + b",1]") == ([["res", 1, "a", int(digits), 1]], 0)
    long = "1" * 5000
    assert read_of(text_of(["res", 1, "a", long, 1])) == ([["res", 1, "a", long, 1]], 0)


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="has no limit")
def test_no_python_has_to_be_told_how_many_digits_it_shall_read() -> None:
    """It is the same without a limit, and with the least that can be set."""
    text = b'["res",1,"a",%d,1]'
    before = sys.get_int_max_str_digits()
    try:
        for limit in (0, 640):
            sys.set_int_max_str_digits(limit)
            assert read_of(b'["res",1,"a",' + b"1" * 1_000_000 + b",1]") == ([], 1)
            assert read_of(b'["res",1,"a",' + b"1" * 640 + b",1]")[1] == 0
    finally:
        sys.set_int_max_str_digits(before)
    assert read_of(text % 5) == ([["res", 1, "a", 5, 1]], 0)


# -- whatever arrives ------------------------------------------------------------------------------


def check(payload: bytes) -> None:
    """What is read is right, and nothing is raised; each line counts for itself."""
    read, malformed = read_of(payload)
    lines = [line for line in payload.split(b"\n") if line]
    assert len(read) + malformed <= len(lines)
    alone = [read_of(line) for line in lines]
    assert sum(bad for _, bad in alone) == malformed
    assert [frame for some, _ in alone for frame in some] == read
    for frame in read:
        assert len(frame) == len(GOOD[frame[0]])
        text = json.dumps(frame, ensure_ascii=False)
        assert read_of(text.replace("Infinity", "1e999").encode()) == ([frame], 0)


ALL = payload_of([text for text, _ in WRITTEN.values()])
PIECES = [
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\ud800", b"\n", b"\r", b"null", b"NaN"),
    *(b"1e999", b"-", b"0", b"9" * 17, b"1.5", b'"x"', b"\xff", b"\xc3\xbc", b"\x00", b" "),
    *(b'["bye","i"]', b'["can",1,', b'["res",1,"a",', b"[1]", b"{}", b'"3":', b"9" * 700),
]
mutations = st.lists(
    st.tuples(
        st.integers(0, len(ALL)), st.integers(0, 3), st.one_of(st.sampled_from(PIECES), st.binary())
    ),
    max_size=4,
)


def mutated(changes: List[Tuple[int, int, bytes]]) -> bytes:
    """All frames, but somewhere some bytes are others."""
    payload = ALL
    for at, gone, new in changes:
        payload = payload[:at] + new + payload[at + gone :]
    return payload


arrays = st.recursive(
    st.sampled_from([*ANYTHING, LARGEST, "declined", "running", "3", {"codecs": ["a"]}]),
    lambda some: st.lists(some, max_size=3),
    max_leaves=6,
)
pieces = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
near = st.tuples(st.sampled_from(sorted(KINDS)), st.lists(arrays, max_size=8)).map(
    lambda it: text_of([it[0], *it[1]])
)


@settings(max_examples=60)
@given(st.one_of(st.binary(max_size=40), pieces, near, mutations.map(mutated)))
def test_nothing_is_raised_whatever_arrives(payload: bytes) -> None:
    """And what is read has the shape that it must have."""
    check(payload)


@pytest.mark.thorough
@settings(max_examples=1500)
@given(st.one_of(st.binary(max_size=40), pieces, near, mutations.map(mutated)))
def test_nothing_is_raised_whatever_ever_arrives(payload: bytes) -> None:
    """More of the same."""
    check(payload)


SIZE = 1_000_000
HOSTILE: Dict[str, bytes] = {
    "random": os.urandom(SIZE),
    "line feeds": b"\n" * SIZE,
    "short lines": b"x\n" * (SIZE // 2),
    "short arrays": b"[\n" * (SIZE // 2),
    "bad UTF-8": b'["bye","i"]\xff\n' * (SIZE // 9),
    "good frames": b'["bye","i"]\n' * (SIZE // 8),
    "bad frames": b'["ans"]\n' * (SIZE // 8),
    "errors at the end": b'["res",1,"' + b"x" * SIZE + b'",x]',
    "brackets": b"[" * SIZE,
    "a text": b'["res",1,"a","' + b"x" * SIZE + b'",null]',
    "escapes": b'["res",1,"a","' + b"\\ud83d\\ude00" * (SIZE // 12) + b'",null]',
    "backslashes": b'["res",1,"a","' + b"\\" * SIZE,
    "digits": b'["res",1,"a",' + b"1" * SIZE + b",null]",
    "decimals": b'["res",1,"a",0.' + b"1" * SIZE + b",null]",
    "an exponent": b'["res",1,"a",1e-' + b"9" * SIZE + b",null]",
    "digits in many lines": (b'["res",1,"a",' + b"1" * 641 + b",null]\n") * (SIZE // 660),
    "digits in runs": b'["res",1,"a",[' + (b"1" * 640 + b",") * (SIZE // 641) + b"1],null]",
    "members": b'["can",1,[' + b",".join(b"%d" % each for each in range(1, SIZE // 7)) + b"]]",
    "names": b'["here","","",1,1,{},{'
    + b",".join(b'"%d":""' % each for each in range(1, SIZE // 10))
    + b'},[],{"codecs":[],"version":""}]',
    "a long name": b'["here","","",1,1,{},{"' + b"1" * SIZE + b'":""},[],{}]',
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_what_arrives_and_no_faster(name: str) -> None:
    """A second for a megabyte is much; what grows with the square would take hours."""
    began = time.process_time()
    read_of(HOSTILE[name])
    assert time.process_time() - began < 10


TAGS = ["a", "b", "$set", "$", "a$b"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.sampled_from(["$", "x"]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(TAGS), each),
    max_leaves=8,
)


@settings(max_examples=200)
@given(json_values, st.integers(0, 70), st.sampled_from(["$", "\\u0024"]))
def test_a_value_that_has_to_be_decoded_is_told_from_one_that_has_not(
    value: Any, deep: int, dollar: str
) -> None:
    """However a tag is written, and wherever it is; and what is deeper than values may be."""
    text = "[" * deep + json.dumps(value) + "]" * deep
    text = text.replace("$", dollar)
    values = {
        "ask": f'["ask",1,null,0.5,"t",[7],[{text}],{{}},{{}}]',
        "ans": f'["ans",1,1,0.5,0.5,{text}]',
        "part": f'["part",1,1,0.5,0.5,{text}]',
        "res": f'["res",1,"t",{text},null]',
    }
    for kind, line in values.items():
        (frame,) = frames_of(line.encode())
        assert frame is not None
        (found,) = [each for each in frame[3:] if isinstance(each, Coded)] or [None]
        if found is None:
            bare = frame[{"ask": 6, "res": 3}.get(kind, 5)]
            assert Codec().decode(bare) is bare
        else:
            assert "$" in json.dumps(value) or line.count("[") + line.count("{") > 64
