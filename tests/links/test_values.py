"""Values travel as JSON text, and come back equal and of the same type, or they are refused."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import json
import math
import sys
import threading
from collections import OrderedDict, namedtuple
from typing import Any, Dict, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ate_dispatcher.errors import BadType, BadValue
from ate_dispatcher.links.json_text import may_have_long_number
from ate_dispatcher.links.values import Codec, ValueType

CODEC = Codec()
PRIME = 2**61 - 1
"""The hash of an int is what it leaves when divided by that."""


def there_and_back(value: Any, codec: Codec = CODEC) -> Any:
    """As it would be at another part."""
    text = codec.encode("value", value)
    assert "\n" not in text
    return codec.decode(json.loads(text.encode()))


def shown(value: Any) -> Any:
    """All that tells it from others: its types all the way down, and its order if it has one."""
    kind = type(value).__name__
    if isinstance(value, (list, tuple)):
        return kind, [shown(each) for each in value]
    if isinstance(value, dict):
        return kind, [(shown(key), shown(each)) for key, each in value.items()]
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(shown(each)) for each in value)
    return kind, hex(value) if isinstance(value, int) else repr(value)


def same(one: Any, other: Any) -> bool:
    """Whether nothing tells one from the other."""
    return bool(shown(one) == shown(other))


def nested(deep: int) -> Any:
    """A list in so many lists."""
    value: Any = []
    for _ in range(deep - 1):
        value = [value]
    return value


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
leaves = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(max_size=8)),
    st.complex_numbers(),
    st.sampled_from([2**2048, -(2**2048), 2**2048 - 1, -(2**9000), -0.0, 5e-324]),
)
hashables = st.recursive(
    leaves,
    lambda some: st.one_of(
        st.lists(some, max_size=3).map(tuple),
        st.frozensets(some, max_size=3),
    ),
    max_leaves=4,
)
keys = st.one_of(texts, st.sampled_from(["$", "$map", "$tuple", "a$"]), hashables)
values = st.recursive(
    hashables,
    lambda some: st.one_of(
        st.lists(some, max_size=4),
        st.lists(some, max_size=4).map(tuple),
        st.sets(hashables, max_size=4),
        st.dictionaries(texts, some, max_size=4),
        st.dictionaries(keys, some, max_size=4),
    ),
    max_leaves=12,
)
json_values = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), texts),
        st.sampled_from(["nan", "aGk=", "ff", "$tuple"]),
    ),
    lambda some: st.one_of(
        st.lists(some, max_size=3),
        st.dictionaries(texts, some, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["$tuple", "$set", "$frozenset", "$map", "$bytes", "$float", "$complex", "$int"]
            ),
            some,
            max_size=2,
        ),
        st.lists(st.lists(some, min_size=2, max_size=2), max_size=2).map(lambda it: {"$map": it}),
    ),
    max_leaves=8,
)


# -- what comes back -------------------------------------------------------------------------------


@settings(max_examples=40)
@given(values)
def test_what_is_sent_comes_back_as_it_was(value: Any) -> None:
    """Equal, with the same types and the same order."""
    assert same(there_and_back(value), value)


@pytest.mark.thorough
@settings(max_examples=1000)
@given(values)
def test_what_is_sent_comes_back_as_it_was_always(value: Any) -> None:
    """More of the same."""
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1.0, "1.0"),
        ("ü\n$", '"ü\\n$"'),
        ([1, [2.5, "x"]], '[1,[2.5,"x"]]'),
        ({"a": {"b": []}}, '{"a":{"b":[]}}'),
        ((1, (2,)), '{"$tuple":[1,{"$tuple":[2]}]}'),
        ({3}, '{"$set":[3]}'),
        (frozenset([3]), '{"$frozenset":[3]}'),
        ({1: "a", None: "b"}, '{"$map":[[1,"a"],[null,"b"]]}'),
        ({"$tuple": [1]}, '{"$map":[["$tuple",[1]]]}'),
        ({"a": 1, "$b": 2}, '{"$map":[["a",1],["$b",2]]}'),
        (b"hi", '{"$bytes":"aGk="}'),
        (math.inf, '{"$float":"inf"}'),
        ([-math.inf], '[{"$float":"-inf"}]'),
        ([math.nan], '[{"$float":"nan"}]'),
        (1.5 - 2j, '{"$complex":[1.5,-2.0]}'),
        (complex(math.inf, -0.0), '{"$complex":[{"$float":"inf"},-0.0]}'),
        (-(16**640), '{"$int":"-1' + "0" * 640 + '"}'),
    ],
)
def test_the_text_is_what_the_module_says(value: Any, text: str) -> None:
    """Others write programs by it."""
    assert CODEC.encode("value", value) == text
    assert same(there_and_back(value), value)


def test_other_languages_may_write_numbers_in_their_way() -> None:
    """Theirs have one kind of them, perhaps."""
    assert same(CODEC.decode({"$complex": [1, -2]}), 1.0 - 2.0j)


@pytest.mark.parametrize(
    "number", [2**2048 - 1, -(2**2048) + 1, 2**2048, 10**5000, -(10**100000)], ids=int.bit_length
)
def test_an_int_of_any_size_is_read_by_any_python(number: int) -> None:
    """However few digits it was told to read: no more than 640 stand in a row."""
    for value in (number, [number], {"a": [0.5, number]}):
        text = CODEC.encode("value", value)
        assert not any(len(run) > 640 and run.isdecimal() for run in text.strip("[]{}").split(","))
        assert same(CODEC.decode(json.loads(text)), value)


def test_long_digits_are_found_wherever_they_begin() -> None:
    """With more than 640 of them always, with half of that never."""
    for before in (0, 1, 319, 320, 321, 1000):
        assert may_have_long_number("x" * before + "1" * 641)
        assert may_have_long_number("x" * before + "1" * 641 + "x")
        assert not may_have_long_number("x" * before + "1" * 319 + "x" * 700)


def test_a_value_without_tags_is_decoded_to_itself() -> None:
    """That costs one look."""
    for value in ([1, [2, {"a": [3]}]], {"a": {"b": "$"}}, "x", 1.5, [], {}):
        assert CODEC.decode(value) is value


def test_a_call_is_encoded_value_by_value() -> None:
    """Keywords are what they are; each value may be as deep as one may be."""
    args = (1, (2,), nested(64))
    kwargs = {"a": b"", "$tuple": 3, "ü": nested(64)}
    texts = CODEC.encode_call(args, kwargs)
    decoded = CODEC.decode_call(*map(json.loads, texts))
    assert same(decoded, (list(args), kwargs))
    assert CODEC.encode_call((), {}) == ("[]", "{}")


# -- what is refused -------------------------------------------------------------------------------


class Color(enum.IntEnum):
    """Ints of its own."""

    RED = 1


class Text(str):
    """It could be anything."""

    __slots__ = ()


class Shy:
    """Nobody may look at it."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __repr__(self) -> str:
        raise AssertionError("shown")


