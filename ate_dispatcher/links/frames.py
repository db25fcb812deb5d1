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
                                       thread had ended, or there is no room for more of who asks
                                       (``"declined"``), or it ends before it comes to it
                                       (``"died"``), or it was stopped (``"withdrawn"``). Or it has
                                       begun that before, and it is over (``"gone"``)
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
``seq series number heard``            The first of a message to one part: which of my series it is;
                                       `heard` is the series in which I hear you, or 0
``resend series first ours``           Say me again all of that series, from that number on; mine is
                                       `ours`
``passed series number``               My messages up to that one do not come any more: go on behind
``seen series number``                 So many messages of your series I have taken; say something
                                       if that is not all
``took series number``                 Likewise, and nothing is to be said to that
``probe``                              Say what you `took` of mine
=====================================  ============================================================

An id, a member, and `seq`, `first` and `last` of values are whole numbers from 1 to 2**53 - 1;
`epoch`, and `seq` beside it, from 0. What ends with `_ms` is a number of milliseconds, not below 0;
`clock_s` one of seconds, by a clock of the sender's. `members` is an array with at least one, each
once; `topic` a text of at most 1,024 characters. A value, each of the array `args`, and of the
object `kwargs`, is as `values` says.

What writes a frame returns one line. Values come as text, encoded before; all else must have the
type that is said. Lone surrogates in other texts become ``?``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Iterable, List, Mapping, Optional, Sequence, Tuple

from .json_text import is_unicode, json_of

__all__ = [
    "LONGEST_TRACE",
    "PROBE",
    "again",
    "ans",
    "ask",
    "asked_now",
    "asks",
    "beat",
    "bye",
    "can",
    "end",
    "err",
    "fin",
    "here",
    "is_over",
    "late",
    "lost",
    "not_",
    "number_asked",
    "part",
    "passed",
    "payload_of",
    "prog",
    "res",
    "resend",
    "seen",
    "seq",
    "skip",
    "took",
]

LONGEST_TRACE = 4096
"""Characters of a traceback."""

_NOTHING: Mapping[str, Iterable[int]] = {}

PROBE = '["probe"]'
"""Who sends it wants to know whether anybody is there, and what that one has taken."""


def payload_of(frames: Iterable[str]) -> bytes:
    """One message with all of these."""
    return "\n".join(frames).encode()


def ask(
    number: int,
    ttl_ms: Optional[float],
    clock_s: float,
    topic: str,
    members: Sequence[int],
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
    members: Iterable[Sequence[int]],
    args: str,
    kwargs: str,
    options: str = "{}",
) -> List[str]:
    """As `ask`, one for each of *members*, as parts call theirs."""
    ttl = "null" if ttl_ms is None else f"{ttl_ms:.3f}"
    head = f'["ask",{number},{ttl},{clock_s:.6f},{_text_of_topic(topic)},'
    rest = f"],{args},{kwargs},{options}]"
    return [f"{head}[{each[0] if len(each) == 1 else _joined(each)}{rest}" for each in members]


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
    told = f"{_text(type_name)},{_text(message)},{_text(traceback[-LONGEST_TRACE:])}"
    return f'["err",{number},{member},{waited_ms:.3f},{ran_ms:.3f},{told}]'


def part(number: int, member: int, waited_ms: float, ran_ms: float, value: str) -> str:
    """*value* is text."""
    return f'["part",{number},{member},{waited_ms:.3f},{ran_ms:.3f},{value}]'


def fin(number: int, member: int, waited_ms: float, ran_ms: float) -> str:
    """Of a streaming one."""
    return f'["fin",{number},{member},{waited_ms:.3f},{ran_ms:.3f}]'


def not_(number: int, member: int, why: str) -> str:
    """*why* is "declined", "withdrawn", "died" or "gone"."""
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
    said = _text_of_topic(topic)
    return f'["res",{seq},{said},{value},{"null" if request is None else request}]'


def again(first: int, last: int) -> str:
    """Both included."""
    return f'["again",{first},{last}]'


def lost(first: int, last: int) -> str:
    """Both included."""
    return f'["lost",{first},{last}]'


def seq(series: int, number: int, heard: int) -> str:
    """The first of a message, the one of that *number*; *heard* is the other one's series."""
    return f'["seq",{series},{number},{heard}]'


def resend(series: int, first: int, ours: int) -> str:
    """All from there on; *ours* is the series of who asks."""
    return f'["resend",{series},{first},{ours}]'


def passed(series: int, number: int) -> str:
    """Up to there."""
    return f'["passed",{series},{number}]'


def seen(series: int, number: int) -> str:
    """Of what the other one says."""
    return f'["seen",{series},{number}]'


def took(series: int, number: int) -> str:
    """Likewise."""
    return f'["took",{series},{number}]'


def number_asked(frame: bytes) -> Optional[int]:
    """The number of the request, if *frame* of ours is an `ask`."""
    return int(frame[7 : frame.index(b",", 7)]) if frame.startswith(b'["ask",') else None


def is_over(frame: bytes) -> bool:
    """Whether an `ask` of ours was said with no time left."""
    return frame.split(b",", 3)[2] == b"0.000"


def asked_now(frame: bytes, now: float, topic: str, members: Sequence[int]) -> bytes:
    """An `ask` of ours on that *topic*, which leaves later than it was written.

    Of those *members*, with the time that is left; as it was, if none is.
    """
    _, number, ttl_ms, clock_s, rest = frame.split(b",", 4)
    if ttl_ms != b"null":
        left_ms = float(ttl_ms) - (now - float(clock_s)) * 1e3
        if left_ms <= 0.0:
            return frame
        ttl_ms = b"%.3f" % left_ms
    head = _text_of_topic(topic).encode() + b",["
    rest = rest[rest.index(b"]", len(head)) :]
    return b'["ask",%b,%b,%.6f,%b%b%b' % (
        number,
        ttl_ms,
        now,
        head,
        _joined(members).encode(),
        rest,
    )


def _text(text: str) -> str:
    return json_of(text if is_unicode(text) else text.encode("utf-8", "replace").decode())


_text_of_topic = lru_cache(1024)(_text)
"""Of the same few, again and again."""


def _table(topics: Mapping[str, Iterable[int]]) -> str:
    return f"{{{','.join([f'{_text(topic)}:{_numbers(some)}' for topic, some in topics.items()])}}}"


def _texts(texts: Iterable[str]) -> str:
    return f"[{','.join([_text(each) for each in texts])}]"


def _numbers(numbers: Iterable[int]) -> str:
    return f"[{_joined(numbers)}]"


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
