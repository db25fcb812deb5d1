"""Values as JSON text and back: what comes back is equal, and of the same type.

What JSON has is written as it is: ``null``, ``true``, ``false``, numbers, strings without lone
surrogates, arrays for lists, and objects for dicts whose keys are all strings, none of which begins
with ``$``. A number with a fraction or an exponent is a float, one without is an int. All else is
an object with one key, its tag:

=================================  ================================================================
``{"$tuple": [...]}``              a tuple, of values
``{"$set": [...]}``                a set, in any order
``{"$frozenset": [...]}``          a frozenset, in any order
``{"$map": [[key, value], ...]}``  a dict with other keys, in its order; keys and values are values
``{"$bytes": "aGk="}``             bytes, in base64 with ``+``, ``/`` and padding
``{"$float": "nan"}``              a float that is none of JSON's: ``nan``, ``inf`` or ``-inf``
``{"$complex": [1.5, -2.0]}``      a complex number: two numbers, or ``$float``
``{"$int": "-1f"}``                an int in hexadecimal digits, if it would have more than 640
                                   decimal ones; perhaps also if not
``{"$tag": ...}``                  of a type of the user's, see `ValueType`: a value again
=================================  ================================================================

An object with a key that begins with ``$`` and is none of these is malformed. Values are nested at
most 64 deep: arrays and plain objects count, and tags with what belongs to them, but for
``$bytes``, ``$float``, ``$complex`` and ``$int``. Text is at most three times as deep. Of the
elements of one set, or the keys of one map, at most 256 have the same hash in Python, so that
nobody is kept busy by what they would do to a table.

Never pickle: nothing is executed but the hooks that a user has handed in.
"""

from __future__ import annotations

import base64
import json
import math
import re
import reprlib
from collections import Counter
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Generic,
    Iterable,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
    TypeVar,
)

from typing_extensions import final

from .._arguments import check_callable
from ..errors import BadType, BadValue

__all__ = ["LONGEST_NUMBER", "Codec", "ValueType", "is_unicode", "json_of", "may_have_long_number"]

T = TypeVar("T")

_DEEPEST = 64
_OF_ONE_HASH = 256
_BITS = 2048
_LARGE = 1 << _BITS
LONGEST_NUMBER = 640
"""Digits that every Python reads, whatever it was told of how many it shall."""

_ATOMS = frozenset([str, int, float, bool, type(None)])
_NESTED = frozenset([list, dict])
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

# Not by escapes: it is text in UTF-8, and so it is seen at once if all of it can be.
json_of = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False, ensure_ascii=False
).encode
"""JSON text, in one line, of what consists of JSON's types; ValueError if it does not."""

_TAG = re.compile("[A-Za-z][A-Za-z0-9_.-]{0,63}").fullmatch
_HEXADECIMAL = re.compile("-?[0-9a-f]+").fullmatch


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


@final
@dataclass(frozen=True)
class ValueType(Generic[T]):
    """How values of a type of yours travel: ``ValueType("point", Point, astuple, make_point)``.

    All parts that meet such values need one with the same tag. Immutable.

    Parameters
    ----------
    tag: str
        Its name on the wire: ``{"$point": ...}``. A letter, then at most 63 letters, digits, dots,
        dashes and underscores; none of the tags that there are.
    type: type
        Exactly this one: what is of a subclass would come back as something else.
    to_plain: callable
        Of a value, makes what can travel: anything that a value may be, also values of other such
        types. Runs on the thread that sends, in its call.
    from_plain: callable
        Of what `to_plain` has made, makes an equal value. Runs on the thread that reads what has
        arrived, the link's. It gets what others have sent, so let it believe nothing: whatever it
        raises makes the value one that cannot be read. It must not block.

    Raises
    ------
    BadType, BadValue
        Naming the parameter.
    """

    tag: str
    type: Type[T]
    to_plain: Callable[[T], Any]
    from_plain: Callable[[Any], T]

    def __post_init__(self) -> None:
        if type(self.tag) is not str:
            raise BadType(f"tag of a ValueType must be a str, not {self.tag!r}")
        if not _TAG(self.tag):
            raise BadValue(
                f"tag of a ValueType must be a letter and at most 63 letters, digits, '.', '-' "
                f"and '_', not {self.tag!r}"
            )
        if self.tag in _READERS or self.tag in _LEAF_READERS:
            raise BadValue(f"tag of a ValueType must be another one, {self.tag!r} is taken")
        if not isinstance(self.type, type):
            raise BadType(f"type of a ValueType must be a class, not {self.type!r}")
        if self.type in _WRITERS:
            raise BadValue(f"type of a ValueType must be another one, {self.type!r} travels anyway")
        check_callable("to_plain of a ValueType", self.to_plain)
        check_callable("from_plain of a ValueType", self.from_plain)


