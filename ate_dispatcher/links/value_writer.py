"""Values in JSON's types and tags, or a refusal that names the place."""

from __future__ import annotations

import base64
import math
import reprlib
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    List,
    Mapping,
    NoReturn,
    Sequence,
    Set,
    Tuple,
    Type,
)

from ..errors import BadType, BadValue
from .json_text import is_unicode
from .value_types import DEEPEST, OF_ONE_HASH, ValueType, is_crowded, told

__all__ = ["LARGE", "Writer"]

LARGE = 1 << 2048
"""Ints up to here are numbers: they have fewer digits than any Python reads."""


class _Step(str):
    """One of a path, as it is to be shown."""

    __slots__ = ()


_KEYS, _ELEMENT = _Step(".keys()"), _Step("{...}")
_SHOWN = 12


def _shown(step: Any) -> str:
    if type(step) is _Step:
        return step
    try:
        return f"[{reprlib.repr(step)}]"
    except ValueError:
        # Python shows no int that is as large as that.
        return f"[<{type(step).__name__}>]"


class Writer:
    """Writes one value in JSON's types, and knows where it is."""

    __slots__ = ("_open", "_path", "_types", "_where")

    def __init__(self, where: str, types: Mapping[Type[Any], ValueType[Any]]) -> None:
        self._where = where
        self._types = types
        #: For each value that it is in, where in that: an index, a key or a `_Step`.
        self._path: List[Any] = []
        #: The identities of those.
        self._open: Set[int] = set()

    def write(self, value: Any) -> Any:
        """BadType or BadValue, naming the place. Calls hooks of users."""
        kind = type(value)
        leaf = _LEAVES.get(kind)
        if leaf is not None:
            return leaf(self, value)
        writer = _WRITERS.get(kind, Writer._of_user if kind in self._types else None)
        if writer is None:
            name = f"{kind.__module__}.{kind.__qualname__}".replace("builtins.", "")
            raise BadType(
                f"{self._place()} cannot be sent elsewhere, it is of type {name}: neither one of "
                "JSON's, tuple, bytes, set, frozenset or complex itself, nor has it a ValueType, "
                "see connect(types=)"
            )
        if id(value) in self._open:
            self._refuse("is in itself")
        if len(self._path) >= DEEPEST:
            self._refuse(f"is nested more than {DEEPEST} deep")
        self._open.add(id(value))
        self._path.append(_ELEMENT)
        written = writer(self, value)
        self._path.pop()
        self._open.discard(id(value))
        return written

    def _refuse(self, why: str) -> NoReturn:
        raise BadValue(f"{self._place()} cannot be sent elsewhere: it {why}")

    def _place(self) -> str:
        steps = map(_shown, self._path[:_SHOWN])
        return f"{self._where}{''.join(steps)}{'...' if len(self._path) > _SHOWN else ''}"

    def _str(self, value: str) -> str:
        if not is_unicode(value):
            self._refuse(f"has a lone surrogate, so it is no Unicode: {reprlib.repr(value)}")
        return value

    def _int(self, value: int) -> Any:
        return value if -LARGE < value < LARGE else {"$int": f"{value:x}"}

    def _float(self, value: float) -> Any:
        return value if math.isfinite(value) else {"$float": repr(value)}

    def _same(self, value: Any) -> Any:
        return value

    def _complex(self, value: complex) -> Any:
        return {"$complex": [self._float(value.real), self._float(value.imag)]}

    def _bytes(self, value: bytes) -> Any:
        return {"$bytes": base64.b64encode(value).decode("ascii")}

    def _list(self, value: Sequence[Any]) -> List[Any]:
        written = []
        for index, each in enumerate(value):
            self._path[-1] = index
            written.append(self.write(each))
        return written

    def _tuple(self, value: Tuple[Any, ...]) -> Any:
        return {"$tuple": self._list(value)}

    def _set(self, value: Collection[Any]) -> Any:
        self._check_table(value)
        return {f"${type(value).__name__}": [self.write(each) for each in value]}

    def _dict(self, value: Dict[Any, Any]) -> Any:
        pairs = []
        plain = True
        for key, each in value.items():
            plain = plain and type(key) is str and key[:1] != "$"
            self._path[-1] = _KEYS
            written = self.write(key)
            self._path[-1] = key
            pairs.append([written, self.write(each)])
        if plain:
            return dict(pairs)
        self._path[-1] = _KEYS
        self._check_table(value)
        return {"$map": pairs}

    def _check_table(self, keys: Collection[Any]) -> None:
        if is_crowded(keys):
            self._refuse(f"has more than {OF_ONE_HASH} elements of one hash")

    def _of_user(self, value: Any) -> Any:
        own = self._types[type(value)]
        self._path[-1] = _Step(f".${own.tag}")
        try:
            plain = own.to_plain(value)
        except Exception as error:
            raise BadValue(
                f"{self._place()} cannot be sent elsewhere: its to_plain raised {told(error)}"
            ) from error
        return {f"${own.tag}": self.write(plain)}


_LEAVES: Mapping[Type[Any], Callable[[Writer, Any], Any]] = {
    str: Writer._str,
    int: Writer._int,
    float: Writer._float,
    bool: Writer._same,
    type(None): Writer._same,
    complex: Writer._complex,
    bytes: Writer._bytes,
}

_WRITERS: Mapping[Type[Any], Callable[[Writer, Any], Any]] = {
    **_LEAVES,
    list: Writer._list,
    tuple: Writer._tuple,
    set: Writer._set,
    frozenset: Writer._set,
    dict: Writer._dict,
}
