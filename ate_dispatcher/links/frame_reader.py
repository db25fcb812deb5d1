"""Frames, as they are read: what each field must be, and the frames of a message.

The table is in `frames`.
"""

from __future__ import annotations

import json
import sys
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Type,
)

from .frames import LONGEST_TRACE
from .json_text import CAREFUL_DECODER, DECODER, LONGEST_NUMBER, may_have_long_number
from .subjects import LONGEST
from .value_types import DEEPEST

__all__ = ["KINDS", "Coded", "frames_of"]

_LARGEST = (1 << 53) - 1
_MAX = sys.float_info.max
_WHY_NOT = frozenset(["declined", "withdrawn", "died", "gone"])

_INT = frozenset([int])


class Coded(NamedTuple):
    """A value, or arguments, in whose text tags may be, or that may be deep: to be decoded.

    Hardly any is; and to look at the text takes a part of the time of a look at all that is in it.
    """

    found: Any


class _Field(NamedTuple):
    """What one must be: of a type; a number from *least* to *most*, if it is one; and so on."""

    types: FrozenSet[Type[Any]]
    least: float = 0
    #: None if it is no number.
    most: Optional[float] = None
    check: Optional[Callable[[Any], bool]] = None

    def or_null(self) -> _Field:
        return self._replace(types=self.types | {type(None)})


def _are_strings(field: Any) -> bool:
    return type(field) is list and all(type(each) is str for each in field)


def _is_number(field: Any) -> bool:
    return type(field) is int and 0 < field <= _LARGEST


def _are_members(field: Optional[List[Any]]) -> bool:
    if field is None or (len(field) == 1 and _is_number(field[0])):
        return True
    return (
        len(field) > 0
        and _INT.issuperset(map(type, field))
        and min(field) > 0
        and max(field) <= _LARGEST
        and len(set(field)) == len(field)
    )


def _are_judged(field: List[Any]) -> bool:
    return all(
        type(each) is list
        and len(each) >= 3
        and _is_number(each[0])
        and type(each[1]) is str
        and (each[2] is None or type(each[2]) is str)
        for each in field
    )


def _are_topics(field: Dict[str, Any]) -> bool:
    return all(type(each) is list and _are_members(each) for each in field.values())


def _are_names(field: Dict[str, Any]) -> bool:
    return all(map(_is_member, field)) and all(type(name) is str for name in field.values())


def _is_member(text: str) -> bool:
    # Short first: nobody makes us turn a million digits into a number.
    return len(text) <= 16 and text.isdecimal() and str(int(text)) == text and _is_number(int(text))


def _is_about(field: Dict[str, Any]) -> bool:
    patterns, hears = field.get("patterns", {}), field.get("hears", [])
    clock = field.get("clock", 0)
    return (
        _are_strings(field.get("codecs"))
        and type(field.get("version")) is str
        and type(patterns) is dict
        and _are_topics(patterns)
        and _are_strings(hears)
        and type(clock) in (int, float)
        and abs(clock) <= _MAX
    )


_STRING = _Field(frozenset([str]))
_TOPIC = _Field(frozenset([str]), check=lambda field: len(field) <= LONGEST)
_WHY = _Field(frozenset([str]), check=lambda field: field in _WHY_NOT)
_TRACE = _Field(frozenset([str]), check=lambda field: len(field) <= LONGEST_TRACE)
_ARRAY = _Field(frozenset([list]))
_OBJECT = _Field(frozenset([dict]))
_NUMBER = _Field(_INT, 1, _LARGEST)
_COUNT = _Field(_INT, 0, _LARGEST)
_MS = _Field(frozenset([int, float]), 0, _MAX)
_SECONDS = _Field(frozenset([int, float]), -_MAX, _MAX)
_FRACTION = _Field(frozenset([int, float]), 0, 1)
_MEMBERS = _Field(frozenset([list]), check=_are_members)
_JUDGED = _Field(frozenset([list]), check=_are_judged)
_STRINGS = _Field(frozenset([list]), check=_are_strings)
_TOPICS = _Field(frozenset([dict]), check=_are_topics)
_NAMES = _Field(frozenset([dict]), check=_are_names)
_ABOUT = _Field(frozenset([dict]), check=_is_about)
_VALUE = None
"""Whatever JSON has; perhaps `Coded`."""

_SHAPES: Mapping[str, Tuple[Optional[_Field], ...]] = {
    "ask": (_NUMBER, _MS.or_null(), _SECONDS, _TOPIC, _MEMBERS, _ARRAY, _OBJECT, _OBJECT),
    "ans": (_NUMBER, _NUMBER, _MS, _MS, _VALUE),
    "err": (_NUMBER, _NUMBER, _MS, _MS, _STRING, _STRING, _TRACE),
    "part": (_NUMBER, _NUMBER, _MS, _MS, _VALUE),
    "fin": (_NUMBER, _NUMBER, _MS, _MS),
    "not": (_NUMBER, _NUMBER, _WHY),
    "skip": (_NUMBER, _NUMBER),
    "late": (_NUMBER, _NUMBER, _MS, _MS),
    "prog": (_NUMBER, _NUMBER, _FRACTION, _STRING),
    "end": (_NUMBER, _JUDGED),
    "can": (_NUMBER, _MEMBERS.or_null()),
    "here": (_STRING, _STRING, _COUNT, _COUNT, _TOPICS, _NAMES, _STRINGS, _ABOUT),
    "beat": (_STRING, _COUNT, _COUNT, _SECONDS),
    "bye": (_STRING,),
    "res": (_NUMBER, _TOPIC, _VALUE, _NUMBER.or_null()),
    "again": (_NUMBER, _NUMBER),
    "lost": (_NUMBER, _NUMBER),
    "seq": (_NUMBER, _NUMBER, _COUNT),
    "resend": (_NUMBER, _NUMBER, _NUMBER),
    "passed": (_NUMBER, _NUMBER),
    "seen": (_NUMBER, _NUMBER),
    "took": (_NUMBER, _NUMBER),
    "probe": (),
}
"""What each field must be, for each kind."""