Pair = namedtuple("Pair", ["a", "b"])  # noqa: PYI024


@pytest.mark.parametrize(
    ("value", "place", "name"),
    [
        (Color.RED, "args[0]", "Color"),
        ([0, Color.RED], "args[0][1]", "Color"),
        ({"a": [1, 2, 3, Text("x")]}, "args[0]['a'][3]", "Text"),
        ({"a": OrderedDict()}, "args[0]['a']", "collections.OrderedDict"),
        ((Pair(1, 2),), "args[0][0]", "Pair"),
        (bytearray(b"x"), "args[0]", "type bytearray:"),
        (memoryview(b"x"), "args[0]", "type memoryview:"),
        (decimal.Decimal(1), "args[0]", "decimal.Decimal"),
        ({Text("x"): 1}, "args[0].keys()", "Text"),
        ({(1, Color.RED): 1}, "args[0].keys()[1]", "Color"),
        ({frozenset([Color.RED])}, "args[0]{...}{...}", "Color"),
        ({1: {2: Shy()}}, "args[0][1][2]", "Shy"),
        ({2**99999: {(1, "x" * 99): Shy()}}, "args[0][<int>][(1, 'xxxxxxxxxxxx...", "Shy"),
        ([Shy()], "args[0][0]", "Shy"),
        (Shy, "args[0]", "type type:"),
        (range(3), "args[0]", "type range:"),
    ],
)
def test_what_would_come_back_different_is_refused_by_its_place(
    value: Any, place: str, name: str
) -> None:
    """And by its type."""
    with pytest.raises(BadType) as refused:
        CODEC.encode("args[0]", value)
    shown = place if place.endswith("...") else f"{place} cannot be sent"
    assert str(refused.value).startswith(shown)
    assert name in str(refused.value)


