"""Frames of the wire "ate1": what parts tell each other, as lines of JSON text.

A message is text in UTF-8. Each of its lines, which end with a line feed but for the last, is one
frame: one JSON array ``[kind, ...]`` and nothing else, without lone surrogates, NaN, or numbers of
more than 640 digits. The sender is not in it: whatever carries the message knows it. A kind that is
not known is left alone, and so is what an array has beyond the fields that are known: later
versions may have more. A frame that has not all fields, or wrong ones, is malformed and dropped.

=====================================  ============================================================
``ask id ttl_ms clock_s topic          Answer this within `ttl_ms`, or null for ever; the asker's
members args kwargs options``          clock showed `clock_s`. `members` are of the part that is
                                       asked; `options` is an object, of nothing that must be known
``ans id member waited_ms ran_ms       The answer of one of them, which began after `waited_ms` and
value``                                took `ran_ms`
``err id member waited_ms ran_ms       It has raised: the name of the exception's type, what it
type message traceback``               says, and the end of its traceback: at most 4,096 characters
``part id member waited_ms ran_ms      A part of its answer, of perhaps many
value``
``fin id member waited_ms ran_ms``     That was its last part
``not id member why``                  It has not been asked, or not begun, and never will: its
                                       thread had ended (``"declined"``), or ends before it comes to
                                       it (``"died"``), or it was stopped (``"withdrawn"``)
``skip id member``                     It has not begun: the request was over when its turn came
``late id member waited_ms ran_ms``    It has come to its end after that of the request
``prog id member fraction text``       How far it is, from 0 to 1
``end id judged``                      The request is over where it was asked for. `judged` is an
                                       array of ``[member, verdict, standing]``: words, of which
                                       standing may be null
``can id members``                     The asker takes its question back, of these or, null, of all
``here why instance epoch seq topics   Who sends this is there, as `instance`, which a restart
names listened about``                 changes, and has this to offer: `topics` is an object, of
                                       topic to members; `names` one of member, as text, to name;
                                       `listened` an array of texts; `about` an object with
                                       ``"codecs"``, an array of names, and ``"version"``; and
                                       perhaps ``"patterns"``, as `topics` but for all topics that
                                       match, ``"hears"``, an array of such patterns, and
                                       ``"clock"``, as `clock_s` of a beat
``beat instance epoch seq clock_s``    Still there, with all as it was in `here` with that `epoch`
``bye instance``                       That one is not there any more
``res seq topic value request``        A value on a topic, the sender's number `seq`; the answer to
                                       a request with that id, or null if it was published
``again first last``                   Send me again your values with these numbers
``lost first last``                    You will not get mine with these numbers any more
=====================================  ============================================================

An id, a member, and `seq`, `first` and `last` of values are whole numbers from 1 to 2**53 - 1;
`epoch`, and `seq` beside it, from 0. What ends with `_ms` is a number of milliseconds, not below 0;
`clock_s` one of seconds, by a clock of the sender's. `members` is an array with at least one, each
once. A value, each of the array `args`, and of the object `kwargs`, is as `values` says.

What writes a frame returns one line. Values come as text, encoded before; all else must have the
type that is said. Lone surrogates in other texts become ``?``.
"""

from __future__ import annotations

import json
import sys
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Type,
)

from .json_text import (
    CAREFUL_DECODER,
    DECODER,
    LONGEST_NUMBER,
    is_unicode,
    json_of,
    may_have_long_number,
)

__all__ = [
    "KINDS",
    "PROBE",
    "again",
    "ans",
    "ask",
    "beat",
    "bye",
    "can",
    "end",
    "err",
    "fin",
    "frames_of",
    "here",
    "late",
    "lost",
    "not_",
    "part",
    "payload_of",
    "prog",
    "res",
    "skip",
]

_LARGEST = (1 << 53) - 1
_TRACEBACK = 4096
_WHY_NOT = frozenset(["declined", "withdrawn", "died"])
_NOTHING: Mapping[str, Iterable[int]] = {}

PROBE = '["probe"]'
"""Means nothing: who sends it wants to know whether anybody is there."""

# -- writing ---------------------------------------------------------------------------------------


def payload_of(frames: Iterable[str]) -> bytes:
    """One message with all of these."""
    return "\n".join(frames).encode()


def ask(
    number: int,
    ttl_ms: Optional[float],
    clock_s: float,
    topic: str,
    members: Iterable[int],
    args: str,
    kwargs: str,
    options: str = "{}",
) -> str:
    """*args* is the text of an array, *kwargs* and *options* are those of objects."""
    return asks(number, ttl_ms, clock_s, topic, [members], args, kwargs, options)[0]