KINDS = frozenset(_SHAPES)
"""The first of each frame that is read."""


def _is_usual_ask(frame: List[Any]) -> bool:
    _, number, ttl_ms, clock_s, topic, members, args, kwargs, options = frame
    return (
        type(number) is int
        and 0 < number <= _LARGEST
        and (ttl_ms is None or (type(ttl_ms) is float and 0.0 <= ttl_ms <= _MAX))
        and type(clock_s) is float
        and -_MAX <= clock_s <= _MAX
        and type(topic) is str
        and len(topic) <= LONGEST
        and type(members) is list
        and len(members) == 1
        and _is_number(members[0])
        and type(args) is list
        and type(kwargs) is type(options) is dict
    )


def _is_usual_answer(frame: List[Any]) -> bool:
    _, number, key, waited_ms, ran_ms, _ = frame
    return (
        type(number) is type(key) is int
        and 0 < number <= _LARGEST
        and 0 < key <= _LARGEST
        and type(waited_ms) is type(ran_ms) is float
        and 0.0 <= waited_ms <= _MAX
        and 0.0 <= ran_ms <= _MAX
    )


_USUAL = {"ask": _is_usual_ask, "ans": _is_usual_answer, "part": _is_usual_answer}
"""Of those that are many: whether one of the right length is as they mostly are; then it is as the
table says, and needs no other look. That takes a third of the time."""

_ARGS = 6
"""Where arguments are; no value of another kind is there."""

_VALUES = {"ask": _ARGS, "ans": 5, "part": 5, "res": 3}
"""Where a value is, or arguments, with which the keywords are, too."""

_SHORT = 2 * DEEPEST
"""No line that is not longer has more brackets than values may be deep: each is closed."""

_Checks = List[
    Tuple[
        int,
        FrozenSet[Type[Any]],
        float,
        Optional[float],
        Optional[Callable[[Any], bool]],
    ]
]

_CHECKS: Dict[str, Tuple[int, Optional[Callable[[List[Any]], bool]], Optional[int], _Checks]] = {
    kind: (
        len(shape) + 1,
        _USUAL.get(kind),
        _VALUES.get(kind),
        [
            (index, field.types, field.least, field.most, field.check)
            for index, field in enumerate(shape, 1)
            if field is not None
        ],
    )
    for kind, shape in _SHAPES.items()
}
"""How long a frame is, how it mostly is, where its value is; which fields must be, and how."""

# -- reading ---------------------------------------------------------------------------------------


def frames_of(payload: bytes) -> Iterator[Optional[List[Any]]]:
    """The frames of a message, in their order, each read as it is wanted; None for a malformed one.

    Each is a list of its kind, one of `KINDS`, and its fields, exactly as the table says; behind
    those of a request, how long its line is. Raises nothing, whatever the payload is, and takes
    time as that is long. Values are as `json.loads` makes them, and are `Coded` if they have to be
    decoded.
    """
    try:
        lines = payload.decode().split("\n")
    except UnicodeDecodeError:
        lines = [_line(each) for each in payload.split(b"\n")]
    for line in lines:
        if line[:1] != "[":
            if line:
                yield None
            continue
        try:
            if len(line) > LONGEST_NUMBER and may_have_long_number(line):
                frame, length = _decode_carefully(line)
            else:
                frame, length = _decode(line, 0)
            is_escaped = "\\" in line
            if is_escaped and ("\\ud" in line or "\\uD" in line):
                # A pair of them is one character, and one alone no text.
                _rewrite(frame).encode()
        except (ValueError, RecursionError, StopIteration):
            yield None
            continue
        if length != len(line) or not frame or type(frame[0]) is not str:
            yield None
            continue
        known = _CHECKS.get(frame[0])
        if known is None:
            continue
        length, is_usual, value, checks = known
        if len(frame) != length:
            if len(frame) < length:
                yield None
                continue
            del frame[length:]
        if not (is_usual is not None and is_usual(frame)) and not _is_as_it_must_be(frame, checks):
            yield None
            continue
        if value is not None and (
            "$" in line
            or is_escaped
            or (len(line) > _SHORT and line.count("[") + line.count("{") > DEEPEST)
        ):
            frame[value] = Coded(frame[value])
        if value == _ARGS:
            frame.append(len(line))
        yield frame


def _is_as_it_must_be(frame: List[Any], checks: _Checks) -> bool:
    for index, types, least, most, check in checks:
        field = frame[index]
        if type(field) not in types:
            return False
        if most is not None:
            if field is not None and not least <= field <= most:
                return False
        elif check is not None and not check(field):
            return False
    return True


def _line(line: bytes) -> str:
    """Its text, or something that is no frame."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return "?"


_rewrite = json.JSONEncoder(check_circular=False, ensure_ascii=False).encode
# What `raw_decode` calls, which turns its StopIteration into a ValueError; there is no public way.
_decode = getattr(DECODER, "scan_once", DECODER.raw_decode)
_decode_carefully = CAREFUL_DECODER.raw_decode