def test_a_call_is_refused_by_the_argument() -> None:
    """Wherever it is."""
    with pytest.raises(BadType, match=r"^args\[1\]\['a'\] cannot"):
        CODEC.encode_call((1, {"a": Color.RED}), {})
    with pytest.raises(BadType, match=r"^kwargs\['x'\]\[0\] cannot"):
        CODEC.encode_call((1,), {"x": [Color.RED]})
    with pytest.raises(BadValue, match=r"^a name in kwargs cannot"):
        CODEC.encode_call((), {"\ud800": 1})


@pytest.mark.parametrize("value", ["\ud800", ["a", "\udfff"], {"\udc80": 1}, {"a": "ü\ud83d"}])
def test_a_text_that_cannot_be_utf_8_is_refused(value: Any) -> None:
    """A pair of surrogates is one character, and welcome."""
    with pytest.raises(BadValue, match="lone surrogate"):
        CODEC.encode("value", value)
    assert there_and_back("\U0001f600") == "\U0001f600"


@pytest.mark.parametrize("wrap", [lambda it: [it], lambda it: (it,), lambda it: {"a": it}])
def test_deep_values_are_refused_at_both_ends_at_the_same_depth(wrap: Any) -> None:
    """64 levels, whatever they are made of; what is no container counts for none."""
    for leaf in (1, b"x", math.nan, complex(math.nan, 1), 2**3000):
        value: Any = leaf
        for _ in range(64):
            value = wrap(value)
        assert same(there_and_back(value), value)
        with pytest.raises(BadValue, match=r"^value.*\.\.\. cannot .* more than 64 deep"):
            CODEC.encode("value", wrap(value))
    with pytest.raises(BadValue, match="64 deep"):
        CODEC.decode(nested(65))
    with pytest.raises(BadValue, match="64 deep"):
        CODEC.decode({"$tuple": [nested(64)]})
    with pytest.raises(BadValue, match="64 deep"):
        CODEC.decode({"$map": [[1, {"a": nested(63)}]]})
    assert CODEC.decode({"$map": [[1, {"a": nested(62)}]]}) == {1: {"a": nested(62)}}


def test_values_far_too_deep_are_refused_as_well() -> None:
    """Nobody comes to the end of the stack."""
    deep: Any = nested(10_000)
    tagged: Any = 1
    strange: Any = 1.0
    for _ in range(10_000):
        tagged = {"$tuple": [tagged]}
        strange = {"$complex": [strange, 1]}
    with pytest.raises(BadValue):
        CODEC.encode("value", deep)
    for each in (deep, tagged, strange):
        with pytest.raises(BadValue):
            CODEC.decode(each)


def test_a_value_in_itself_is_refused() -> None:
    """At once, also where it is there many times; beside itself it may be."""
    one: List[Any] = []
    one += [one] * 10
    two: Dict[str, Any] = {}
    two["a"] = [({"b": two},)]
    for each, place in ((one, r"value\[0\]"), (two, r"value\['a'\]\[0\]\[0\]\['b'\]")):
        with pytest.raises(BadValue, match=f"^{place} cannot .* in itself"):
            CODEC.encode("value", each)
    part = (1,)
    assert there_and_back([part, part]) == [part, part]


