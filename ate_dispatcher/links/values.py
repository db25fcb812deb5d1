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

from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple, Type

from ..errors import BadType, BadValue
from .json_text import LONGEST_NUMBER, is_unicode, json_of, may_have_long_number
from .value_reader import Reader
from .value_types import DEEPEST, ValueType
from .value_writer import LARGE, Writer

__all__ = ["Codec", "ValueType"]

_ATOMS = frozenset([str, int, float, bool, type(None)])
_NESTED = frozenset([list, dict])


class Codec:
    """Writes values as text, and reads them again. Immutable, so on any thread.

    Raises
    ------
    BadType, BadValue
        If *types* is no sequence of `ValueType`, or has two for one type or with one tag.
    """

    __slots__ = ("_by_type", "_reader", "has_types")

    def __init__(self, types: Sequence[ValueType[Any]] = ()) -> None:
        self._by_type: Dict[Type[Any], ValueType[Any]] = {}
        by_tag: Dict[str, ValueType[Any]] = {}
        if not isinstance(types, (list, tuple)):
            raise BadType(f"types must be a list or tuple of ValueType, not {types!r}")
        for each in types:
            if type(each) is not ValueType:
                raise BadType(f"types must have nothing but ValueType, not {each!r}")
            if each.tag in by_tag:
                raise BadValue(f"types must have one for the tag {each.tag!r}, not two")
            if each.type in self._by_type:
                raise BadValue(f"types must have one for {each.type!r}, not two")
            by_tag[each.tag] = self._by_type[each.type] = each
        self._reader = Reader(by_tag)
        #: Whether there are types of users; all others are let go of without their code.
        self.has_types: bool = bool(by_tag)

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
        if kind is int and -LARGE < value < LARGE:
            return int.__repr__(value)
        if kind is float and value - value == 0.0:
            return float.__repr__(value)
        if _is_plain(value, DEEPEST):
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
        return json_of(Writer(where, self._by_type).write(value))

    def decode(self, value: Any) -> Any:
        """What was encoded, of what `json.loads` made of the text; perhaps *value* itself.

        Hooks of users (`ValueType.from_plain`) run on the calling thread.

        Raises
        ------
        BadValue
            A tag that is not known, or with something else than belongs to it; too deep.
        """
        if type(value) not in _NESTED or _is_untagged(value, DEEPEST):
            return value
        return self._reader.read(value)

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
        values = [decode(each) for each in args]
        return values, {name: decode(kwargs[name]) for name in kwargs} if kwargs else kwargs


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
