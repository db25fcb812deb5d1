"""Where a thread can be noticed: the visible operations, found in the bytecode.

An operation is *visible* if another thread may notice it or be noticed by it: an attribute that is
assigned anywhere but in a constructor is read or written, C is called, a truth is tested, something
is indexed, searched or iterated. Between two of them a thread deals with what is its own. So it
is enough to hold threads in front of visible operations: held anywhere else, a thread could not be
told from one that is held at its next. That makes a scenario a few hundred points long.
"""

from __future__ import annotations

import _thread
import collections
import dis
import os
import queue
import types
import weakref
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Optional, Set

__all__ = ["Points"]

_BUILT = frozenset(("__init__", "__new__"))
"""While an object is made nobody else has it."""

_PURE = frozenset(
    (
        "isinstance",
        "id",
        "min",
        "max",
        "type",
        "callable",
        "partial",
        "hash",
        "bool",
        "int",
        "float",
        "str",
        "repr",
        "super",
    )
)
"""Calls of these are no more visible than an addition."""

_SHARED_TYPES = (
    dict,
    list,
    set,
    collections.deque,
    queue.SimpleQueue,
    weakref.ref,
    _thread.LockType,
)

_SHARED = frozenset(name for kind in _SHARED_TYPES for name in dir(kind) if name[:2] != "__")
"""Methods of what threads share: visible, whatever else has a method of that name."""

_ATTRIBUTE = frozenset(("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"))
_NO_CODE = frozenset(("CACHE", "EXTENDED_ARG", "PRECALL", "NOP", "NOT_TAKEN", "RESUME"))
_BOOLEAN = frozenset(("COMPARE_OP", "IS_OP", "CONTAINS_OP", "UNARY_NOT", "TO_BOOL"))
"""What follows these tests a bool, which nobody changes."""
_ALWAYS = frozenset(("CONTAINS_OP", "FOR_ITER", "TO_BOOL", "LIST_EXTEND", "SET_UPDATE"))
_NAMED = frozenset(
    ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD")
)
_CALLS = frozenset(("CALL", "CALL_FUNCTION", "CALL_METHOD"))
_BESIDE = frozenset(("LOAD_ATTR", "LOAD_METHOD", "PUSH_NULL", "KW_NAMES"))
"""They change the stack by what belongs to the call itself, if at all."""


def codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """*code*, and every piece of code inside it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from codes_in(const)


class Points:
    """The visible operations of all functions in *files*, as offsets into their bytecode.

    With a *focus*, only of functions with these names: much fewer, for going deeper.
    """

    def __init__(self, files: Iterable[str], focus: Iterable[str] = ()) -> None:
        self._focus = frozenset(focus)
        self.files = frozenset(os.path.realpath(file) for file in files)
        self._assigned: Set[str] = set()
        defined: Set[str] = set()
        self._known: Dict[types.CodeType, FrozenSet[int]] = {}
        for file in sorted(self.files):
            with open(file, encoding="utf-8") as source:
                module = compile(source.read(), file, "exec")
            for code in codes_in(module):
                defined.add(code.co_name)
                if code is not module and code.co_name not in _BUILT:
                    self._assigned.update(
                        step.argval
                        for step in dis.get_instructions(code)
                        if step.opname in ("STORE_ATTR", "DELETE_ATTR")
                    )
        # A call of a function with points of its own needs none in front.
        self._unseen = (defined - _SHARED) | _PURE

    def has(self, file: str) -> bool:
        """Whether *file* is one of those."""
        return os.path.realpath(file) in self.files

    def of(self, code: types.CodeType) -> FrozenSet[int]:
        """The offsets of the visible operations in *code*; none in files of others."""
        found = self._known.get(code)
        if found is None:
            ours = code.co_name not in _BUILT and self.has(code.co_filename)
            ours = ours and (not self._focus or code.co_name in self._focus)
            found = self._known[code] = frozenset(self._visible(code) if ours else ())
        return found

    def ignores(self, code: types.CodeType) -> bool:
        """Whether nothing in *code* matters, not even what waits: it is out of focus."""
        return bool(self._focus) and code.co_name not in self._focus

    def _visible(self, code: types.CodeType) -> Iterator[int]:
        steps = [each for each in dis.get_instructions(code) if each.opname not in _NO_CODE]
        for at, step in enumerate(steps):
            if self._is_visible(steps, at, step.opname, steps[at - 1].opname if at else ""):
                yield step.offset

    def _is_visible(self, steps: List[Any], at: int, name: str, before: str) -> bool:
        step = steps[at]
        if name in _ATTRIBUTE:
            return step.argval in self._assigned
        if name.startswith("CALL"):
            return "INTRINSIC" not in name and _callee(steps, at) not in self._unseen
        if "JUMP" in name and "_IF_" in name:
            return "NONE" not in name and "EXC" not in name and before not in _BOOLEAN
        if name == "UNARY_NOT":
            return before != "TO_BOOL"
        if name in ("BINARY_OP", "COMPARE_OP"):
            # Subscripts are binary from 3.14 on, and `in` was a comparison until 3.8.
            return "[" in step.argrepr or step.argrepr in ("in", "not in")
        return name in _ALWAYS or "SUBSCR" in name or "_SLICE" in name


def _callee(steps: List[Any], at: int) -> Optional[str]:
    """The name of what the call at *at* calls, if it is plain to see; None is anything."""
    call = steps[at]
    if call.opname == "CALL_FUNCTION_EX":
        return None
    # What lies on the stack above the thing that is called; its making is gone through backwards.
    above = (call.arg or 0) + (call.opname in ("CALL_FUNCTION_KW", "CALL_KW"))
    for step in reversed(steps[:at]):
        name = step.opname
        if above <= 0 and name in _NAMED:
            return str(step.argval)
        if "JUMP" in name or name.startswith("STORE"):
            return None
        if name == "LOAD_GLOBAL":
            above -= 1
        elif name in _CALLS:
            above += step.arg
        elif name not in _BESIDE:
            arg = step.arg if step.opcode >= dis.HAVE_ARGUMENT else None
            above -= dis.stack_effect(step.opcode, arg)
        if above < 0:
            return None
    return None