# -- what is malformed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"$unknown": 1},
        {"$": 1},
        {"$tuple": [], "a": 1},
        {"a": 1, "$tuple": []},
        {"$tuple": [], "$set": []},
        {"$tuple": {}},
        {"$tuple": "ab"},
        {"$set": None},
        {"$set": [[1]]},
        {"$frozenset": [{"$set": []}]},
        {"$map": {"a": 1}},
        {"$map": [[1]]},
        {"$map": [[1, 2, 3]]},
        {"$map": ["ab"]},
        {"$map": [[[], 1]]},
        {"$bytes": 1},
        {"$bytes": "a"},
        {"$bytes": "a\u00fc=="},
        {"$bytes": "aG k="},
        {"$float": "1.5"},
        {"$float": 1.5},
        {"$float": []},
        {"$complex": [1]},
        {"$complex": [1, True]},
        {"$complex": [1, "1"]},
        {"$complex": [10**400, 1]},
        {"$complex": [1, {"$float": 1}]},
        {"$complex": [1, {"$complex": [1, 1]}]},
        {"$int": 5},
        {"$int": ""},
        {"$int": "0x1f"},
        {"$int": " 1"},
        {"$int": "1_0"},
        [1, {"a": [{"$unknown": 1}]}],
    ],
)
def test_a_malformed_tag_is_refused(value: Any) -> None:
    """Wherever it is."""
    for each in (value, [value], {"a": value}, {"$tuple": [value]}):
        with pytest.raises(BadValue, match="cannot be read"):
            CODEC.decode(each)


@settings(max_examples=40)
@given(json_values)
def test_nothing_else_is_raised_whatever_arrives(value: Any) -> None:
    """And what is read can be sent on."""
    try:
        read = CODEC.decode(value)
    except BadValue:
        return
    assert same(there_and_back(read), read)


@pytest.mark.parametrize(
    "value",
    [
        {"$set": [each * PRIME for each in range(50_000)]},
        {"$frozenset": [each * PRIME for each in range(50_000)]},
        {"$map": [[each * PRIME, 0] for each in range(50_000)]},
    ],
)
def test_nobody_is_kept_busy_by_equal_hashes(value: Any) -> None:
    """Minutes, it would be. Neither are they sent."""
    with pytest.raises(BadValue, match="more than 256 of one hash"):
        CODEC.decode(value)


def test_what_could_not_be_read_for_its_hashes_is_not_sent() -> None:
    """As many as may be are."""
    crowd = [each * PRIME for each in range(257)]
    for value in (set(crowd), frozenset(crowd), dict.fromkeys(crowd)):
        with pytest.raises(BadValue, match="of one hash"):
            CODEC.encode("value", value)
    most = {*crowd[1:], *range(1, 1000)}
    assert there_and_back(most) == most


@pytest.mark.thorough
@settings(max_examples=1000)
@given(json_values)
def test_nothing_else_is_raised_whatever_ever_arrives(value: Any) -> None:
    """More of the same."""
    try:
        CODEC.decode(value)
    except BadValue:
        pass


# -- types of users --------------------------------------------------------------------------------


