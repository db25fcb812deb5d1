"""Topics, patterns and names as the dotted subjects that carriers of messages know.

A topic is any text that can be UTF-8; its tokens are what stands between its dots. A subject has as
many tokens. In each of them the bytes of UTF-8 stand for themselves if they are ``!`` to ``~`` of
ASCII, but for ``%``, ``*`` and ``>``, and of course the dot; each other byte is ``%`` and two
hexadecimal digits, in capitals. An empty token is a lone ``%``. So each topic has one subject, and
each subject of that form is of one topic: ``"rail 3.3V"`` has ``"rail%203.3V"``, ``"a..b"`` has
``"a.%.b"``, ``""`` has ``"%"``, ``"Spannung.ü"`` has ``"Spannung.%C3%BC"``.

Beyond ASCII, too, all is encoded: servers take it, but what permissions, tools and clients in other
languages make of it differs, and what looks the same need not be.

A pattern is a subject whose wildcards stand: ``*`` and ``>``, which no topic's subject has. It
matches the subjects of all topics that the pattern matches; and of topics with an empty token more,
which patterns do not match. So whoever hears asks the pattern, too.
"""

from __future__ import annotations

import re
import reprlib
from functools import lru_cache
from typing import Any, Hashable, Match

from .._delivery.patterns import TopicPattern, text_of
from ..errors import BadType, BadValue

__all__ = ["LONGEST", "check_name", "pattern_of", "subject_of", "topic_of", "wildcard_of"]

LONGEST = 1024
"""So many bytes a subject has at most, and so no topic more characters."""

# What stands for itself, but for the dot.
_ITSELF = r"!-$&-)+-\-/-=?-~"
_ALL_ITSELF = re.compile(rf"[{_ITSELF}]+(?:\.[{_ITSELF}]+)*").fullmatch
_OTHERS = re.compile(rf"[^.{_ITSELF}]+").sub
_ENCODED = re.compile("(?:%[0-9A-F]{2})+").sub
_NAME = re.compile("[A-Za-z0-9_-]{1,64}").fullmatch
_WILDCARDS = ("*", ">")


def check_name(parameter: str, value: Any) -> str:
    """*value* as a name of a part or a namespace.

    Raises
    ------
    BadType, BadValue
        If it is no str of 1 to 64 letters and digits of ASCII, dashes and underscores. Naming
        *parameter* and *value*.
    """
    text = text_of(value)
    if text is None:
        raise BadType(f"{parameter} must be a str, not {value!r}")
    if not _NAME(text):
        raise BadValue(
            f"{parameter} must be 1 to 64 of the letters A to Z and a to z, digits, '-' and '_', "
            f"not {reprlib.repr(text)}"
        )
    return text


def subject_of(topic: Hashable) -> str:
    """The subject of *topic*: ASCII, at most 1,024 characters. Calls no code of users.

    Raises
    ------
    BadType
        The topic is no str.
    BadValue
        It cannot be UTF-8, or its subject would be too long. Both name it.
    """
    text = text_of(topic)
    if text is None:
        raise BadType(f"a topic must be a str to be known elsewhere, not {topic!r}")
    return _subject_of_text(text)


# Of the same few, again and again.
@lru_cache(1024)
def _subject_of_text(text: str) -> str:
    subject = text
    if not _ALL_ITSELF(text):
        try:
            subject = _OTHERS(_encoded, text)
        except UnicodeEncodeError:
            raise BadValue(
                f"a topic must be Unicode to be known elsewhere, and {reprlib.repr(text)} has a "
                "lone surrogate"
            ) from None
        subject = ".".join([token or "%" for token in subject.split(".")])
    if len(subject) > LONGEST:
        raise BadValue(
            f"topic {reprlib.repr(text)} is too long to be known elsewhere: its subject would have "
            f"{len(subject):,} bytes, of at most {LONGEST:,}"
        )
    return subject


def topic_of(subject: str) -> str:
    """The topic whose subject that is.

    Raises
    ------
    BadValue
        It is the subject of no topic; so are those with wildcards.
    """
    if _ALL_ITSELF(subject) and len(subject) <= LONGEST:
        return subject
    tokens = ["" if token == "%" else token for token in subject.split(".")]
    try:
        topic = _ENCODED(_decoded, ".".join(tokens))
        # Only one way of writing it is the right one.
        if subject_of(topic) == subject:
            return topic
    except (UnicodeDecodeError, BadValue):
        pass
    raise BadValue(f"no topic has the subject {reprlib.repr(subject)}")


def wildcard_of(pattern: TopicPattern) -> str:
    """The subject, with wildcards, that matches those of all topics that *pattern* matches.

    Raises
    ------
    BadValue
        As `subject_of`.
    """
    tokens = pattern.text.split(".")
    subjects = [each if each in _WILDCARDS else subject_of(each) for each in tokens]
    subject = ".".join(subjects)
    if len(subject) > LONGEST:
        raise BadValue(
            f"{reprlib.repr(pattern.text)} is too long to be known elsewhere: its subject would "
            f"have {len(subject):,} bytes, of at most {LONGEST:,}"
        )
    return subject


def pattern_of(subject: str) -> TopicPattern:
    """The pattern whose subject that is.

    Raises
    ------
    BadValue
        It is that of none; so are those without wildcards.
    """
    tokens = subject.split(".")
    text = ".".join([each if each in _WILDCARDS else topic_of(each) for each in tokens])
    try:
        pattern = TopicPattern(text)
        if wildcard_of(pattern) == subject:
            return pattern
    except BadValue:
        pass
    raise BadValue(f"no pattern has the subject {reprlib.repr(subject)}")


def _encoded(found: Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in found.group().encode()])


def _decoded(found: Match[str]) -> str:
    return bytes.fromhex(found.group().replace("%", "")).decode()
