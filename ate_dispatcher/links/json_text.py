"""JSON text as it is on the wire: one line of Unicode, whose numbers every Python reads."""

from __future__ import annotations

import json
from typing import Any, Callable, NoReturn

__all__ = [
    "CAREFUL_DECODER",
    "DECODER",
    "LONGEST_NUMBER",
    "is_unicode",
    "json_of",
    "may_have_long_number",
]

LONGEST_NUMBER = 640
"""Digits that every Python reads, whatever it was told of how many it shall."""


def _writer() -> Callable[[Any], str]:
    # Not by escapes: it is text in UTF-8, and so it is seen at once if all of it can be.
    encoder = json.JSONEncoder(
        separators=(",", ":"), allow_nan=False, check_circular=False, ensure_ascii=False
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    # That of CPython, made once: `encode` makes one for each value, and most are written sooner.
    basestring = json.encoder.encode_basestring
    try:
        chunks = make(None, encoder.default, basestring, None, ":", ",", False, False, False)
    except TypeError:
        # Nobody has promised that it stays as it is.
        return encoder.encode
    return lambda value: "".join(chunks(value, 0))


json_of: Callable[[Any], str] = _writer()
"""JSON text, in one line, of what consists of JSON's types; ValueError if it does not."""


def may_have_long_number(text: str) -> bool:
    """Whether somewhere in *text* may be more digits in a row than a number may have.

    If it has not half of that, it says so.
    """
    # So many in a row fill at least one of these pieces.
    size = LONGEST_NUMBER // 2
    return any(text[at : at + size].isdecimal() for at in range(0, len(text) - size, size))


def is_unicode(text: str) -> bool:
    """Whether *text* can be UTF-8: no lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _short(digits: str) -> int:
    """So that no Python, however it was set, takes a time of their number squared."""
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(len(digits))
    return int(digits)


DECODER: json.JSONDecoder = json.JSONDecoder(parse_constant=_refuse)
"""Reads JSON, without NaN and infinity; for text that has no long numbers."""

CAREFUL_DECODER: json.JSONDecoder = json.JSONDecoder(parse_constant=_refuse, parse_int=_short)
"""Reads any text so; ValueError for a long number."""