class Point:
    """A user's."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self) -> int:
        return hash((self.x, self.y))


POINT = ValueType("point", Point, lambda it: (it.x, it.y), lambda it: Point(*it))
DATE = ValueType("date", dt.date, dt.date.isoformat, dt.date.fromisoformat)
COLOR = ValueType("color", Color, int, Color)
OWN = Codec([POINT, DATE, COLOR])


def test_types_of_users_travel_by_their_hooks() -> None:
    """In each other, as keys, as elements."""
    day = dt.date(2024, 2, 29)
    value = {"a": [Point(1, Point(day, {2})), Color.RED], "b": {Point(1, 2): {day}}}
    assert OWN.encode("value", Point(1, day)) == '{"$point":{"$tuple":[1,{"$date":"2024-02-29"}]}}'
    assert there_and_back(value, OWN) == value
    with pytest.raises(BadType, match=r"datetime\.datetime"):
        OWN.encode("value", dt.datetime(2024, 2, 29))  # noqa: DTZ001


def test_what_hooks_raise_names_the_place() -> None:
    """Theirs is the cause."""
    bad = Codec([ValueType("point", Point, lambda it: 1 / 0, lambda it: 1 / 0)])
    with pytest.raises(BadValue, match=r"^args\[0\]\[1\]\.\$point cannot .*ZeroDivision") as sent:
        bad.encode("args[0]", [1, Point(1, 2)])
    assert isinstance(sent.value.__cause__, ZeroDivisionError)
    with pytest.raises(BadValue, match=r"point.*ZeroDivision") as read:
        bad.decode({"$point": 1})
    assert isinstance(read.value.__cause__, ZeroDivisionError)
    with pytest.raises(BadType, match=r"^value\.\$point\[0\] cannot"):
        OWN.encode("value", Point(Shy(), 1))
    with pytest.raises(BadValue, match="cannot be read"):
        OWN.decode({"$set": [{"$point": {"$tuple": [{"$set": []}, 1]}}]})


def test_a_hook_that_comes_to_no_end_is_refused() -> None:
    """It gives itself, or always another."""
    for to_plain in (lambda it: it, lambda it: Point(it.x, it.y), lambda it: [it]):
        endless = Codec([ValueType("point", Point, to_plain, lambda it: it)])
        with pytest.raises(BadValue, match=r"in itself|64 deep"):
            endless.encode("value", Point(1, 2))


def test_hooks_run_on_the_calling_thread() -> None:
    """To send is to call them."""
    seen = []
    codec = Codec([ValueType("point", Point, lambda it: seen.append(threading.get_ident()), id)])
    codec.encode("value", Point(1, 2))
    assert seen == [threading.get_ident()]


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (BadType, "tag", (1, Point, id, id)),
        (BadType, "tag", (Text("point"), Point, id, id)),
        (BadValue, "tag", ("", Point, id, id)),
        (BadValue, "tag", ("$point", Point, id, id)),
        (BadValue, "tag", ("1point", Point, id, id)),
        (BadValue, "tag", ("point\n", Point, id, id)),
        (BadValue, "tag", ("p" * 65, Point, id, id)),
        *(
            (BadValue, "taken", (tag, Point, id, id))
            for tag in ("tuple", "set", "frozenset", "map", "bytes", "float", "complex", "int")
        ),
        (BadType, "type", ("point", Point(1, 2), id, id)),
        *(
            (BadValue, "travels anyway", ("point", kind, id, id))
            for kind in (
                *(str, int, float, bool, type(None), complex, bytes),
                *(list, tuple, set, frozenset, dict),
            )
        ),
        (BadType, "to_plain", ("point", Point, 1, id)),
        (BadType, "from_plain", ("point", Point, id, None)),
    ],
)
def test_a_value_type_is_checked_when_it_is_made(error: Any, match: str, arguments: Any) -> None:
    """Naming the parameter."""
    with pytest.raises(error, match=match):
        ValueType(*arguments)


def test_a_codec_is_checked_when_it_is_made() -> None:
    """Two for one are none."""
    for types in (POINT, "ab", 1, [Point], [None]):
        with pytest.raises(BadType, match=r"^types must"):
            Codec(types)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match=r"^types must have one for the tag 'point'"):
        Codec([POINT, ValueType("point", decimal.Decimal, str, decimal.Decimal)])
    with pytest.raises(BadValue, match=r"^types must have one for .*Point"):
        Codec([POINT, ValueType("point2", Point, id, id)])
    with pytest.raises(AttributeError):
        POINT.tag = "other"  # type: ignore[misc]


def test_bytes_are_in_plain_base64() -> None:
    """As other languages write it."""
    value = bytes(range(256))
    assert json.loads(CODEC.encode("value", value)) == {"$bytes": base64.b64encode(value).decode()}


def test_the_recursion_limit_is_none_of_ours() -> None:
    """64 levels need little of it."""
    value = nested(64)
    tagged: Any = {1: 2}
    for _ in range(63):
        tagged = {1: tagged}
    before = sys.getrecursionlimit()
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    try:
        sys.setrecursionlimit(depth + 350)
        assert same(there_and_back(value), value)
        assert same(there_and_back(tagged), tagged)
    finally:
        sys.setrecursionlimit(before)