class Codec:
    """Writes values as text, and reads them again. Immutable, so on any thread.

    Raises
    ------
    BadType, BadValue
        If *types* is no sequence of `ValueType`, or has two for one type or with one tag.
    """

    __slots__ = ("_by_tag", "_by_type")

    def __init__(self, types: Sequence[ValueType[Any]] = ()) -> None:
        self._by_type: Dict[Type[Any], ValueType[Any]] = {}
        self._by_tag: Dict[str, ValueType[Any]] = {}
        if not isinstance(types, (list, tuple)):
            raise BadType(f"types must be a list or tuple of ValueType, not {types!r}")
        for each in types:
            if type(each) is not ValueType:
                raise BadType(f"types must have nothing but ValueType, not {each!r}")
            if each.tag in self._by_tag:
                raise BadValue(f"types must have one for the tag {each.tag!r}, not two")
            if each.type in self._by_type:
                raise BadValue(f"types must have one for {each.type!r}, not two")
            self._by_tag[each.tag] = self._by_type[each.type] = each

    def encode(self, where: str, value: Any) -> str:
        """The text of *value*: one line, that can be UTF-8.

        Hooks of users (`ValueType.to_plain`) run on the calling thread. What *value* has in it must
        not be changed meanwhile.

        Raises
        ------
        BadType
            It would come back as something else, or not at all: a subclass, any other object.
            Names the place, beginning with *where*, and the type.
        BadValue
            A text that cannot be UTF-8, too deep, in itself, a hook that raised. Names the place.
        """
        kind = type(value)
        if value is None:
            return "null"
        if kind is bool:
            return "true" if value else "false"
        if kind is int and -_LARGE < value < _LARGE:
            return int.__repr__(value)
        if kind is float and value - value == 0.0:
            return float.__repr__(value)
        if _is_plain(value, _DEEPEST):
            try:
                text = json_of(value)
            except ValueError:
                # A float that is none of JSON's, or too large an int.
                pass
            else:
                # A key that looks like a tag, or any other string that begins so: seldom.
                if (
                    '"$' not in text
                    and (text.isascii() or is_unicode(text))
                    and (len(text) <= LONGEST_NUMBER or not may_have_long_number(text))
                ):
                    return text
        return json_of(_Writer(where, self._by_type).write(value))

    def decode(self, value: Any) -> Any:
        """What was encoded, of what `json.loads` made of the text; perhaps *value* itself.

        Hooks of users (`ValueType.from_plain`) run on the calling thread.

        Raises
        ------
        BadValue
            A tag that is not known, or with something else than belongs to it; too deep.
        """
        if type(value) not in _NESTED or _is_untagged(value, _DEEPEST):
            return value
        return self._read(value, 1)

    def encode_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tuple[str, str]:
        """The text of an array with *args*, and that of an object with *kwargs*.

        Each of them a value of its own; keywords are what they are, also with a ``$``.

        Raises
        ------
        BadType, BadValue
            As `encode`; places are ``args[0]`` and ``kwargs['x']``.
        """
        parts = [self.encode(f"args[{index}]", each) for index, each in enumerate(args)]
        if not kwargs:
            return f"[{','.join(parts)}]", "{}"
        named = [
            f"{self.encode('a name in kwargs', name)}:{self.encode(f'kwargs[{name!r}]', each)}"
            for name, each in kwargs.items()
        ]
        return f"[{','.join(parts)}]", f"{{{','.join(named)}}}"

    def decode_call(
        self, args: List[Any], kwargs: Dict[str, Any]
    ) -> Tuple[List[Any], Dict[str, Any]]:
        """What `encode_call` has got, of what `json.loads` made of the two texts.

        Raises
        ------
        BadValue
            As `decode`.
        """
        decode = self.decode
        return [decode(each) for each in args], {name: decode(kwargs[name]) for name in kwargs}

    def _read(self, value: Any, level: int) -> Any:
        kind = type(value)
        if kind not in _NESTED:
            return value
        tag = next((key[1:] for key in value if key[:1] == "$"), None) if kind is dict else None
        if tag is not None and len(value) > 1:
            raise _malformed(tag, "has other keys beside it")
        if tag in _LEAF_READERS:
            return _LEAF_READERS[tag](value[f"${tag}"])
        if level > _DEEPEST:
            raise BadValue(f"a value is nested more than {_DEEPEST} deep")
        if kind is list:
            return [self._read(each, level + 1) for each in value]
        if tag is None:
            return {key: self._read(each, level + 1) for key, each in value.items()}
        content = value[f"${tag}"]
        if tag in _READERS:
            return _READERS[tag](self, content, level + 1)
        own = self._by_tag.get(tag)
        if own is None:
            raise _malformed(tag, "is not known here")
        content = self._read(content, level + 1)
        try:
            return own.from_plain(content)
        except Exception as error:
            raise _malformed(tag, f"cannot be read: {_told(error)}") from error

    def _elements(self, tag: str, content: Any, level: int) -> List[Any]:
        if type(content) is not list:
            raise _malformed(tag, "needs an array")
        return [self._read(each, level) for each in content]