def asks(
    number: int,
    ttl_ms: Optional[float],
    clock_s: float,
    topic: str,
    members: Iterable[Iterable[int]],
    args: str,
    kwargs: str,
    options: str = "{}",
) -> List[str]:
    """As `ask`, one for each of *members*, which are those of one part."""
    ttl = "null" if ttl_ms is None else f"{ttl_ms:.3f}"
    head = f'["ask",{number},{ttl},{clock_s:.6f},{_text(topic)},'
    return [f"{head}{_numbers(each)},{args},{kwargs},{options}]" for each in members]


def ans(number: int, member: int, waited_ms: float, ran_ms: float, value: str) -> str:
    """*value* is text."""
    return f'["ans",{number},{member},{waited_ms:.3f},{ran_ms:.3f},{value}]'


def err(
    number: int,
    member: int,
    waited_ms: float,
    ran_ms: float,
    type_name: str,
    message: str,
    traceback: str,
) -> str:
    """Of *traceback* the end, as much as may be."""
    told = f"{_text(type_name)},{_text(message)},{_text(traceback[-_TRACEBACK:])}"
    return f'["err",{number},{member},{waited_ms:.3f},{ran_ms:.3f},{told}]'


def part(number: int, member: int, waited_ms: float, ran_ms: float, value: str) -> str:
    """*value* is text."""
    return f'["part",{number},{member},{waited_ms:.3f},{ran_ms:.3f},{value}]'


def fin(number: int, member: int, waited_ms: float, ran_ms: float) -> str:
    """Of a streaming one."""
    return f'["fin",{number},{member},{waited_ms:.3f},{ran_ms:.3f}]'


def not_(number: int, member: int, why: str) -> str:
    """*why* is "declined", "withdrawn" or "died"."""
    return f'["not",{number},{member},{_text(why)}]'


def skip(number: int, member: int) -> str:
    """Of one that has not begun."""
    return f'["skip",{number},{member}]'


def late(number: int, member: int, waited_ms: float, ran_ms: float) -> str:
    """Of one whose answer nobody takes."""
    return f'["late",{number},{member},{waited_ms:.3f},{ran_ms:.3f}]'


def prog(number: int, member: int, fraction: float, text: str) -> str:
    """*fraction* is from 0 to 1."""
    return f'["prog",{number},{member},{fraction:.6f},{_text(text)}]'


def end(number: int, judged: Iterable[Tuple[int, str, Optional[str]]]) -> str:
    """Of each that has a verdict: the member, the verdict and the standing."""
    return f'["end",{number},{json_of([list(each) for each in judged])}]'


def can(number: int, members: Optional[Iterable[int]] = None) -> str:
    """None is for all."""
    return f'["can",{number},{"null" if members is None else _numbers(members)}]'


def here(
    why: str,
    instance: str,
    epoch: int,
    seq: int,
    topics: Mapping[str, Iterable[int]],
    names: Mapping[int, str],
    listened: Iterable[str],
    codecs: Iterable[str],
    version: str,
    patterns: Mapping[str, Iterable[int]] = _NOTHING,
    hears: Iterable[str] = (),
    clock_s: Optional[float] = None,
) -> str:
    """All that it has, each time; *patterns*, and what *hears*, are those of patterns."""
    called = ",".join([f'"{member}":{_text(name)}' for member, name in names.items()])
    about = f'"codecs":{_texts(codecs)},"version":{_text(version)}'
    if patterns or hears:
        about += f',"patterns":{_table(patterns)},"hears":{_texts(hears)}'
    if clock_s is not None:
        about += f',"clock":{clock_s:.6f}'
    return (
        f'["here",{_text(why)},{_text(instance)},{epoch},{seq},{_table(topics)},{{{called}}},'
        f"{_texts(listened)},{{{about}}}]"
    )


def beat(instance: str, epoch: int, seq: int, clock_s: float) -> str:
    """As `here`, but short."""
    return f'["beat",{_text(instance)},{epoch},{seq},{clock_s:.6f}]'


def bye(instance: str) -> str:
    """The last frame of all."""
    return f'["bye",{_text(instance)}]'


def res(seq: int, topic: str, value: str, request: Optional[int] = None) -> str:
    """*value* is text; *request* the id of what it answers."""
    return f'["res",{seq},{_text(topic)},{value},{"null" if request is None else request}]'


def again(first: int, last: int) -> str:
    """Both included."""
    return f'["again",{first},{last}]'


def lost(first: int, last: int) -> str:
    """Both included."""
    return f'["lost",{first},{last}]'


def _text(text: str) -> str:
    return json_of(text if is_unicode(text) else text.encode("utf-8", "replace").decode())


