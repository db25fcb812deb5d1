"""Types of users whose values travel, and what holds for all values."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, Collection, Generic, Type, TypeVar

from typing_extensions import final

from .._arguments import check_callable
from ..errors import BadType, BadValue

__all__ = ["DEEPEST", "OF_ONE_HASH", "ValueType", "is_crowded", "told"]

T = TypeVar("T")

DEEPEST = 64
"""So many levels a value has at most."""
OF_ONE_HASH = 256
"""So many elements of one set, or keys of one dict, may have the same hash."""

_TAGS = frozenset(["tuple", "set", "frozenset", "map", "bytes", "float", "complex", "int"])
_TYPES = frozenset(
    [
        *(str, int, float, bool, type(None), complex, bytes),
        *(list, tuple, set, frozenset, dict),
    ]
)
_TAG = re.compile("[A-Za-z][A-Za-z0-9_.-]{0,63}").fullmatch


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
        types. Of an argument it runs in the call of `send_request`, on the thread of that; of an
        answer, and of what is published, on the link's thread. It must not block.
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
        if self.tag in _TAGS:
            raise BadValue(f"tag of a ValueType must be another one, {self.tag!r} is taken")
        if not isinstance(self.type, type):
            raise BadType(f"type of a ValueType must be a class, not {self.type!r}")
        if self.type in _TYPES:
            raise BadValue(f"type of a ValueType must be another one, {self.type!r} travels anyway")
        check_callable("to_plain of a ValueType", self.to_plain)
        check_callable("from_plain of a ValueType", self.from_plain)


def is_crowded(keys: Collection[Any]) -> bool:
    """Whether a table of these would be slow, for they have the same hash."""
    return len(keys) > OF_ONE_HASH and max(Counter(map(hash, keys)).values()) > OF_ONE_HASH


def told(error: BaseException) -> str:
    """What a user's code has raised: its type, and what it says if it can."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
