"""Values out of JSON's types and tags, or a refusal of what is malformed."""

from __future__ import annotations

import base64
import math
import re
import reprlib
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple, TypeVar

from ..errors import BadValue
from .value_types import DEEPEST, OF_ONE_HASH, ValueType, is_crowded, told

__all__ = ["Reader"]

T = TypeVar("T")

_NESTED = frozenset([list, dict])
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_HEXADECIMAL = re.compile("-?[0-9a-f]+").fullmatch


class Reader:
    """Reads values, with some types of users. Immutable."""

    __slots__ = ("_types",)

    def __init__(self, types: Mapping[str, ValueType[Any]]) -> None:
        """*types* are by their tags."""
        self._types = types

    def read(self, value: Any, level: int = 1) -> Any:
        """BadValue if it is malformed, or deeper, beginning at that *level*, than may be."""
        kind = type(value)
        if kind not in _NESTED:
            return value
        tag = next((key[1:] for key in value if key[:1] == "$"), None) if kind is dict else None
        if tag is not None and len(value) > 1:
            raise _malformed(tag, "has other keys beside it")
        if tag in _LEAF_READERS:
            return _LEAF_READERS[tag](value[f"${tag}"])
        if level > DEEPEST:
            raise BadValue(f"a value is nested more than {DEEPEST} deep")
        if kind is list:
            return [self.read(each, level + 1) for each in value]
        if tag is None:
            return {key: self.read(each, level + 1) for key, each in value.items()}
        content = value[f"${tag}"]
        if tag in _READERS:
            return _READERS[tag](self, content, level + 1)
        own = self._types.get(tag)
        if own is None:
            raise _malformed(tag, "is not known here, to connect(types=)")
        content = self.read(content, level + 1)
        try:
            return own.from_plain(content)
        except Exception as error:
            raise _malformed(tag, f"cannot be read: {told(error)}") from error

    def _elements(self, tag: str, content: Any, level: int) -> List[Any]:
        if type(content) is not list:
            raise _malformed(tag, "needs an array")
        return [self.read(each, level) for each in content]


def _malformed(tag: str, why: str) -> BadValue:
    return BadValue(f"a value cannot be read: {reprlib.repr('$' + tag)} {why}")


def _tuple(reader: Reader, content: Any, level: int) -> Tuple[Any, ...]:
    return tuple(reader._elements("tuple", content, level))


def _table(tag: str, keys: List[Any], make: Callable[[], T]) -> T:
    try:
        if not is_crowded(keys):
            return make()
    except Exception as error:
        # Not hashable; or the hash of a type of the user's.
        raise _malformed(tag, f"has what cannot be in it: {told(error)}") from error
    raise _malformed(tag, f"has more than {OF_ONE_HASH} of one hash")


def _set(reader: Reader, content: Any, level: int) -> Set[Any]:
    elements = reader._elements("set", content, level)
    return _table("set", elements, lambda: set(elements))


def _frozenset(reader: Reader, content: Any, level: int) -> Any:
    elements = reader._elements("frozenset", content, level)
    return _table("frozenset", elements, lambda: frozenset(elements))


def _map(reader: Reader, content: Any, level: int) -> Dict[Any, Any]:
    if type(content) is not list or not all(type(e) is list and len(e) == 2 for e in content):
        raise _malformed("map", "needs an array of pairs")
    keys = [reader.read(pair[0], level) for pair in content]
    values = [reader.read(pair[1], level) for pair in content]
    return _table("map", keys, lambda: dict(zip(keys, values)))


def _bytes(content: Any) -> bytes:
    try:
        if type(content) is str:
            return base64.b64decode(content, validate=True)
    except ValueError:
        pass
    raise _malformed("bytes", "needs a string in base64")


def _float(content: Any) -> float:
    if type(content) is not str or content not in _FLOATS:
        raise _malformed("float", "is nan, inf or -inf")
    return _FLOATS[content]


def _complex(content: Any) -> complex:
    if type(content) is not list or len(content) != 2:
        raise _malformed("complex", "needs two numbers")
    try:
        return complex(*[_real(each) for each in content])
    except OverflowError:
        raise _malformed("complex", "needs two floats") from None


def _real(part: Any) -> float:
    if type(part) in (float, int):
        return float(part)
    if type(part) is not dict or list(part) != ["$float"]:
        raise _malformed("complex", "needs two numbers")
    return _float(part["$float"])


def _int(content: Any) -> int:
    if type(content) is not str or not _HEXADECIMAL(content):
        raise _malformed("int", "needs hexadecimal digits")
    return int(content, 16)


_LEAF_READERS: Mapping[Optional[str], Callable[[Any], Any]] = {
    "bytes": _bytes,
    "float": _float,
    "complex": _complex,
    "int": _int,
}

_READERS: Mapping[str, Callable[[Reader, Any, int], Any]] = {
    "tuple": _tuple,
    "set": _set,
    "frozenset": _frozenset,
    "map": _map,
}