def _table(topics: Mapping[str, Iterable[int]]) -> str:
    return f"{{{','.join([f'{_text(topic)}:{_numbers(some)}' for topic, some in topics.items()])}}}"


def _texts(texts: Iterable[str]) -> str:
    return f"[{','.join([_text(each) for each in texts])}]"


def _numbers(numbers: Iterable[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


# -- what fields are -------------------------------------------------------------------------------

_INT = frozenset([int])


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


def _are_members(field: Any) -> bool:
    return field is None or (
        type(field) is list
        and len(field) > 0
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
    return all(each is not None and _are_members(each) for each in field.values())


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
        and abs(clock) <= sys.float_info.max
    )


_STRING = _Field(frozenset([str]))
_WHY = _Field(frozenset([str]), check=lambda field: field in _WHY_NOT)
_TRACE = _Field(frozenset([str]), check=lambda field: len(field) <= _TRACEBACK)
_ARRAY = _Field(frozenset([list]))
_OBJECT = _Field(frozenset([dict]))
_NUMBER = _Field(_INT, 1, _LARGEST)
_COUNT = _Field(_INT, 0, _LARGEST)
_MS = _Field(frozenset([int, float]), 0, sys.float_info.max)
_SECONDS = _Field(frozenset([int, float]), -sys.float_info.max, sys.float_info.max)
_FRACTION = _Field(frozenset([int, float]), 0, 1)
_MEMBERS = _Field(frozenset([list]), check=_are_members)
_JUDGED = _Field(frozenset([list]), check=_are_judged)
_STRINGS = _Field(frozenset([list]), check=_are_strings)
_TOPICS = _Field(frozenset([dict]), check=_are_topics)
_NAMES = _Field(frozenset([dict]), check=_are_names)
_ABOUT = _Field(frozenset([dict]), check=_is_about)
_VALUE = None
"""Whatever JSON has: to be decoded."""

_SHAPES: Mapping[str, Tuple[Optional[_Field], ...]] = {
    "ask": (_NUMBER, _MS.or_null(), _SECONDS, _STRING, _MEMBERS, _ARRAY, _OBJECT, _OBJECT),
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
    "res": (_NUMBER, _STRING, _VALUE, _NUMBER.or_null()),
    "again": (_NUMBER, _NUMBER),
    "lost": (_NUMBER, _NUMBER),
}
"""What each field must be, for each kind."""

KINDS = frozenset(_SHAPES)
"""The first of each frame that is read."""

_CHECKS = {
    kind: (
        len(shape) + 1,
        [
            (index, field.types, field.least, field.most, field.check)
            for index, field in enumerate(shape, 1)
            if field is not None
        ],
    )
    for kind, shape in _SHAPES.items()
}
"""How long a frame is, and which of its fields must be looked at, and how."""

# -- reading ---------------------------------------------------------------------------------------


def frames_of(payload: bytes) -> Tuple[List[List[Any]], int]:
    """The frames of a message, in their order, and how many were malformed.

    Each is a list of its kind, one of `KINDS`, and its fields, exactly as the table says. Raises
    nothing, whatever the payload is, and takes time as that is long. Values are as `json.loads`
    makes them.
    """
    try:
        lines = payload.decode().split("\n")
    except UnicodeDecodeError:
        lines = [_line(each) for each in payload.split(b"\n")]
    frames: List[List[Any]] = []
    malformed = 0
    for line in lines:
        if line[:1] != "[":
            malformed += line != ""
            continue
        try:
            if len(line) > LONGEST_NUMBER and may_have_long_number(line):
                frame, length = _decode_carefully(line)
            else:
                frame, length = _decode(line)
            if "\\" in line and ("\\ud" in line or "\\uD" in line):
                # A pair of them is one character, and one alone no text.
                _rewrite(frame).encode()
        except (ValueError, RecursionError):
            malformed += 1
            continue
        if length != len(line) or not frame or type(frame[0]) is not str:
            malformed += 1
            continue
        known = _CHECKS.get(frame[0])
        if known is None:
            continue
        length, checks = known
        if len(frame) != length:
            if len(frame) < length:
                malformed += 1
                continue
            del frame[length:]
        for index, types, least, most, check in checks:
            field = frame[index]
            if type(field) not in types:
                break
            if most is not None:
                if field is not None and not least <= field <= most:
                    break
            elif check is not None and not check(field):
                break
        else:
            frames.append(frame)
            continue
        malformed += 1
    return frames, malformed


def _line(line: bytes) -> str:
    """Its text, or something that is no frame."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return "?"


_rewrite = json.JSONEncoder(check_circular=False, ensure_ascii=False).encode
_decode = DECODER.raw_decode
_decode_carefully = CAREFUL_DECODER.raw_decode