def _is_plain(value: Any, levels: int) -> bool:
    """Whether it has JSON's types alone, exactly, and at most so many *levels*."""
    kind = type(value)
    if kind is list:
        items: Iterable[Any] = value
        if _ATOMS.issuperset(map(type, items)):
            return levels > 0
    elif kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        items = value.values()
    else:
        return kind in _ATOMS
    if not levels:
        return False
    for each in items:
        kind = type(each)
        if kind not in _ATOMS and (kind not in _NESTED or not _is_plain(each, levels - 1)):
            return False
    return True


def _is_untagged(value: Any, levels: int) -> bool:
    """Whether a list or a dict has no tags anywhere, and at most so many *levels*."""
    if not levels:
        return False
    if type(value) is list:
        if _NESTED.isdisjoint(map(type, value)):
            return True
        for each in value:
            kind = type(each)
            if kind in _NESTED and not _is_untagged(each, levels - 1):
                return False
        return True
    for key, each in value.items():
        # Or anywhere in it: seldom.
        if "$" in key:
            return False
        kind = type(each)
        if kind in _NESTED and not _is_untagged(each, levels - 1):
            return False
    return True


def _is_crowded(keys: Collection[Any]) -> bool:
    """Whether a table of these would be slow, for they have the same hash."""
    return len(keys) > _OF_ONE_HASH and max(Counter(map(hash, keys)).values()) > _OF_ONE_HASH


# -- writing what is not plain ---------------------------------------------------------------------


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


class _Writer:
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
        kind = type(value)
        leaf = _LEAVES.get(kind)
        if leaf is not None:
            return leaf(self, value)
        writer = _WRITERS.get(kind, _Writer._of_user if kind in self._types else None)
        if writer is None:
            name = f"{kind.__module__}.{kind.__qualname__}".replace("builtins.", "")
            raise BadType(
                f"{self._place()} cannot be sent elsewhere, it is of type {name}: neither one of "
                "JSON's, tuple, bytes, set, frozenset or complex itself, nor has it a ValueType"
            )
        if id(value) in self._open:
            self._refuse("is in itself")
        if len(self._path) >= _DEEPEST:
            self._refuse(f"is nested more than {_DEEPEST} deep")
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
        return value if -_LARGE < value < _LARGE else {"$int": f"{value:x}"}

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
        if _is_crowded(keys):
            self._refuse(f"has more than {_OF_ONE_HASH} elements of one hash")

    def _of_user(self, value: Any) -> Any:
        own = self._types[type(value)]
        self._path[-1] = _Step(f".${own.tag}")
        try:
            plain = own.to_plain(value)
        except Exception as error:
            raise BadValue(
                f"{self._place()} cannot be sent elsewhere: its to_plain raised {_told(error)}"
            ) from error
        return {f"${own.tag}": self.write(plain)}


_LEAVES: Mapping[Type[Any], Callable[[_Writer, Any], Any]] = {
    str: _Writer._str,
    int: _Writer._int,
    float: _Writer._float,
    bool: _Writer._same,
    type(None): _Writer._same,
    complex: _Writer._complex,
    bytes: _Writer._bytes,
}

_WRITERS: Mapping[Type[Any], Callable[[_Writer, Any], Any]] = {
    **_LEAVES,
    list: _Writer._list,
    tuple: _Writer._tuple,
    set: _Writer._set,
    frozenset: _Writer._set,
    dict: _Writer._dict,
}


# -- reading tags ----------------------------------------------------------------------------------


def _malformed(tag: str, why: str) -> BadValue:
    return BadValue(f"a value cannot be read: {reprlib.repr('$' + tag)} {why}")


def _told(error: BaseException) -> str:
    """Its type, and perhaps what it says."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _tuple(codec: Codec, content: Any, level: int) -> Tuple[Any, ...]:
    return tuple(codec._elements("tuple", content, level))


def _table(tag: str, keys: List[Any], make: Callable[[], T]) -> T:
    try:
        if not _is_crowded(keys):
            return make()
    except Exception as error:
        # Not hashable; or the hash of a type of the user's.
        raise _malformed(tag, f"has what cannot be in it: {_told(error)}") from error
    raise _malformed(tag, f"has more than {_OF_ONE_HASH} of one hash")


def _set(codec: Codec, content: Any, level: int) -> Set[Any]:
    elements = codec._elements("set", content, level)
    return _table("set", elements, lambda: set(elements))


def _frozenset(codec: Codec, content: Any, level: int) -> Any:
    elements = codec._elements("frozenset", content, level)
    return _table("frozenset", elements, lambda: frozenset(elements))


def _map(codec: Codec, content: Any, level: int) -> Dict[Any, Any]:
    if type(content) is not list or not all(type(e) is list and len(e) == 2 for e in content):
        raise _malformed("map", "needs an array of pairs")
    keys = [codec._read(pair[0], level) for pair in content]
    values = [codec._read(pair[1], level) for pair in content]
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

_READERS: Mapping[str, Callable[[Codec, Any, int], Any]] = {
    "tuple": _tuple,
    "set": _set,
    "frozenset": _frozenset,
    "map": _map,
}
