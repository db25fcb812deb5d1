"""What whoever there is may be asked, and answer: plain JSON, for programs without this package.

A question is an object with ``args``, an array, and perhaps ``kwargs``, an object, and ``ttl_ms``,
how long an answer is wanted. An answer is any JSON; an object ``{"$error": {"kind": ..., "message":
..., "traceback": ...}}`` is an error, and ``{"$reply": {"value": ...}}`` a value. Both may say
whose they are, by ``"producer"`` and ``"part"``. Values are as ``values`` says.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..errors import BadType, BadValue, RemoteError
from .json_text import CAREFUL_DECODER
from .values import Codec

__all__ = [
    "Question",
    "Said",
    "answer_of",
    "error_text",
    "question_of",
    "question_text",
    "value_text",
]


class Question(NamedTuple):
    """What somebody asks whoever there is."""

    args: List[Any]
    kwargs: Dict[str, Any]
    ttl_ms: Optional[float]


class Said(NamedTuple):
    """What somebody has answered."""

    value: Any
    error: Optional[RemoteError]
    producer: str
    part: str


def question_text(args: str, kwargs: str, ttl_ms: Optional[float]) -> bytes:
    """*args* and *kwargs* are text already."""
    ttl = "" if ttl_ms is None else f',"ttl_ms":{ttl_ms:.3f}'
    return f'{{"args":{args},"kwargs":{kwargs}{ttl}}}'.encode()


def value_text(value: str, producer: str, part: str) -> bytes:
    """*value* is text already."""
    whose = f'"producer":{json.dumps(producer)},"part":{json.dumps(part)}'
    return f'{{"$reply":{{"value":{value},{whose}}}}}'.encode()


def error_text(kind: str, message: str, traceback: str, producer: str, part: str) -> bytes:
    """An answer that is an error."""
    told = {"kind": kind, "message": message, "traceback": traceback}
    told.update(producer=producer, part=part)
    return json.dumps({"$error": told}).encode()


def question_of(payload: bytes, codec: Codec) -> Question:
    """What it asks. BadValue if it is none."""
    found = _json_of(payload)
    if not isinstance(found, dict):
        raise BadValue("a question is an object")
    args, kwargs, ttl_ms = found.get("args", []), found.get("kwargs", {}), found.get("ttl_ms")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise BadValue("args is an array, and kwargs an object")
    is_number = type(ttl_ms) in (int, float)
    if ttl_ms is not None and not (is_number and 0 <= ttl_ms <= sys.float_info.max):
        raise BadValue("ttl_ms is a number of milliseconds")
    args, kwargs = codec.decode_call(args, kwargs)
    return Question(args, kwargs, ttl_ms)


def answer_of(payload: bytes, codec: Codec) -> Said:
    """What somebody has answered; what is no JSON is an error of theirs."""
    try:
        found = _json_of(payload)
        told = found.get("$error") if isinstance(found, dict) and len(found) == 1 else None
        if isinstance(told, dict):
            texts = [str(told.get(each, ""))[:4096] for each in ("kind", "message", "traceback")]
            producer, part = _whose(told)
            error = RemoteError(texts[0] or "Error", texts[1], texts[2], part)
            return Said(None, error, producer, part)
        reply = found.get("$reply") if isinstance(found, dict) and len(found) == 1 else None
        if isinstance(reply, dict) and "value" in reply:
            return Said(codec.decode(reply["value"]), None, *_whose(reply))
        return Said(codec.decode(found), None, "", "")
    except (BadType, BadValue) as refused:
        return Said(None, RemoteError("BadValue", f"the answer is malformed: {refused}"), "", "")


def _whose(told: Dict[str, Any]) -> Tuple[str, str]:
    """The producer and the part that an answer names."""
    return str(told.get("producer", ""))[:256], str(told.get("part", ""))[:256]


def _json_of(payload: bytes) -> Any:
    try:
        return CAREFUL_DECODER.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise BadValue(f"it is no JSON: {type(error).__name__}") from error
